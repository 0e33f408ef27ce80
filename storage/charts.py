"""A datastream's values over time, few enough to draw: single ones, or bins with their extremes.

The same points make the chart, its table and its CSV. Short ranges are read from `observation`,
long ones from the hourly rollups; hours that the rollup worker has not come to yet are summed up
here, so that a chart never lags behind. Now-values are `storage.overview`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from device_protocol.kinds import FULL_TURN
from storage.aggregation import Aggregation, Summary, aggregation_of
from storage.database import Connection, query

MAX_POINTS: Final = 1000
"""The most points of one chart; up to as many observations are shown singly."""

ROLLUP_FROM_SECONDS: Final = 14 * 86400
"""Ranges from this length on are read from the hourly rollups, unless singly they fit."""

_ORIGIN: Final = datetime(2001, 1, 1, tzinfo=UTC)  # a Monday: bins of a week begin on one
_HOUR: Final = 3600
_WIDTHS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * hours for hours in (1, 2, 3, 6, 12, 24, 48, 168)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What must be known of a datastream to sum it up; unit is a key of the unit table."""

    datastream_id: int
    property_key: str
    unit: str
    averaging_seconds: int

    @property
    def aggregation(self) -> Aggregation:
        """What one value stands for many of its results."""
        return aggregation_of(self.property_key, self.unit)


@dataclass(frozen=True, slots=True)
class Point:
    """One observation, or one bin of them.

    start: the observation's time, or when the bin begins. end: when the bin ends, None for an
    observation. value: the result, or what stands for the bin. minimum, maximum: of the bin,
    None for an observation or a bearing. quality: bit mask, of a bin all flags in it.
    """

    start: datetime
    end: datetime | None
    value: float
    minimum: float | None
    maximum: float | None
    n: int
    quality: int


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one datastream in a range, in order of time; bin_seconds 0: single ones."""

    bin_seconds: int
    points: Sequence[Point]


def bin_width(range_seconds: float, least_seconds: int = 1, max_points: int = MAX_POINTS) -> int:
    """Return the narrowest round width in seconds whose bins are at most `max_points`.

    Two bins are spared for the ones that stick out of the range at its ends.
    """
    needed = range_seconds / (max_points - 2)
    for width in _WIDTHS:
        if width >= needed and width >= least_seconds:
            return width
    week = _WIDTHS[-1]
    return week * -(-round(needed) // week)


def align(start: datetime, end: datetime, width_seconds: int) -> tuple[datetime, datetime]:
    """Return the range widened to whole bins, so that a bin is the same in every view."""
    width = timedelta(seconds=width_seconds)
    first = _ORIGIN + (start - _ORIGIN) // width * width
    last = _ORIGIN - (_ORIGIN - end) // width * width
    return first, last


async def read_series(conn: Connection, stream: Stream, start: datetime, end: datetime) -> Series:
    """Return the values of a datastream from `start` to `end` inclusive.

    Raises:
        ValueError: the range is empty or reversed.
    """
    if end <= start:
        raise ValueError(f"the range from {start} to {end} is empty")
    points = await _single_points(conn, stream, start, end)
    if 0 < len(points) <= MAX_POINTS:
        return Series(0, points)
    seconds = (end - start).total_seconds()
    hourly = not points or seconds >= ROLLUP_FROM_SECONDS  # rollups outlive the observations
    width = bin_width(seconds, _HOUR if hourly else 1)
    bounds = align(start, end, width)
    if width >= _HOUR:
        summaries = await _rollup_bins(conn, stream, bounds, width)
    else:
        summaries = await _observation_bins(conn, stream, bounds, width)
    return Series(
        width if summaries else 0, await _binned_points(conn, stream, bounds, width, summaries)
    )


async def _single_points(
    conn: Connection, stream: Stream, start: datetime, end: datetime
) -> list[Point]:
    cursor = await conn.execute(
        query("chart_points"),
        {
            "datastream_id": stream.datastream_id,
            "start": start,
            "end": end,
            "limit": MAX_POINTS + 1,
        },
    )
    return [
        Point(time, None, value, None, None, 1, quality)
        for time, value, quality in await cursor.fetchall()
    ]


def _parameters(stream: Stream, bounds: tuple[datetime, datetime], width: int) -> dict[str, Any]:
    return {
        "datastream_id": stream.datastream_id,
        "start": bounds[0],
        "end": bounds[1],
        "width": timedelta(seconds=width),
        "origin": _ORIGIN,
        "shift": timedelta(microseconds=1 if stream.averaging_seconds else 0),
        "averaged": stream.averaging_seconds > 0,
        "aggregation": stream.aggregation.value,
        "full_turn": FULL_TURN.get(stream.unit, 360.0),
    }


async def _observation_bins(
    conn: Connection, stream: Stream, bounds: tuple[datetime, datetime], width: int
) -> dict[datetime, Summary]:
    cursor = await conn.execute(query("chart_observation_bins"), _parameters(stream, bounds, width))
    return {start: Summary(*summary) for start, *summary in await cursor.fetchall()}


async def _rollup_bins(
    conn: Connection, stream: Stream, bounds: tuple[datetime, datetime], width: int
) -> dict[datetime, Summary]:
    parameters = _parameters(stream, bounds, width)
    cursor = await conn.execute(query("chart_pending_hours"), parameters)
    pending = [hour for (hour,) in await cursor.fetchall()]
    cursor = await conn.execute(query("chart_rollup_bins"), parameters | {"pending": pending})
    bins = {start: Summary(*summary) for start, *summary in await cursor.fetchall()}
    if pending:
        touched = (pending[0], pending[-1] + timedelta(hours=1))
        fresh = await _observation_bins(conn, stream, touched, _HOUR)
        for hour in pending:
            if hour in fresh:
                start, _ = align(hour, hour, width)
                known = bins.get(start)
                bins[start] = known.merge(fresh[hour]) if known else fresh[hour]
    return bins


async def _binned_points(
    conn: Connection,
    stream: Stream,
    bounds: tuple[datetime, datetime],
    width: int,
    summaries: Mapping[datetime, Summary],
) -> list[Point]:
    cursor = await conn.execute(query("chart_quality_bins"), _parameters(stream, bounds, width))
    flags: dict[datetime, int] = dict(await cursor.fetchall())
    points = []
    for start in sorted(summaries):
        summary = summaries[start]
        value = summary.value(stream.aggregation, stream.unit)
        if value is not None:
            end = start + timedelta(seconds=width)
            quality = flags.get(start, 0)
            points.append(
                Point(start, end, value, summary.minimum, summary.maximum, summary.n, quality)
            )
    return points
