"""Conditions and sort keys of a SensorThings request in SQL, with the joins they need.

A path through a link to many holds if it holds for some of them; several such paths in one
condition are about the same linked entities, as in the examples of OGC 18-088, clause 9.3.3.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from device_protocol.reading import Quality
from standards_mapping.sensorthings.entity import result_quality, unit_of_measurement
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.expression import (
    Call,
    Expression,
    Literal,
    Logic,
    Negative,
    Not,
    Operation,
    Order,
    Path,
)
from standards_mapping.sensorthings.geometry import GEOSPATIAL
from standards_mapping.sensorthings.model import (
    ENTITY_TYPES,
    EntityType,
    Kind,
    Navigation,
    Property,
    resolve,
)
from standards_mapping.units import UNITS
from storage.sensorthings.functions import call
from storage.sensorthings.geometry import call_geospatial, place_of
from storage.sensorthings.guarded import source_of
from storage.sensorthings.operand import (
    Bound,
    Operand,
    Sql,
    Type,
    arithmetic,
    compare,
    condition,
    literal,
    negative,
)
from storage.sensorthings.schema import COLUMNS, TO_MANY, TO_ONE

_TYPES: Final = {
    Kind.TEXT: Type.TEXT,
    Kind.INSTANT: Type.INSTANT,
    Kind.PERIOD: Type.PERIOD,
    Kind.JSON: Type.JSON,
}
_COMPARISONS: Final = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
_ALWAYS_THERE: Final = {("Observation", "phenomenonTime"), ("Observation", "resultTime")}
_OBSERVATION_TEXT_ID: Final = (
    "({e}.datastream_id || '-' || (extract(epoch FROM {e}.time) * 1000000)::int8)"
)
_JSON: Final[Mapping[str, LiteralString]] = {  # properties that are not kept as the JSON they are
    "unitOfMeasurement": "({units} -> {e}.unit)",
    "resultQuality": "({qualities} -> {e}.quality::text)",
    "result": "CASE WHEN {e}.value IS NULL THEN {e}.result ELSE to_jsonb({e}.value) END",
}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key to sort by. nullable: whether it must be said where nulls go.

    cast: its type in PostgreSQL. told: what of an entity's own key it is, "id", "stream" or
    "time"; "" if none.
    """

    key: Sql
    descending: bool
    nullable: bool = True
    cast: LiteralString = "text"
    told: str = ""

    def direction(self) -> sql.SQL:
        """Return what follows the key in ORDER BY: nulls first ascending, last descending."""
        if not self.nullable:
            return sql.SQL(" DESC" if self.descending else "")
        return sql.SQL(" DESC NULLS LAST" if self.descending else " NULLS FIRST")


class Scope:
    """The names an expression can use, seen from one row of one entity type.

    alias: of that row; None if only what `reached` holds may be used. reached: aliases of rows
    already joined, by the links that lead to them. `joins` grows with what is used.
    """

    def __init__(
        self,
        entity_type: EntityType,
        alias: sql.Identifier | None,
        bound: Bound,
        reached: Mapping[tuple[str, ...], sql.Identifier] | None = None,
    ) -> None:
        self._entity_type = entity_type
        self._aliases: dict[tuple[str, ...], sql.Identifier] = dict(reached or {})
        if alias is not None:
            self._aliases[()] = alias
        self._bound = bound
        self.joins: list[sql.Composed] = []
        self.reaches_many = False

    def property(self, path: Path) -> Operand:
        """Return the operand of a path, joining the entities it leads through.

        Raises:
            QueryError: the model has no such path.
        """
        found = resolve(self._entity_type, path.segments)
        here, alias = self._reach(found.navigations)
        if found.property is None:
            return _id(here, alias)
        operand = _property(here, found.property, alias, self._bound)
        if found.members:
            return _member(operand, found.members, self._bound)
        return replace(operand, place=place_of(here.name, found.property.name, alias))

    def _reach(self, navigations: tuple[Navigation, ...]) -> tuple[EntityType, sql.Identifier]:
        here = self._entity_type
        names: tuple[str, ...] = ()
        for navigation in navigations:
            self.reaches_many |= navigation.many
            names += (navigation.name,)
            if names not in self._aliases:
                self._aliases[names] = self._join(here, navigation, self._aliases[names[:-1]])
            here = ENTITY_TYPES[navigation.target]
        return here, self._aliases[names]

    def _join(
        self, owner: EntityType, navigation: Navigation, parent: sql.Identifier
    ) -> sql.Identifier:
        child = self._bound.alias()
        link = (owner.name, navigation.name)
        if navigation.many:
            key = sql.SQL("{}.id").format(parent)
            on = sql.SQL(TO_MANY[link]).format(parent=key, child=child)
        else:
            key = sql.SQL(TO_ONE[link]).format(e=parent)
            on = sql.SQL("{}.id = {}").format(child, key)
        source = source_of(navigation.target, guarded=self._bound.guarded)
        self.joins.append(sql.SQL("LEFT JOIN {} AS {} ON {}").format(source, child, on))
        return child


def _id(entity_type: EntityType, alias: sql.Identifier) -> Operand:
    if entity_type.name != "Observation":
        return Operand(type=Type.NUMBER, sql=sql.SQL("{}.id").format(alias), is_id=True)
    return Operand(
        type=Type.TEXT,
        sql=sql.SQL(_OBSERVATION_TEXT_ID).format(e=alias),
        is_id=True,
        observation=(
            sql.SQL("{}.datastream_id").format(alias),
            sql.SQL("{}.time").format(alias),
        ),
    )


def _property(
    entity_type: EntityType, found: Property, alias: sql.Identifier, bound: Bound
) -> Operand:
    column = COLUMNS[entity_type.name].get(found.name)
    if column is None:
        return Operand(type=Type.NULL, sql=sql.NULL)
    if found.name in _JSON:
        json = sql.SQL(_JSON[found.name]).format(e=alias, **_lookups(found.name, bound))
        number = sql.SQL("{}.value").format(alias) if found.name == "result" else None
        return Operand(type=Type.JSON, sql=_known(json), number=number)
    values = [sql.SQL(text).format(e=alias) for text in column.read]
    if found.kind is Kind.JSON:
        return Operand(type=Type.JSON, sql=_known(values[0]))
    end = values[1] if found.kind is Kind.PERIOD else None
    always = (entity_type.name, found.name) in _ALWAYS_THERE
    return Operand(type=_TYPES[found.kind], sql=values[0], end=end, always=always)


def _lookups(name: str, bound: Bound) -> dict[str, sql.Composed]:
    if name == "unitOfMeasurement":
        units = {key: unit_of_measurement(key) for key in UNITS}
        return {"units": bound.constant("units", Jsonb(units), "jsonb")}
    if name == "resultQuality":
        masks = range(2 * max(Quality))
        qualities = {str(mask): result_quality(mask) for mask in masks}
        return {"qualities": bound.constant("qualities", Jsonb(qualities), "jsonb")}
    return {}


def _known(json: Sql) -> sql.Composed:
    """Return JSON with its null made SQL's."""
    return sql.SQL("NULLIF({}, 'null'::jsonb)").format(json)


def _member(operand: Operand, members: tuple[str, ...], bound: Bound) -> Operand:
    if operand.type is Type.NULL:
        return operand
    path = bound.value(list(members), "text[]")
    return Operand(type=Type.JSON, sql=_known(sql.SQL("({} #> {})").format(operand.sql, path)))


class _Compiler:
    """Turns a tree into operands, bottom up."""

    def __init__(self, scope: Scope, bound: Bound) -> None:
        self._scope = scope
        self._bound = bound

    def operand(self, expression: Expression, *, negated: bool = False) -> Operand:
        """Return the operand of an expression; negated: it stands somewhere under a `not`."""
        match expression:
            case Literal(value):
                found = literal(value, self._bound)
            case Path():
                found = self._scope.property(expression)
            case Call(function, arguments) if function in GEOSPATIAL:
                operands = [self.operand(argument) for argument in arguments]
                found = call_geospatial(function, operands, self._bound)
            case Call(function, arguments):
                found = call(function, [self.operand(argument) for argument in arguments])
            case Negative(inner):
                found = negative(self.operand(inner))
            case Operation(operator, left, right) if operator in _COMPARISONS:
                found = self._comparison(operator, left, right, negated=negated)
            case Operation(operator, left, right):
                found = arithmetic(operator, self.operand(left), self.operand(right))
            case Logic() | Not():
                found = self._logic(expression, negated=negated)
        return found

    def _logic(self, expression: Logic | Not, *, negated: bool) -> Operand:
        if isinstance(expression, Not):
            inverted = condition(self.operand(expression.operand, negated=True))
            return Operand(type=Type.BOOLEAN, sql=sql.SQL("(NOT {})").format(inverted))
        parts = [condition(self.operand(part, negated=negated)) for part in expression.operands]
        joined = sql.SQL(" AND " if expression.operator == "and" else " OR ").join(parts)
        return Operand(type=Type.BOOLEAN, sql=sql.SQL("({})").format(joined))

    def _comparison(
        self, operator: str, left: Expression, right: Expression, *, negated: bool
    ) -> Operand:
        """Compare; under a `not`, what is null must have become false before it is inverted."""
        found = compare(operator, self.operand(left), self.operand(right), self._bound)
        if negated:
            found = sql.SQL("({} IS TRUE)").format(found)
        return Operand(type=Type.BOOLEAN, sql=found)


def compile_condition(expression: Expression, scope: Scope, bound: Bound) -> Sql:
    """Return the condition of a $filter over the scope; see `where` for its joins.

    Raises:
        QueryError: it names what the model does not have, or is neither true nor false.
    """
    return condition(_Compiler(scope, bound).operand(expression))


def where(found: Sql, scope: Scope) -> tuple[Sql, list[sql.Composed]]:
    """Return a condition and the joins it needs beside it.

    One that follows a link to many brings its joins with it, so that no row is found twice.
    """
    if not scope.reaches_many:
        return found, scope.joins
    inside = sql.SQL("EXISTS (SELECT FROM (SELECT) AS always {} WHERE {})").format(
        sql.SQL(" ").join(scope.joins), found
    )
    return inside, []


def sort_keys(orders: tuple[Order, ...], scope: Scope, bound: Bound) -> list[SortKey]:
    """Return the keys of an $orderby, whose joins are then in the scope.

    Periods are sorted by their end, then their start; texts by code point.

    Raises:
        QueryError: a key that cannot be sorted by.
    """
    keys: list[SortKey] = []
    for order in orders:
        operand = _Compiler(scope, bound).operand(order.expression)
        if scope.reaches_many:
            raise QueryError("$orderby: a link to many entities gives no single value to sort by")
        keys += _keys_of(order, operand)
    return keys


def _keys_of(order: Order, operand: Operand) -> list[SortKey]:
    if operand.type is Type.GEOMETRY:
        raise QueryError("$orderby: geometries have no order; their distance has")
    down, cast_to = order.descending, _CASTS[operand.type]
    if operand.type is Type.NULL:
        return []
    if operand.observation is not None:
        stream, moment = operand.observation
        by_stream = SortKey(stream, down, nullable=False, cast="int", told="stream")
        return [by_stream, SortKey(moment, down, nullable=False, cast="timestamptz", told="time")]
    if operand.always:  # the time of an observation, which is what its index is over
        moment = operand.end or operand.sql
        return [SortKey(moment, down, nullable=False, cast="timestamptz", told="time")]
    parts: tuple[Sql, ...] = (operand.sql,)
    if operand.type is Type.PERIOD and operand.end is not None:
        parts = (operand.end, operand.sql)
    elif operand.type is Type.JSON and operand.number is not None:
        number = SortKey(operand.number, down, cast="float8")
        return [number, SortKey(operand.sql, down, cast=cast_to)]
    elif operand.type is Type.TEXT:
        parts = (sql.SQL('{} COLLATE "C"').format(operand.sql),)
    return [SortKey(part, down, cast=cast_to) for part in parts]


_CASTS: Final[Mapping[Type, LiteralString]] = {
    Type.NUMBER: "numeric",
    Type.TEXT: "text",
    Type.BOOLEAN: "boolean",
    Type.INSTANT: "timestamptz",
    Type.PERIOD: "timestamptz",
    Type.DATE: "date",
    Type.TIME: "time",
    Type.DURATION: "interval",
    Type.JSON: "jsonb",
    Type.NULL: "text",
}
"""What a key is read as again from its text in a token; `numeric` holds every number exactly."""
