"""The eight entity types of OGC 18-088, clause 8: their properties and how they link.

Also how an entity is identified. Nothing here knows how entities are stored or written.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, Self, TypeAlias

from standards_mapping.sensorthings.errors import QueryError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_OBSERVATION_ID: Final = re.compile(r"([1-9][0-9]{0,9})-(0|-?[1-9][0-9]{0,17})", re.ASCII)
_LARGEST_ID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, order=True)
class ObservationId:
    """What identifies an observation: its datastream and its time, in Unix microseconds.

    Written "12-1753113600000000". An observation has no other key, so the id leads straight to
    where it is stored.
    """

    datastream: int
    microseconds: int

    def __str__(self) -> str:
        return f"{self.datastream}-{self.microseconds}"

    @classmethod
    def of(cls, datastream: int, time: datetime) -> Self:
        """Return the id of the observation of a datastream at a time."""
        return cls(datastream, (time - _EPOCH) // _MICROSECOND)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the id so written, or None if no observation can have it."""
        match = _OBSERVATION_ID.fullmatch(text)
        if match is None or int(match[1]) > _LARGEST_ID:
            return None
        found = cls(int(match[1]), int(match[2]))
        try:
            _ = found.time
        except OverflowError:
            return None
        return found

    @property
    def time(self) -> datetime:
        """When the observation was made: the end of its interval, if it is a mean."""
        return _EPOCH + timedelta(microseconds=self.microseconds)


Key: TypeAlias = int | ObservationId


class Kind(Enum):
    """What a property holds."""

    TEXT = auto()
    INSTANT = auto()
    PERIOD = auto()
    """An instant or an interval of time."""
    JSON = auto()


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an entity type, named as the standard names it."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Navigation:
    """A relation: to one entity of type `target`, or to many."""

    name: str
    target: str
    many: bool


@dataclass(frozen=True, slots=True)
class EntityType:
    """A type of entity: its name in the singular, the name of its set, and what it has."""

    name: str
    set_name: str
    properties: Mapping[str, Property]
    navigations: Mapping[str, Navigation]

    def parse_key(self, text: str) -> Key | None:
        """Return the key written between the parentheses of an address, if any can be so.

        Integers stand alone, strings between quotes. None: well written, but nothing has it.

        Raises:
            QueryError: neither an integer nor a quoted string.
        """
        if len(text) > 1 and text[0] == text[-1] == "'":
            if self.name != "Observation":
                return None
            return ObservationId.parse(text[1:-1].replace("''", "'"))
        if not re.fullmatch(r"-?[0-9]+", text, re.ASCII):
            raise QueryError(f"({text}) is not an id: write an integer, or a string in quotes")
        if self.name == "Observation" or len(text) > len(str(_LARGEST_ID)):
            return None
        return int(text) if 0 < int(text) <= _LARGEST_ID else None


_NAMED: Final = {"name": Kind.TEXT, "description": Kind.TEXT}
_PROPERTIES: Final[Mapping[str, Mapping[str, Kind]]] = {
    "Thing": _NAMED | {"properties": Kind.JSON},
    "Location": _NAMED
    | {"encodingType": Kind.TEXT, "location": Kind.JSON, "properties": Kind.JSON},
    "HistoricalLocation": {"time": Kind.INSTANT},
    "Datastream": _NAMED
    | {
        "unitOfMeasurement": Kind.JSON,
        "observationType": Kind.TEXT,
        "observedArea": Kind.JSON,
        "phenomenonTime": Kind.PERIOD,
        "resultTime": Kind.PERIOD,
        "properties": Kind.JSON,
    },
    "Sensor": _NAMED | {"encodingType": Kind.TEXT, "metadata": Kind.TEXT, "properties": Kind.JSON},
    "ObservedProperty": {
        "name": Kind.TEXT,
        "definition": Kind.TEXT,
        "description": Kind.TEXT,
        "properties": Kind.JSON,
    },
    "Observation": {
        "phenomenonTime": Kind.PERIOD,
        "result": Kind.JSON,
        "resultTime": Kind.INSTANT,
        "resultQuality": Kind.JSON,
        "validTime": Kind.PERIOD,
        "parameters": Kind.JSON,
    },
    "FeatureOfInterest": _NAMED
    | {"encodingType": Kind.TEXT, "feature": Kind.JSON, "properties": Kind.JSON},
}

_SET_NAMES: Final = {
    "Thing": "Things",
    "Location": "Locations",
    "HistoricalLocation": "HistoricalLocations",
    "Datastream": "Datastreams",
    "Sensor": "Sensors",
    "ObservedProperty": "ObservedProperties",
    "Observation": "Observations",
    "FeatureOfInterest": "FeaturesOfInterest",
}

_RELATIONS: Final[Mapping[str, tuple[str, ...]]] = {  # a set's name: many; a type's name: one
    "Thing": ("Locations", "HistoricalLocations", "Datastreams"),
    "Location": ("Things", "HistoricalLocations"),
    "HistoricalLocation": ("Thing", "Locations"),
    "Datastream": ("Thing", "Sensor", "ObservedProperty", "Observations"),
    "Sensor": ("Datastreams",),
    "ObservedProperty": ("Datastreams",),
    "Observation": ("Datastream", "FeatureOfInterest"),
    "FeatureOfInterest": ("Observations",),
}


def _entity_types() -> Mapping[str, EntityType]:
    type_of_set = {set_name: name for name, set_name in _SET_NAMES.items()}
    return MappingProxyType(
        {
            name: EntityType(
                name,
                set_name,
                {key: Property(key, kind) for key, kind in _PROPERTIES[name].items()},
                {
                    link: Navigation(link, type_of_set.get(link, link), link in type_of_set)
                    for link in _RELATIONS[name]
                },
            )
            for name, set_name in _SET_NAMES.items()
        }
    )


ENTITY_TYPES: Final = _entity_types()
"""By name, in the order of the standard."""

ENTITY_SETS: Final[Mapping[str, EntityType]] = MappingProxyType(
    {entity_type.set_name: entity_type for entity_type in ENTITY_TYPES.values()}
)


@dataclass(frozen=True, slots=True)
class PropertyPath:
    """Where an expression's path leads, seen from one entity.

    navigations: the links to follow, from that entity on.
    property: of the entity they lead to; None for its id.
    members: names inside a JSON property, outermost first.
    """

    navigations: tuple[Navigation, ...]
    property: Property | None
    members: tuple[str, ...]


def is_id(name: str) -> bool:
    """Whether a name in a query option means the id of an entity."""
    return name in ("id", "@iot.id")


def resolve(entity_type: EntityType, segments: tuple[str, ...]) -> PropertyPath:
    """Return where the path `segments`, e.g. Datastream/Thing/name, leads from `entity_type`.

    Raises:
        QueryError: an unknown name, a path that ends at a link, or one that goes on after a
            property that holds no members.
    """
    navigations: list[Navigation] = []
    here = entity_type
    for position, segment in enumerate(segments):
        navigation = here.navigations.get(segment)
        if navigation is not None:
            navigations.append(navigation)
            here = ENTITY_TYPES[navigation.target]
            continue
        members = segments[position + 1 :]
        if is_id(segment) and not members:
            return PropertyPath(tuple(navigations), None, ())
        found = here.properties.get(segment)
        if found is None:
            raise QueryError(f"{here.name} has no property or link {segment!r}")
        if members and found.kind is not Kind.JSON:
            raise QueryError(f"{segment!r} of {here.name} has no members")
        return PropertyPath(tuple(navigations), found, members)
    raise QueryError(f"{'/'.join(segments)!r} leads to {here.name}, not to one of its properties")
