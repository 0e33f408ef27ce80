"""The statements that read SensorThings entities: pages of them, and how many there are.

Pages of observations are read by walking the key of each datastream concerned and merging what
was found, so that no statement scans `observation` to find its first rows. Nothing is run here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import sql

from standards_mapping.sensorthings.entity import Row
from standards_mapping.sensorthings.expression import (
    Expression,
    Logic,
    Order,
    Path,
    conjuncts,
    paths,
)
from standards_mapping.sensorthings.model import (
    EntityType,
    Key,
    ObservationId,
    resolve,
)
from storage.sensorthings_filter import Scope, SortKey, compile_condition, sort_keys, where
from storage.sensorthings_operand import Bound, Sql
from storage.sensorthings_schema import (
    CANDIDATES,
    COLUMNS,
    FEATURE_PERIODS,
    OBSERVATIONS_OF,
    SOURCES,
    TO_MANY,
    TO_ONE,
    Column,
)

_E: Final = sql.Identifier("e")
_STREAM: Final = sql.Identifier("s")
_PERIOD: Final = sql.Identifier("p")
_PARENT: Final = sql.SQL("parent.id")
_TIME_KEYS: Final = ("phenomenonTime", "resultTime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entities are wanted, in which order, and what of each.

    parent: the type of entity and the link whose far side is meant; None for all entities.
    keys: only these entities. after: only what comes after this one in the order, which must be
    one that `has_stable_order` knows. limit: None for no limit.
    properties, links: what of each entity; links are those to one entity.
    """

    entity_type: EntityType
    parent: tuple[str, str] | None = None
    keys: Sequence[Key] | None = None
    filter: Expression | None = None
    orderby: tuple[Order, ...] = ()
    after: Key | None = None
    skip: int = 0
    limit: int | None = None
    properties: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(slots=True)
class _Select:
    """A SELECT being put together; limit and offset are numbers of our own."""

    columns: list[Sql]
    tables: list[Sql]
    conditions: list[Sql] = field(default_factory=list)
    keys: list[SortKey] = field(default_factory=list)

    def compose(self, *, limit: int | None = None, skip: int = 0) -> sql.Composed:
        parts: list[Sql] = [sql.SQL("SELECT"), sql.SQL(", ").join(self.columns)]
        parts += [sql.SQL("FROM"), sql.SQL(" ").join(self.tables)]
        if self.conditions:
            parts += [sql.SQL("WHERE"), sql.SQL(" AND ").join(self.conditions)]
        if self.keys:
            ordered = [key.key + key.direction() for key in self.keys]
            parts += [sql.SQL("ORDER BY"), sql.SQL(", ").join(ordered)]
        if limit is not None:
            parts.append(sql.SQL("LIMIT {}").format(sql.Literal(limit)))
        if skip:
            parts.append(sql.SQL("OFFSET {}").format(sql.Literal(skip)))
        return sql.SQL(" ").join(parts)


def has_stable_order(entity_type: EntityType, orderby: tuple[Order, ...]) -> bool:
    """Whether a page can start after an entity, whatever is inserted meanwhile.

    So it is in the order of ids, and for observations in the order of time, either way.
    """
    if not orderby:
        return True
    if entity_type.name != "Observation" or len(orderby) > 1:
        return False
    expression = orderby[0].expression
    return isinstance(expression, Path) and expression.segments in {(key,) for key in _TIME_KEYS}


def page_statement(wanted: Wanted, bound: Bound) -> sql.Composed:
    """Return the statement for a page, whose rows `read_row` understands.

    With a parent, the parameter `parents` holds the ids of parents, each of which has a page of
    its own.

    Raises:
        QueryError: the filter or the order makes no sense.
    """
    page = _page(wanted, bound)
    if wanted.parent is None:
        return page.compose(limit=wanted.limit, skip=wanted.skip)
    keys = [SortKey(_PARENT, descending=False, nullable=False)]
    for number, key in enumerate(page.keys):
        keys.append(SortKey(_outer(number), key.descending, key.nullable))
    inner = page.compose(limit=wanted.limit, skip=wanted.skip)
    return _Select([_PARENT, sql.SQL("c.*")], [_for_each_parent(inner)], keys=keys).compose()


def count_statement(wanted: Wanted, bound: Bound) -> sql.Composed:
    """Return the statement that counts what is wanted, whatever the page.

    With a parent it gives, for each of the parameter `parents`, its id and its count.

    Raises:
        QueryError: the filter makes no sense.
    """
    observations = wanted.entity_type.name == "Observation"
    counting = (
        _Observations(wanted, bound) if observations else _Entities(wanted, bound)
    ).counting()
    if wanted.parent is None:
        return counting.compose()
    return _Select([_PARENT, sql.SQL("c.*")], [_for_each_parent(counting.compose())]).compose()


def read_row(wanted: Wanted, values: Sequence[Any]) -> tuple[int | None, Row]:
    """Return a row of the page statement: the id of its parent, if it has one, and the entity."""
    position = 0
    parent: int | None = None
    if wanted.parent is not None:
        parent, position = values[0], 1
    key: Key
    if wanted.entity_type.name == "Observation":
        key = ObservationId.of(values[position], values[position + 1])
        position += 2
    else:
        key = values[position]
        position += 1
    found: dict[str, Any] = {}
    for name, column in _columns(wanted):
        width = len(column.read)
        found[name] = column.combine(*values[position : position + width])
        position += width
    links = dict(zip(wanted.links, values[position:], strict=False))
    return parent, Row(key, found, links)


def _columns(wanted: Wanted) -> list[tuple[str, Column]]:
    kept = COLUMNS[wanted.entity_type.name]
    return [(name, kept[name]) for name in wanted.properties if name in kept]


def _read_columns(wanted: Wanted) -> list[Sql]:
    name = wanted.entity_type.name
    observations = name == "Observation"
    texts = ["{e}.datastream_id", "{e}.time"] if observations else ["{e}.id"]
    texts += [text for _, column in _columns(wanted) for text in column.read]
    texts += [TO_ONE[name, link] for link in wanted.links]
    return [sql.SQL(text).format(e=_E) for text in texts]


def _for_each_parent(inner: sql.Composed) -> sql.Composed:
    return sql.SQL("unnest(%(parents)s::int[]) AS parent(id) CROSS JOIN LATERAL ({}) AS c").format(
        inner
    )


def _key_columns(keys: Sequence[SortKey]) -> list[Sql]:
    return [
        sql.SQL("{} AS {}").format(key.key, sql.Identifier(f"k{number}"))
        for number, key in enumerate(keys)
    ]


def _outer(number: int) -> sql.Composed:
    """Return the name of a sort key seen from outside the subquery `c`."""
    return sql.SQL("c.{}").format(sql.Identifier(f"k{number}"))


def _page(wanted: Wanted, bound: Bound) -> _Select:
    if wanted.entity_type.name == "Observation":
        return _Observations(wanted, bound).page()
    return _Entities(wanted, bound).page()


class _Entities:
    """Reads entities of the registry: anything but observations."""

    def __init__(self, wanted: Wanted, bound: Bound) -> None:
        self._wanted = wanted
        self._bound = bound
        name = wanted.entity_type.name
        self._select = _Select([], [sql.SQL("{} AS {}").format(SOURCES[name], _E)])
        conditions = self._select.conditions
        if wanted.parent is not None:
            link = sql.SQL(TO_MANY[wanted.parent])
            conditions.append(link.format(parent=_PARENT, child=_E))
        if wanted.keys is not None:
            keys = bound.value([key for key in wanted.keys if isinstance(key, int)], "int[]")
            conditions.append(sql.SQL("{}.id = ANY ({})").format(_E, keys))
        if wanted.filter is not None:
            scope = Scope(wanted.entity_type, _E, bound)
            found, joins = where(compile_condition(wanted.filter, scope, bound), scope)
            conditions.append(found)
            self._select.tables += joins

    def counting(self) -> _Select:
        self._select.columns.append(sql.SQL("count(*)"))
        return self._select

    def page(self) -> _Select:
        wanted, select = self._wanted, self._select
        scope = Scope(wanted.entity_type, _E, self._bound)
        select.keys += sort_keys(wanted.orderby, scope, self._bound)
        select.keys.append(SortKey(sql.SQL("{}.id").format(_E), descending=False, nullable=False))
        select.tables += scope.joins
        if wanted.after is not None:
            after = self._bound.value(wanted.after, "int")
            select.conditions.append(sql.SQL("{}.id > {}").format(_E, after))
        select.columns += _read_columns(wanted)
        if wanted.parent is not None:
            select.columns += _key_columns(select.keys)
        return select


class _Observations:
    """Reads observations: the datastreams concerned as `s`, and of each a walk along its key.

    Where it matters which feature of interest an observation has, each datastream comes once
    for every period `p` in which its observations had the same one.
    """

    def __init__(self, wanted: Wanted, bound: Bound) -> None:
        self._wanted = wanted
        self._bound = bound
        self._streams = _Select([], [sql.SQL("{} AS {}").format(SOURCES["Datastream"], _STREAM)])
        self._walk = _Select([], [])
        self._reached: dict[tuple[str, ...], sql.Identifier] = {("Datastream",): _STREAM}
        self._split_by_feature()
        self._choose()
        if wanted.filter is not None:
            self._filter(conjuncts(wanted.filter))

    def counting(self) -> _Select:
        self._streams.tables.append(_lateral(self._walk.compose()))
        self._streams.columns.append(sql.SQL("count(*)"))
        return self._streams

    def page(self) -> _Select:
        wanted, walk = self._wanted, self._walk
        scope = Scope(wanted.entity_type, _E, self._bound, self._reached)
        walk.keys += sort_keys(wanted.orderby, scope, self._bound)
        walk.tables += scope.joins
        by_id = len(walk.keys)
        for column in ("{}.datastream_id", "{}.time"):
            walk.keys.append(SortKey(sql.SQL(column).format(_E), descending=False, nullable=False))
        if isinstance(wanted.after, ObservationId):
            self._start_after(wanted.after)
        walk.columns += [*_read_columns(wanted), *_key_columns(walk.keys)]
        limit = None if wanted.limit is None else wanted.skip + wanted.limit
        streams = self._streams
        streams.tables.append(_lateral(walk.compose(limit=limit)))
        streams.columns.append(sql.SQL("c.*"))
        for number, key in enumerate(walk.keys):
            # The same, but known to come in order where the datastreams do: no need to read all.
            name = sql.SQL("{}.id").format(_STREAM) if number == by_id else _outer(number)
            streams.keys.append(SortKey(name, key.descending, key.nullable))
        return streams

    def _uses(self, link: str) -> bool:
        wanted = self._wanted
        expressions = [order.expression for order in wanted.orderby]
        if wanted.filter is not None:
            expressions.append(wanted.filter)
        return any(path.segments[0] == link for found in expressions for path in paths(found))

    def _split_by_feature(self) -> None:
        of_feature = self._wanted.parent == ("FeatureOfInterest", "Observations")
        in_expressions = self._uses("FeatureOfInterest")
        feature: Sql = sql.SQL("NULL::int")
        within: Sql = sql.SQL("true")
        if of_feature or in_expressions or "FeatureOfInterest" in self._wanted.links:
            periods = FEATURE_PERIODS.format(datastream=_STREAM)
            self._streams.tables.append(
                sql.SQL("CROSS JOIN LATERAL {} AS {}").format(periods, _PERIOD)
            )
            feature = sql.SQL("{}.feature_of_interest_id").format(_PERIOD)
            within = sql.SQL("o.time >= {0}.started AND o.time < {0}.ended").format(_PERIOD)
        if in_expressions:
            alias = self._bound.alias()
            self._streams.tables.append(
                sql.SQL("LEFT JOIN {} AS {} ON {}.id = {}").format(
                    SOURCES["FeatureOfInterest"], alias, alias, feature
                )
            )
            self._reached["FeatureOfInterest",] = alias
        source = OBSERVATIONS_OF.format(datastream=_STREAM, feature=feature, within=within)
        self._walk.tables.append(sql.SQL("{} AS {}").format(source, _E))

    def _choose(self) -> None:
        """Keep to the parent and the keys wanted."""
        conditions = self._streams.conditions
        match self._wanted.parent:
            case ("Datastream", _):
                conditions.append(sql.SQL("{}.id = {}").format(_STREAM, _PARENT))
            case ("FeatureOfInterest", _):
                conditions.append(CANDIDATES.format(datastream=_STREAM, feature=_PARENT))
                conditions.append(
                    sql.SQL("{}.feature_of_interest_id = {}").format(_PERIOD, _PARENT)
                )
        for key in self._wanted.keys or ():
            if isinstance(key, ObservationId):
                number = self._bound.value(key.datastream, "int")
                moment = self._bound.value(key.time, "timestamptz")
                conditions.append(sql.SQL("{}.id = {}").format(_STREAM, number))
                self._walk.conditions.append(sql.SQL("{}.time = {}").format(_E, moment))

    def _filter(self, parts: tuple[Expression, ...]) -> None:
        """Decide by datastream what can be, before any observation is read."""
        entity_type = self._wanted.entity_type
        of_stream = [part for part in parts if self._only_of_stream(part)]
        others = [part for part in parts if part not in of_stream]
        if any(_through_many(entity_type, part) for part in others):
            of_stream, others = [], list(parts)  # they must be about the same linked entities
        if of_stream:
            scope = Scope(entity_type, None, self._bound, self._reached)
            found, joins = where(compile_condition(_all(of_stream), scope, self._bound), scope)
            self._streams.conditions.append(found)
            self._streams.tables += joins
        if others:
            scope = Scope(entity_type, _E, self._bound, self._reached)
            found, joins = where(compile_condition(_all(others), scope, self._bound), scope)
            self._walk.conditions.append(found)
            self._walk.tables += joins

    def _only_of_stream(self, part: Expression) -> bool:
        used = {path.segments[0] for path in paths(part)}
        return bool(used) and used <= {"Datastream", "FeatureOfInterest"}

    def _start_after(self, last: ObservationId) -> None:
        number = self._bound.value(last.datastream, "int")
        moment = self._bound.value(last.time, "timestamptz")
        if not self._wanted.orderby:
            self._streams.conditions.append(sql.SQL("{}.id >= {}").format(_STREAM, number))
            template = sql.SQL("{e}.time > CASE WHEN {s}.id = {id} THEN {t} ELSE '-infinity' END")
        elif self._wanted.orderby[0].descending:
            template = sql.SQL("{e}.time <= {t} AND ({e}.time < {t} OR {s}.id > {id})")
        else:
            template = sql.SQL("{e}.time >= {t} AND ({e}.time > {t} OR {s}.id > {id})")
        self._walk.conditions.append(template.format(e=_E, s=_STREAM, id=number, t=moment))


def _lateral(inner: sql.Composed) -> sql.Composed:
    return sql.SQL("CROSS JOIN LATERAL ({}) AS c").format(inner)


def _all(parts: Sequence[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else Logic("and", tuple(parts))


def _through_many(entity_type: EntityType, part: Expression) -> bool:
    """Whether a condition follows a link to many."""
    return any(
        link.many
        for path in paths(part)
        for link in resolve(entity_type, path.segments).navigations
    )
