"""What the values of a period come to (ETSI GS CIM 009, clause 4.5.19), each property in its way.

Pure. `avg` is the mean that physics knows: of decibels the level of the mean energy, of bearings
the direction of the mean vector, of everything else the arithmetic mean. A bearing has no least
or greatest value and no sum, and a sum of decibels or their squares is of nothing: such methods
give no values. stddev is that of the whole population. Text is only counted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from standards_mapping.ngsi_ld.expanded import Instance
from standards_mapping.ngsi_ld.temporal_query import Aggregation, TemporalQuery, starts


@dataclass(frozen=True, slots=True)
class Bucket:
    """A period and, by method, what its values came to; methods that make no sense are absent."""

    start: datetime
    end: datetime
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The periods of one attribute of an entity, or of one of its datasets.

    kind: the type of the attribute.
    """

    buckets: Sequence[Bucket]
    kind: str = "Property"
    dataset: str | None = None


def _deviation(numbers: Sequence[float]) -> float:
    mean = math.fsum(numbers) / len(numbers)
    return math.sqrt(math.fsum((one - mean) ** 2 for one in numbers) / len(numbers))


_NUMERIC: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "avg": lambda numbers: math.fsum(numbers) / len(numbers),
    "min": min,
    "max": max,
    "sum": math.fsum,
    "sumsq": lambda numbers: math.fsum(one * one for one in numbers),
    "stddev": _deviation,
}


def summarise(values: Sequence[Any], methods: Sequence[str]) -> dict[str, Any]:
    """Return what plain values come to; a state counts as 1 or 0."""
    numbers = [float(one) for one in values if isinstance(one, int | float)]
    found: dict[str, Any] = {}
    for method in methods:
        if method == "totalCount":
            found[method] = len(values)
        elif method == "distinctCount":
            found[method] = len({repr(one) for one in values})
        elif numbers:
            found[method] = _NUMERIC[method](numbers)
    return found


def aggregate(
    instances: Sequence[Instance], query: TemporalQuery, asked: Aggregation
) -> list[Bucket]:
    """Return the periods of instances that are in the order of time; those without one are absent.

    Periods begin at timeAt where the query says from when on, else at the first instance.
    """
    times = [one.time(query.timeproperty) for one in instances]
    timed = [(time, one.value) for time, one in zip(times, instances, strict=True) if time]
    if not timed:
        return []
    origin, end = bounds(query, timed[0][0], timed[-1][0])
    if asked.period.whole:
        return [Bucket(origin, end, summarise([value for _, value in timed], asked.methods))]
    edges = starts(asked.period, origin, timed[0][0], timed[-1][0])
    found: list[Bucket] = []
    at = 0
    for begins, ends in pairwise(edges):
        values = []
        while at < len(timed) and timed[at][0] < ends:
            values.append(timed[at][1])
            at += 1
        if values:
            found.append(Bucket(begins, ends, summarise(values, asked.methods)))
    return found


def bounds(query: TemporalQuery, first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """Return when periods begin to be counted, and when the whole time ends.

    first, last: when the first and the last instance of an attribute was.
    """
    origin = query.window.after if query.window.after is not None else first
    end = query.window.before if query.window.before is not None else last
    return origin, end
