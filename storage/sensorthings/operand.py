"""Typed SQL operands: what the parts of a SensorThings expression become, and how they compare.

Every value of a request is bound, never written into a statement. Comparisons follow OData 4.0:
with null all but `ne` are false, and JSON of another type than the other side is as null. Times
may be intervals: one is before another when it ends before that begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from time import monotonic
from typing import Any, Final, LiteralString

from psycopg import sql

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.expression import Literal, LiteralValue, Period, parse_filter
from standards_mapping.sensorthings.geometry import Geometries, Geometry
from standards_mapping.sensorthings.model import ObservationId

Sql = sql.Composable

_INT8: Final = 2**63


class Type(Enum):
    """What an operand is; the value says it in messages."""

    NUMBER = "a number"
    TEXT = "a text"
    BOOLEAN = "true or false"
    INSTANT = "a time"
    PERIOD = "a time or interval"
    DATE = "a date"
    TIME = "a time of day"
    DURATION = "a duration"
    JSON = "JSON"
    GEOMETRY = "a geometry"
    NULL = "null"


class Bound:
    """The parameters of one statement, and names that are free in it.

    geometries: by kind, those that its geospatial functions are about. guarded: whether its
    conditions may fail, so that they must see nothing hidden (`guarded`).
    """

    def __init__(
        self, geometries: Mapping[str, Geometries] | None = None, *, guarded: bool = False
    ) -> None:
        self.values: dict[str, Any] = {}
        self.geometries: Mapping[str, Geometries] = geometries or {}
        self.guarded = guarded
        self.started = monotonic()
        self._aliases = 0

    def value(self, value: Any, cast: LiteralString) -> sql.Composed:
        """Return a placeholder for a value, cast to a type of PostgreSQL."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return sql.SQL("{}::" + cast).format(sql.Placeholder(name))

    def constant(self, name: str, value: Any, cast: LiteralString) -> sql.Composed:
        """Return a placeholder for a value that is the same wherever it is named."""
        self.values[name] = value
        return sql.SQL("{}::" + cast).format(sql.Placeholder(name))

    def alias(self) -> sql.Identifier:
        """Return a name that nothing else in the statement has."""
        self._aliases += 1
        return sql.Identifier(f"j{self._aliases}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A typed piece of SQL.

    sql: its value; of a period its start. end: of a period. number: of JSON, where its numbers
    are at hand without unpacking. text: the value of a literal text. is_id: the id of an entity.
    observation: of an Observation's id, its datastream and time. always: known never to be null.
    geometry: the value of a literal geometry. place: of a property that holds one, its kind and
    the key by which it is told from others. offset: of a literal time, its minutes from UTC.
    """

    type: Type
    sql: Sql
    end: Sql | None = None
    number: Sql | None = None
    text: str | None = None
    is_id: bool = False
    observation: tuple[Sql, Sql] | None = None
    always: bool = False
    geometry: Geometry | None = None
    place: tuple[str, Sql] | None = None
    offset: int = 0


_LITERALS: Final[Mapping[type, tuple[Type, LiteralString]]] = {
    bool: (Type.BOOLEAN, "boolean"),
    int: (Type.NUMBER, "int8"),
    Decimal: (Type.NUMBER, "numeric"),
    str: (Type.TEXT, "text"),
    datetime: (Type.INSTANT, "timestamptz"),
    date: (Type.DATE, "date"),
    time: (Type.TIME, "time"),
    timedelta: (Type.DURATION, "interval"),
}


def literal(value: LiteralValue, bound: Bound) -> Operand:
    """Return the operand of a value written in a request."""
    if value is None:
        return Operand(type=Type.NULL, sql=sql.NULL)
    if isinstance(value, Period):
        start, end = bound.value(value.start, "timestamptz"), bound.value(value.end, "timestamptz")
        return Operand(type=Type.PERIOD, sql=start, end=end)
    if isinstance(value, Geometry):
        return Operand(type=Type.GEOMETRY, sql=sql.NULL, geometry=value)
    found, cast_to = _LITERALS[type(value)]
    if isinstance(value, int) and not -_INT8 <= value < _INT8:
        cast_to = "numeric"
    text = value if isinstance(value, str) else None
    offset = value.utcoffset() if isinstance(value, datetime) else None
    minutes = 0 if offset is None else int(offset.total_seconds() // 60)
    return Operand(type=found, sql=bound.value(value, cast_to), text=text, offset=minutes)


_FROM_JSON: Final[Mapping[Type, LiteralString]] = {
    Type.NUMBER: "CASE WHEN jsonb_typeof({0}) = 'number' THEN ({0} #>> '{{}}')::numeric END",
    Type.TEXT: "CASE WHEN jsonb_typeof({0}) = 'string' THEN {0} #>> '{{}}' END",
    Type.BOOLEAN: "CASE WHEN jsonb_typeof({0}) = 'boolean' THEN ({0} #>> '{{}}')::boolean END",
    # jsonb's own datetime() answers null where a cast would fail; before version 17 it knows no Z.
    Type.INSTANT: (
        "(jsonb_path_query_first_tz(CASE WHEN jsonb_typeof({0}) = 'string' THEN "
        "to_jsonb(regexp_replace({0} #>> '{{}}', '[Zz]$', '+00:00')) END, "
        "'$.datetime()', '{{}}', true) #>> '{{}}')::timestamptz"
    ),
}
_FROM_INSTANT: Final[Mapping[Type, LiteralString]] = {
    Type.DATE: "(({}) AT TIME ZONE 'UTC')::date",
    Type.TIME: "(({}) AT TIME ZONE 'UTC')::time",
}
_TIMES: Final = (Type.INSTANT, Type.PERIOD)


def cast(operand: Operand, wanted: Type) -> Operand:
    """Return the operand as a type that it is or can hold; null where JSON holds another.

    Raises:
        QueryError: it can never be that.
    """
    if operand.type in (wanted, Type.NULL):
        return operand
    if operand.type is Type.JSON and wanted in _FROM_JSON:
        if wanted is Type.NUMBER and operand.number is not None:
            return Operand(type=wanted, sql=operand.number)
        return Operand(type=wanted, sql=sql.SQL(_FROM_JSON[wanted]).format(operand.sql))
    if operand.type is Type.PERIOD and wanted is Type.INSTANT:
        return Operand(type=wanted, sql=operand.sql)
    if operand.type in _TIMES and wanted in _FROM_INSTANT:
        return Operand(type=wanted, sql=sql.SQL(_FROM_INSTANT[wanted]).format(operand.sql))
    raise QueryError(f"expected {wanted.value}, found {operand.type.value}")


_OPERATORS: Final[Mapping[str, LiteralString]] = {
    "eq": "=",
    "ne": "IS DISTINCT FROM",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}
# A bare constant cannot stand in ORDER BY.
_TRUE: Final = sql.SQL("true::boolean")
_FALSE: Final = sql.SQL("false::boolean")
_MIRRORED: Final = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def _simple(operator: str, left: Sql, right: Sql, collation: LiteralString = "") -> sql.Composed:
    template = "({} " + collation + _OPERATORS[operator] + " {})"
    return sql.SQL(template).format(left, right)


def compare(operator: str, left: Operand, right: Operand, bound: Bound) -> sql.Composable:
    """Return the condition `left operator right`; operator: eq, ne, lt, le, gt or ge.

    Texts are ordered by code point.

    Raises:
        QueryError: the two can never be compared.
    """
    if Type.GEOMETRY in (left.type, right.type):
        raise QueryError(f"{operator} does not compare geometries: use st_equals or its like")
    if Type.NULL in (left.type, right.type):
        return _compare_null(operator, left, right)
    if right.is_id and not left.is_id:
        left, right, operator = right, left, _MIRRORED.get(operator, operator)
    if left.is_id and right.text is not None:
        return _compare_id(operator, left, right.text, bound)
    left, right = _alike(left, right, bound)
    if left.type in _TIMES and right.type in _TIMES:
        return _compare_times(operator, left, right)
    if left.type is Type.JSON:
        return _compare_json(operator, left, right)
    ordered_text = left.type is Type.TEXT and operator in _MIRRORED
    return _simple(operator, left.sql, right.sql, 'COLLATE "C" ' if ordered_text else "")


def _compare_null(operator: str, left: Operand, right: Operand) -> sql.Composable:
    if operator not in ("eq", "ne"):
        return _FALSE
    other = right if left.type is Type.NULL else left
    return sql.SQL("({} IS NULL)" if operator == "eq" else "({} IS NOT NULL)").format(other.sql)


def _compare_id(operator: str, left: Operand, text: str, bound: Bound) -> sql.Composable:
    """Compare an id with a text that may be one: the standard's examples quote every id."""
    if left.observation is None:
        if not (text.isascii() and text.isdigit()):
            return _TRUE if operator == "ne" else _FALSE
        return _simple(operator, left.sql, literal(int(text), bound).sql)
    found = ObservationId.parse(text)
    if found is None:
        return _TRUE if operator == "ne" else _FALSE
    datastream, moment = left.observation
    number = bound.value(found.datastream, "int4")
    instant = bound.value(found.time, "timestamptz")
    if operator in ("eq", "ne"):
        template = "({} = {} AND {} = {})" if operator == "eq" else "NOT ({} = {} AND {} = {})"
        return sql.SQL(template).format(datastream, number, moment, instant)
    template = "(({}, {}) " + _OPERATORS[operator] + " ({}, {}))"
    return sql.SQL(template).format(datastream, moment, number, instant)


def _alike(left: Operand, right: Operand, bound: Bound) -> tuple[Operand, Operand]:
    """Bring two operands to types that can be compared."""
    if left.type in _TIMES and right.text is not None:
        return left, _time_in(right.text, bound)
    if right.type in _TIMES and left.text is not None:
        return _time_in(left.text, bound), right
    both_times = left.type in _TIMES and right.type in _TIMES
    if left.type is right.type or both_times:
        return left, right
    wanted = right.type
    if right.type is Type.JSON or left.type in (Type.DATE, Type.TIME):
        wanted = left.type
    if wanted is Type.PERIOD:
        wanted = Type.INSTANT
    try:
        return _cast_side(left, wanted), _cast_side(right, wanted)
    except QueryError as error:
        raise QueryError(f"cannot compare {left.type.value} with {right.type.value}") from error


def _cast_side(operand: Operand, wanted: Type) -> Operand:
    if operand.type is Type.PERIOD and wanted is Type.INSTANT:
        return operand
    return cast(operand, wanted)


def _time_in(text: str, bound: Bound) -> Operand:
    """Read a time that was written in quotes."""
    try:
        found = parse_filter(text)
    except QueryError as error:
        raise QueryError(f"{text!r} is not a time") from error
    if not isinstance(found, Literal) or not isinstance(found.value, datetime | Period):
        raise QueryError(f"{text!r} is not a time")
    return literal(found.value, bound)


def _compare_times(operator: str, left: Operand, right: Operand) -> sql.Composable:
    """Compare times of which any may be an interval, half-open at its end.

    lt: left ends by the time right starts, and starts earlier. le: that, or they are equal, or
    left is an interval that ends where right starts. gt and ge are their mirror images.
    """
    if left.type is right.type is Type.INSTANT:
        return _simple(operator, left.sql, right.sql)
    if operator in ("gt", "ge"):
        return _compare_times(_MIRRORED[operator], right, left)
    parts = {
        "start": left.sql,
        "end": left.end or left.sql,
        "other_start": right.sql,
        "other_end": right.end or right.sql,
    }
    return sql.SQL(_INTERVALS[operator]).format(**parts)


# What is implied by the rest, end <= other_end, is said too: as a bound on a plain column, on
# either side, it is what the index over time can use.
_INTERVALS: Final[Mapping[str, LiteralString]] = {
    "eq": "({start} = {other_start} AND {end} = {other_end})",
    "ne": "({start} IS DISTINCT FROM {other_start} OR {end} IS DISTINCT FROM {other_end})",
    "lt": "({end} <= {other_end} AND {end} <= {other_start} AND {start} < {other_start})",
    "le": "({end} <= {other_end} AND ({end} <= {other_start}"
    " OR ({start} = {other_start} AND {end} = {other_end})))",
}


def _compare_json(operator: str, left: Operand, right: Operand) -> sql.Composable:
    if operator in ("eq", "ne"):
        return _simple(operator, left.sql, right.sql)
    numbers = _simple(operator, cast(left, Type.NUMBER).sql, cast(right, Type.NUMBER).sql)
    texts = _simple(operator, cast(left, Type.TEXT).sql, cast(right, Type.TEXT).sql, 'COLLATE "C" ')
    return sql.SQL("COALESCE({}, {})").format(numbers, texts)


def condition(operand: Operand) -> Sql:
    """Return an operand as a condition.

    Raises:
        QueryError: it is neither true nor false.
    """
    if operand.type is Type.NULL:
        return sql.SQL("NULL::boolean")
    return cast(operand, Type.BOOLEAN).sql


def arithmetic(operator: str, left: Operand, right: Operand) -> Operand:
    """Return `left operator right`; operator: add, sub, mul, div or mod.

    Numbers as in OData, but division is never cut to an integer, and by zero it is null.
    Durations can be added to and taken from times and dates; these can be taken from each other.

    Raises:
        QueryError: there is no such operation on these types.
    """
    if Type.NULL in (left.type, right.type):
        return Operand(type=Type.NULL, sql=sql.NULL)
    timed = _timed(operator, left, right)
    if timed is not None:
        return timed
    number, other = cast(left, Type.NUMBER), cast(right, Type.NUMBER)
    return Operand(
        type=Type.NUMBER, sql=sql.SQL(_ARITHMETIC[operator]).format(number.sql, other.sql)
    )


_ARITHMETIC: Final[Mapping[str, LiteralString]] = {
    "add": "({} + {})",
    "sub": "({} - {})",
    "mul": "({} * {})",
    "div": "(({})::float8 / NULLIF(({})::float8, 0))",
    "mod": "mod(({})::numeric, NULLIF(({})::numeric, 0))",
}


def _timed(operator: str, left: Operand, right: Operand) -> Operand | None:
    if operator not in ("add", "sub"):
        return None
    if left.type in _TIMES:
        left = cast(left, Type.INSTANT)
    if right.type in _TIMES:
        right = cast(right, Type.INSTANT)
    result = {
        ("add", Type.INSTANT, Type.DURATION): Type.INSTANT,
        ("add", Type.DURATION, Type.INSTANT): Type.INSTANT,
        ("add", Type.DURATION, Type.DURATION): Type.DURATION,
        ("sub", Type.INSTANT, Type.DURATION): Type.INSTANT,
        ("sub", Type.INSTANT, Type.INSTANT): Type.DURATION,
        ("sub", Type.DURATION, Type.DURATION): Type.DURATION,
        ("add", Type.DATE, Type.DURATION): Type.DATE,
        ("add", Type.DURATION, Type.DATE): Type.DATE,
        ("sub", Type.DATE, Type.DURATION): Type.DATE,
        ("sub", Type.DATE, Type.DATE): Type.DURATION,
    }.get((operator, left.type, right.type))
    if result is None:
        return None
    found = sql.SQL(_ARITHMETIC[operator]).format(left.sql, right.sql)
    if result is Type.DATE:  # PostgreSQL makes a time of it
        found = sql.SQL("({}::date)").format(found)
    elif Type.DATE in (left.type, right.type):  # and a number of days
        found = sql.SQL("({} * interval '1 day')").format(found)
    return Operand(type=result, sql=found)


def negative(operand: Operand) -> Operand:
    """Return the number or duration of opposite sign.

    Raises:
        QueryError: it is neither.
    """
    if operand.type is Type.NULL:
        return operand
    if operand.type is Type.DURATION:
        return Operand(type=Type.DURATION, sql=sql.SQL("(- {})").format(operand.sql))
    number = cast(operand, Type.NUMBER)
    return Operand(type=Type.NUMBER, sql=sql.SQL("(- {})").format(number.sql))
