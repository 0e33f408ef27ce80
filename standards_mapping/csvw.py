"""Observations as CSV (RFC 4180), and the metadata that lies beside it (CSVW, W3C). Pure.

What the columns mean is `standards_mapping.open_columns`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Final

import numpy as np
import numpy.typing as npt

from device_protocol.reading import Quality
from standards_mapping.csv_text import rfc4180, safe
from standards_mapping.linked_data import Json, instant
from standards_mapping.observation import Observation
from standards_mapping.open_columns import (
    MEANINGS,
    Columns,
    OpenRow,
    constant_texts,
    open_rows,
    unix_microseconds,
)
from standards_mapping.open_licence import attribution_of, licence_name, licences_of
from standards_mapping.registry import Datastream

COLUMNS: Final = tuple(MEANINGS)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SOSA: Final = "http://www.w3.org/ns/sosa/"
_AREA: Final = "http://statistics.data.gov.uk/id/statistical-geography/{gss}"
_WGS: Final = "http://www.w3.org/2003/01/geo/wgs84_pos#"
_PROPERTY_URLS: Final = {
    "time": f"{_SOSA}phenomenonTime",
    "interval_start": "http://www.w3.org/2006/time#hasBeginning",
    "datastream": "http://purl.org/dc/terms/isPartOf",
    "gss": "http://purl.org/dc/terms/spatial",
    "thing": f"{_SOSA}hasFeatureOfInterest",
    "sensor": f"{_SOSA}madeBySensor",
    "observed_property": f"{_SOSA}observedProperty",
    "unit": "http://qudt.org/schema/qudt/hasUnit",
    "value": "http://qudt.org/schema/qudt/numericValue",
    "result": f"{_SOSA}hasSimpleResult",
    "quality": f"{_SOSA}resultQuality",
    "longitude": f"{_WGS}long",
    "latitude": f"{_WGS}lat",
    "licence": "http://purl.org/dc/terms/license",
}
_ALL_FLAGS: Final = sum(Quality)
_DATATYPES: Final[dict[str, str | Json]] = {
    "time": "dateTime",
    "interval_start": "dateTime",
    "datastream_id": {"base": "integer", "minimum": 1},
    "value": "double",
    "quality": {"base": "integer", "minimum": 0, "maximum": _ALL_FLAGS},
    "corrected_value": "double",
    "longitude": {"base": "double", "minimum": -180, "maximum": 180},
    "latitude": {"base": "double", "minimum": -90, "maximum": 90},
}
_MAY_BE_EMPTY: Final = (
    "value",
    "result",
    "corrected_value",
    "corrected_result",
    "longitude",
    "latitude",
)


def rows(
    datastreams: Iterable[Datastream], observations: Iterable[Observation]
) -> Iterator[Sequence[str]]:
    """Yield the cells of each observation in the order of `COLUMNS`, without a header."""
    return (cells(row) for row in open_rows(datastreams, observations))


def cells(row: OpenRow) -> Sequence[str]:
    """Return the cells of a row: numbers exact, texts so that no spreadsheet runs them."""
    return (
        instant(row.time),
        instant(row.interval_start),
        str(row.datastream_id),
        safe(row.datastream),
        safe(row.council),
        safe(row.gss),
        safe(row.thing),
        safe(row.site),
        safe(row.sensor),
        row.observed_property,
        row.unit,
        "" if row.value is None else repr(row.value),
        "" if row.result is None else safe(row.result),
        str(row.quality),
        "" if row.corrected_value is None else repr(row.corrected_value),
        "" if row.corrected_result is None else safe(row.corrected_result),
        "" if row.longitude is None else repr(row.longitude),
        "" if row.latitude is None else repr(row.latitude),
        safe(row.licence),
    )


def lines(datastreams: Iterable[Datastream], columns: Columns) -> str:
    """Return the same as `rows` of many observations at once, as text; about five times quicker.

    What all results of a datastream have alike is written once and repeated.
    """
    if not len(columns):
        return ""
    chosen = {each.id: each for each in datastreams}
    ids, firsts = np.unique(columns.datastream_ids, return_index=True)
    ends = [*firsts[1:].tolist(), len(columns)]
    return "".join(
        line
        for number, first, end in zip(ids.tolist(), firsts.tolist(), ends, strict=True)
        for line in _run(chosen[number], columns, slice(first, end))
    )


def _run(datastream: Datastream, columns: Columns, rows_of: slice) -> Iterator[str]:
    """Yield the lines of one datastream's rows, which follow each other."""
    texts = constant_texts(datastream)
    names = ("datastream", "council", "gss", "thing", "site", "sensor")
    fixed = [safe(texts[name]) for name in names]
    alike = _joined([str(datastream.id), *fixed, texts["observed_property"], texts["unit"]])
    stays = datastream.thing.stays
    since = [unix_microseconds(stay.since) for stay in stays[1:]]
    places = np.searchsorted(since, columns.starts[rows_of], "right").tolist()
    ends = [
        _joined([repr(stay.place.longitude), repr(stay.place.latitude), safe(texts["licence"])])
        for stay in stays
    ] or [_joined(["", "", safe(texts["licence"])])]
    cells_of = zip(
        _instants(columns.times[rows_of]),
        _instants(columns.starts[rows_of]),
        columns.values[rows_of].tolist(),
        columns.qualities[rows_of].tolist(),
        places,
        strict=True,
    )
    for row, (time, start, value, quality, place) in enumerate(cells_of, rows_of.start):
        correction = _correction(columns.corrections[row]) if row in columns.corrections else ","
        rest = f"{quality},{correction},{ends[place]}"
        if isnan(value):
            result = _joined(["", safe(columns.results.get(row, ""))])
            yield f"{time},{start},{alike},{result},{rest}\r\n"
        else:
            yield f"{time},{start},{alike},{value!r},,{rest}\r\n"


def _correction(said: float | str) -> str:
    """Return the two cells of a correction."""
    return _joined(["", safe(said)] if isinstance(said, str) else [repr(said), ""])


def _instants(times: npt.NDArray[np.int64]) -> Sequence[str]:
    """Return Unix microseconds as xsd:dateTime in UTC, like `linked_data.instant`."""
    whole, rest = np.divmod(times, 1_000_000)
    if rest.any():
        return [instant(_EPOCH + timedelta(microseconds=time)) for time in times.tolist()]
    texts: list[str] = np.datetime_as_string(whole.astype("datetime64[s]"), timezone="UTC").tolist()
    return texts


def _joined(some: Sequence[str]) -> str:
    """Return cells as part of a line."""
    return rfc4180([some]).removesuffix("\r\n")


def metadata(datastreams: Sequence[Datastream], url: str, root: str) -> Json:
    """Return the CSVW metadata of the file at `url`, which has these datastreams' observations.

    root: of the service, without a slash at its end. Where all results are in one unit the column
    `value` names it.
    """
    first = datastreams[0]
    council, found = first.thing.council, first.observed_property
    units = {each.unit.key: each.unit for each in datastreams}
    licences = licences_of(datastreams)
    columns = [_column(name, root) for name in COLUMNS]
    if len(units) == 1:
        (unit,) = units.values()
        value = columns[COLUMNS.index("value")]
        value["http://qudt.org/schema/qudt/hasUnit"] = {"@id": unit.qudt}
        value["http://qudt.org/schema/qudt/ucumCode"] = unit.ucum
        value["dc:description"] = f"{MEANINGS['value']}; in {unit.label}"
    return {
        "@context": ["http://www.w3.org/ns/csvw", {"@language": "en"}],
        "url": url,
        "dc:title": f"{found.label}, {council.name}",
        "dc:publisher": {"schema:name": council.name},
        "dc:spatial": {"@id": _AREA.replace("{gss}", council.gss)},
        "dc:license": [
            {"@id": each} if "://" in each else {"@value": licence_name(each)} for each in licences
        ],
        "dc:rights": sorted({attribution_of(each) for each in datastreams}),
        "rdfs:comment": "The column licence says of each row under which licence it may be used.",
        "dialect": {"header": True, "encoding": "utf-8", "lineTerminators": ["\r\n"]},
        "tableSchema": {"primaryKey": ["datastream_id", "time"], "columns": columns},
    }


def _column(name: str, root: str) -> Json:
    found: Json = {
        "name": name,
        "titles": name,
        "datatype": _DATATYPES.get(name, "string"),
        "dc:description": MEANINGS[name],
        "required": name not in _MAY_BE_EMPTY,
    }
    if name in _PROPERTY_URLS:
        found["propertyUrl"] = _PROPERTY_URLS[name]
    if name == "gss":
        found["valueUrl"] = _AREA
    if name == "observed_property":
        found["valueUrl"] = f"{root}/sosa/properties/{{observed_property}}"
    return found
