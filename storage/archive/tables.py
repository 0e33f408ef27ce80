"""What tables of ours a database has: for whoever takes or brings all of it.

Names come from the migrations and the rest from the database, so that a table that a later
migration adds is in the next backup, and a table that is somebody else's never.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Final

from psycopg import sql

from storage.database import Connection, query
from storage.edition import Edition, detect
from storage.migration import MIGRATIONS
from storage.partitions import existing_partitions, next_month


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its columns, in their order, and the types of these."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """Its name, for statements."""
        return sql.Identifier(self.name)

    @property
    def column_list(self) -> sql.Composed:
        """Its columns, for statements."""
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))


@dataclass(frozen=True, slots=True)
class Counter:
    """Where an identity column stands; `called` as in PostgreSQL's setval()."""

    table: str
    column: str
    value: int
    called: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Midnights in UTC between which observations lie; None has no bound."""

    start: date | None
    end: date | None


_TABLE: Final = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)
_FUNCTION: Final = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION (\w+)", re.MULTILINE)


def functions() -> list[str]:
    """Return the names of the functions that any migration makes."""
    return _made(_FUNCTION)


@cache
def _made(what: re.Pattern[str]) -> list[str]:
    """Return the names of what any migration makes."""
    return sorted(
        {
            name
            for file in MIGRATIONS.glob("*.sql")
            for name in what.findall(file.read_text(encoding="utf-8"))
        }
    )


async def tables(conn: Connection) -> list[Table]:
    """Return our tables, each after those that it refers to; none before the first migration."""
    cursor = await conn.execute(query("tables"), {"ours": _made(_TABLE)})
    found = {
        name: Table(name, tuple(columns), tuple(types))
        for name, columns, types in await cursor.fetchall()
    }
    cursor = await conn.execute(query("table_references"), {"tables": list(found)})
    references: dict[str, set[str]] = {name: set() for name in found}
    for table, other in await cursor.fetchall():
        references[table].add(other)
    return [found[name] for name in _in_order(references)]


def _in_order(references: Mapping[str, set[str]]) -> list[str]:
    """Return names so that each comes after those it refers to, and always in the same order."""
    sorter = TopologicalSorter(references)
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


async def counters(conn: Connection, names: Sequence[str]) -> list[Counter]:
    """Return where the identity columns of these tables stand."""
    cursor = await conn.execute(query("identity_columns"), {"tables": list(names)})
    found = []
    for table, column, sequence in await cursor.fetchall():
        schema, name = sequence.split(".")
        state = await conn.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(
                sql.Identifier(schema.strip('"'), name.strip('"'))
            )
        )
        [(value, called)] = await state.fetchall()
        found.append(Counter(table, column, value, called))
    return found


async def set_counters(conn: Connection, wanted: Sequence[Counter]) -> None:
    """Put identity columns where they were."""
    for counter in wanted:
        await conn.execute(
            "SELECT setval(pg_get_serial_sequence(quote_ident(%s), %s), %s, %s)",
            (counter.table, counter.column, counter.value, counter.called),
        )


async def stretches(conn: Connection) -> list[Stretch]:
    """Return months of observations, oldest first, that cover all there is, and what is around."""
    if await detect(conn) is Edition.PLAIN:
        months = set((await existing_partitions(conn)).months)
    else:
        cursor = await conn.execute(query("chunk_months"))
        months = {month.date() for (month,) in await cursor.fetchall()}
    edges: list[date | None] = [*sorted(months | {next_month(month) for month in months})]
    bounds = [None, *edges, None]
    return [Stretch(*pair) for pair in pairwise(bounds)]


async def estimated_rows(conn: Connection, names: Sequence[str]) -> int:
    """Return about how many rows these tables hold: enough for a progress bar."""
    cursor = await conn.execute(query("estimated_rows"), {"tables": list(names)})
    [(rows,)] = await cursor.fetchall()
    return int(rows)
