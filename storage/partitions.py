"""The monthly partitions of `observation` on plain PostgreSQL: made here, never missing.

A hypertable makes its own chunks, so nothing happens there. Dropping what is too old is
`storage.retention`.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Final

from psycopg import sql
from psycopg.pq import TransactionStatus

from storage.database import Connection, query
from storage.edition import Edition, detect

FIRST_YEAR: Final = 2000
END_YEAR: Final = 2100  # outside [FIRST_YEAR, END_YEAR) an open-ended partition takes the row

_LOCK: Final = 0x4B65_7262_0002
_TRUST_SECONDS: Final = 60.0  # retention, in another process, may have dropped what is remembered

_Database = tuple[str, int, str]
_known: dict[_Database, tuple[float, frozenset[date] | None]] = {}
"""Per database: when it was looked at, and its months; None: a hypertable."""


async def ensure_partitions(conn: Connection, first: datetime, last: datetime) -> None:
    """Make sure that observations from `first` to `last` inclusive have a place.

    Call it before the transaction that stores a batch; mostly it only consults memory. Months
    between the two are made as well: for a few far-apart times use `ensure_months`.
    """
    await ensure_months(conn, months_between(first, last))


async def ensure_months(conn: Connection, months: Iterable[date]) -> None:
    """Make sure that each month, given as any day of it in UTC, has a partition.

    Several processes may do this at once. Inside a transaction of the caller nothing is
    remembered, because it may yet be rolled back.
    """
    wanted = {month.replace(day=1) for month in months if FIRST_YEAR <= month.year < END_YEAR}
    database = (conn.info.host, conn.info.port, conn.info.dbname)
    looked_at, present = _known.get(database, (float("-inf"), frozenset()))
    fresh = time.monotonic() - looked_at < _TRUST_SECONDS
    if fresh and (present is None or wanted <= present):
        return
    remember = conn.info.transaction_status == TransactionStatus.IDLE
    looked_at = time.monotonic()
    async with conn.transaction():
        existing = await _existing_months(conn)
        if existing is not None and not wanted <= existing:
            await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            existing = await _existing_months(conn) or frozenset()
            for month in sorted(wanted - existing):
                await _create(conn, month)
            existing |= wanted
    if remember:
        _known[database] = (looked_at, existing)


def months_between(first: datetime, last: datetime) -> Iterator[date]:
    """Yield the first day of each UTC month that [first, last] touches and that can have one."""
    month = max(first.astimezone(UTC).date().replace(day=1), date(FIRST_YEAR, 1, 1))
    end = min(last.astimezone(UTC).date(), date(END_YEAR - 1, 12, 31))
    while month <= end:
        yield month
        month = next_month(month)


def next_month(month: date) -> date:
    """Return the first day of the month after `month`."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def partition_name(month: date) -> str:
    """Return the table that holds the observations of `month`, e.g. observation_2024_02."""
    return f"observation_{month:%Y_%m}"


async def existing_months(conn: Connection) -> frozenset[date]:
    """Return the months that have a partition; none on a hypertable."""
    return await _existing_months(conn) or frozenset()


async def _existing_months(conn: Connection) -> frozenset[date] | None:
    cursor = await conn.execute(query("existing_months"))
    months = frozenset(month for (month,) in await cursor.fetchall())
    if not months and await detect(conn) is not Edition.PLAIN:
        return None
    return months


async def _create(conn: Connection, month: date) -> None:
    """Make one partition apart and attach it: readers and writers of the others go on."""
    table = sql.Identifier(partition_name(month))
    start, end = (
        datetime(edge.year, edge.month, 1, tzinfo=UTC) for edge in (month, next_month(month))
    )
    await conn.execute(
        sql.SQL("CREATE TABLE {} (LIKE observation INCLUDING DEFAULTS)").format(table)
    )
    await conn.execute(
        sql.SQL("ALTER TABLE observation ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            table, sql.Literal(start), sql.Literal(end)
        )
    )
