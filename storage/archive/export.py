"""Closed days, read for exporting: which there are, whether one changed, and what is in it.

A day is closed when it is over in UTC. Late readings may still change it; that is told exactly by
its version (table changed_day): whoever adds an observation, or changes one that is kept by hand,
logs its hour. Where retention deleted
some, what was exported before is the fuller copy. Writing files is `storage.archive.export_files`.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from psycopg import IsolationLevel

from storage.database import Connection, query
from storage.observation_arrays import ObservationArrays, observation_arrays

V = TypeVar("V", float, str)

DATASTREAMS_AT_ONCE: Final = 100
"""Datastreams whose day is in memory at one time; at a reading a second that is 160 MB."""


class ExportError(Exception):
    """An export cannot be made or read; the message says why."""


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """A day of a council with observations. thinned: some may have been dropped since."""

    council: str
    day: date
    version: int
    changed_at: datetime
    thinned: bool


@dataclass(frozen=True, slots=True)
class ExportedDatastream:
    """What observations of a datastream mean. name: as in SenML, sensor and short name.

    unit: key of the unit table; all results are in it. Longitude and latitude of its Thing as it
    stands now, in degrees (WGS 84).
    """

    id: int
    datastream: str
    name: str
    description: str
    thing: str
    thing_name: str
    sensor: str
    sensor_name: str
    observed_property: str
    observed_property_name: str
    definition: str
    unit: str
    observation_type: str
    period_seconds: int | None
    averaging_seconds: int
    valid_minimum: float | None
    valid_maximum: float | None
    longitude: float | None
    latitude: float | None


@dataclass(frozen=True, slots=True)
class DayPart:
    """Observations of some datastreams, by datastream and time.

    times: Unix microseconds. values: NaN where the result is no number. results: by row, as text.
    corrected_values, corrected_results: what the newest corrections say instead, by row.
    """

    datastream_ids: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    qualities: npt.NDArray[np.int16]
    results: dict[int, str]
    corrected_values: dict[int, float]
    corrected_results: dict[int, str]

    def __len__(self) -> int:
        return len(self.times)


async def begin_snapshot(conn: Connection) -> None:
    """Let all that is read until the next commit be of one moment."""
    await conn.rollback()
    await conn.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    await conn.set_read_only(True)


async def closed_days(
    conn: Connection, councils: Sequence[str], *, start: date | None, end: date
) -> list[ClosedDay]:
    """Return the days with observations from `start` to `end` inclusive, oldest first.

    councils: tenants; none for all.

    Raises:
        ExportError: there is no such council.
    """
    cursor = await conn.execute(
        "SELECT tenant FROM council WHERE tenant = ANY (%s)", (list(councils),)
    )
    if unknown := set(councils) - {tenant for (tenant,) in await cursor.fetchall()}:
        raise ExportError(f"no council {', '.join(sorted(unknown))}")
    cursor = await conn.execute(
        query("closed_days"), {"councils": list(councils), "start": start, "end": end}
    )
    return [ClosedDay(*row) for row in await cursor.fetchall()]


async def days_are_waiting(conn: Connection, today: date) -> bool:
    """Return whether closed days got observations that nobody has worked off yet."""
    cursor = await conn.execute(query("closed_days_waiting"), {"today": _midnight(today)})
    return await cursor.fetchone() == (True,)


async def exported_datastreams(conn: Connection, council: str) -> list[ExportedDatastream]:
    """Return the datastreams of a council, by id."""
    cursor = await conn.execute(query("exported_datastreams"), {"council": council})
    return [ExportedDatastream(*row) for row in await cursor.fetchall()]


async def day_parts(
    conn: Connection, day: date, datastream_ids: Sequence[int]
) -> AsyncIterator[DayPart]:
    """Yield a day's observations of these datastreams, in portions, those without any left out."""
    for first in range(0, len(datastream_ids), DATASTREAMS_AT_ONCE):
        ids = list(datastream_ids[first : first + DATASTREAMS_AT_ONCE])
        part = await _part(conn, day, ids)
        if len(part):
            yield part


async def _part(conn: Connection, day: date, datastream_ids: list[int]) -> DayPart:
    start = _midnight(day)
    end = start + timedelta(days=1)
    found = await observation_arrays(conn, datastream_ids, start, end)
    bounds = {"datastream_ids": datastream_ids, "start": start, "end": end}
    cursor = await conn.execute(query("exported_results"), bounds, prepare=False)
    told = await cursor.fetchall()
    return DayPart(
        found.datastream_ids,
        found.times,
        found.values,
        found.qualities,
        _by_row({each[:2]: each[2] for each in told}, found),
        _by_row({each[:2]: each[3] for each in told}, found),
        _by_row({each[:2]: each[4] for each in told}, found),
    )


def _by_row(told: dict[tuple[int, int], V | None], found: ObservationArrays) -> dict[int, V]:
    """Return what is told of some results by the row that they belong to."""
    rows = {}
    for (stream, moment), text in told.items():
        if text is not None and (row := found.row(stream, moment)) is not None:
            rows[row] = text
    return rows


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
