"""Resource paths, from the service root to what is addressed (OGC 18-088, clause 9.2)."""

import re
from dataclasses import dataclass
from typing import Final

from standards_mapping.sensorthings.errors import QueryError, UnknownTargetError
from standards_mapping.sensorthings.model import (
    ENTITY_SETS,
    ENTITY_TYPES,
    EntityType,
    Key,
    Navigation,
)

_SEGMENT: Final = re.compile(r"(?P<name>[^()]+)(?P<brackets>\((?P<key>.*)\))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """From the root or an entity to a set of entities, or to one of them.

    navigation: the link followed; None for the first step, into an entity set.
    key: of the one entity meant; None for a whole set, or where the link leads to just one.
    """

    entity_type: EntityType
    navigation: Navigation | None
    key: Key | None

    @property
    def many(self) -> bool:
        """Whether a whole set is meant."""
        return self.key is None and (self.navigation is None or self.navigation.many)


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """What a path addresses.

    steps: at least one; only the last may mean a whole set.
    names: of a property of the last entity, and of members in it; empty for the entity itself.
    raw: the bare value of that property is wanted (/$value).
    references: only links to the entities are wanted (/$ref).
    """

    steps: tuple[Step, ...]
    names: tuple[str, ...] = ()
    raw: bool = False
    references: bool = False

    @property
    def target(self) -> Step:
        """What the steps lead to."""
        return self.steps[-1]


def parse_path(path: str) -> ResourcePath:
    """Return what `path` addresses, e.g. "Datastreams(1)/Observations"; percent-decoded.

    Raises:
        QueryError: a segment that cannot be read.
        UnknownTargetError: a name the model does not have, or an id that nothing can have.
    """
    segments = path.strip("/").split("/")
    first, key_text = _split_segment(segments[0])
    entity_type = ENTITY_SETS.get(first)
    if entity_type is None:
        raise UnknownTargetError(f"there is no entity set {first!r}")
    steps = [Step(entity_type, None, _key(entity_type, key_text))]
    for position, segment in enumerate(segments[1:], start=1):
        rest = segments[position:]
        here = steps[-1]
        if rest == ["$ref"]:
            return ResourcePath(tuple(steps), references=True)
        if here.many:
            raise UnknownTargetError(
                f"{segment!r} needs one entity; {here.entity_type.set_name} before it are many"
            )
        name, key_text = _split_segment(segment)
        navigation = here.entity_type.navigations.get(name)
        if navigation is None:
            return _property(tuple(steps), rest)
        if key_text is not None and not navigation.many:
            raise QueryError(f"{name} leads to one entity and takes no id")
        target = ENTITY_TYPES[navigation.target]
        steps.append(Step(target, navigation, _key(target, key_text)))
    return ResourcePath(tuple(steps))


def _split_segment(segment: str) -> tuple[str, str | None]:
    match = _SEGMENT.fullmatch(segment)
    if match is None:
        raise QueryError(f"cannot read the path segment {segment!r}")
    return match["name"], match["key"]


def _key(entity_type: EntityType, text: str | None) -> Key | None:
    if text is None:
        return None
    key = entity_type.parse_key(text)
    if key is None:
        raise UnknownTargetError(f"there is no {entity_type.name} with the id {text}")
    return key


def _property(steps: tuple[Step, ...], rest: list[str]) -> ResourcePath:
    entity_type = steps[-1].entity_type
    raw = rest[-1] == "$value"
    names = tuple(rest[:-1] if raw else rest)
    if not names or names[0] not in entity_type.properties:
        raise UnknownTargetError(f"{entity_type.name} has no property or link {rest[0]!r}")
    for name in names[1:]:
        if not name or name.startswith("$"):
            raise UnknownTargetError(f"{name!r} cannot stand after a property")
    return ResourcePath(steps, names=names, raw=raw)
