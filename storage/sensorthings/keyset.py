"""The condition that an entity comes after a place in an order, whatever the order.

What a place is, and how it travels in a link, is `standards_mapping.sensorthings.skiptoken`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import ObservationId
from standards_mapping.sensorthings.skiptoken import Place
from storage.sensorthings.filter import SortKey
from storage.sensorthings.operand import Bound, Sql


def place_values(place: Place | None) -> Mapping[str, Any]:
    """Return the parameters that a condition made by `comes_after` has for this place."""
    if place is None:
        return {}
    values: dict[str, Any] = {f"after_{at}": value for at, value in enumerate(place.values)}
    if isinstance(place.key, ObservationId):
        return values | {"after_stream": place.key.datastream, "after_time": place.key.time}
    return values | {"after_id": place.key}


def comes_after(keys: Sequence[SortKey], place: Place, bound: Bound) -> sql.Composed:
    """Return the condition; the last of the keys make the order a total one.

    The first key is bounded by itself, too, where it is never null: an index can use that.

    Raises:
        QueryError: the place is of another order.
    """
    known = place_values(place)
    if len(place.values) != len([key for key in keys if not key.told]):
        raise QueryError("$skiptoken is of another order")
    names = iter(f"after_{at}" for at in range(len(place.values)))
    parts: list[tuple[SortKey, Sql | None]] = []
    for key in keys:
        name = f"after_{key.told}" if key.told else next(names)
        value = known[name]
        parts.append((key, None if value is None else bound.constant(name, value, key.cast)))
    condition = sql.SQL("false").format()
    for key, value in reversed(parts):
        condition = sql.SQL("({} OR ({} AND {}))").format(
            _after(key, value), _same(key, value), condition
        )
    first, bound_by = parts[0]
    if first.nullable or bound_by is None:
        return condition
    template = "({0} <= {1} AND {2})" if first.descending else "({0} >= {1} AND {2})"
    return sql.SQL(template).format(first.key, bound_by, condition)


def _after(key: SortKey, value: Sql | None) -> Sql:
    """Nulls are the least: first ascending, last descending."""
    if value is None:
        return sql.SQL("false") if key.descending else sql.SQL("{} IS NOT NULL").format(key.key)
    if not key.descending:
        return sql.SQL("{} > {}").format(key.key, value)
    template = "({0} < {1} OR {0} IS NULL)" if key.nullable else "{0} < {1}"
    return sql.SQL(template).format(key.key, value)


def _same(key: SortKey, value: Sql | None) -> Sql:
    if value is None:
        return sql.SQL("{} IS NULL").format(key.key)
    return sql.SQL("{} = {}").format(key.key, value)
