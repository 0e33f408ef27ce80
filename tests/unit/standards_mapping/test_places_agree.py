"""A Thing that moved: every standard tells the place where the interval of a result began."""

import csv
import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from standards_mapping import csvw, geojson, geoparquet, sosa
from standards_mapping.ngsi_ld.entity import entities_of
from standards_mapping.open_columns import columns_of
from standards_mapping.sensorthings.document import things_document
from tests.simulators.moved_site import HOUR, MEANS, MOVED_AT, NEW, NO2, OLD, ROOT, THING

MINUTE = timedelta(minutes=1)
CASES = [(MOVED_AT, OLD), (MOVED_AT + HOUR - MINUTE, OLD), (MOVED_AT + HOUR, NEW)]


@pytest.mark.parametrize(("time", "point"), CASES)
def test_all_standards_tell_where_the_interval_began(time: Any, point: Any) -> None:
    seen = replace(MEANS[0], time=time)
    assert NO2.averaging == HOUR

    [quickly] = csv.reader(io.StringIO(csvw.lines([NO2], columns_of([seen]))))
    for cells in (quickly, *csvw.rows([NO2], [seen])):
        row = dict(zip(csvw.COLUMNS, cells, strict=True))
        assert (float(row["longitude"]), float(row["latitude"])) == point

    [feature] = geojson.features([NO2], [seen])
    assert feature["geometry"]["coordinates"] == list(point)

    file = io.BytesIO()
    with geoparquet.ParquetFile(file, [NO2], ROOT) as written:
        written.write(columns_of([seen]))
    [kept] = pq.read_table(io.BytesIO(file.getvalue())).to_pylist()
    assert (kept["longitude"], kept["latitude"]) == point

    graph = sosa.observations_document([NO2], [seen], ROOT)["@graph"]
    [sample] = [one for one in graph if "hasGeometry" in one]
    assert sample["hasGeometry"]["asWKT"].endswith(f"POINT({point[0]!r} {point[1]!r})")
    observed = sosa.observation(NO2, seen, ROOT)
    assert observed["hasFeatureOfInterest"] == sample["id"]

    [entity] = [one for one in entities_of([THING], [NO2], {NO2.id: seen}) if one.type != "Device"]
    [location] = [one for one in entity.attributes if one.name == "location"]
    assert location.value["coordinates"] == list(point)

    assert features_in(things_document([THING], [NO2], [seen], f"{ROOT}/v1.1")) == [list(point)]


def features_in(document: Any) -> list[Any]:
    """Return the points of all FeaturesOfInterest in a SensorThings document."""
    if isinstance(document, list):
        return [point for one in document for point in features_in(one)]
    if not isinstance(document, dict):
        return []
    own = [document["feature"]["coordinates"]] if "feature" in document else []
    return own + [point for one in document.values() for point in features_in(one)]
