"""Geospatial functions over the geometries that are kept, without an extension of the database.

The geometries of a table are few next to observations, so a function is worked out here for all of
them, and the statement is given which ids it holds for, or its value by id. What a function means
is in `standards_mapping`. Nothing is hidden here: a statement finds the ids among what its reader
may see.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, LiteralString, TypeVar

import numpy as np
import shapely
from psycopg import sql
from psycopg.types.json import Jsonb

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.expression import Call, Expression, Order, calls, paths
from standards_mapping.sensorthings.geometry import (
    DISTANCE,
    GEOSPATIAL,
    LENGTH,
    RELATE,
    Geometries,
    Shapes,
    Values,
    distance,
    length,
    parse_geojson,
    relate,
    shapes_of,
)
from standards_mapping.sensorthings.model import ENTITY_TYPES, EntityType, resolve
from storage.database import Connection
from storage.sensorthings.operand import Bound, Operand, Sql, Type
from storage.sensorthings.schema import GEOMETRY_IN, OBSERVED_AREA

MOST_GEOMETRIES: Final = 20_000
"""Of one table; a geospatial function over more is refused."""

MOST_POSITIONS: Final = 500_000
"""Corners of all of them together."""

MOST_CALLS: Final = 10
"""Of geospatial functions in one filter and order together."""

GEOMETRY_SECONDS: Final = 5.0
"""How long the geospatial functions of one statement may take."""

MOST_PAIRS: Final = 250_000
"""Of two tables whose geometries are compared with each other."""

_AT_ONCE: Final = 500  # between looks at the clock

T = TypeVar("T")

_PLACES: Final[Mapping[tuple[str, str], tuple[str, LiteralString]]] = {
    ("Location", "location"): ("location", "{e}.id"),
    ("FeatureOfInterest", "feature"): ("feature", "{e}.id"),
    ("Datastream", "observedArea"): ("area", "{e}.thing_id"),
}
"""By type and property: which geometries those are, and by which key they are told apart."""

_READ: Final[Mapping[str, sql.SQL | sql.Composed]] = {
    "location": sql.SQL("SELECT id, {}::text FROM location").format(
        sql.SQL(GEOMETRY_IN).format(place=sql.Identifier("location"))
    ),
    "feature": sql.SQL("SELECT id, {}::text FROM feature_of_interest").format(
        sql.SQL(GEOMETRY_IN).format(place=sql.Identifier("feature"))
    ),
    "area": sql.SQL(
        "SELECT id, area FROM (SELECT thing.id, ({}::text) AS area FROM thing) AS areas"
        " WHERE area IS NOT NULL"
    ).format(sql.SQL(OBSERVED_AREA).format(thing=sql.SQL("thing.id"))),
}
# Whatever is inserted, changed or deleted changes a count or a sum of transaction ids, even when
# the transactions commit in another order than they began.
_ROWS: Final = sql.SQL("(SELECT (count(*), sum(xmin::text::int8)) FROM {})")
_TABLES: Final = {
    "location": ("location",),
    "feature": ("feature_of_interest",),
    "area": ("location", "thing_location", "historical_location_location", "historical_location"),
}


class Cache:
    """The geometries last read, by where they were and of which kind; the oldest make room."""

    _MOST: Final = 12

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[str, Geometries]] = OrderedDict()

    def find(self, where: Hashable, version: str) -> Geometries | None:
        """Return the geometries kept, unless the tables have changed since."""
        found = self._kept.get(where)
        return found[1] if found is not None and found[0] == version else None

    def keep(self, where: Hashable, version: str, geometries: Geometries) -> None:
        """Keep geometries in the place of older ones."""
        self._kept[where] = (version, geometries)
        self._kept.move_to_end(where)
        while len(self._kept) > self._MOST:
            self._kept.popitem(last=False)


_CACHE: Final = Cache()
# One at a time: what is prepared for comparing must not be used by two threads at once.
_WORKER: Final = ThreadPoolExecutor(1, thread_name_prefix="geometry")


async def work_out(work: Callable[[], T]) -> T:
    """Return what `work` with geometries returns, done beside the event loop.

    Raises:
        TimeoutError: others had so much to be worked out that it had to wait too long.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(2 * GEOMETRY_SECONDS):
        return await loop.run_in_executor(_WORKER, work)


def place_of(entity_type: str, name: str, alias: sql.Identifier) -> tuple[str, Sql] | None:
    """Return the kind and the key of a property's geometry; None if it has none."""
    found = _PLACES.get((entity_type, name))
    return None if found is None else (found[0], sql.SQL(found[1]).format(e=alias))


def kinds_used(
    entity_type: EntityType, condition: Expression | None, orderby: Sequence[Order]
) -> frozenset[str]:
    """Return the kinds of geometry that the geospatial functions of a request are about.

    Raises:
        QueryError: a path that the model does not have, or too many functions.
    """
    expressions = [order.expression for order in orderby]
    if condition is not None:
        expressions.append(condition)
    found = [
        call
        for expression in expressions
        for call in calls(expression)
        if call.function in GEOSPATIAL
    ]
    if len(found) > MOST_CALLS:
        raise QueryError(f"more than {MOST_CALLS} geospatial functions")
    places = {place for call in found for place in _places(entity_type, call)}
    return frozenset(_PLACES[place][0] for place in places if place in _PLACES)


def _places(entity_type: EntityType, call: Call) -> Iterator[tuple[str, str]]:
    for path in paths(call):
        found = resolve(entity_type, path.segments)
        last = ENTITY_TYPES[found.navigations[-1].target] if found.navigations else entity_type
        if found.property is not None:
            yield last.name, found.property.name


async def load_geometries(conn: Connection, kinds: Iterable[str]) -> Mapping[str, Geometries]:
    """Return the geometries of those kinds, as the transaction that `conn` is in sees them.

    Read again only where a table has changed.

    Raises:
        QueryError: they are too many to work with.
        TimeoutError: reading what they are took too long.
    """
    return {kind: await _load(conn, kind) for kind in kinds}


async def _load(conn: Connection, kind: str) -> Geometries:
    rows = [_ROWS.format(sql.Identifier(table)) for table in _TABLES[kind]]
    version = sql.SQL("SELECT ROW({})::text").format(sql.SQL(", ").join(rows))
    [(current,)] = await (await conn.execute(version)).fetchall()
    info = conn.info
    where = (info.host, info.port, info.dbname, kind)
    kept = _CACHE.find(where, current)
    if kept is not None:
        return kept
    limited = sql.SQL("{} LIMIT {}").format(_READ[kind], sql.Literal(MOST_GEOMETRIES + 1))
    found = await (await conn.execute(limited)).fetchall()
    _refuse_too_many(len(found), MOST_GEOMETRIES, "geometries of one kind")
    shapes = await work_out(partial(parse_geojson, [text for _, text in found]))
    geometries = Geometries([key for key, _ in found], shapes)
    corners = int(shapely.get_num_coordinates(geometries.shapes).sum())
    _refuse_too_many(corners, MOST_POSITIONS, "corners of geometries")
    _CACHE.keep(where, current, geometries)
    return geometries


def _refuse_too_many(number: int, most: int, what: str) -> None:
    if number > most:
        raise QueryError(
            f"geospatial functions work with up to {most:,} {what}, and here are more: compare"
            " numbers such as location/coordinates/0 instead"
        )


def call_geospatial(function: str, arguments: Sequence[Operand], bound: Bound) -> Operand:
    """Return a geospatial function of the arguments, whose number is right.

    bound: it holds the geometries of every kind that the arguments are about.

    Raises:
        QueryError: an argument that is no geometry, or too many pairs of them.
    """
    shapes_of_two = 1 if function == LENGTH else 2
    places, rest = arguments[:shapes_of_two], arguments[shapes_of_two:]
    if any(argument.type is Type.NULL for argument in arguments):
        return Operand(type=Type.NULL, sql=sql.NULL)
    extra = _extra(function, rest)
    sides = [_Side.of(function, operand, bound.geometries) for operand in places]
    result = Type.NUMBER if function in (DISTANCE, LENGTH) else Type.BOOLEAN
    keys: Sequence[int | str]
    if len(sides) == 1 or _same_key(sides):
        keys, chosen = sides[0].ids, [side.shapes for side in sides]
        names = [sides[0].key]
    elif None in (sides[0].key, sides[1].key):
        keys = next((side.ids for side in sides if side.key is not None), [0])
        chosen = [side.shapes for side in sides]
        names = [side.key for side in sides if side.key is not None]
    else:
        keys, chosen = _pairs(sides)
        names = [side.key for side in sides]
    values = _work_out(function, chosen, extra, bound.started + GEOMETRY_SECONDS)
    named = [name for name in names if name is not None]
    return Operand(type=result, sql=_told(result, named, keys, values, bound))


@dataclass(frozen=True, slots=True)
class _Side:
    """An argument: a literal, without a key, or every geometry that it may be."""

    kind: str | None
    key: Sql | None
    ids: Sequence[int]
    shapes: Shapes

    @classmethod
    def of(cls, function: str, operand: Operand, geometries: Mapping[str, Geometries]) -> "_Side":
        if operand.geometry is not None:
            return cls(None, None, [0], shapes_of([operand.geometry]))
        if operand.place is None:
            raise QueryError(
                f"{function}: expected a geometry, found {operand.type.value}: write"
                " geography'POINT (-0.13 51.52)', or a path to location, feature or observedArea"
            )
        kind, key = operand.place
        found = geometries[kind]
        return cls(kind, key, found.ids, found.shapes)


def _same_key(sides: Sequence[_Side]) -> bool:
    """Whether both are the geometry of the same row."""
    return sides[0].kind == sides[1].kind and sides[0].key == sides[1].key


def _pairs(sides: Sequence[_Side]) -> tuple[Sequence[str], list[Shapes]]:
    left, right = sides
    number = len(left.ids) * len(right.ids)
    _refuse_too_many(number, MOST_PAIRS, "pairs of geometries")
    keys = [f"{one}-{other}" for one in left.ids for other in right.ids]
    shapes = [np.repeat(left.shapes, len(right.ids)), np.tile(right.shapes, len(left.ids))]
    return keys, shapes


def _extra(function: str, rest: Sequence[Operand]) -> str | None:
    """Return what stands after the geometries: a pattern, or the unit of a distance."""
    if not rest:
        return None
    text = rest[0].text
    if text is None:
        raise QueryError(f"{function}: the last argument is a text in quotes")
    if function != RELATE and text != "m":
        raise QueryError(f"{function}: the unit is 'm' for metres, or left out for degrees")
    return text


def _work_out(
    function: str, shapes: Sequence[Shapes], extra: str | None, deadline: float
) -> Values:
    """Return the values, worked out a part at a time: a call into shapely cannot be ended.

    deadline: by the monotonic clock.

    Raises:
        TimeoutError: it has passed.
    """
    if any(len(side) == 0 for side in shapes):
        return []
    most = max(len(side) for side in shapes)
    values: Values = []
    for start in range(0, most, _AT_ONCE):
        if time.monotonic() > deadline:
            raise TimeoutError
        part = slice(start, start + _AT_ONCE)
        values += _of_part(
            function, [side if len(side) == 1 else side[part] for side in shapes], extra
        )
    return values


def _of_part(function: str, shapes: Sequence[Shapes], extra: str | None) -> Values:
    if function == DISTANCE:
        return distance(shapes[0], shapes[1], metres=extra is not None)
    if function == LENGTH:
        return length(shapes[0], metres=extra is not None)
    return relate(function, shapes[0], shapes[1], pattern=extra)


def _told(
    result: Type, names: Sequence[Sql], keys: Sequence[int | str], values: Values, bound: Bound
) -> Sql:
    """Return SQL for the value by key; of literals alone there is no key, and one value."""
    cast_to: LiteralString = "float8" if result is Type.NUMBER else "boolean"
    if not names:
        return bound.value(values[0], cast_to)
    parts = sql.SQL(" || '-' || ").join(names)
    key = sql.SQL("({})").format(parts)
    if result is Type.NUMBER:
        told = {str(one): value for one, value in zip(keys, values, strict=True)}
        by_key = bound.value(Jsonb(told), "jsonb")
        return sql.SQL("(({} ->> ({})::text)::float8)").format(by_key, key)
    array: LiteralString = "int[]" if len(names) == 1 else "text[]"
    holds = [one for one, value in zip(keys, values, strict=True) if value is True]
    unknown = [one for one, value in zip(keys, values, strict=True) if value is None]
    found = sql.SQL("({} = ANY ({}))").format(key, bound.value(holds, array))
    if not unknown:
        return found
    return sql.SQL("CASE WHEN NOT {} = ANY ({}) THEN {} END").format(
        key, bound.value(unknown, array), found
    )
