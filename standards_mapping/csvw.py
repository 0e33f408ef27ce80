"""Observations as CSV (RFC 4180), and the metadata that lies beside it (CSVW, W3C). Pure.

What the columns mean is `standards_mapping.open_columns`.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from standards_mapping.linked_data import Json, instant
from standards_mapping.observation import Observation
from standards_mapping.open_columns import MEANINGS, OpenRow, open_rows
from standards_mapping.open_licence import attribution_of, licence_name, licences_of
from standards_mapping.registry import Datastream

COLUMNS: Final = tuple(MEANINGS)

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
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
_DATATYPES: Final[dict[str, str | Json]] = {
    "time": "dateTime",
    "interval_start": "dateTime",
    "datastream_id": {"base": "integer", "minimum": 1},
    "value": "double",
    "quality": {"base": "integer", "minimum": 0, "maximum": 63},
    "longitude": {"base": "double", "minimum": -180, "maximum": 180},
    "latitude": {"base": "double", "minimum": -90, "maximum": 90},
}
_MAY_BE_EMPTY: Final = ("value", "result", "longitude", "latitude")


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
        "" if row.longitude is None else repr(row.longitude),
        "" if row.latitude is None else repr(row.latitude),
        safe(row.licence),
    )


def safe(text: str) -> str:
    """Return `text` so that a spreadsheet does not take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    """Return rows as RFC 4180 text."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(lines)
    return buffer.getvalue()


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
