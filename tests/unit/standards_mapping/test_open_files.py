"""Open files: the same rows in CSV, GeoJSON and Parquet, safe for spreadsheets, with places."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.reading import Quality
from standards_mapping import csvw, geojson, geoparquet
from standards_mapping.csv_text import rfc4180
from standards_mapping.observation import Observation
from standards_mapping.open_columns import MEANINGS, Columns, columns_of, open_rows
from standards_mapping.registry import Datastream
from tests.simulators.moved_site import BAY, MEANS, NEW, NO2, OLD, ROOT, START, STATES, THING

ALL = sorted([*MEANS, *STATES], key=lambda seen: (seen.datastream, seen.time))


def parquet(datastreams: Sequence[Datastream], columns: Columns) -> Any:
    file = io.BytesIO()
    with geoparquet.ParquetFile(file, datastreams, ROOT) as written:
        written.write(columns)
        assert written.rows == len(columns)
    return pq.read_table(io.BytesIO(file.getvalue()))


def read_csv(text: str) -> list[dict[str, str]]:
    return [dict(zip(csvw.COLUMNS, row, strict=True)) for row in csv.reader(io.StringIO(text))]


def test_rows_have_the_place_where_the_thing_was_as_their_interval_began() -> None:
    rows = read_csv(rfc4180(csvw.rows([NO2], MEANS)))
    places = [(float(row["longitude"]), float(row["latitude"])) for row in rows]
    assert places == [OLD, OLD, NEW, NEW]
    points = [f["geometry"]["coordinates"] for f in geojson.features([NO2], MEANS)]
    assert points == [list(place) for place in places]
    table = parquet([NO2], columns_of(MEANS))
    assert list(zip(*(table[n].to_pylist() for n in ("longitude", "latitude")), strict=True)) == (
        places
    )


def test_many_rows_at_once_are_written_as_one_by_one() -> None:
    text = rfc4180(csvw.rows([NO2, BAY], ALL))
    assert csvw.lines([NO2, BAY], columns_of(ALL)) == text
    assert len(read_csv(text)) == len(ALL) == 7


@given(
    st.lists(
        st.tuples(
            st.timedeltas(timedelta(days=-9000), timedelta(days=9000)),
            st.one_of(st.none(), st.text(st.characters(codec="utf-8")), st.floats(allow_nan=False)),
            st.integers(0, 127),
            st.one_of(st.none(), st.booleans(), st.text(max_size=9), st.floats(allow_nan=False)),
        ),
        unique_by=lambda one: one[0],
    )
)
def test_whatever_is_observed_is_written_alike_both_ways(
    some: list[tuple[timedelta, Any, int, Any]],
) -> None:
    seen = [
        Observation(
            datastream=NO2.id,
            time=START + after,
            averaging=NO2.averaging,
            result=result,
            quality=Quality(quality),
            corrected=corrected,
        )
        for after, result, quality, corrected in sorted(some, key=lambda one: one[0])
    ]
    text = rfc4180(csvw.rows([NO2], seen))
    assert csvw.lines([NO2], columns_of(seen)) == text


def test_columns_give_back_what_they_were_made_of() -> None:
    back = list(columns_of(ALL).observations())
    told = [
        (row.datastream_id, row.time, row.interval_start, row.value, row.result, row.quality)
        for row in open_rows([NO2, BAY], back)
    ]
    assert told == [
        (row.datastream_id, row.time, row.interval_start, row.value, row.result, row.quality)
        for row in open_rows([NO2, BAY], ALL)
    ]


def test_no_text_of_a_csv_file_is_run_by_a_spreadsheet() -> None:
    rows = read_csv(rfc4180(csvw.rows([NO2, BAY], ALL)))
    assert {row["site"] for row in rows} == {"'=Bloomsbury, north"}
    assert rows[-1]["result"] == "'=fault()"
    assert rows[1]["value"] == "-7.0"
    assert rows[2]["value"] == "1e-07"
    for row in rows:
        for name, cell in row.items():
            assert name in ("value", "longitude") or not cell.startswith(("=", "+", "-", "@"))


def test_geojson_is_points_in_crs84_with_times_and_units() -> None:
    document = json.loads(json.dumps(geojson.feature_collection([NO2], MEANS)))
    assert document["type"] == "FeatureCollection"
    assert "crs" not in document
    assert len({feature["id"] for feature in document["features"]}) == len(MEANS)
    for feature in document["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Point"
        longitude, latitude = feature["geometry"]["coordinates"]
        assert -180 <= longitude <= 180
        assert -90 <= latitude <= 90
        about = feature["properties"]
        assert set(MEANINGS) - {"longitude", "latitude"} <= set(about)
        assert (about["unit"], about["ucum"]) == ("ug/m3", "ug/m3")
        assert datetime.fromisoformat(about["time"]).tzinfo == UTC


def test_a_thing_without_a_place_is_told_without_one() -> None:
    nowhere = Datastream(
        **{name: getattr(NO2, name) for name in NO2.__dataclass_fields__ if name != "thing"},
        thing=type(THING)(
            **{name: getattr(THING, name) for name in THING.__dataclass_fields__ if name != "stays"}
        ),
    )
    (feature, *_) = geojson.features([nowhere], MEANS)
    assert feature["geometry"] is None
    assert read_csv(csvw.lines([nowhere], columns_of(MEANS)))[0]["latitude"] == ""
    assert parquet([nowhere], columns_of(MEANS))["geometry"].to_pylist() == [None] * len(MEANS)


def test_a_parquet_file_says_what_its_values_are() -> None:
    table = parquet([NO2], columns_of(MEANS))
    about = {
        key.decode(): text.decode() for key, text in table.schema.field("value").metadata.items()
    }
    assert about["ucum"] == "ug/m3"
    assert about["qudt"] == "http://qudt.org/vocab/unit/MicroGM-PER-M3"
    assert about["observed_property_iri"] == f"{ROOT}/sosa/properties/no2"
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"][geo["primary_column"]] == {"encoding": "WKB", "geometry_types": ["Point"]}
    facts = json.loads(table.schema.metadata[b"kerbstone"])
    assert facts["units"]["ug/m3"]["qudt"] == about["qudt"]
    assert facts["council"] == ["camden"]
    for name in MEANINGS:
        assert table.schema.field(name).metadata[b"description"].decode() == MEANINGS[name]


def test_a_file_of_several_units_leaves_them_to_the_rows() -> None:
    table = parquet([NO2, BAY], columns_of(ALL))
    assert b"ucum" not in table.schema.field("value").metadata
    assert set(table["unit"].to_pylist()) == {"ug/m3", "bool"}
    assert table["result"].to_pylist()[-3:] == ["true", "false", "=fault()"]
    assert table["value"].to_pylist()[:4] == [20.1, -7.0, 1e-07, None]


@pytest.mark.parametrize("empty", [[], MEANS[:0]])
def test_a_file_without_rows_has_its_columns(empty: list[Observation]) -> None:
    assert parquet([NO2], columns_of(empty)).num_rows == 0
    assert csvw.lines([NO2], columns_of(empty)) == ""


def test_the_licence_of_a_datastream_wins() -> None:
    licences = [row["licence"] for row in read_csv(csvw.lines([NO2, BAY], columns_of(ALL)))]
    assert set(licences[:4]) == {
        "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/"
    }
    assert set(licences[4:]) == {"https://example.org/licence"}
    beside = csvw.metadata([BAY], "bay_occupied.csv", ROOT)
    assert beside["dc:license"] == [{"@id": "https://example.org/licence"}]
    assert beside["dc:rights"] == ["Say Camden"]
