"""Statements kept once composed: what differs between two requests of one shape is a parameter.

Composing takes as long as the database needs to answer, and a statement that is the same text
again keeps its plan there. What a statement says is `page`.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from standards_mapping.sensorthings.expression import Expression, Order, calls
from standards_mapping.sensorthings.geometry import GEOSPATIAL, Geometries
from standards_mapping.sensorthings.model import Key, ObservationId
from storage.sensorthings.guarded import may_fail
from storage.sensorthings.keyset import place_values
from storage.sensorthings.operand import Bound
from storage.sensorthings.page import count_statement, page_statement, places_of
from storage.sensorthings.select import RowReader, Wanted
from storage.sensorthings.walk import observation_keys

_KEPT: Final = 512


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement, the values that its filter and order bound, and what reads its rows."""

    text: bytes
    values: Mapping[str, Any]
    reader: RowReader


class _Shape:
    """What a statement depends on; equal where two requests differ in parameters alone.

    The trees of filter and order are compared as written out: in Python 1, 1.0 and True are equal.
    """

    def __init__(self, wanted: Wanted, *, counts: bool) -> None:
        self.wanted = wanted
        self.counts = counts
        after = wanted.after
        self._told: Hashable = (
            counts,
            wanted.entity_type.name,
            wanted.parent,
            wanted.owner is None,
            wanted.keys and len(wanted.keys) > 1,
            wanted.filter and repr(wanted.filter),
            wanted.orderby and repr(wanted.orderby),
            after and tuple(value is None for value in after.values),
            wanted.skip,
            wanted.limit,
            wanted.properties,
            wanted.links,
            wanted.as_text,
        )

    def __hash__(self) -> int:
        return hash(self._told)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self._told == other._told


def compiled(
    wanted: Wanted, geometries: Mapping[str, Geometries] | None = None, *, counts: bool = False
) -> Compiled:
    """Return the statement for a page, or for a count.

    geometries: those that its geospatial functions are about. Their values stand among what is
    bound, so such a statement is not kept.

    Raises:
        QueryError: the filter or the order makes no sense.
    """
    if is_geospatial(wanted.filter, wanted.orderby):
        return _composed(wanted, geometries, counts=counts)
    return _compiled(_Shape(wanted, counts=counts))


def is_geospatial(condition: Expression | None, orderby: Iterable[Order]) -> bool:
    """Whether a $filter or an $orderby has a geospatial function."""
    found = [order.expression for order in orderby]
    if condition is not None:
        found.append(condition)
    return any(call.function in GEOSPATIAL for one in found for call in calls(one))


@lru_cache(maxsize=_KEPT)
def _compiled(shape: _Shape) -> Compiled:
    return _composed(shape.wanted, None, counts=shape.counts)


def _composed(
    wanted: Wanted, geometries: Mapping[str, Geometries] | None, *, counts: bool
) -> Compiled:
    expressions = [order.expression for order in wanted.orderby]
    if wanted.filter is not None:
        expressions.append(wanted.filter)
    bound = Bound(geometries, guarded=any(map(may_fail, expressions)))
    build = count_statement if counts else page_statement
    text = build(wanted, bound).as_bytes()
    places = 0 if counts else places_of(wanted, Bound(bound.geometries))
    return Compiled(text, bound.values, RowReader(wanted, places))


def parameters(statement: Compiled, wanted: Wanted) -> dict[str, Any]:
    """Return the parameters of a request of that shape, but for `parents`."""
    values = dict(statement.values)
    values |= place_values(wanted.after)
    if wanted.owner is not None:
        values["parent"] = wanted.owner
    if wanted.keys is not None:
        values |= _keys(wanted.keys[0], list(wanted.keys))
    return values


def _keys(first: Key, keys: list[Key]) -> dict[str, Any]:
    if isinstance(first, ObservationId):
        return observation_keys([key for key in keys if isinstance(key, ObservationId)])
    return {"keys": keys}
