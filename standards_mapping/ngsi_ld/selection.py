"""Which entities and which of their members a request wants: types, ids, attrs, pick and omit.

Pure (ETSI GS CIM 009, clauses 4.17 and 4.21). Types and ids are told from an entity's id and type
alone, so a source can turn them into conditions of its own before it reads anything.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from standards_mapping.ngsi_ld.errors import BadRequestDataError
from standards_mapping.ngsi_ld.pattern import Pattern
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

CORE_MEMBERS: Final = frozenset({"id", "type", "scope"})

TypeCondition: TypeAlias = Callable[[Collection[str]], bool]

_LONGEST_TYPES: Final = 2048
_DEEPEST: Final = 20
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
_TYPE_NAME: Final = re.compile(r"[^\s,;|()]+")
_NAMES: Final = re.compile(r"[A-Za-z0-9_:/#.~%@?=&+-]+")


@dataclass(frozen=True, slots=True)
class EntitySelector:
    """Entities by id, pattern of ids and types (EntitySelector, clause 5.2.33).

    ids: (): any. types: None: any.
    """

    ids: tuple[str, ...] = ()
    pattern: Pattern | None = None
    types: TypeCondition | None = None

    def accepts(self, entity_id: str, types: Collection[str]) -> bool:
        """Return whether an entity is one of them; ids win over a pattern."""
        if self.ids:
            if entity_id not in self.ids:
                return False
        elif self.pattern is not None and not self.pattern.search(entity_id):
            return False
        return self.types is None or self.types(types)


@dataclass(frozen=True, slots=True)
class Projection:
    """Which members of entities are given.

    attributes: IRIs; None: every one but `omitted`. core: of id, type and scope.
    """

    attributes: frozenset[str] | None = None
    omitted: frozenset[str] = frozenset()
    core: frozenset[str] = CORE_MEMBERS

    def keeps(self, iri: str) -> bool:
        """Return whether an attribute is given."""
        if self.attributes is not None:
            return iri in self.attributes
        return iri not in self.omitted


def parse_ids(text: str) -> tuple[str, ...]:
    """Return ids that commas separate.

    Raises:
        BadRequestDataError: one is no URI.
    """
    return tuple(check_id(one) for one in text.split(",")) if text else ()


def check_id(text: str) -> str:
    """Return an entity's id, which must be a URI.

    Raises:
        BadRequestDataError: it is none.
    """
    if not _URI.fullmatch(text):
        raise BadRequestDataError(
            f"{text!r} is no URI; ids are such as urn:ngsi-ld:AirQualityObserved:E09000007:1"
        )
    return text


def parse_types(text: str, vocabulary: Vocabulary) -> TypeCondition:
    """Return what a type selection asks for: `,` and `|` are “or”, `;` is “and” and binds closer.

    Raises:
        BadRequestDataError: it is not well-formed.
    """
    if len(text) > _LONGEST_TYPES:
        raise BadRequestDataError(f"type has more than {_LONGEST_TYPES} characters")
    return _TypeParser(text, vocabulary).parse()


class _TypeParser:
    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self._text = text
        self._vocabulary = vocabulary
        self._at = 0
        self._depth = 0

    def parse(self) -> TypeCondition:
        found = self._either()
        if self._at < len(self._text):
            self._refuse()
        return found

    def _refuse(self) -> NoReturn:
        raise BadRequestDataError(f"type is not understood at {self._text[self._at :][:20]!r}")

    def _skip(self, characters: str) -> bool:
        found = self._text[self._at : self._at + 1]
        if not found or found not in characters:
            return False
        self._at += 1
        return True

    def _either(self) -> TypeCondition:
        parts = [self._every()]
        while self._skip(",|"):
            parts.append(self._every())
        return lambda types: any(part(types) for part in parts)

    def _every(self) -> TypeCondition:
        parts = [self._one()]
        while self._skip(";"):
            parts.append(self._one())
        return lambda types: all(part(types) for part in parts)

    def _one(self) -> TypeCondition:
        if self._skip("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                self._refuse()
            found = self._either()
            if not self._skip(")"):
                self._refuse()
            self._depth -= 1
            return found
        match = _TYPE_NAME.match(self._text, self._at)
        if match is None:
            self._refuse()
        self._at = match.end()
        if match[0] == "*":
            return lambda _types: True
        iris = self._vocabulary.meanings(match[0])
        return lambda types: any(iri in types for iri in iris)


def parse_attributes(names: Iterable[str], vocabulary: Vocabulary) -> frozenset[str]:
    """Return the IRIs of attributes.

    Raises:
        BadRequestDataError: one is no name, or that of a member that is no attribute.
    """
    found: set[str] = set()
    for name in names:
        if name in ("id", "type", "@context") or not _NAMES.fullmatch(name):
            raise BadRequestDataError(f"{name!r} is not the name of an attribute")
        found.update(vocabulary.meanings(name))
    return frozenset(found)


def parse_members(text: str) -> tuple[str, ...]:
    """Return what pick or omit names; what braces want of linked entities is only checked.

    Raises:
        BadRequestDataError: it is not well-formed.
    """
    names, rest = _members(text, 0)
    if rest < len(text):
        raise BadRequestDataError(f"pick or omit is not understood at {text[rest:][:20]!r}")
    return names


def _members(text: str, at: int, depth: int = 0) -> tuple[tuple[str, ...], int]:
    names: list[str] = []
    while True:
        match = _NAMES.match(text, at)
        if match is None or depth > _DEEPEST:
            raise BadRequestDataError(
                f"pick or omit is not understood at {text[at:][:20]!r}: expected the name of a"
                " member"
            )
        names.append(match[0])
        at = match.end()
        if text[at : at + 1] == "{":
            _, at = _members(text, at + 1, depth + 1)
            if text[at : at + 1] != "}":
                raise BadRequestDataError("pick or omit has a “{” that is not closed")
            at += 1
        if text[at : at + 1] not in (",", "|") or not text[at : at + 1]:
            return tuple(names), at
        at += 1


def projection(
    attrs: frozenset[str], pick: Sequence[str], omit: Sequence[str], vocabulary: Vocabulary
) -> Projection:
    """Return which members are given.

    Raises:
        BadRequestDataError: attrs comes with pick or omit, or something is both picked and omitted.
    """
    if attrs and (pick or omit):
        raise BadRequestDataError("attrs does not go with pick or omit: leave one out")
    both = set(pick) & set(omit)
    if both:
        raise BadRequestDataError(f"{min(both)!r} is in pick and in omit: leave one out")
    if attrs:
        return Projection(attributes=attrs)
    left_out = _iris(omit, vocabulary)
    if not pick:
        return Projection(omitted=left_out, core=CORE_MEMBERS - set(omit))
    return Projection(attributes=_iris(pick, vocabulary), core=CORE_MEMBERS & set(pick))


def _iris(names: Sequence[str], vocabulary: Vocabulary) -> frozenset[str]:
    """Return what the attributes among members stand for."""
    return frozenset(
        iri for name in names if name not in CORE_MEMBERS for iri in vocabulary.meanings(name)
    )
