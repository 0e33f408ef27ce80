"""The words an expression is made of: names, operators, and literals already read.

Literals follow the OData 4.0 ABNF, with ISO 8601 times and well-known text as OGC 18-088 writes
them.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.geometry import parse_wkt

_MOST_TOKENS: Final = 2000

_OFFSET: Final = r"(?:[Zz]|[+-]\d{2}(?::?\d{2})?)"
_TOKEN: Final = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<geography>(?:geography|geometry)'(?:[^']|'')*')
    | (?P<duration>duration'[^']*')
    | (?P<string>'(?:[^']|'')*')
    | (?P<datetime>\d{{4}}-\d{{2}}-\d{{2}}T\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?{_OFFSET}?)
    | (?P<date>\d{{4}}-\d{{2}}-\d{{2}})
    | (?P<time>\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?)
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<name>@?[^\W\d][\w.@:-]*(?:/@?[\w.@:-]+)*)
    | (?P<symbol>[(),/-])
    """,
    re.VERBOSE,
)
_DATETIME: Final = re.compile(
    rf"(\d{{4}}-\d{{2}}-\d{{2}}T\d{{2}}:\d{{2}})(?::(\d{{2}}))?(?:\.(\d+))?({_OFFSET})?"
)
_DURATION: Final = re.compile(
    r"(?P<sign>-?)P(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_WORDS: Final = {"true": True, "false": False, "null": None}
_LONGEST_NUMBER: Final = 400  # digits, or places an exponent moves the point


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression; `start` is the index of its first character.

    value: a name, a symbol, or the value of a literal.
    """

    kind: Literal["name", "symbol", "literal", "end"]
    value: Any
    text: str
    start: int


def tokenise(text: str) -> list[Token]:
    """Return the tokens of an expression, the last of kind "end".

    Raises:
        QueryError: a character or literal that cannot be read.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise QueryError(f"cannot read {text[position]!r} at character {position + 1}")
        if match.lastgroup != "space":
            tokens.append(_token(match.lastgroup, match[0], position))
            if len(tokens) > _MOST_TOKENS:
                raise QueryError(f"an expression of more than {_MOST_TOKENS} words")
        position = match.end()
    return [*tokens, Token("end", None, "", len(text))]


def _token(kind: str, text: str, start: int) -> Token:
    match kind:
        case "name" if text in _WORDS:
            return Token("literal", _WORDS[text], text, start)
        case "name" | "symbol":
            return Token("name" if kind == "name" else "symbol", text, text, start)
        case "geography":
            value: Any = parse_wkt(text[text.index("'") + 1 : -1])
        case "string":
            value = text[1:-1].replace("''", "'")
            if "\0" in value:
                raise QueryError("a string holds the null character")
        case "duration":
            value = parse_duration(text[len("duration'") : -1])
        case "datetime":
            value = parse_instant(text)
        case "date":
            value = _read(date.fromisoformat, text)
        case "time":
            whole, _, fraction = text.partition(".")
            value = _read(time.fromisoformat, f"{whole}.{fraction[:6]:0<6}" if fraction else whole)
        case _:
            value = parse_number(text)
    return Token("literal", value, text, start)


def _read(parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise QueryError(f"{text!r}: {error}") from error


def parse_number(text: str) -> int | Decimal:
    """Return an integer or, if it has a point or an exponent, an exact decimal.

    Raises:
        QueryError: longer than any number anybody means.
    """
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if len(text) > _LONGEST_NUMBER or not -_LONGEST_NUMBER <= int(exponent) <= _LONGEST_NUMBER:
        raise QueryError(f"the number {text[:20]}… is too long")
    return int(text) if text.isdecimal() else number


def parse_instant(text: str) -> datetime:
    """Return an ISO 8601 date and time. Past the microsecond, digits are dropped.

    Raises:
        QueryError: no such time, or no offset from UTC.
    """
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise QueryError(f"{text!r} is not an ISO 8601 date and time")
    minute, second, fraction, offset = match.groups()
    if offset is None:
        raise QueryError(f"{text} has no offset from UTC: end it in Z or, in a URL, write + as %2B")
    digits = f".{fraction[:6]:0<6}" if fraction else ""
    instant: datetime = _read(
        datetime.fromisoformat, f"{minute}:{second or '00'}{digits}{offset.upper()}"
    )
    try:
        instant.astimezone(UTC)
    except OverflowError as error:
        raise QueryError(f"{text} is outside the years 1 to 9999") from error
    return instant


def parse_duration(text: str) -> timedelta:
    """Return an ISO 8601 duration of days, hours, minutes and seconds.

    Raises:
        QueryError: not one; years and months have no fixed length.
    """
    match = _DURATION.fullmatch(text)
    if match is None or text[-1] in "PT":
        raise QueryError(f"{text!r} is not a duration such as P1D or PT1H30M")
    parts = {name: float(match[name] or 0) for name in ("days", "hours", "minutes", "seconds")}
    try:
        duration = timedelta(**parts)
    except OverflowError as error:
        raise QueryError(f"the duration {text[:20]} is too long") from error
    return -duration if match["sign"] else duration
