"""The NGSI-LD query language, `q` (ETSI GS CIM 009, clause 4.9): parsed into `conditions`. Pure.

`;` is "and" and binds closer than `|`, which is "or". A path leads to a sub-attribute (`a.b`) or
into a value (`a[x.y]`).
"""

import re
from typing import Final, NoReturn

from standards_mapping.ngsi_ld.conditions import (
    Compare,
    Condition,
    Either,
    Every,
    Exists,
    Literal,
    Path,
    Range,
)
from standards_mapping.ngsi_ld.errors import BadRequestDataError, TooComplexQueryError
from standards_mapping.ngsi_ld.pattern import Pattern
from standards_mapping.ngsi_ld.times import (
    CLOCK,
    DATE,
    TIME,
    parse_clock,
    parse_date,
    parse_time,
)
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

LONGEST_QUERY: Final = 4096
MOST_CONDITIONS: Final = 100

_DEEPEST: Final = 20


def parse_query(text: str, vocabulary: Vocabulary) -> Condition:
    """Return the condition that `q` says.

    Raises:
        BadRequestDataError: it is not well-formed.
        TooComplexQueryError: it has more conditions than are looked at.
    """
    if len(text) > LONGEST_QUERY:
        raise BadRequestDataError(f"q has more than {LONGEST_QUERY} characters")
    return _Parser(text, vocabulary).parse()


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
        for form, parse in ((TIME, parse_time), (DATE, parse_date), (CLOCK, parse_clock)):
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
