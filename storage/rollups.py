"""Hourly summaries of every datastream, exact whenever and in whatever order observations come.

Whoever stores observations logs, in the same transaction, the distinct (hour, datastream) of the
rows really inserted in `rollup_log`; the hour is the one, in UTC, that the time lies in. Data
and log become visible together. One worker takes log entries and recomputes those hours from
scratch, so nothing is lost, repeating does no harm, and writers never wait. Entries must not be
left out because they were logged before: the worker may have taken those already.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Final

from device_protocol.kinds import BEARINGS, FULL_TURN, LEVEL_UNITS
from storage.aggregation import (
    Aggregation,
    Summary,
    aggregation_of,
)
from storage.database import Connection, query

LOG_ENTRIES: Final = 50_000
"""The most entries one refresh takes; when it took as many there may be more."""

_LOCK: Final = 0x4B65_7262_0003
_HOUR: Final = timedelta(hours=1)

_Pair = tuple[datetime, int]  # start of the hour, datastream


@dataclass(frozen=True, slots=True)
class HourlyRollup:
    """One hour of one datastream. bucket: when the hour begins, UTC."""

    datastream_id: int
    bucket: datetime
    unit: str
    aggregation: Aggregation
    summary: Summary

    @property
    def value(self) -> float | None:
        """What stands for the hour, in the datastream's unit; None where nothing does."""
        return self.summary.value(self.aggregation, self.unit)


async def refresh_rollups(conn: Connection) -> int:
    """Recompute hours that were logged; return how many log entries that took.

    One transaction, READ COMMITTED: each recomputation sees at least what the entries were
    logged with. Returns 0 at once while another worker is at it, because two could overwrite
    each other's newer result.
    """
    async with conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor = await conn.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
        if await cursor.fetchone() != (True,):
            return 0
        return await refresh_locked(conn)


async def lock_rollups(conn: Connection) -> None:
    """Keep every other worker out for the rest of the transaction."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


async def refresh_locked(conn: Connection) -> int:
    """Do what `refresh_rollups` does, in a transaction that holds the lock."""
    cursor = await conn.execute(query("take_rollup_log"), {"entries": LOG_ENTRIES})
    entries = await cursor.fetchall()
    if entries:
        await _note_days(conn, entries)
        pairs = await _affected(conn, entries)
        floors = await _floors(conn, pairs)
        await _recompute(
            conn,
            (pair for pair in pairs if pair[1] not in floors or pair[0] >= floors[pair[1]]),
        )
    return len(entries)


async def _note_days(conn: Connection, entries: Sequence[_Pair]) -> None:
    """Note the UTC days that got observations, for whoever exports closed days."""
    buckets, datastream_ids = zip(*entries, strict=True)
    await conn.execute(
        query("note_changed_days"),
        {"buckets": list(buckets), "datastream_ids": list(datastream_ids)},
    )


async def _floors(conn: Connection, pairs: Iterable[_Pair]) -> dict[int, datetime]:
    """Return, of datastreams that observations were dropped of, the time before which."""
    cursor = await conn.execute(
        query("observation_floors"),
        {"datastream_ids": sorted({datastream_id for _, datastream_id in pairs})},
    )
    return dict(await cursor.fetchall())


async def _affected(conn: Connection, entries: Sequence[_Pair]) -> set[_Pair]:
    """Return the hours to recompute for log entries.

    A mean that ends on the hour is of the hour before (see refresh_rollups.sql).
    """
    cursor = await conn.execute(
        "SELECT id FROM datastream WHERE averaging_seconds > 0 AND id = ANY (%s)",
        (list({datastream_id for _, datastream_id in entries}),),
    )
    averaged = {datastream_id for (datastream_id,) in await cursor.fetchall()}
    pairs = set(entries)
    pairs |= {
        (bucket - _HOUR, datastream) for bucket, datastream in entries if datastream in averaged
    }
    return pairs


async def _recompute(conn: Connection, pairs: Iterable[_Pair]) -> None:
    """Recompute hours, one statement a day, days in order."""
    for _, day in groupby(sorted(pairs), _day):
        buckets, datastream_ids = zip(*day, strict=True)
        await conn.execute(
            query("refresh_rollups"),
            {
                "buckets": list(buckets),
                "datastream_ids": list(datastream_ids),
                "low": buckets[0],
                "high": buckets[-1] + _HOUR,
                "level_units": sorted(LEVEL_UNITS),
                "bearings": sorted(BEARINGS),
                "bearing_units": list(FULL_TURN),
                "full_turns": list(FULL_TURN.values()),
            },
            prepare=False,  # planned for these bounds, never for any
        )


def _day(pair: _Pair) -> date:
    return pair[0].astimezone(UTC).date()


async def hourly(
    conn: Connection, datastream_ids: Sequence[int], start: datetime, end: datetime
) -> list[HourlyRollup]:
    """Return the hours that begin in [start, end), by datastream and time.

    Hours without a numeric result are absent. Rollups outlive the observations they are of.
    """
    cursor = await conn.execute(
        query("hourly"), {"datastream_ids": list(datastream_ids), "start": start, "end": end}
    )
    return [
        HourlyRollup(datastream_id, bucket, unit, aggregation_of(key, unit), Summary(*summary))
        for datastream_id, bucket, unit, key, *summary in await cursor.fetchall()
    ]
