"""The statements that read SensorThings entities: pages of them, and how many there are.

Nothing is run here. How observations are read is `walk`.
"""

from typing import Final

from psycopg import sql

from standards_mapping.sensorthings.expression import Order, Path
from standards_mapping.sensorthings.model import EntityType
from storage.sensorthings.filter import Scope, SortKey, compile_condition, sort_keys, where
from storage.sensorthings.operand import Bound
from storage.sensorthings.schema import SOURCES, TO_MANY
from storage.sensorthings.select import (
    ENTITY,
    PARENT,
    Select,
    Wanted,
    key_columns,
    outer,
    read_columns,
)
from storage.sensorthings.walk import Observations

_TIME_KEYS: Final = (("phenomenonTime",), ("resultTime",))


def has_stable_order(entity_type: EntityType, orderby: tuple[Order, ...]) -> bool:
    """Whether a page can start after an entity, whatever is inserted meanwhile.

    So it is in the order of ids, and for observations in the order of time, either way.
    """
    if not orderby:
        return True
    if entity_type.name != "Observation" or len(orderby) > 1:
        return False
    expression = orderby[0].expression
    return isinstance(expression, Path) and expression.segments in _TIME_KEYS


def page_statement(wanted: Wanted, bound: Bound) -> sql.Composed:
    """Return the statement for a page, whose rows a `RowReader` reads.

    With a parent, the parameter `parents` holds the ids of parents, each of which has a page of
    its own; the rows begin with the parent's id.

    Raises:
        QueryError: the filter or the order makes no sense.
    """
    page = _reading(wanted, bound).page()
    if wanted.parent is None:
        return page.compose(limit=wanted.limit, skip=wanted.skip)
    keys = [SortKey(PARENT, descending=False, nullable=False)]
    for number, key in enumerate(page.keys):
        keys.append(SortKey(outer(number), key.descending, key.nullable))
    inner = page.compose(limit=wanted.limit, skip=wanted.skip)
    return Select([PARENT, sql.SQL("c.*")], [_for_each_parent(inner)], keys=keys).compose()


def count_statement(wanted: Wanted, bound: Bound) -> sql.Composed:
    """Return the statement that counts what is wanted, whatever the page.

    With a parent it gives, for each of the parameter `parents`, its id and its count.

    Raises:
        QueryError: the filter makes no sense.
    """
    counting = _reading(wanted, bound).counting()
    if wanted.parent is None:
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
        self._select = Select([], [sql.SQL("{} AS {}").format(SOURCES[name], ENTITY)])
        conditions = self._select.conditions
        if wanted.parent is not None:
            link = sql.SQL(TO_MANY[wanted.parent])
            conditions.append(link.format(parent=PARENT, child=ENTITY))
        if wanted.keys is not None:
            keys = bound.value([key for key in wanted.keys if isinstance(key, int)], "int[]")
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
        select.keys.append(
            SortKey(sql.SQL("{}.id").format(ENTITY), descending=False, nullable=False)
        )
        select.tables += scope.joins
        if wanted.after is not None:
            after = self._bound.value(wanted.after, "int")
            select.conditions.append(sql.SQL("{}.id > {}").format(ENTITY, after))
        select.columns += read_columns(wanted)
        if wanted.parent is not None:
            select.columns += key_columns(select.keys)
        return select
