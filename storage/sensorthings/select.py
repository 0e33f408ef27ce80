"""What is wanted of the SensorThings entities, and the SELECT being put together to get it.

Which tables it reads is decided in `page` and `walk`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from psycopg import sql

from standards_mapping.sensorthings.entity import Row
from standards_mapping.sensorthings.expression import Expression, Order
from standards_mapping.sensorthings.model import EntityType, Key, ObservationId
from standards_mapping.sensorthings.skiptoken import Place
from storage.sensorthings.columns import columns_read
from storage.sensorthings.filter import SortKey
from storage.sensorthings.operand import Sql
from storage.sensorthings.schema import COLUMNS, TO_ONE, Column

ENTITY: Final = sql.Identifier("e")
"""The alias of the entities wanted."""

PARENT: Final = sql.SQL("parent.id")
"""The id of the entity whose link is followed, where there are several."""

ONE_PARENT: Final = sql.SQL("%(parent)s::int")
"""The same where there is just one: a statement that asks for it alone has one plan for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entities are wanted, in which order, and what of each.

    parent: the type of entity and the link whose far side is meant; None for all entities.
    owner: the one entity whose link that is; None where there are several.
    keys: only these entities. after: only what comes after this place in the order.
    limit: None for no limit. properties, links: what of each entity; links are those to one
    entity. as_text: of observations, what `columns` reads, and nothing else.
    """

    entity_type: EntityType
    parent: tuple[str, str] | None = None
    owner: Key | None = None
    keys: Sequence[Key] | None = None
    filter: Expression | None = None
    orderby: tuple[Order, ...] = ()
    after: Place | None = None
    skip: int = 0
    limit: int | None = None
    properties: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    as_text: bool = False

    @property
    def follows(self) -> Sql:
        """The id of the entity whose link is followed."""
        return PARENT if self.owner is None else ONE_PARENT

    @property
    def has_parents(self) -> bool:
        """Whether each of several entities has a page of its own."""
        return self.parent is not None and self.owner is None


@dataclass(slots=True)
class Select:
    """A SELECT being put together; limit and offset are numbers of our own."""

    columns: list[Sql]
    tables: list[Sql]
    conditions: list[Sql] = field(default_factory=list)
    keys: list[SortKey] = field(default_factory=list)

    def compose(
        self, *, limit: int | None = None, skip: int = 0, fence: bool = False
    ) -> sql.Composed:
        """Return the statement. fence: one that no condition from outside is put into."""
        parts: list[Sql] = [sql.SQL("SELECT"), sql.SQL(", ").join(self.columns)]
        parts += [sql.SQL("FROM"), sql.SQL(" ").join(self.tables)]
        if self.conditions:
            parts += [sql.SQL("WHERE"), sql.SQL(" AND ").join(self.conditions)]
        if self.keys:
            ordered = [key.key + key.direction() for key in self.keys]
            parts += [sql.SQL("ORDER BY"), sql.SQL(", ").join(ordered)]
        if limit is not None:
            parts.append(sql.SQL("LIMIT {}").format(sql.Literal(limit)))
        if skip or fence:
            parts.append(sql.SQL("OFFSET {}").format(sql.Literal(skip)))
        return sql.SQL(" ").join(parts)


class RowReader:
    """Makes entities of the rows of a page statement; places: how many `place_columns` it has."""

    def __init__(self, wanted: Wanted, places: int = 0) -> None:
        self._places = places
        self._observations = wanted.entity_type.name == "Observation"
        self._key = 1 if wanted.has_parents else 0
        position = self._key + (2 if self._observations else 1)
        self._parts: list[tuple[str, Callable[..., Any], slice]] = []
        for name, column in _columns(wanted):
            width = len(column.read)
            self._parts.append((name, column.combine, slice(position, position + width)))
            position += width
        self._links = [(name, position + at) for at, name in enumerate(wanted.links)]
        self._keys = position + len(wanted.links)

    def key(self, values: Sequence[Any]) -> Key:
        """Return the key of the entity."""
        if self._observations:
            return ObservationId.of(values[self._key], values[self._key + 1])
        return cast("Key", values[self._key])

    def place(self, values: Sequence[Any]) -> Place:
        """Return where the entity is in the order."""
        return Place(tuple(values[self._keys : self._keys + self._places]), self.key(values))

    def row(self, values: Sequence[Any]) -> Row:
        """Return the entity; of several parents, the parent's id comes first in its row."""
        key = self.key(values)
        found = {name: combine(*values[where]) for name, combine, where in self._parts}
        return Row(key, found, {name: values[at] for name, at in self._links})


def _columns(wanted: Wanted) -> list[tuple[str, Column]]:
    kept = COLUMNS[wanted.entity_type.name]
    return [(name, kept[name]) for name in wanted.properties if name in kept]


def read_columns(wanted: Wanted) -> list[Sql]:
    """Return what to select of `ENTITY` for a `RowReader`: its key, properties, then links."""
    name = wanted.entity_type.name
    observations = name == "Observation"
    if wanted.as_text:
        return columns_read(ENTITY)
    texts = ["{e}.datastream_id", "{e}.time"] if observations else ["{e}.id"]
    texts += [text for _, column in _columns(wanted) for text in column.read]
    texts += [TO_ONE[name, link] for link in wanted.links]
    return [sql.SQL(text).format(e=ENTITY) for text in texts]


def place_columns(keys: Sequence[SortKey], names: Sequence[Sql]) -> list[Sql]:
    """Return as text what the keys of a page are, but for what an entity's own key tells."""
    texts = [
        sql.SQL("({})::text").format(name)
        for key, name in zip(keys, names, strict=True)
        if not key.told
    ]
    return named("t", texts)  # a cast alone would be named as what it is cast from


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
