"""Dropping what is older than the operator keeps, and credentials that ended. Rollups stay.

Making partitions is `storage.partitions`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from psycopg import sql

from storage.database import Connection, query
from storage.edition import Edition, detect
from storage.partitions import (
    existing_partitions,
    literal,
    lock_partitions,
    partition_name,
)
from storage.rollups import LOG_ENTRIES, lock_rollups, refresh_locked

_LOCK_WAIT: Final = "5s"  # dropping waits for readers, and new writers would queue behind it


@dataclass(frozen=True, slots=True)
class Expired:
    """What a run removed. tables: partitions or chunks of `observation`. rows: of other tables."""

    tables: int
    rows: int


async def forget_credentials(conn: Connection, before: datetime) -> int:
    """Remove one-time tokens and staff sessions that ended before a time; return how many.

    What was done by them stays written (`storage.audit`). A spent token stays until it expires,
    so that it is not mistaken for a guess.
    """
    tokens = await conn.execute("DELETE FROM enrolment_token WHERE expires_at < %s", (before,))
    sessions = await conn.execute(
        "DELETE FROM staff_session WHERE least(expires_at, ended_at) < %s", (before,)
    )
    return tokens.rowcount + sessions.rowcount


async def forget_certificates(conn: Connection, before: datetime) -> int:
    """Empty gateway certificates that ended before a time; return how many.

    Serial, key id and dates stay: they say who held what and when, and no kid is taken twice.
    """
    emptied = await conn.execute(
        "UPDATE gateway_certificate SET certificate = NULL"
        " WHERE not_after < %s AND certificate IS NOT NULL",
        (before,),
    )
    return emptied.rowcount


async def expire(conn: Connection, before: datetime) -> Expired:
    """Remove observations and their evidence, refusals and quarantine from before a time.

    Observations go by whole partitions (UTC months) or chunks (UTC days), so up to one of them
    stays longer. Evidence stays while its epoch is open, because replays are found by it. Log
    entries are worked off first; hours before the floor are never recomputed afterwards.

    Raises:
        psycopg.errors.LockNotAvailable: long reads were in the way (an outage: try again later).
    """
    async with conn.transaction():
        await conn.execute("SELECT set_config('lock_timeout', %s, true)", (_LOCK_WAIT,))
        edition = await detect(conn)
        floor = _floor(before, edition)
        await lock_rollups(conn)
        while await refresh_locked(conn) == LOG_ENTRIES:
            pass
        if edition is Edition.PLAIN:
            tables = await _drop_months(conn, floor)
        else:
            cursor = await conn.execute("SELECT drop_chunks('observation', %s)", (floor,))
            tables = len(await cursor.fetchall())
        await conn.execute(query("raise_observation_floor"), {"floor": floor})
    async with conn.transaction():
        rows = 0
        await conn.execute(
            "DELETE FROM changed_day WHERE day < (%s AT TIME ZONE 'UTC')::date", (floor,)
        )
        for name in ("expire_extras", "expire_evidence", "expire_quarantine", "expire_refusals"):
            rows += (await conn.execute(query(name), {"floor": floor})).rowcount
    return Expired(tables, rows)


def _floor(before: datetime, edition: Edition) -> datetime:
    """Return the newest boundary of partitions or chunks that is not after `before`."""
    midnight = before.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.replace(day=1) if edition is Edition.PLAIN else midnight


async def _drop_months(conn: Connection, floor: datetime) -> int:
    """Drop the months before `floor`; return how many. Their range falls to the oldest partition.

    So a late reading finds a place at any moment, and the next run deletes it.
    """
    await lock_partitions(conn)
    partitions = await existing_partitions(conn)
    if floor.date() > partitions.floor:
        await conn.execute("ALTER TABLE observation DETACH PARTITION observation_older")
        old = sorted(month for month in partitions.months if month < floor.date())
        for month in old:
            table = sql.Identifier(partition_name(month))
            await conn.execute(sql.SQL("DROP TABLE {}").format(table))
        await _attach_older(conn, floor)
    else:
        old = []
    await conn.execute("DELETE FROM observation_older WHERE time < %s", (floor,))
    return len(old)


async def move_floor(conn: Connection, floor: datetime) -> None:
    """Let the oldest partition, on plain PostgreSQL, end at a month; before there are any others.

    For a database that is restored: the months before its floor were dropped, and what came late
    for them has a place there.
    """
    async with conn.transaction():
        await lock_partitions(conn)
        await conn.execute("ALTER TABLE observation DETACH PARTITION observation_older")
        await _attach_older(conn, floor)
        await conn.execute(query("raise_observation_floor"), {"floor": floor})


async def _attach_older(conn: Connection, floor: datetime) -> None:
    await conn.execute(
        sql.SQL(
            "ALTER TABLE observation"
            " ATTACH PARTITION observation_older FOR VALUES FROM (MINVALUE) TO ({})"
        ).format(literal(floor.date()))
    )
