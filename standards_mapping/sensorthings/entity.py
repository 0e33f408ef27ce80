"""Entities as JSON (OGC 18-088, clauses 8 and 9.2): from a row of values to its published face.

A row holds values as they are kept: times as datetimes, a unit by its key, quality as a mask.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from device_protocol.reading import Quality
from standards_mapping.sensorthings.model import EntityType, Key, Kind
from standards_mapping.sensorthings.options import Options
from standards_mapping.units import UNITS

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One entity as it is kept.

    values: of its properties, by name; absent where not asked for. A period is (start, end).
    links: for links to one entity, the key of that entity, or None where there is none.
    """

    key: Key
    values: Mapping[str, Any]
    links: Mapping[str, Key | None]


def instant(moment: datetime) -> str:
    """Return a time as ISO 8601 in UTC, with as many fractional digits as it needs."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def period(start: datetime, end: datetime) -> str:
    """Return an interval as start/end or, where it has no length, as an instant."""
    return instant(end) if start == end else f"{instant(start)}/{instant(end)}"


def unit_of_measurement(key: str) -> Json:
    """Return a unit as SensorThings names it: UCUM code as symbol, QUDT IRI as definition.

    A state has no unit; the standard asks for three nulls then (clause 8.2.4).
    """
    unit = UNITS.get(key)
    if unit is None or key == "bool":
        return {"name": None, "symbol": None, "definition": None}
    return {"name": unit.label, "symbol": unit.ucum or unit.key, "definition": unit.qudt}


def result_quality(mask: int) -> Json | None:
    """Return what is flagged against a result; None when nothing is."""
    return {"code": mask, "flags": list(Quality(mask).flags)} if mask else None


def _text_of_period(bounds: tuple[datetime, datetime] | None) -> str | None:
    return None if bounds is None else period(*bounds)


def _same(value: Any) -> Any:
    return value


_WRITERS: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.TEXT: _same,
    Kind.INSTANT: instant,
    Kind.PERIOD: _text_of_period,
    Kind.JSON: _same,
}
_ALWAYS_PRESENT: Final = {("Observation", "result"), ("Observation", "resultTime")}
_OWN_WRITERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "unitOfMeasurement": unit_of_measurement,
    "resultQuality": result_quality,
}


def _writer(entity_type: EntityType, name: str) -> Callable[[Any], Any]:
    return _OWN_WRITERS.get(name) or _WRITERS[entity_type.properties[name].kind]


def property_value(entity_type: EntityType, name: str, kept: Any) -> Any:
    """Return the JSON value of a property from the value kept; None for null."""
    return None if kept is None or kept == {} else _writer(entity_type, name)(kept)


def address(entity_type: EntityType, key: Key) -> str:
    """Return the address of an entity below the service root, e.g. Things(1)."""
    return _address(entity_type, key if isinstance(key, int) else str(key))


def _address(entity_type: EntityType, key: int | str) -> str:
    text = f"'{key}'" if isinstance(key, str) else key
    return f"{entity_type.set_name}({text})"


class EntityWriter:
    """Writes entities of one type as JSON, without what is expanded in them.

    root: URL of the service, without a slash at its end. Null properties are left out, but for
    those the standard wants present. An expanded link is left to the caller.
    """

    def __init__(self, entity_type: EntityType, root: str, options: Options) -> None:
        expanded = {expand.navigation.name for expand in options.expand}
        self._prefix = f"{root}/"
        self._type = entity_type
        self._id = options.selects("id")
        self._self_link = options.selects("@iot.selfLink")
        self._links = [
            (f"{name}@iot.navigationLink", f"/{name}")
            for name in entity_type.navigations
            if name not in expanded and options.selects(name)
        ]
        self._writers = {name: _writer(entity_type, name) for name in entity_type.properties}
        self._always = {name for owner, name in _ALWAYS_PRESENT if owner == entity_type.name}

    def write(self, row: Row) -> Json:
        """Return an entity as JSON."""
        key = row.key if isinstance(row.key, int) else str(row.key)
        link = self._prefix + _address(self._type, key)
        found: Json = {}
        if self._id:
            found["@iot.id"] = key
        if self._self_link:
            found["@iot.selfLink"] = link
        for name, kept in row.values.items():
            value = None if kept is None or kept == {} else self._writers[name](kept)
            if value is not None or name in self._always:
                found[name] = value
        for name, rest in self._links:
            found[name] = link + rest
        return found
