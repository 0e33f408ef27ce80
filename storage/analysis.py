"""Questions over many datastreams: newest values, council means, percentiles, gaps, exceedances.

Each is read as of one moment, read-only, and ends after `seconds` with a `TooBigError` that says
how to ask for less; the connection must not be in a transaction. Answers are exact however far the
rollup worker has come: hours that wait for it are summed up here. What its gateway flagged as
outside the sensor's range counts neither in means nor in percentiles nor as an exceedance, as in
the rollups. Things that await approval are left out. What one chart shows is `storage.charts`.

Times are UTC; questions that count by hours want whole hours. The time of a mean is the end of its
interval, so it belongs to the hour that it ends in or with. docs/explanation/queries.md says what
each question costs.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from storage.aggregation import Aggregation, Summary
from storage.database import Connection, query
from storage.exact_hours import Group, Streams, exact_hours, fetch, find_streams
from storage.overview import READ_TIMEOUT_SECONDS, bounded_read

GAP_FACTOR: Final = 1.5
"""A silence this many times as long as a datastream's period is a gap."""

_HOUR_SECONDS: Final = 3600
_HALF: Final = 0.5


class TooBigError(Exception):
    """A question took longer than it may; the text says which, and how to ask for less."""


@dataclass(frozen=True, slots=True)
class LastValue:
    """The newest observation of a datastream. result: where it is no number. quality: bit mask."""

    datastream_id: int
    time: datetime
    value: float | None
    result: Any
    quality: int


@dataclass(frozen=True, slots=True)
class Observed:
    """A numeric result as it was reported; quality: bit mask, 0 where nothing is flagged."""

    time: datetime
    value: float
    quality: int


@dataclass(frozen=True, slots=True)
class Box:
    """Degrees, WGS 84, edges included; it does not cross the antimeridian.

    Raises:
        ValueError: it has no inside.
    """

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        if not (self.west <= self.east and self.south <= self.north):
            raise ValueError(f"{self} is inside out: give west, south, east, north")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedValue:
    """A datastream of a site, where that is, and its newest observation if it ever had one."""

    thing_id: int
    thing_name: str
    tenant: str
    longitude: float
    latitude: float
    datastream_id: int
    property_key: str
    unit: str
    time: datetime | None
    value: float | None
    result: Any
    quality: int


@dataclass(frozen=True, slots=True)
class CouncilHour:
    """One hour of a group. bucket: when it begins. datastreams: how many reported in it.

    Each result weighs the same, so a datastream that reports twice as often weighs twice as much.
    """

    group: Group
    bucket: datetime
    datastreams: int
    summary: Summary

    @property
    def value(self) -> float | None:
        """What stands for the hour, in the group's unit: mean, energy mean, bearing or total."""
        return self.summary.value(self.group.aggregation, self.group.unit)


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile of the `n` results of a group, in its unit, interpolated between neighbours."""

    group: Group
    n: int
    value: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A silence of a datastream, between two observations or an end of the range asked about.

    expected_seconds: how often it should have reported.
    """

    datastream_id: int
    tenant: str
    expected_seconds: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Exceedances:
    """How many of the `n` results of a datastream lay above the limit."""

    datastream_id: int
    exceeding: int
    n: int


@asynccontextmanager
async def _asking(
    conn: Connection, question: str, remedy: str, seconds: float
) -> AsyncIterator[None]:
    """Bound the block; `question` and `remedy` are what is said when it takes too long."""
    try:
        async with bounded_read(conn, seconds):
            yield
    except psycopg.errors.QueryCanceled as error:
        raise TooBigError(f"{question} took longer than {seconds:g} s: {remedy}.") from error


async def last_values(
    conn: Connection, *, tenant: str | None = None, seconds: float = READ_TIMEOUT_SECONDS
) -> list[LastValue]:
    """Return the newest observation of every datastream, by id; of one council if asked.

    Reads `latest`, one row a datastream: the number of observations does not matter.
    """
    async with _asking(conn, "The newest values", "ask for one council", seconds):
        cursor = await conn.execute(query("analysis_last_values"), {"tenant": tenant})
        return [LastValue(*row) for row in await cursor.fetchall()]


async def observations(
    conn: Connection,
    datastream_id: int,
    start: datetime,
    end: datetime,
    *,
    seconds: float = READ_TIMEOUT_SECONDS,
) -> list[Observed]:
    """Return the numeric results of a datastream in [start, end), in order of time.

    What is flagged is returned with its flags. Reads a range of the key of `observation`: one
    page a row at most, whatever else the table holds.
    """
    _check_range(start, end)
    async with _asking(conn, "These observations", "ask for a shorter time", seconds):
        cursor = await conn.execute(
            query("analysis_observations"),
            {"datastream_id": datastream_id, "start": start, "end": end},
            prepare=False,  # here and below: planned for these bounds, never for any
        )
        return [Observed(*row) for row in await cursor.fetchall()]


async def values_in_box(
    conn: Connection,
    box: Box,
    *,
    tenant: str | None = None,
    seconds: float = READ_TIMEOUT_SECONDS,
) -> list[PlacedValue]:
    """Return each datastream of the sites in a box with its newest value, by Thing and id.

    Reads the index of `location` on longitude and latitude, then `latest`.
    """
    parameters = {
        "west": box.west,
        "south": box.south,
        "east": box.east,
        "north": box.north,
        "tenant": tenant,
    }
    async with (
        _asking(conn, "This area", "ask for a smaller one", seconds),
        conn.cursor(row_factory=class_row(PlacedValue)) as cursor,
    ):
        await cursor.execute(query("analysis_values_in_box"), parameters, prepare=False)
        return await cursor.fetchall()


async def council_hours(
    conn: Connection,
    start: datetime,
    end: datetime,
    *,
    property_key: str | None = None,
    tenant: str | None = None,
    seconds: float = READ_TIMEOUT_SECONDS,
) -> list[CouncilHour]:
    """Return the hours that begin in [start, end) of each council and property, in order.

    Hours without a numeric result are absent. Reads `rollup_1h` alone: by its key for few
    datastreams, else all hours of the range in one pass. Rollups outlive their observations.

    Raises:
        ValueError: the range is empty, or its ends are no whole hours.
    """
    _check_range(start, end, whole_hours=True)
    remedy = "ask for one property, one council or fewer days"
    async with _asking(conn, "The hourly means", remedy, seconds):
        streams = await find_streams(conn, property_key, tenant)
        hours = await exact_hours(conn, streams, start, end)
        # There are far fewer groups than the planner takes for granted: it would sort every hour.
        await conn.execute("SET LOCAL enable_sort = off")
        rows = await fetch(conn, "analysis_council_hours", hours | streams.columns)
    return [
        CouncilHour(streams.groups[number], bucket, datastreams, Summary(*summary))
        for number, bucket, datastreams, *summary in rows
        if number is not None and number >= 0  # what nobody asked for
    ]


async def percentiles(
    conn: Connection,
    property_key: str,
    start: datetime,
    end: datetime,
    *,
    fraction: float,
    tenant: str | None = None,
    seconds: float = READ_TIMEOUT_SECONDS,
) -> list[Percentile]:
    """Return a percentile of each council's results in the hours from `start` to before `end`.

    fraction: e.g. 0.95; between two results it is interpolated, as PostgreSQL's percentile_cont
    does. Councils without results are absent. Reads `rollup_1h` by its key, then from
    `observation` only those hours whose extremes reach the percentile: few where it is high or
    low, about all for a median.

    Raises:
        ValueError: the range or the fraction makes no sense, or bearings, which have no order.
        DroppedError: observations of the range were dropped.
    """
    _check_range(start, end, whole_hours=True)
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}: give one from 0 to 1, e.g. 0.95")
    remedy = "ask for one council or fewer days"
    async with _asking(conn, f"The percentile of {property_key}", remedy, seconds):
        streams = await find_streams(conn, property_key, tenant)
        _check_ordered(streams)
        streams.check_kept(start)
        parameters: dict[str, Any] = {
            "fraction": str(fraction),  # decimal: 0.95 of 100 steps is 95, not 94.99...
            "from_above": fraction >= _HALF,
            "low": start,
            "high": end,
        }
        hours = await exact_hours(conn, streams, start, end)
        rows = await fetch(conn, "analysis_percentiles", hours | streams.columns | parameters)
    return [Percentile(streams.groups[number], n, value) for number, n, value in rows]


async def gaps(
    conn: Connection,
    start: datetime,
    end: datetime,
    *,
    tenant: str | None = None,
    factor: float = GAP_FACTOR,
    seconds: float = READ_TIMEOUT_SECONDS,
) -> list[Gap]:
    """Return the silences in [start, end) of every datastream that should report regularly.

    Any observation ends one, also one that is flagged or no number. Longer than `factor` times
    what is expected: the period, or for means what they are means over. Reads a range of the key
    of `observation` for each datastream, from the index alone once the table was vacuumed.

    Raises:
        ValueError: the range is empty, or the factor not positive.
        DroppedError: observations of the range were dropped.
    """
    _check_range(start, end)
    if not factor > 0:
        raise ValueError(f"factor is {factor}: give a positive one, e.g. {GAP_FACTOR}")
    async with _asking(conn, "The gaps", "ask for one council or a shorter time", seconds):
        streams = await find_streams(conn, None, tenant)
        streams.check_kept(start)
        parameters = {"start": start, "end": end, "tenant": tenant, "factor": factor}
        cursor = await conn.execute(query("analysis_gaps"), parameters, prepare=False)
        return [Gap(*row) for row in await cursor.fetchall()]


async def exceedances(
    conn: Connection,
    property_key: str,
    start: datetime,
    end: datetime,
    *,
    limit: float,
    unit: str,
    tenant: str | None = None,
    seconds: float = READ_TIMEOUT_SECONDS,
) -> list[Exceedances]:
    """Return how many results of each datastream kept in `unit` lie above `limit`, by id.

    Of the hours from `start` to before `end`; datastreams without results are absent. Reads
    `rollup_1h` by its key, then from `observation` only those hours that have results on both
    sides of the limit.

    Raises:
        ValueError: the range makes no sense, or bearings, which have no order.
        DroppedError: observations of the range were dropped.
    """
    _check_range(start, end, whole_hours=True)
    remedy = "ask for one council or fewer days"
    async with _asking(conn, f"Counting {property_key} above {limit:g}", remedy, seconds):
        streams = (await find_streams(conn, property_key, tenant)).kept_in(unit)
        _check_ordered(streams)
        streams.check_kept(start)
        hours = await exact_hours(conn, streams, start, end)
        parameters = {"limit": limit, "low": start, "high": end}
        rows = await fetch(conn, "analysis_exceedances", hours | streams.columns | parameters)
    return [Exceedances(*row) for row in rows]


def _check_range(start: datetime, end: datetime, *, whole_hours: bool = False) -> None:
    if end <= start:
        raise ValueError(f"the range from {start} to {end} is empty")
    if whole_hours:
        for moment in (start, end):
            if moment.timestamp() % _HOUR_SECONDS:
                raise ValueError(f"{moment} is not a whole hour")


def _check_ordered(streams: Streams) -> None:
    if any(group.aggregation is Aggregation.BEARING for group in streams.groups):
        raise ValueError("directions have no order: no limit and no percentile")
