"""What is wanted of the SensorThings entities, and the SELECT being put together to get it.

Which tables it reads is decided in `page` and `walk`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import sql

from standards_mapping.sensorthings.entity import Row
from standards_mapping.sensorthings.expression import Expression, Order
from standards_mapping.sensorthings.model import EntityType, Key, ObservationId
from storage.sensorthings.filter import SortKey
from storage.sensorthings.operand import Sql
from storage.sensorthings.schema import COLUMNS, TO_ONE, Column

ENTITY: Final = sql.Identifier("e")
"""The alias of the entities wanted."""

PARENT: Final = sql.SQL("parent.id")
"""The id of the entity whose link is followed."""


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
class Select:
    """A SELECT being put together; limit and offset are numbers of our own."""

    columns: list[Sql]
    tables: list[Sql]
    conditions: list[Sql] = field(default_factory=list)
    keys: list[SortKey] = field(default_factory=list)

    def compose(self, *, limit: int | None = None, skip: int = 0) -> sql.Composed:
        """Return the statement."""
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


class RowReader:
    """Makes entities of the rows of a page statement."""

    def __init__(self, wanted: Wanted) -> None:
        self._observations = wanted.entity_type.name == "Observation"
        self._key = 0 if wanted.parent is None else 1
        position = self._key + (2 if self._observations else 1)
        self._parts: list[tuple[str, Callable[..., Any], slice]] = []
        for name, column in _columns(wanted):
            width = len(column.read)
            self._parts.append((name, column.combine, slice(position, position + width)))
            position += width
        self._links = [(name, position + at) for at, name in enumerate(wanted.links)]

    def row(self, values: Sequence[Any]) -> Row:
        """Return the entity; with a parent, the parent's id comes first in its row."""
        key: Key = values[self._key]
        if self._observations:
            key = ObservationId.of(values[self._key], values[self._key + 1])
        found = {name: combine(*values[where]) for name, combine, where in self._parts}
        return Row(key, found, {name: values[at] for name, at in self._links})


def _columns(wanted: Wanted) -> list[tuple[str, Column]]:
    kept = COLUMNS[wanted.entity_type.name]
    return [(name, kept[name]) for name in wanted.properties if name in kept]


def read_columns(wanted: Wanted) -> list[Sql]:
    """Return what to select of `ENTITY` for a `RowReader`: its key, properties, then links."""
    name = wanted.entity_type.name
    observations = name == "Observation"
    texts = ["{e}.datastream_id", "{e}.time"] if observations else ["{e}.id"]
    texts += [text for _, column in _columns(wanted) for text in column.read]
    texts += [TO_ONE[name, link] for link in wanted.links]
    return [sql.SQL(text).format(e=ENTITY) for text in texts]


def name_of(letter: str, number: int) -> sql.Identifier:
    """Return the name of a numbered column."""
    return sql.Identifier(f"{letter}{number}")


def named(letter: str, columns: Sequence[Sql]) -> list[Sql]:
    """Return columns with numbered names."""
    return [
        sql.SQL("{} AS {}").format(column, name_of(letter, number))
        for number, column in enumerate(columns)
    ]


def key_columns(keys: Sequence[SortKey]) -> list[Sql]:
    """Return sort keys as columns, by which whoever selects from here can sort again."""
    return named("k", [key.key for key in keys])


def outer(number: int) -> sql.Composed:
    """Return the name of a key column in the subquery `c`."""
    return sql.SQL("c.{}").format(name_of("k", number))
