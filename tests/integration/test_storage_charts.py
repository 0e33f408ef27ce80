"""Series for charts: exact whatever they are read from, and the same bin in every view."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from storage.batches import prepare
from storage.charts import MAX_POINTS, Point, Stream, align, bin_width, read_series
from storage.database import Connection
from storage.rollups import refresh_rollups
from tests.integration.datastreams import add_datastream
from tests.simulators.street import store

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
Rows = Sequence[tuple[datetime, float]]


async def stream_with(
    conn: Connection, rows: Rows, *, key: str = "no2", unit: str = "ug/m3", averaging: int = 0
) -> Stream:
    await prepare(conn)
    datastream_id = await add_datastream(conn, key=key, unit=unit, averaging_seconds=averaging)
    await store(conn, {datastream_id: rows})
    return Stream(
        datastream_id=datastream_id, property_key=key, unit=unit, averaging_seconds=averaging
    )


def every(step: timedelta, count: int) -> Rows:
    return [(START + step * i, 20 + 15 * math.sin(i / 7) + i % 3) for i in range(count)]


def expected_bins(rows: Rows, width_seconds: int, shift: timedelta) -> dict[datetime, list[float]]:
    bins: dict[datetime, list[float]] = defaultdict(list)
    for time, value in rows:
        start, _ = align(time - shift, time - shift, width_seconds)
        bins[start].append(value)
    return bins


def check_bins(points: Sequence[Point], bins: dict[datetime, list[float]]) -> None:
    assert [point.start for point in points] == sorted(bins)
    for point in points:
        values = bins[point.start]
        assert point.n == len(values)
        assert (point.minimum, point.maximum) == (min(values), max(values))
        assert point.value == pytest.approx(math.fsum(values) / len(values))


async def test_few_readings_are_returned_one_by_one(connection: Connection) -> None:
    rows = every(timedelta(minutes=10), 100)
    stream = await stream_with(connection, rows)
    series = await read_series(connection, stream, rows[10][0], rows[20][0])
    assert series.bin_seconds == 0
    assert [(point.start, point.value) for point in series.points] == list(rows[10:21])


async def test_many_readings_become_bins_with_their_extremes(connection: Connection) -> None:
    rows = every(timedelta(seconds=20), 5000)
    stream = await stream_with(connection, rows)
    series = await read_series(connection, stream, rows[0][0], rows[-1][0])
    assert 0 < len(series.points) <= MAX_POINTS
    assert series.bin_seconds == 120
    check_bins(series.points, expected_bins(rows, 120, timedelta(0)))


async def test_a_bin_is_the_same_in_every_view(connection: Connection) -> None:
    rows = every(timedelta(seconds=20), 5000)
    stream = await stream_with(connection, rows)
    whole = await read_series(connection, stream, rows[0][0], rows[-1][0])
    known = {point.start: point for point in whole.points}
    part = await read_series(connection, stream, rows[61][0], rows[-1][0])
    assert part.bin_seconds == whole.bin_seconds
    assert all(known[point.start] == point for point in part.points)


@pytest.mark.parametrize("averaging", [0, 3600])
@pytest.mark.parametrize("refreshed", ["all", "some", "none"])
async def test_a_long_range_is_exact_however_far_the_rollups_have_come(
    connection: Connection, averaging: int, refreshed: str
) -> None:
    rows = every(timedelta(minutes=30), 48 * 60)
    split = {"all": len(rows), "some": 2001, "none": 0}[refreshed]
    stream = await stream_with(connection, rows[:split], averaging=averaging)
    while await refresh_rollups(connection):
        pass
    if refreshed == "some":  # late data in an hour that is summed up already, and new hours
        await store(connection, {stream.datastream_id: [(rows[7][0] + HOUR / 4, -50.0)]})
        rows = [*rows, (rows[7][0] + HOUR / 4, -50.0)]
    await store(connection, {stream.datastream_id: rows[split:]})
    series = await read_series(connection, stream, START - 2 * HOUR, START + timedelta(days=60))
    assert series.bin_seconds == 7200
    shift = timedelta(microseconds=1 if averaging else 0)
    check_bins(series.points, expected_bins(rows, 7200, shift))


async def test_rollups_are_shown_when_the_readings_are_gone(connection: Connection) -> None:
    rows = every(timedelta(minutes=10), 500)
    stream = await stream_with(connection, rows)
    while await refresh_rollups(connection):
        pass
    await connection.execute(
        "DELETE FROM observation WHERE datastream_id = %s", (stream.datastream_id,)
    )
    series = await read_series(connection, stream, START, START + timedelta(hours=24))
    assert series.bin_seconds == 3600
    assert sum(point.n for point in series.points) == 6 * 24


async def test_bearings_are_averaged_as_vectors_and_have_no_extremes(
    connection: Connection,
) -> None:
    rows = [(START + timedelta(seconds=i), 350.0 if i % 2 else 10.0) for i in range(2400)]
    stream = await stream_with(connection, rows, key="wind_direction", unit="deg")
    series = await read_series(connection, stream, rows[0][0], rows[-1][0])
    assert series.bin_seconds > 0
    for point in series.points[1:-1]:
        assert min(point.value, 360 - point.value) < 1e-6 or point.n % 2
        assert (point.minimum, point.maximum) == (None, None)


async def test_levels_are_averaged_by_energy_and_counts_are_added_up(
    connection: Connection,
) -> None:
    rows = [(START + timedelta(seconds=i), 70.0 if i % 2 else 60.0) for i in range(2400)]
    sound = await stream_with(connection, rows, key="laeq", unit="dBA")
    series = await read_series(connection, sound, rows[0][0], rows[-1][0])
    mean = 10 * math.log10((1e6 + 1e7) / 2)
    assert all(point.value == pytest.approx(mean) for point in series.points if point.n % 2 == 0)
    people = await stream_with(
        connection, [(time, 1.0) for time, _ in rows], key="people_count", unit="count"
    )
    series = await read_series(connection, people, rows[0][0], rows[-1][0])
    assert sum(point.value for point in series.points) == 2400


async def test_flags_of_any_reading_show_on_its_bin(connection: Connection) -> None:
    rows = every(timedelta(seconds=20), 5000)
    stream = await stream_with(connection, rows)
    flagged = rows[2500][0] + timedelta(seconds=1)
    await store(connection, {stream.datastream_id: [(flagged, 5.0)]}, quality=8)
    series = await read_series(connection, stream, rows[0][0], rows[-1][0])
    bins = {point.start: point.quality for point in series.points if point.quality}
    assert bins == {align(flagged, flagged, series.bin_seconds)[0]: 8}
    single = await read_series(connection, stream, flagged - HOUR / 60, flagged)
    assert single.points[-1].quality == 8


@pytest.mark.parametrize("step", [timedelta(seconds=20), timedelta(minutes=30)])
async def test_what_lies_out_of_its_range_is_drawn_with_its_flag_and_not_in_any_bin(
    connection: Connection, step: timedelta
) -> None:
    """In bins of observations, of hours waiting to be summed up, and of hours that are."""
    rows = every(step, 5000)
    stream = await stream_with(connection, rows)
    wild = rows[2500][0] + timedelta(seconds=1)
    await store(connection, {stream.datastream_id: [(wild, 6553.5)]}, quality=1)
    for _ in range(2):
        series = await read_series(connection, stream, rows[0][0], rows[-1][0])
        check_bins(series.points, expected_bins(rows, series.bin_seconds, timedelta(0)))
        flagged = [point.start for point in series.points if point.quality]
        assert flagged == [align(wild, wild, series.bin_seconds)[0]]
        await refresh_rollups(connection)
    single = await read_series(connection, stream, wild - HOUR / 60, wild)
    assert (single.points[-1].value, single.points[-1].quality) == (6553.5, 1)


async def test_nothing_is_nothing_and_a_reversed_range_is_a_mistake(
    connection: Connection,
) -> None:
    stream = await stream_with(connection, [])
    assert not (await read_series(connection, stream, START, START + HOUR)).points
    with pytest.raises(ValueError, match="is empty"):
        await read_series(connection, stream, START, START)


@pytest.mark.parametrize("days", [1 / 1440, 1, 7, 30, 90, 365, 3660, 36_600])
def test_no_range_has_more_points_than_may_be_drawn(days: float) -> None:
    width = bin_width(days * 86_400)
    start = START + timedelta(seconds=7)
    first, last = align(start, start + timedelta(days=days), width)
    assert (last - first).total_seconds() / width <= MAX_POINTS
