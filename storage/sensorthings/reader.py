"""Reads the entities of OGC 18-088 from one unchanging state of the database.

Which statements are run is decided in `page` and `walk`, what they may
see in `schema`. How entities are written as JSON lives in `standards_mapping`.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

import psycopg
from psycopg import sql

from standards_mapping.sensorthings.entity import Row
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import Key, ObservationId
from standards_mapping.sensorthings.skiptoken import Place
from storage.access import let_read
from storage.database import Connection, Pool, open_pool, query
from storage.sensorthings.columns import TextPage, text_page
from storage.sensorthings.compiled import Compiled, compiled, is_geospatial, parameters
from storage.sensorthings.geometry import kinds_used, load_geometries, work_out
from storage.sensorthings.select import Wanted

STATEMENT_SECONDS: Final = 10
"""How long one statement may take before its request is refused."""

SESSION: Final = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "repeatable read",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    # A walk along the key gives observations in order. Where the planner expects few of them, and
    # it takes every bound it does not know for a narrow one, it would rather read and sort all.
    "enable_sort": "off",
    "jit": "off",
}
"""The settings of a session that reads entities and does nothing else."""

_TRUSTED_SECONDS: Final = 1.0


class SlowError(Exception):
    """A statement took longer than `STATEMENT_SECONDS`, or geometries did; it asked too much."""


class Lender(Protocol):
    """Whatever lends connections: a pool, or who chooses between pools."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for the length of a block."""


@dataclass(frozen=True, slots=True)
class Page:
    """Entities in their order, and where the next page begins, None where this is the last."""

    rows: tuple[Row, ...]
    rest: Place | None = None


def open_readers(dsn: str, *, application_name: str) -> AbstractAsyncContextManager[Pool]:
    """Open a pool of connections that read entities, for the length of the block.

    Of these, one statement may be a request's only round trip.
    """
    return open_pool(
        dsn,
        application_name=application_name,
        session=SESSION,
        autocommit=True,
        trusted_seconds=_TRUSTED_SECONDS,
    )


@asynccontextmanager
async def reading(
    lender: Lender, councils: Collection[int] = (), *, at_once: bool = False
) -> AsyncIterator["Reader"]:
    """Read from a single state, and be unable to change anything.

    councils: ids of those whose restricted datastreams are seen, too. at_once: one statement will
    do; then it is its own transaction where the connection is one of a `SESSION` like ours.

    Raises:
        SlowError: a statement took too long.
        QueryError: a value in the request cannot be computed with, e.g. it is too large.
        storage.database.OUTAGES: the database cannot be reached.
    """
    async with lender.connection() as conn:
        try:
            if at_once and not councils and _is_ours(conn):
                yield Reader(conn)
                return
            async with conn.transaction():
                if not _is_ours(conn):
                    await conn.execute(_BEGIN, prepare=False)  # several commands
                if councils:
                    await let_read(conn, councils)
                yield Reader(conn)
        except psycopg.errors.QueryCanceled as error:
            raise SlowError(f"longer than {STATEMENT_SECONDS} s") from error
        except psycopg.DataError as error:
            raise QueryError(f"cannot be computed: {error.diag.message_primary}") from error


def _is_ours(conn: Connection) -> bool:
    """Whether a connection was opened with `SESSION`; the server tells of the first of them."""
    told = conn.info.parameter_status("default_transaction_read_only")
    return conn.autocommit and told == "on"


_BEGIN: Final = sql.SQL(
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL TimeZone = 'UTC'; "
) + sql.SQL("; ").join(
    sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
    for name, value in SESSION.items()
    if not name.startswith("default_transaction")
)


class Reader:
    """Answers questions about entities; made by `reading`."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    async def page(self, wanted: Wanted, limit: int) -> Page:
        """Return the first entities wanted, at most `limit`.

        Raises:
            QueryError: the filter or the order makes no sense.
        """
        asked = replace(wanted, limit=limit + 1)
        statement = await self._compiled(asked)
        rows = await self._fetch(statement, parameters(statement, asked))
        found = tuple(map(statement.reader.row, rows[:limit]))
        return Page(found, _rest(rows, limit, statement))

    async def text_page(self, wanted: Wanted, limit: int) -> TextPage:
        """Return the first observations wanted, at most `limit`, for `observation_text`.

        Raises:
            QueryError: the filter or the order makes no sense.
        """
        asked = replace(wanted, limit=limit + 1, as_text=True)
        statement = await self._compiled(asked)
        [row] = await self._fetch(statement, parameters(statement, asked))
        return text_page(row, limit)

    async def pages(self, wanted: Wanted, parents: Iterable[Key], limit: int) -> Mapping[Key, Page]:
        """Return for each parent the first of the entities it links to, at most `limit` each.

        Raises:
            QueryError: the filter or the order makes no sense.
        """
        found: dict[Key, list[tuple[Any, ...]]] = {parent: [] for parent in parents}
        if not found:
            return {}
        asked = replace(wanted, limit=limit + 1)
        statement = await self._compiled(asked)
        values = parameters(statement, asked) | {"parents": list(found)}
        for row in await self._fetch(statement, values):
            found[row[0]].append(row)
        return {
            parent: Page(
                tuple(map(statement.reader.row, rows[:limit])), _rest(rows, limit, statement)
            )
            for parent, rows in found.items()
        }

    async def count(self, wanted: Wanted) -> int:
        """Return how many entities are wanted, on all pages together.

        Raises:
            QueryError: the filter makes no sense.
        """
        statement = await self._compiled(wanted, counts=True)
        ((number,),) = await self._fetch(statement, parameters(statement, wanted))
        return int(number)

    async def counts(self, wanted: Wanted, parents: Iterable[Key]) -> Mapping[Key, int]:
        """Return for each parent how many entities it links to, on all pages together.

        Raises:
            QueryError: the filter makes no sense.
        """
        statement = await self._compiled(wanted, counts=True)
        values = parameters(statement, wanted) | {"parents": list(parents)}
        return dict(await self._fetch(statement, values))

    async def by_key(self, wanted: Wanted, keys: Iterable[Key]) -> Mapping[Key, Row]:
        """Return the entities of those keys that there are, whatever else is wanted."""
        chosen = list(dict.fromkeys(keys))
        if not chosen:
            return {}
        asked = replace(wanted, keys=chosen)
        statement = await self._compiled(asked)
        rows = await self._fetch(statement, parameters(statement, asked))
        return {row.key: row for row in map(statement.reader.row, rows)}

    async def versions(self, key: ObservationId, most: int) -> Sequence[tuple[Any, ...]]:
        """Return what an observation said, oldest first.

        Of each version: its number, value, other result, quality, start of an interval of its own,
        parameters, since when, and why. Whether it may be read is asked before, by `by_key`.
        """
        cursor = await self._conn.execute(
            query("observation_versions"),
            {"datastream_id": key.datastream, "time": key.time, "most": most},
        )
        return await cursor.fetchall()

    async def _compiled(self, wanted: Wanted, *, counts: bool = False) -> Compiled:
        """Return a statement, which knows the geometries that it is about."""
        if not is_geospatial(wanted.filter, wanted.orderby):
            return compiled(wanted, counts=counts)
        kinds = kinds_used(wanted.entity_type, wanted.filter, wanted.orderby)
        try:
            found = await load_geometries(self._conn, kinds)
            return await work_out(partial(compiled, wanted, found, counts=counts))
        except TimeoutError as error:
            raise SlowError("comparing geometries took too long") from error

    async def _fetch(self, statement: Compiled, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        cursor = await self._conn.execute(statement.text, values, binary=True)
        return await cursor.fetchall()


def _rest(rows: Sequence[Sequence[Any]], limit: int, statement: Compiled) -> Place | None:
    """Return the place of the last row of a page, where one more than it was found."""
    if not 0 < limit < len(rows):
        return None
    return statement.reader.place(rows[limit - 1])
