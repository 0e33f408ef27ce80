"""What `q` asks of an entity, and whether it holds (ETSI GS CIM 009, clause 4.9). Pure.

A condition names an attribute, by a path to a sub-attribute or into its value, and compares it or
just asks for it. Whatever is of another kind than what it is compared with does not match, and
neither does what is missing. How `q` is written is the business of `query_language`.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final, Protocol, TypeAlias

from standards_mapping.ngsi_ld.expanded import Entity, Instance
from standards_mapping.ngsi_ld.pattern import Pattern
from standards_mapping.ngsi_ld.times import parse_clock, parse_date, parse_time

_LONGEST_MATCHED: Final = 10_000  # characters of a value that a pattern looks at

Literal: TypeAlias = float | bool | str | datetime | date | time


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both included; both are of one kind."""

    low: Literal
    high: Literal


class Condition(Protocol):
    """What holds of an entity or does not."""

    def holds(self, entity: Entity) -> bool:
        """Return whether it does."""

    def attributes(self) -> Iterator[str]:
        """Yield the IRIs of the attributes that it asks about."""

    def needs(self) -> frozenset[str]:
        """Return IRIs of attributes of which an entity must have one, or it does not hold."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value is.

    names: IRIs that an attribute and its sub-attributes may have, the last perhaps a member such
    as observedAt; terms: the same as they were written. members: names within its value.
    """

    names: tuple[tuple[str, ...], ...]
    terms: tuple[str, ...]
    members: tuple[str, ...] = ()

    def values(self, entity: Entity) -> Iterator[Any]:
        """Yield what is there: of every instance, and every element of a list."""
        for iri in self.names[0]:
            for instance in entity.attributes.get(iri, ()):
                for found in _within(instance, self.names[1:], self.terms[1:]):
                    yield from _members(found, self.members)


@dataclass(frozen=True, slots=True)
class Exists:
    """The attribute, sub-attribute or member is there."""

    path: Path

    def holds(self, entity: Entity) -> bool:
        """Return whether it is."""
        return any(True for _ in self.path.values(entity))

    def attributes(self) -> Iterator[str]:
        """Yield its attribute."""
        yield from self.path.names[0]

    def needs(self) -> frozenset[str]:
        """Return its attribute."""
        return frozenset(self.path.names[0])


@dataclass(frozen=True, slots=True)
class Compare:
    """A value is equal to, beyond or like one of what is given; `!=`, `!~=`: to none of it."""

    path: Path
    sign: str
    given: tuple[Literal | Range | Pattern, ...]

    def holds(self, entity: Entity) -> bool:
        """Return whether it is."""
        values = list(self.path.values(entity))
        if self.sign in ("!=", "!~="):
            return bool(values) and not any(self._matches(value) for value in values)
        return any(self._matches(value) for value in values)

    def attributes(self) -> Iterator[str]:
        """Yield its attribute."""
        yield from self.path.names[0]

    def needs(self) -> frozenset[str]:
        """Return its attribute."""
        return frozenset(self.path.names[0])

    def _matches(self, value: Any) -> bool:
        if isinstance(value, list):
            return any(self._matches(one) for one in value)
        return any(_compares(value, self.sign, given) for given in self.given)


@dataclass(frozen=True, slots=True)
class Every:
    """All of several conditions hold."""

    parts: tuple[Condition, ...]

    def holds(self, entity: Entity) -> bool:
        """Return whether they do."""
        return all(part.holds(entity) for part in self.parts)

    def attributes(self) -> Iterator[str]:
        """Yield the attributes of all of them."""
        for part in self.parts:
            yield from part.attributes()

    def needs(self) -> frozenset[str]:
        """Return what the one needs that leaves the fewest to choose from."""
        return min((part.needs() for part in self.parts), key=len)


@dataclass(frozen=True, slots=True)
class Either:
    """One of several conditions holds."""

    parts: tuple[Condition, ...]

    def holds(self, entity: Entity) -> bool:
        """Return whether one does."""
        return any(part.holds(entity) for part in self.parts)

    def attributes(self) -> Iterator[str]:
        """Yield the attributes of all of them."""
        for part in self.parts:
            yield from part.attributes()

    def needs(self) -> frozenset[str]:
        """Return what any of them needs."""
        return frozenset().union(*(part.needs() for part in self.parts))


_MEMBERS: Final[Mapping[str, Callable[[Instance], Any]]] = {
    "observedAt": lambda one: one.observed_at,
    "createdAt": lambda one: one.created_at,
    "modifiedAt": lambda one: one.modified_at,
    "unitCode": lambda one: one.unit,
    "datasetId": lambda one: one.dataset,
}


def _within(
    instance: Instance, names: Sequence[tuple[str, ...]], terms: Sequence[str]
) -> Iterator[Any]:
    """Yield the value at the end of a path of sub-attributes."""
    if not names:
        yield instance.value
        return
    for iri in names[0]:
        if iri in instance.attributes:
            yield from _within(instance.attributes[iri], names[1:], terms[1:])
    if len(names) == 1 and terms[0] in _MEMBERS:
        value = _MEMBERS[terms[0]](instance)
        if value is not None:
            yield value


def _members(value: Any, names: Sequence[str]) -> Iterator[Any]:
    if not names:
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _members(one, names)
    elif isinstance(value, Mapping) and names[0] in value:
        yield from _members(value[names[0]], names[1:])


_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.eq,  # that none is equal is said by Compare
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def _compares(value: Any, sign: str, given: Literal | Range | Pattern) -> bool:
    if isinstance(given, Pattern):
        return isinstance(value, str) and given.search(value[:_LONGEST_MATCHED])
    if isinstance(given, Range):
        return _compares(value, ">=", given.low) and _compares(value, "<=", given.high)
    comparable = _as_kind_of(given, value)
    if comparable is None:
        return False
    if isinstance(given, bool) and sign not in ("==", "!="):
        return False
    return _ORDERS[sign](comparable, given)


def _as_kind_of(given: Literal, value: Any) -> Any:
    """Return a value as what is compared with it is; None where it is of another kind."""
    if isinstance(given, bool) or isinstance(value, bool):
        return value if isinstance(given, bool) and isinstance(value, bool) else None
    if isinstance(given, float):
        return value if isinstance(value, int | float) else None
    if isinstance(given, str):
        return value if isinstance(value, str) else None
    if isinstance(value, Mapping):
        value = value.get("@value")  # a typed time
    if isinstance(given, datetime):
        return value if isinstance(value, datetime) else _parsed(parse_time, value)
    if isinstance(given, date):
        return value.date() if isinstance(value, datetime) else _parsed(parse_date, value)
    return _parsed(parse_clock, value)


def _parsed(parse: Callable[[str], Any], value: Any) -> Any:
    try:
        return parse(value) if isinstance(value, str) else None
    except ValueError:
        return None
