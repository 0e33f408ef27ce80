"""The built-in functions of SensorThings expressions (OGC 18-088, Table 23) in SQL.

The geospatial ones live in `geometry`. Dates and times of day are told in UTC; of an interval its
start is meant. `indexof` counts from 1, as the standard's own example does; `substring` from 0, as
OData.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, LiteralString

from psycopg import sql

from standards_mapping.sensorthings.errors import QueryError
from storage.sensorthings.operand import Operand, Type, cast

_TEXT: Final[Mapping[str, tuple[LiteralString, tuple[Type, ...], Type]]] = {
    "substringof": ("(strpos({1}, {0}) > 0)", (Type.TEXT, Type.TEXT), Type.BOOLEAN),
    "startswith": ("starts_with({0}, {1})", (Type.TEXT, Type.TEXT), Type.BOOLEAN),
    "endswith": ("(right({0}, length({1})) = {1})", (Type.TEXT, Type.TEXT), Type.BOOLEAN),
    "length": ("length({0})", (Type.TEXT,), Type.NUMBER),
    "indexof": ("strpos({0}, {1})", (Type.TEXT, Type.TEXT), Type.NUMBER),
    "substring": (
        "substr({0}, greatest(({1})::int, 0) + 1)",
        (Type.TEXT, Type.NUMBER),
        Type.TEXT,
    ),
    "substring3": (
        "substr({0}, greatest(({1})::int, 0) + 1, greatest(({2})::int, 0))",
        (Type.TEXT, Type.NUMBER, Type.NUMBER),
        Type.TEXT,
    ),
    "tolower": ("lower({0})", (Type.TEXT,), Type.TEXT),
    "toupper": ("upper({0})", (Type.TEXT,), Type.TEXT),
    "trim": (r"btrim({0}, E' \t\n\r\f\v')", (Type.TEXT,), Type.TEXT),
    "concat": ("({0} || {1})", (Type.TEXT, Type.TEXT), Type.TEXT),
    # On numeric, where halves are rounded away from zero; on float8 they would go to the even.
    "round": ("round(({0})::numeric)", (Type.NUMBER,), Type.NUMBER),
    "floor": ("floor({0})", (Type.NUMBER,), Type.NUMBER),
    "ceiling": ("ceil({0})", (Type.NUMBER,), Type.NUMBER),
    "now": ("now()", (), Type.INSTANT),
    "mindatetime": ("'-infinity'::timestamptz", (), Type.INSTANT),
    "maxdatetime": ("'infinity'::timestamptz", (), Type.INSTANT),
}
_DATE_PARTS: Final[Mapping[str, LiteralString]] = {
    "year": "extract(year FROM {0})",
    "month": "extract(month FROM {0})",
    "day": "extract(day FROM {0})",
}
_TIME_PARTS: Final[Mapping[str, LiteralString]] = {
    "hour": "extract(hour FROM {0})",
    "minute": "extract(minute FROM {0})",
    "second": "floor(extract(second FROM {0}))",
    "fractionalseconds": "mod(extract(second FROM {0}), 1)",
}


def call(function: str, arguments: Sequence[Operand]) -> Operand:
    """Return the function of the arguments, whose number is right.

    Raises:
        QueryError: an argument is of a type it does not take.
    """
    if any(argument.type is Type.NULL for argument in arguments):
        return Operand(type=Type.NULL, sql=sql.NULL)
    try:
        if function in _CALENDAR:
            return _CALENDAR[function](function, arguments[0])
        name = "substring3" if len(arguments) > 2 else function  # noqa: PLR2004 - its longer form
        template, types, result = _TEXT[name]
        values = [cast(*pair).sql for pair in zip(arguments, types, strict=True)]
    except QueryError as error:
        raise QueryError(f"{function}: {error}") from error
    return Operand(type=result, sql=sql.SQL(template).format(*values))


def _part_of_date(function: str, argument: Operand) -> Operand:
    found = argument if argument.type is Type.DATE else cast(_instant(argument), Type.DATE)
    return Operand(type=Type.NUMBER, sql=sql.SQL(_DATE_PARTS[function]).format(found.sql))


def _part_of_time(function: str, argument: Operand) -> Operand:
    found = argument if argument.type is Type.TIME else cast(_instant(argument), Type.TIME)
    return Operand(type=Type.NUMBER, sql=sql.SQL(_TIME_PARTS[function]).format(found.sql))


def _date(_function: str, argument: Operand) -> Operand:
    return argument if argument.type is Type.DATE else cast(_instant(argument), Type.DATE)


def _time(_function: str, argument: Operand) -> Operand:
    return argument if argument.type is Type.TIME else cast(_instant(argument), Type.TIME)


def _offset(_function: str, argument: Operand) -> Operand:
    """Return the minutes from UTC: of what is kept none, for it is kept as the instant it was."""
    known = sql.SQL("CASE WHEN {} IS NOT NULL THEN {} END")
    minutes = sql.Literal(argument.offset)  # a number of our own, between -1440 and 1440
    return Operand(type=Type.NUMBER, sql=known.format(_instant(argument).sql, minutes))


def _instant(argument: Operand) -> Operand:
    return cast(argument, Type.INSTANT)


_CALENDAR: Final[Mapping[str, Callable[[str, Operand], Operand]]] = {
    **dict.fromkeys(_DATE_PARTS, _part_of_date),
    **dict.fromkeys(_TIME_PARTS, _part_of_time),
    "date": _date,
    "time": _time,
    "totaloffsetminutes": _offset,
}
