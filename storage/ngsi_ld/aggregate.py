"""Aggregated histories made by the database: one pass over a range of the key of `observation`.

Sums are of results as they are stored; as the attribute's rule is linear (a ratio is a hundredth of
a percentage) what they come to is brought into the model's terms afterwards. Which mean stands for
which property: `storage.aggregation`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from psycopg import sql

from device_protocol.errors import UnitMismatchError
from device_protocol.kinds import FULL_TURN
from standards_mapping.ngsi_ld.aggregates import Bucket, bounds
from standards_mapping.ngsi_ld.rules import RULES, Value, bounds_of, in_unit_of_property
from standards_mapping.ngsi_ld.temporal_query import TemporalQuery, Window, starts
from standards_mapping.registry import Datastream
from storage.aggregation import Aggregation, aggregation_of, mean_bearing
from storage.database import Connection, query

_COLUMNS: Final[Mapping[str, str]] = {
    "n": "count(*)",
    "avg": "avg(value)",
    "level": "avg(power(10, value / 10))",
    "sine": "avg(sin(value / {turn} * 2 * pi()))",
    "cosine": "avg(cos(value / {turn} * 2 * pi()))",
    "min": "min(value)",
    "max": "max(value)",
    "sum": "sum(value)",
    "sumsq": "sum(value * value)",
    "stddev": "stddev_pop(value)",
    "distinctCount": "count(DISTINCT value)",
    "distinctText": "count(DISTINCT coalesce(value::text, result::text))",
}
_SPANS: Final[Mapping[Aggregation, frozenset[str]]] = {
    Aggregation.MEAN: frozenset({"avg", "min", "max", "sum", "sumsq", "stddev"}),
    Aggregation.TOTAL: frozenset({"avg", "min", "max", "sum", "sumsq", "stddev"}),
    Aggregation.LEVEL: frozenset({"avg", "min", "max"}),
    Aggregation.BEARING: frozenset({"avg"}),
}
_ROUGHLY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class _Linear:
    """An attribute's value is `factor` times the stored result and `offset`."""

    factor: float
    offset: float
    whole: bool


def window_sql(window: Window) -> sql.Composed:
    """Return the condition that `o.time` is in a window."""
    parts = []
    if window.after is not None:
        sign = sql.SQL(">=" if window.starts else ">")
        parts.append(sql.SQL("o.time {} {}").format(sign, sql.Literal(window.after)))
    if window.before is not None:
        parts.append(sql.SQL("o.time < {}").format(sql.Literal(window.before)))
    return sql.SQL(" AND ").join(parts or [sql.SQL("true").format()])


async def aggregated(
    conn: Connection, datastream: Datastream, asked: TemporalQuery
) -> list[Bucket]:
    """Return the periods of a datastream that have valid results, oldest first.

    Raises:
        TooComplexQueryError: there would be too many periods.
    """
    if asked.aggregation is None:
        raise ValueError("no aggregation is asked for")
    window = window_sql(asked.window)
    span = sql.SQL(query("ngsi_ld_span")).format(window=window)
    cursor = await conn.execute(span, {"id": datastream.id}, prepare=False)
    [(first, last)] = await cursor.fetchall()
    if first is None:
        return []
    linear = _linear(datastream)
    columns = _columns(datastream, linear, asked.aggregation.methods)
    origin, end = bounds(asked, first, last)
    period = asked.aggregation.period
    edges = [origin, end] if period.whole else starts(period, origin, first, last)
    turn = FULL_TURN.get(datastream.unit.key, 360.0)
    statement = sql.SQL(query("ngsi_ld_aggregate")).format(
        window=window,
        bucket=_bucket(asked, edges),
        columns=sql.SQL(", ").join(
            sql.SQL(_COLUMNS[name]).format(turn=sql.Literal(turn)) for name in columns
        ),
        allowed=_allowed(datastream, linear),
    )
    cursor = await conn.execute(statement, {"id": datastream.id}, prepare=False)
    ends = dict(pairwise(edges))
    found = []
    for start, *values in await cursor.fetchall():
        begins = origin if period.whole else _start(start, edges)
        row = dict(zip(columns, values, strict=True))
        made = _values(datastream, linear, row, asked.aggregation.methods)
        found.append(Bucket(begins, ends[begins], made))
    return found


def _start(value: datetime | int, edges: Sequence[datetime]) -> datetime:
    return edges[value - 1] if isinstance(value, int) else value.astimezone(UTC)


def _bucket(asked: TemporalQuery, edges: Sequence[datetime]) -> sql.Composable:
    """Return what is the same for all results of a period."""
    period = asked.aggregation.period if asked.aggregation else None
    if period is None or period.whole:
        return sql.SQL("1")
    if period.months:
        return sql.SQL("width_bucket(o.time, {}::timestamptz[])").format(sql.Literal(list(edges)))
    return sql.SQL("date_bin({}, o.time, {})").format(
        sql.Literal(period.length), sql.Literal(edges[0])
    )


def _linear(datastream: Datastream) -> _Linear | None:
    """Return how a stored number becomes the attribute's value; None where that is a word."""
    told = [_told(datastream, number) for number in (0.0, 1.0)]
    if not all(isinstance(one, float | int) for one in told):
        return None
    zero, one = (float(each) for each in told if isinstance(each, float | int))
    return _Linear(one - zero, zero, _told(datastream, 0.5) is None)


def _told(datastream: Datastream, number: float) -> Value | None:
    try:
        result = in_unit_of_property(datastream, number)
    except UnitMismatchError:
        return None
    return RULES[datastream.observed_property.value_rule](result)


def _allowed(datastream: Datastream, linear: _Linear | None) -> sql.Composable:
    """Return which results count: those that the model can say."""
    if linear is None:
        return sql.SQL("value IS NOT NULL OR result IS NOT NULL")
    parts: list[sql.Composable] = [sql.SQL("value IS NOT NULL AND value - value = 0")]  # finite
    if linear.whole:
        parts.append(sql.SQL("value = floor(value)"))
    least, most = bounds_of(datastream.observed_property)
    if aggregation_of(datastream.observed_property.key, datastream.unit.key) is Aggregation.BEARING:
        return sql.SQL(" AND ").join(parts)  # any number of turns is a direction
    value = sql.SQL("value * {} + {}").format(
        sql.Literal(linear.factor), sql.Literal(linear.offset)
    )
    if least is not None:
        parts.append(sql.SQL("{} >= {}").format(value, sql.Literal(least - _ROUGHLY)))
    if most is not None:
        parts.append(sql.SQL("{} <= {}").format(value, sql.Literal(most + _ROUGHLY)))
    return sql.SQL(" AND ").join(parts)


def _columns(datastream: Datastream, linear: _Linear | None, methods: Sequence[str]) -> list[str]:
    """Return what is to be summed up for these methods."""
    found = ["n"]
    if linear is None:
        return [*found, "distinctText"] if "distinctCount" in methods else found
    kind = aggregation_of(datastream.observed_property.key, datastream.unit.key)
    for method in methods:
        if method == "distinctCount":
            found.append(method)
        elif method in _SPANS[kind]:
            special = {Aggregation.LEVEL: ["level"], Aggregation.BEARING: ["sine", "cosine"]}
            found += special.get(kind, ["avg"]) if method == "avg" else [method]
            if method == "sumsq":
                found.append("sum")
    return list(dict.fromkeys(found))


def _values(
    datastream: Datastream, linear: _Linear | None, row: Mapping[str, Any], methods: Sequence[str]
) -> dict[str, Any]:
    """Return a period's values in the model's terms, by method."""
    found: dict[str, Any] = {}
    for method in methods:
        if method == "totalCount":
            found[method] = row["n"]
        elif method == "distinctCount":
            found[method] = row["distinctText" if linear is None else method]
        elif linear is not None:
            value = _value(datastream, linear, row, method)
            if value is not None:
                found[method] = value
    return found


def _value(
    datastream: Datastream, linear: _Linear, row: Mapping[str, Any], method: str
) -> float | None:
    n, factor, offset = row["n"], linear.factor, linear.offset
    if method == "avg" and "level" in row:
        return 10 * math.log10(row["level"]) if row["level"] > 0 else None
    if method == "avg" and "sine" in row:
        turn = FULL_TURN[datastream.unit.key]
        bearing = mean_bearing(row["sine"], row["cosine"], turn)
        return None if bearing is None else bearing * factor + offset
    if method not in row:
        return None
    value = float(row[method])
    match method:
        case "stddev":
            value *= factor  # no rule turns values round
        case "sum":
            value = factor * value + n * offset
        case "sumsq":
            value = factor**2 * value + 2 * factor * offset * row["sum"] + n * offset**2
        case _:
            value = value * factor + offset
    return value
