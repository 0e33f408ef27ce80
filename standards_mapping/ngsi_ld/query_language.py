"""The NGSI-LD query language, `q` (ETSI GS CIM 009, clause 4.9): parsed, and held against entities.

`;` is "and" and binds closer than `|`, which is "or". A condition names an attribute, by a path to
a sub-attribute (`a.b`) or into its value (`a[x.y]`), and compares it or just asks for it. Whatever
is of another kind than what it is compared with does not match, and neither does what is missing.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Final, NoReturn, Protocol, TypeAlias

from standards_mapping.ngsi_ld.errors import BadRequestDataError, TooComplexQueryError
from standards_mapping.ngsi_ld.expanded import Entity, Instance
from standards_mapping.ngsi_ld.pattern import Pattern
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

LONGEST_QUERY: Final = 4096
MOST_CONDITIONS: Final = 100

_LONGEST_MATCHED: Final = 10_000  # characters of a value that a pattern looks at
_DEEPEST: Final = 20

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


def parse_query(text: str, vocabulary: Vocabulary) -> Condition:
    """Return the condition that `q` says.

    Raises:
        BadRequestDataError: it is not well-formed.
        TooComplexQueryError: it has more conditions than are looked at.
    """
    if len(text) > LONGEST_QUERY:
        raise BadRequestDataError(f"q has more than {LONGEST_QUERY} characters")
    return _Parser(text, vocabulary).parse()


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
        return value.date() if isinstance(value, datetime) else _parsed(_parse_date, value)
    return _parsed(_parse_clock, value)


def _parsed(parse: Callable[[str], Any], value: Any) -> Any:
    try:
        return parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d{1,9})?(Z|[+-]\d\d:?\d\d)", re.ASCII
)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK: Final = re.compile(r"\d\d:\d\d:\d\d([.,]\d{1,6})?Z?", re.ASCII)


def parse_time(text: str) -> datetime:
    """Return a time with its offset (clause 4.6.3) as UTC.

    Raises:
        ValueError: it is none, or has no offset.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time such as 2026-03-29T14:00:00Z")
    if match[1] and len(match[1]) > len(".123456"):
        text = text.replace(match[1], match[1][:7])
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is in no year from 1 to 9999") from error


def _parse_date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is no date")
    return date.fromisoformat(text)


def _parse_clock(text: str) -> time:
    if not _CLOCK.fullmatch(text):
        raise ValueError(f"{text!r} is no time of day")
    return time.fromisoformat(text.removesuffix("Z"))


_NAME: Final = re.compile(r"[\w@:/#%-]+")
_SIGN: Final = re.compile(r"==|!=|>=|<=|!~=|~=|>|<")
_BARE: Final = re.compile(r"(?:(?!\.\.)[^;|(),\"\s])+")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPED: Final = re.compile(r"\\(.)")


class _Parser:
    """Reads `q` from left to right."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self._text = text
        self._vocabulary = vocabulary
        self._at = 0
        self._depth = 0
        self._conditions = 0

    def parse(self) -> Condition:
        found = self._either()
        if self._at < len(self._text):
            self._refuse("expected “;”, “|” or the end")
        return found

    def _refuse(self, why: str) -> NoReturn:
        where = self._text[self._at : self._at + 20]
        raise BadRequestDataError(f"q is not understood at {where!r}: {why}")

    def _skip(self, token: str) -> bool:
        found = self._text.startswith(token, self._at)
        self._at += len(token) * found
        return found

    def _read(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _either(self) -> Condition:
        parts = [self._every()]
        while self._skip("|"):
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _every(self) -> Condition:
        parts = [self._term()]
        while self._skip(";"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _term(self) -> Condition:
        if not self._skip("("):
            return self._condition()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TooComplexQueryError(f"q has more than {_DEEPEST} brackets in one another")
        found = self._either()
        if not self._skip(")"):
            self._refuse("a bracket is not closed")
        self._depth -= 1
        return found

    def _condition(self) -> Condition:
        self._conditions += 1
        if self._conditions > MOST_CONDITIONS:
            raise TooComplexQueryError(f"q has more than {MOST_CONDITIONS} conditions")
        path = self._path()
        sign = self._read(_SIGN)
        if not sign:
            return Exists(path)
        if sign in ("~=", "!~="):
            return Compare(path, sign, (self._pattern(),))
        given = self._given()
        if sign not in ("==", "!=") and (len(given) > 1 or isinstance(given[0], Range)):
            self._refuse(f"{sign} takes one value; lists and ranges go with == and !=")
        return Compare(path, sign, given)

    def _path(self) -> Path:
        terms = [self._name()]
        while self._text.startswith(".", self._at):
            self._at += 1
            terms.append(self._name())
        members: list[str] = []
        if self._skip("["):
            members.append(self._name())
            while self._skip("."):
                members.append(self._name())
            if not self._skip("]"):
                self._refuse("a “[” is not closed")
        names = tuple(self._vocabulary.meanings(term) for term in terms)
        return Path(names, tuple(terms), tuple(members))

    def _name(self) -> str:
        return self._read(_NAME) or self._refuse("expected the name of an attribute")

    def _given(self) -> tuple[Literal | Range, ...]:
        given = [self._range()]
        while self._skip(","):
            given.append(self._range())
        return tuple(given)

    def _range(self) -> Literal | Range:
        low = self._literal()
        if not self._skip(".."):
            return low
        high = self._literal()
        if type(low) is not type(high) or isinstance(low, bool):
            self._refuse("a range has two ends of one kind")
        return Range(low, high)

    def _literal(self) -> Literal:
        quoted = self._read(_QUOTED)
        if quoted:
            return _ESCAPED.sub(r"\1", quoted[1:-1])
        bare = self._read(_BARE)
        if bare in ("true", "false"):
            return bare == "true"
        if _NUMBER.fullmatch(bare):
            return float(bare)
        for form, parse in ((_TIME, parse_time), (_DATE, _parse_date), (_CLOCK, _parse_clock)):
            if form.fullmatch(bare):
                try:
                    return parse(bare)
                except ValueError as error:
                    self._refuse(str(error))
        if ":" in bare:
            return bare  # a URI
        return self._refuse(f"{bare!r} is no number, time or URI; text goes in double quotes")

    def _pattern(self) -> Pattern:
        """Return the rest of the condition as an expression; quoted, it may hold “;” and “|”."""
        quoted = self._read(_QUOTED)
        if quoted:
            return Pattern(quoted[1:-1].replace('\\"', '"'))
        depth, start = 0, self._at
        while self._at < len(self._text):
            character = self._text[self._at]
            if depth == 0 and character in ";|)":
                break
            depth += (character in "([") - (character in ")]")
            self._at += 2 if character == "\\" else 1
        if self._at == start:
            self._refuse("expected a pattern")
        return Pattern(self._text[start : self._at])
