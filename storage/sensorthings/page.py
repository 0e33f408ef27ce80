"""The statements that read SensorThings entities: pages of them, and how many there are.

Nothing is run here. How observations are read is `walk`.
"""

from psycopg import sql

from storage.sensorthings.columns import in_one_row
from storage.sensorthings.filter import Scope, SortKey, compile_condition, sort_keys, where
from storage.sensorthings.guarded import source_of
from storage.sensorthings.keyset import comes_after
from storage.sensorthings.operand import Bound
from storage.sensorthings.schema import TO_MANY
from storage.sensorthings.select import (
    ENTITY,
    PARENT,
    Select,
    Wanted,
    key_columns,
    name_of,
    outer,
    place_columns,
    read_columns,
)
from storage.sensorthings.walk import Observations


def page_statement(wanted: Wanted, bound: Bound) -> sql.Composed:
    """Return the statement for a page, whose rows a `RowReader` reads, or `columns.text_page`.

    The parameter `parent` is the id of the owner. Without one, `parents` holds the ids of parents,
    each of which has a page of its own; the rows begin with the parent's id.

    Raises:
        QueryError: the filter or the order makes no sense.
    """
    page = _reading(wanted, bound).page()
    if not wanted.has_parents:
        rows = page.compose(limit=wanted.limit, skip=wanted.skip)
        return _as_columns(rows, wanted, bound) if wanted.as_text else rows
    keys = [SortKey(PARENT, descending=False, nullable=False)]
    for number, key in enumerate(page.keys):
        keys.append(SortKey(outer(number), key.descending, key.nullable))
    inner = page.compose(limit=wanted.limit, skip=wanted.skip)
    return Select([PARENT, sql.SQL("c.*")], [_for_each_parent(inner)], keys=keys).compose()


def _as_columns(rows: sql.Composed, wanted: Wanted, bound: Bound) -> sql.Composed:
    read = [name_of("c", number) for number in range(len(read_columns(wanted)))]
    places = [name_of("t", at) for at in range(places_of(wanted, Bound(bound.geometries)))]
    return in_one_row(rows, read, places)


def places_of(wanted: Wanted, bound: Bound) -> int:
    """Return how many columns of a page's rows tell their place in the order.

    bound: another than the statement's.

    Raises:
        QueryError: the order makes no sense.
    """
    keys = sort_keys(wanted.orderby, Scope(wanted.entity_type, ENTITY, bound), bound)
    return len([key for key in keys if not key.told])


def count_statement(wanted: Wanted, bound: Bound) -> sql.Composed:
    """Return the statement that counts what is wanted, whatever the page.

    Of several parents it gives, for each of the parameter `parents`, its id and its count.

    Raises:
        QueryError: the filter makes no sense.
    """
    counting = _reading(wanted, bound).counting()
    if not wanted.has_parents:
        return counting.compose()
    return Select([PARENT, sql.SQL("c.*")], [_for_each_parent(counting.compose())]).compose()


def _for_each_parent(inner: sql.Composed) -> sql.Composed:
    return sql.SQL("unnest(%(parents)s::int[]) AS parent(id) CROSS JOIN LATERAL ({}) AS c").format(
        inner
    )


def _reading(wanted: Wanted, bound: Bound) -> "_Entities | Observations":
    if wanted.entity_type.name == "Observation":
        return Observations(wanted, bound)
    return _Entities(wanted, bound)


class _Entities:
    """Reads entities of the registry: anything but observations."""

    def __init__(self, wanted: Wanted, bound: Bound) -> None:
        self._wanted = wanted
        self._bound = bound
        name = wanted.entity_type.name
        source = source_of(name, guarded=bound.guarded)
        self._select = Select([], [sql.SQL("{} AS {}").format(source, ENTITY)])
        conditions = self._select.conditions
        if wanted.parent is not None:
            link = sql.SQL(TO_MANY[wanted.parent])
            conditions.append(link.format(parent=wanted.follows, child=ENTITY))
        if wanted.keys is not None:
            keys = bound.constant("keys", list(wanted.keys), "int[]")
            conditions.append(sql.SQL("{}.id = ANY ({})").format(ENTITY, keys))
        if wanted.filter is not None:
            scope = Scope(wanted.entity_type, ENTITY, bound)
            found, joins = where(compile_condition(wanted.filter, scope, bound), scope)
            conditions.append(found)
            self._select.tables += joins

    def counting(self) -> Select:
        self._select.columns.append(sql.SQL("count(*)"))
        return self._select

    def page(self) -> Select:
        wanted, select = self._wanted, self._select
        scope = Scope(wanted.entity_type, ENTITY, self._bound)
        select.keys += sort_keys(wanted.orderby, scope, self._bound)
        # Of an entity's few, a walk along all ids would be the planner's way to sort them.
        by_id = "{}.id" if wanted.parent is None else "({}.id + 0)"
        select.keys.append(
            SortKey(
                sql.SQL(by_id).format(ENTITY),
                descending=False,
                nullable=False,
                cast="int",
                told="id",
            )
        )
        select.tables += scope.joins
        if wanted.after is not None:
            select.conditions.append(comes_after(select.keys, wanted.after, self._bound))
        select.columns += read_columns(wanted)
        select.columns += place_columns(select.keys, [key.key for key in select.keys])
        if wanted.has_parents:
            select.columns += key_columns(select.keys)
        return select
