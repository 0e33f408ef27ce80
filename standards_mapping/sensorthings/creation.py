"""Bodies that create or change entities (OGC 18-088, clause 10), checked and made into drafts.

Pure: whether what a draft links to exists, and who may write it, is settled where it is stored.
The values of single properties are checked in `drafted_values`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from standards_mapping.sensorthings.drafted_values import EMPTY, parse_value
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import (
    ENTITY_TYPES,
    EntityType,
    Key,
    Navigation,
    ObservationId,
)

LARGEST_BODY_BYTES: Final = 16 << 20
"""The largest body that is read, a batch or a data array included."""

MOST_ENTITIES: Final = 1000
"""Entities that one deep insert may create."""

DEEPEST: Final = 8
"""How deep entities may be nested in one another."""

MANDATORY: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Thing": ("name", "description"),
        "Location": ("name", "description", "encodingType", "location"),
        "HistoricalLocation": ("time",),
        "Datastream": ("name", "description", "unitOfMeasurement", "observationType"),
        "Sensor": ("name", "description", "encodingType", "metadata"),
        "ObservedProperty": ("name", "definition", "description"),
        "Observation": ("result",),
        "FeatureOfInterest": ("name", "description", "encodingType", "feature"),
    }
)
"""Properties without which no entity is created (clause 8). An Observation without a
phenomenonTime is of the moment it came (requirement create-entity)."""

MANDATORY_LINKS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "HistoricalLocation": ("Thing", "Locations"),
        "Datastream": ("Thing", "Sensor", "ObservedProperty"),
        "Observation": ("Datastream",),
    }
)

_KEPT_BY_US: Final = {("Datastream", name) for name in ("observedArea", "phenomenonTime")} | {
    ("Datastream", "resultTime")
}
_ANNOTATIONS: Final = (
    "@iot.navigationLink",
    "@iot.associationLink",
    "@iot.count",
    "@iot.nextLink",
)
_INVERSE: Final[Mapping[tuple[str, str], str]] = {
    ("Thing", "Locations"): "Things",
    ("Thing", "HistoricalLocations"): "Thing",
    ("Thing", "Datastreams"): "Thing",
    ("Location", "Things"): "Locations",
    ("Location", "HistoricalLocations"): "Locations",
    ("HistoricalLocation", "Locations"): "HistoricalLocations",
    ("HistoricalLocation", "Thing"): "HistoricalLocations",
    ("Datastream", "Thing"): "Datastreams",
    ("Datastream", "Sensor"): "Datastreams",
    ("Datastream", "ObservedProperty"): "Datastreams",
    ("Datastream", "Observations"): "Datastream",
    ("Sensor", "Datastreams"): "Sensor",
    ("ObservedProperty", "Datastreams"): "ObservedProperty",
    ("Observation", "Datastream"): "Observations",
    ("Observation", "FeatureOfInterest"): "Observations",
    ("FeatureOfInterest", "Observations"): "FeatureOfInterest",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """An entity that is to be created, or what is to be changed of one.

    values: of its properties as they are kept: times as datetimes, a period as (start, end), a
    unit by its key. links: by the name of the relation, ids of entities there are and drafts of
    others.
    """

    entity_type: EntityType
    values: Mapping[str, Any]
    links: Mapping[str, tuple["Target", ...]] = field(default_factory=dict)


Target: TypeAlias = "Draft | Key"


def inverse(entity_type: EntityType, navigation: str) -> str:
    """Return the name by which the far side of a relation links back."""
    return _INVERSE[entity_type.name, navigation]


def draft(entity_type: EntityType, body: object, supplied: Sequence[str] = ()) -> Draft:
    """Return what the body of a POST creates, with all that is nested in it.

    supplied: relations that the address the body was sent to settles.

    Raises:
        QueryError: no object, a property missing, unknown or malformed, or nested too deep.
    """
    return _Drafting().create(entity_type, body, frozenset(supplied), 1)


def changes(entity_type: EntityType, body: object) -> Draft:
    """Return what the body of a PATCH changes: only what it names.

    Raises:
        QueryError: as `draft`, and where it holds whole entities (clause 10.3).
    """
    members = _object(entity_type, body)
    values: dict[str, Any] = {}
    links: dict[str, tuple[Target, ...]] = {}
    for name, value in members.items():
        if name in entity_type.properties:
            values[name] = parse_value(entity_type, name, value)
        else:
            navigation = entity_type.navigations[name]
            links[name] = tuple(
                _reference(navigation, item) for item in _items(entity_type, navigation, value)
            )
    missing = [name for name in MANDATORY[entity_type.name] if values.get(name, EMPTY) is None]
    if missing:
        raise QueryError(f"{_listed(missing)} of {entity_type.name} cannot be null")
    return Draft(entity_type, values, links)


def replacement(entity_type: EntityType, body: object) -> Draft:
    """Return what the body of a PUT changes: optional properties that it leaves out become null.

    Links that it leaves out stay.

    Raises:
        QueryError: as `changes`, and where a mandatory property is missing.
    """
    found = changes(entity_type, body)
    values = {
        name: None
        for name in entity_type.properties
        if (entity_type.name, name) not in _KEPT_BY_US and name not in _FIXED
    } | dict(found.values)
    _check_complete(entity_type, values)
    return Draft(entity_type, values, found.links)


_FIXED: Final = ("phenomenonTime", "resultTime", "validTime", "resultQuality")


class _Drafting:
    """One deep insert; counts the entities in it."""

    def __init__(self) -> None:
        self._entities = 0

    def create(
        self, entity_type: EntityType, body: object, supplied: frozenset[str], depth: int
    ) -> Draft:
        self._entities += 1
        if self._entities > MOST_ENTITIES or depth > DEEPEST:
            raise QueryError(
                f"more than {MOST_ENTITIES} entities in one request, or nested more than"
                f" {DEEPEST} deep: send them one after the other"
            )
        members = _object(entity_type, body)
        values: dict[str, Any] = {}
        links: dict[str, tuple[Target, ...]] = {}
        for name, value in members.items():
            if name in entity_type.properties:
                values[name] = parse_value(entity_type, name, value)
                continue
            if name in supplied and not entity_type.navigations[name].many:
                raise QueryError(f"{name} is settled by the address: leave it out of the body")
            navigation = entity_type.navigations[name]
            links[name] = tuple(
                self._target(entity_type, navigation, item, depth)
                for item in _items(entity_type, navigation, value)
            )
        _check_complete(entity_type, values)
        _check_linked(entity_type, links, supplied)
        return Draft(entity_type, values, links)

    def _target(
        self, entity_type: EntityType, navigation: Navigation, item: object, depth: int
    ) -> Target:
        if isinstance(item, dict) and "@iot.id" in item:
            return _key(navigation, item["@iot.id"])
        target = ENTITY_TYPES[navigation.target]
        back = frozenset({inverse(entity_type, navigation.name)})
        return self.create(target, item, back, depth + 1)


def _object(entity_type: EntityType, body: object) -> dict[str, Any]:
    """Return the members of a body that mean something, once all of them are known."""
    if not isinstance(body, dict):
        raise QueryError(f"{entity_type.name} must be a JSON object")
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name in ("@iot.id", "@iot.selfLink") or name.endswith(_ANNOTATIONS):
            continue  # ids and addresses are the service's to give
        if name not in entity_type.properties and name not in entity_type.navigations:
            raise QueryError(f"{entity_type.name} has no property or link {name!r}")
        if (entity_type.name, name) not in _KEPT_BY_US:
            found[name] = value
    return found


def _items(entity_type: EntityType, navigation: Navigation, value: object) -> list[Any]:
    if navigation.many:
        if not isinstance(value, list):
            raise QueryError(f"{navigation.name} of {entity_type.name} must be a list")
        return value
    if not isinstance(value, dict):
        raise QueryError(f'{navigation.name} of {entity_type.name} must be {{"@iot.id": …}}')
    return [value]


def _reference(navigation: Navigation, item: object) -> Key:
    if not isinstance(item, dict) or "@iot.id" not in item:
        raise QueryError(
            f'{navigation.name} can only be linked here, by {{"@iot.id": …}}: create entities'
            " with POST"
        )
    return _key(navigation, item["@iot.id"])


def _key(navigation: Navigation, written: object) -> Key:
    """Return the id by which a link names its target.

    Raises:
        QueryError: nothing can have that id.
    """
    target = ENTITY_TYPES[navigation.target]
    key: Key | None = None
    if isinstance(written, str) and target.name == "Observation":
        key = ObservationId.parse(written)
    elif isinstance(written, int) and not isinstance(written, bool):
        key = target.parse_key(str(written))
    if key is None:
        raise QueryError(f"{navigation.name}: there is no {target.name} with the id {written!r}")
    return key


def _check_complete(entity_type: EntityType, values: Mapping[str, Any]) -> None:
    missing = [name for name in MANDATORY[entity_type.name] if values.get(name) is None]
    if missing:
        raise QueryError(f"{entity_type.name} needs {_listed(missing)}")


def _check_linked(
    entity_type: EntityType, links: Mapping[str, object], supplied: frozenset[str]
) -> None:
    needed = MANDATORY_LINKS.get(entity_type.name, ())
    missing = [name for name in needed if name not in supplied and not links.get(name)]
    if missing:
        raise QueryError(
            f"{entity_type.name} needs {_listed(missing)}: link it by"
            ' {"@iot.id": …} or give it whole'
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
