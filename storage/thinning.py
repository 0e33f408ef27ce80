"""Dropping the observations of some datastreams earlier than those of others.

Classes are told by observed property and council. Their rows are deleted in small transactions,
by datastream and UTC day, so that no table is locked and a run that was stopped is taken up by the
next. Hourly summaries stay. Dropping everything of an age is `storage.retention`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from storage.database import Connection, query
from storage.edition import Edition, detect
from storage.rollups import LOG_ENTRIES, lock_rollups, refresh_locked

DATASTREAMS_AT_ONCE: Final = 50
"""The most datastreams that one transaction deletes of; of each a day at most."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionClass:
    """Datastreams that are kept for a time of their own.

    observed_properties, councils: keys and tenants; a datastream is meant that has one of each,
    and none given means any. before: observations before it go, from the last midnight in UTC on.
    """

    name: str
    observed_properties: frozenset[str]
    councils: frozenset[str]
    before: datetime

    @property
    def floor(self) -> datetime:
        """The midnight, UTC, before which observations go."""
        return self.before.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Due:
    """What a class would lose now. oldest: time of the oldest such observation, None if none."""

    datastreams: int
    rows: int
    oldest: datetime | None


async def preview(conn: Connection, wanted: RetentionClass) -> Due:
    """Count what `thin` would delete, and change nothing."""
    datastream_ids = await _datastreams(conn, wanted)
    cursor = await conn.execute(
        query("count_before"),
        {"datastream_ids": datastream_ids, "floor": wanted.floor},
        prepare=False,  # planned for this floor
    )
    [(rows, oldest)] = await cursor.fetchall()
    return Due(len(datastream_ids), rows, oldest)


async def thin(conn: Connection, wanted: RetentionClass) -> int:
    """Delete a class's observations from before its floor; return how many.

    `conn` is in autocommit. First, in a transaction of its own, what is logged is summarised and
    the floor is raised; from then on hours before it are never recomputed. What arrives later
    than that has a place, is in no summary, and goes with the next run.
    """
    datastream_ids = await _datastreams(conn, wanted)
    if not await _oldest(conn, datastream_ids, wanted.floor):
        return 0
    async with conn.transaction():
        await lock_rollups(conn)
        while await refresh_locked(conn) == LOG_ENTRIES:
            pass
        await conn.execute(
            query("raise_datastream_floors"),
            {"datastream_ids": datastream_ids, "floor": wanted.floor},
        )
    rows = 0
    while oldest := await _oldest(conn, datastream_ids, wanted.floor):
        midnight = oldest[0][1].astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        end = min(midnight + _DAY, wanted.floor)
        due = [datastream_id for datastream_id, time in oldest if time < end]
        for portion in _portions(due):
            rows += await _delete(conn, portion, midnight, end)
    return rows


async def _datastreams(conn: Connection, wanted: RetentionClass) -> list[int]:
    cursor = await conn.execute(
        query("datastreams_of_class"),
        {
            "observed_properties": sorted(wanted.observed_properties),
            "councils": sorted(wanted.councils),
        },
    )
    return [datastream_id for (datastream_id,) in await cursor.fetchall()]


async def _oldest(
    conn: Connection, datastream_ids: Sequence[int], floor: datetime
) -> list[tuple[int, datetime]]:
    """Return, oldest first, the datastreams that have something before `floor`, and its time."""
    cursor = await conn.execute(
        query("oldest_before"),
        {"datastream_ids": datastream_ids, "floor": floor},
        prepare=False,
    )
    return await cursor.fetchall()


async def _delete(
    conn: Connection, datastream_ids: Sequence[int], start: datetime, end: datetime
) -> int:
    """Delete [start, end), within one UTC day and so within one partition or chunk."""
    bounds = {"datastream_ids": datastream_ids, "start": start, "end": end}
    async with conn.transaction():
        if await detect(conn) is not Edition.PLAIN:
            # A chunk in columns is unpacked to be deleted from, and by default not much of it.
            await conn.execute(
                "SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction',"
                " '0', true)"
            )
        await conn.execute(query("delete_extras"), bounds, prepare=False)
        deleted = await conn.execute(query("delete_observations"), bounds, prepare=False)
    return deleted.rowcount


def _portions(datastream_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(datastream_ids), DATASTREAMS_AT_ONCE):
        yield datastream_ids[start : start + DATASTREAMS_AT_ONCE]
