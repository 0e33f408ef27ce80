"""Data arrays that create observations (OGC 18-088, clause 13.2): rows of chosen components.

How data arrays are answered to a GET is another module's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from standards_mapping.sensorthings.drafted_values import parse_value
from standards_mapping.sensorthings.errors import QueryError, SensorThingsError, TooLargeError
from standards_mapping.sensorthings.model import ENTITY_TYPES

MOST_ROWS: Final = 100_000
"""Rows in one request, all its data arrays together."""

FEATURE: Final = "FeatureOfInterest/id"

_OBSERVATION: Final = ENTITY_TYPES["Observation"]
_LARGEST_ID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class DataArray:
    """Rows for one datastream: the values of an Observation each, or why a row is not taken.

    Beside the properties a row may hold `FEATURE`, an id.
    """

    datastream: int
    rows: Sequence[Mapping[str, Any] | SensorThingsError]


def parse_data_arrays(body: object) -> list[DataArray]:
    """Return the data arrays in a body.

    Raises:
        QueryError: it is none, or names a component there is not. A bad row is no error.
        TooLargeError: more than `MOST_ROWS`.
    """
    if not isinstance(body, list):
        raise QueryError('a data array is a list of {"Datastream", "components", "dataArray"}')
    found = [_array(one) for one in body]
    number = sum(len(array.rows) for array in found)
    if number > MOST_ROWS:
        raise TooLargeError(f"{number} rows in one request, limit {MOST_ROWS}")
    return found


def _array(one: object) -> DataArray:
    if not isinstance(one, dict):
        raise QueryError('a data array is an object {"Datastream", "components", "dataArray"}')
    link = one.get("Datastream")
    number = link.get("@iot.id") if isinstance(link, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= _LARGEST_ID:
        raise QueryError('Datastream of a data array must be {"@iot.id": …}')
    components, rows = one.get("components"), one.get("dataArray")
    if not isinstance(components, list) or not isinstance(rows, list):
        raise QueryError("components and dataArray must be lists")
    for name in components:
        if not isinstance(name, str) or name not in {"id", FEATURE, *_OBSERVATION.properties}:
            raise QueryError(f"there is no component {name!r:.60}")
    if "result" not in components or len(set(components)) < len(components):
        raise QueryError("components must hold result, and each name once")
    return DataArray(number, [_row(components, row) for row in rows])


def _row(components: Sequence[str], row: object) -> Mapping[str, Any] | SensorThingsError:
    if not isinstance(row, list) or len(row) != len(components):
        return QueryError(f"a row must have {len(components)} values")
    values: dict[str, Any] = {}
    try:
        for name, value in zip(components, row, strict=True):
            if name == FEATURE:
                values[name] = _feature(value)
            elif name != "id":  # the service gives ids
                values[name] = parse_value(_OBSERVATION, name, value)
    except QueryError as error:
        return error
    return values


def _feature(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LARGEST_ID:
        raise QueryError(f"there is no FeatureOfInterest with the id {value!r:.40}")
    return value
