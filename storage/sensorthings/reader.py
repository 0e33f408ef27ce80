"""Reads the entities of OGC 18-088 from one unchanging state of the database.

Which statements are run is decided in `page` and `walk`, what they may
see in `schema`. How entities are written as JSON lives in `standards_mapping`.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import psycopg
from psycopg import sql

from standards_mapping.sensorthings.entity import Row
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import Key
from storage.database import Connection, Pool
from storage.sensorthings.operand import Bound
from storage.sensorthings.page import count_statement, page_statement
from storage.sensorthings.select import RowReader, Wanted

STATEMENT_SECONDS: Final = 10
"""How long one statement may take before its request is refused."""


class SlowError(Exception):
    """A statement took longer than `STATEMENT_SECONDS`; the question was too big."""


@dataclass(frozen=True, slots=True)
class Page:
    """Entities in their order, and whether there are more after them."""

    rows: tuple[Row, ...]
    more: bool

    @classmethod
    def cut(cls, rows: Sequence[Row], limit: int) -> Self:
        """Return the first `limit` of rows of which one more than that was asked for."""
        return cls(tuple(rows[:limit]), len(rows) > limit)


@asynccontextmanager
async def reading(pool: Pool) -> AsyncIterator["Reader"]:
    """Read within one transaction that sees a single state and can change nothing.

    Raises:
        SlowError: a statement took too long.
        QueryError: a value in the request cannot be computed with, e.g. it is too large.
        storage.database.OUTAGES: the database cannot be reached.
    """
    async with pool.connection() as conn:
        try:
            async with conn.transaction():
                await conn.execute(_BEGIN, prepare=False)  # several commands
                yield Reader(conn)
        except psycopg.errors.QueryCanceled as error:
            raise SlowError(f"longer than {STATEMENT_SECONDS} s") from error
        except psycopg.DataError as error:
            raise QueryError(f"cannot be computed: {error.diag.message_primary}") from error


# A walk along the key gives observations in order. Where the planner expects few of them, and it
# takes every bound it does not know for a narrow one, it would rather read and sort them all.
_BEGIN: Final = sql.SQL(
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SET LOCAL statement_timeout = {};"
    " SET LOCAL TimeZone = 'UTC';"
    " SET LOCAL enable_sort = off;"
    " SET LOCAL jit = off"
).format(sql.Literal(f"{STATEMENT_SECONDS}s"))


class Reader:
    """Answers questions about entities; made by `reading`."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    async def page(self, wanted: Wanted, limit: int) -> Page:
        """Return the first entities wanted, at most `limit`.

        Raises:
            QueryError: the filter or the order makes no sense.
        """
        bound = Bound()
        statement = page_statement(replace(wanted, limit=limit + 1), bound)
        reader = RowReader(wanted)
        rows = [reader.row(values) for values in await self._fetch(statement, bound)]
        return Page.cut(rows, limit)

    async def pages(self, wanted: Wanted, parents: Iterable[Key], limit: int) -> Mapping[Key, Page]:
        """Return for each parent the first of the entities it links to, at most `limit` each.

        Raises:
            QueryError: the filter or the order makes no sense.
        """
        found: dict[Key, list[Row]] = {parent: [] for parent in parents}
        if not found:
            return {}
        bound = Bound()
        statement = page_statement(replace(wanted, limit=limit + 1), bound)
        bound.values["parents"] = list(found)
        reader = RowReader(wanted)
        for values in await self._fetch(statement, bound):
            found[values[0]].append(reader.row(values))
        return {parent: Page.cut(rows, limit) for parent, rows in found.items()}

    async def count(self, wanted: Wanted) -> int:
        """Return how many entities are wanted, on all pages together.

        Raises:
            QueryError: the filter makes no sense.
        """
        bound = Bound()
        ((number,),) = await self._fetch(count_statement(wanted, bound), bound)
        return int(number)

    async def counts(self, wanted: Wanted, parents: Iterable[Key]) -> Mapping[Key, int]:
        """Return for each parent how many entities it links to, on all pages together.

        Raises:
            QueryError: the filter makes no sense.
        """
        bound = Bound()
        statement = count_statement(wanted, bound)
        bound.values["parents"] = list(parents)
        return dict(await self._fetch(statement, bound))

    async def by_key(self, wanted: Wanted, keys: Iterable[Key]) -> Mapping[Key, Row]:
        """Return the entities of those keys that there are, whatever else is wanted."""
        chosen = list(dict.fromkeys(keys))
        if not chosen:
            return {}
        bound = Bound()
        statement = page_statement(replace(wanted, keys=chosen), bound)
        reader = RowReader(wanted)
        rows = [reader.row(values) for values in await self._fetch(statement, bound)]
        return {row.key: row for row in rows}

    async def _fetch(self, statement: sql.Composed, bound: Bound) -> list[tuple[Any, ...]]:
        cursor = await self._conn.execute(statement, bound.values)
        return await cursor.fetchall()
