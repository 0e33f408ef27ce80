"""Observations read for publication: pages of them, the newest, and whole spans by columns.

What may be read is decided where the datastreams are chosen (`storage.published`), within the same
transaction. The formats are the business of `standards_mapping`.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg

from device_protocol.reading import Quality
from standards_mapping.datasets import Coverage
from standards_mapping.observation import Observation, Result
from standards_mapping.open_columns import Columns, split_result
from standards_mapping.registry import Datastream
from storage.access import let_read
from storage.analysis import TooBigError
from storage.database import Connection, query
from storage.observation_arrays import observation_arrays
from storage.overview import READ_TIMEOUT_SECONDS, bounded_read
from storage.published import published_datastreams, published_things

ROWS_AT_ONCE: Final = 200_000
"""About how many observations are in memory at one time."""

_STREAMS_AT_ONCE: Final = 100
_UNKNOWN_PERIOD: Final = timedelta(minutes=1)
_SHORTEST_SLICE: Final = timedelta(hours=1)
_MICROSECOND: Final = timedelta(microseconds=1)


@asynccontextmanager
async def open_read(conn: Connection, councils: Collection[int]) -> AsyncIterator[None]:
    """Read within one bounded transaction what is open, and what is restricted of `councils`.

    Raises:
        TooBigError: a statement took too long.
    """
    try:
        async with bounded_read(conn):
            await let_read(conn, councils)
            yield
    except psycopg.errors.QueryCanceled as error:
        raise TooBigError(
            f"This took longer than {READ_TIMEOUT_SECONDS:.0f} s: ask for a shorter time (from, to)"
            " or for one datastream."
        ) from error


async def readable_datastreams(
    conn: Connection, *, datastream: int | None = None, sensor: int | None = None
) -> list[Datastream]:
    """Return the datastream of that id, or those of a sensor, that may be read; none is none."""
    cursor = await conn.execute(
        "SELECT id, thing_id FROM readable_datastream WHERE id = %(datastream)s"
        " OR sensor_id = %(sensor)s",
        {"datastream": datastream, "sensor": sensor},
    )
    rows = await cursor.fetchall()
    things = await published_things(conn, ids={thing for _, thing in rows}, with_health=True)
    return await published_datastreams(conn, things, ids=[number for number, _ in rows])


async def coverages(conn: Connection, ids: Collection[int]) -> Mapping[int, Coverage]:
    """Return of when datastreams have observations, by id; those without any are absent."""
    cursor = await conn.execute(query("open_coverage"), {"ids": list(ids)})
    return {number: Coverage(*times) for number, *times in await cursor.fetchall()}


async def newest_observations(
    conn: Connection, datastreams: Sequence[Datastream]
) -> list[Observation]:
    """Return the newest observation of each of these datastreams that has one."""
    chosen = {each.id: each for each in datastreams}
    cursor = await conn.execute(query("open_newest"), {"ids": list(chosen)})
    return [_observation(row, chosen[row[0]]) for row in await cursor.fetchall()]


async def observations_page(
    conn: Connection,
    datastream: Datastream,
    start: datetime,
    end: datetime,
    *,
    after: datetime | None = None,
    limit: int,
) -> list[Observation]:
    """Return observations from `start` until before `end` in order of time, at most `limit`.

    after: only later ones than that.
    """
    bounds = {
        "id": datastream.id,
        "start": start,
        "end": end,
        "after": after,
        "limit": limit,
    }
    cursor = await conn.execute(query("open_observations"), bounds)
    return [_observation(row, datastream) for row in await cursor.fetchall()]


def _observation(row: Sequence[Any], datastream: Datastream) -> Observation:
    number, time, value, result, quality, started, corrected = row
    return Observation(
        datastream=number,
        time=time,
        averaging=datastream.averaging if started is None else time - started,
        result=result if value is None else value,
        quality=Quality(quality),
        corrected=correction(corrected),
    )


def correction(said: object) -> Result | None:
    """Return what a correction says as a result; None where there is none."""
    if isinstance(said, bool | str):
        return said
    return float(said) if isinstance(said, int | float) else None


async def observation_columns(
    conn: Connection, datastreams: Sequence[Datastream], start: datetime, end: datetime
) -> AsyncIterator[Columns]:
    """Yield the observations from `start` until before `end` by columns, in parts; none is empty.

    Within a part rows are by datastream, then time.
    """
    ordered = sorted(datastreams, key=lambda each: each.id)
    for first in range(0, len(ordered), _STREAMS_AT_ONCE):
        group = ordered[first : first + _STREAMS_AT_ONCE]
        step = slice_length(group)
        began = start
        while began < end:
            ended = end if end - began <= step else began + step
            part = await _columns(conn, group, began, ended)
            if len(part):
                yield part
            began = ended


def slice_length(datastreams: Sequence[Datastream]) -> timedelta:
    """Return in how long a time these datastreams have about `ROWS_AT_ONCE` observations."""
    per_second = sum(
        1 / max((each.period or _UNKNOWN_PERIOD).total_seconds(), 1.0) for each in datastreams
    )
    return max(timedelta(seconds=ROWS_AT_ONCE / per_second), _SHORTEST_SLICE)


async def _columns(
    conn: Connection, datastreams: Sequence[Datastream], start: datetime, end: datetime
) -> Columns:
    ids = [each.id for each in datastreams]
    found = await observation_arrays(conn, ids, start, end)
    spans = np.array([each.averaging // _MICROSECOND for each in datastreams], np.int64)
    starts = found.times - spans[np.searchsorted(ids, found.datastream_ids)]
    bounds = {"datastream_ids": ids, "start": start, "end": end}
    cursor = await conn.execute(query("open_extras"), bounds, prepare=False)
    results: dict[int, str] = {}
    corrections: dict[int, float | str] = {}
    for number, time, text, started, corrected in await cursor.fetchall():
        row = found.row(number, time)
        if row is None:
            continue
        if text is not None:
            results[row] = text
        if started is not None:
            starts[row] = started
        for said in split_result(correction(corrected)):
            if said is not None:
                corrections[row] = said
    return Columns(
        found.datastream_ids,
        found.times,
        starts,
        found.values,
        found.qualities,
        results,
        corrections,
    )
