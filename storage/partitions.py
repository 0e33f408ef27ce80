"""The monthly partitions of `observation` on plain PostgreSQL: made here, never missing.

A hypertable makes its own chunks, so nothing happens there. Dropping what is too old is
`storage.retention`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from weakref import WeakKeyDictionary

from psycopg import sql
from psycopg.pq import TransactionStatus

from storage.database import Connection, query
from storage.edition import Edition, detect

FIRST_MONTH: Final = date(2000, 1, 1)
LAST_MONTH: Final = date(2099, 12, 1)  # an open-ended partition takes what is outside the two

_LOCK: Final = 0x4B65_7262_0002


@dataclass(frozen=True, slots=True)
class Partitions:
    """The months that have a partition, and the one before which none is needed."""

    months: frozenset[date]
    floor: date

    def missing(self, wanted: Iterable[date]) -> set[date]:
        """Return those of the `wanted` months that still need one."""
        return {month for month in wanted if month >= self.floor} - self.months


_known: WeakKeyDictionary[Connection, Partitions | None] = WeakKeyDictionary()
"""What each connection has seen; None: a hypertable. It stays true while the connection lasts,
because a month that retention drops falls to the open-ended partition in the same moment."""


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
    firsts = {month.replace(day=1) for month in months}
    wanted = {month for month in firsts if FIRST_MONTH <= month <= LAST_MONTH}
    if conn in _known:
        known = _known[conn]
        if known is None or not known.missing(wanted):
            return
    remember = conn.info.transaction_status == TransactionStatus.IDLE
    async with conn.transaction():
        partitions = await _make_missing(conn, wanted)
    if remember:
        _known[conn] = partitions


async def _make_missing(conn: Connection, wanted: set[date]) -> Partitions | None:
    """Make the partitions that are missing; return all there are, None on a hypertable."""
    if await detect(conn) is not Edition.PLAIN:
        return None
    partitions = await existing_partitions(conn)
    if not partitions.missing(wanted):
        return partitions
    await lock_partitions(conn)
    partitions = await existing_partitions(conn)
    for month in sorted(partitions.missing(wanted)):
        await _create(conn, month)
    return await existing_partitions(conn)


async def lock_partitions(conn: Connection) -> None:
    """Let nobody else make or drop partitions for the rest of the transaction."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


async def existing_partitions(conn: Connection) -> Partitions:
    """Return the partitions there are, on plain PostgreSQL."""
    cursor = await conn.execute(query("existing_months"))
    months = frozenset(month for (month,) in await cursor.fetchall())
    cursor = await conn.execute("SELECT (time AT TIME ZONE 'UTC')::date FROM observation_floor")
    return Partitions(months, max([FIRST_MONTH, *(floor for (floor,) in await cursor.fetchall())]))


def months_between(first: datetime, last: datetime) -> Iterator[date]:
    """Yield the first day of each UTC month that [first, last] touches and that can have one."""
    month = max(first.astimezone(UTC).date().replace(day=1), FIRST_MONTH)
    end = min(last.astimezone(UTC).date(), LAST_MONTH)
    while month <= end:
        yield month
        month = next_month(month)


def next_month(month: date) -> date:
    """Return the first day of the month after `month`."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def partition_name(month: date) -> str:
    """Return the table that holds the observations of `month`, e.g. observation_2024_02."""
    return f"observation_{month:%Y_%m}"


async def _create(conn: Connection, month: date) -> None:
    """Make one partition apart and attach it: readers and writers of the others go on."""
    table = sql.Identifier(partition_name(month))
    await conn.execute(
        sql.SQL("CREATE TABLE {} (LIKE observation INCLUDING DEFAULTS)").format(table)
    )
    await conn.execute(
        sql.SQL("ALTER TABLE observation ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            table, literal(month), literal(next_month(month))
        )
    )


def literal(month: date) -> sql.Literal:
    """Return the instant at which a UTC month begins, for a partition's bound."""
    return sql.Literal(datetime(month.year, month.month, 1, tzinfo=UTC))
