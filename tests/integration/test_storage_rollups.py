"""Hourly rollups equal what the observations say, however these arrive."""

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from storage import rollups
from storage.database import Connection, connect
from storage.edition import Edition, detect
from storage.partitions import ensure_partitions
from storage.rollups import HourlyRollup, hourly, refresh_rollups
from tests.integration.datastreams import add_datastream, store

HOUR = timedelta(hours=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
END = START + timedelta(days=4)


async def refresh_all(conn: Connection) -> None:
    while await refresh_rollups(conn):
        pass


async def flag(conn: Connection, stream: int, qualities: Mapping[int, int]) -> None:
    """Flag observations of the first hour, by their minute."""
    for minute, quality in qualities.items():
        await conn.execute(
            "INSERT INTO observation_extra (datastream_id, time, quality) VALUES (%s, %s, %s)",
            (stream, START + minute * timedelta(minutes=1), quality),
        )


async def read(conn: Connection, *datastreams: int) -> list[HourlyRollup]:
    return await hourly(conn, datastreams, START, END)


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await ensure_partitions(connection, START, END)
    return connection


async def test_a_rollup_keeps_number_sum_and_extremes(conn: Connection) -> None:
    stream = await add_datastream(conn)
    values = [3.5, -1.0, 7.25]
    await store(
        conn, *((stream, START + i * timedelta(minutes=5), v) for i, v in enumerate(values))
    )
    assert await refresh_rollups(conn) == 1
    [rollup] = await read(conn, stream)
    assert rollup.bucket == START
    assert rollup.unit == "ug/m3"
    summary = rollup.summary
    assert (summary.n, summary.sum, summary.minimum, summary.maximum) == (3, 9.75, -1.0, 7.25)
    assert rollup.value == 3.25


async def test_an_instant_on_the_hour_belongs_to_the_hour_it_begins(conn: Connection) -> None:
    stream = await add_datastream(conn)
    await store(
        conn, (stream, START + HOUR - timedelta(microseconds=1), 1.0), (stream, START + HOUR, 2.0)
    )
    await refresh_all(conn)
    assert [(r.bucket, r.value) for r in await read(conn, stream)] == [
        (START, 1.0),
        (START + HOUR, 2.0),
    ]


async def test_a_mean_belongs_to_the_hour_it_ends(conn: Connection) -> None:
    stream = await add_datastream(conn, averaging_seconds=3600)
    await store(
        conn, (stream, START + HOUR, 1.0), (stream, START + HOUR + timedelta(microseconds=1), 2.0)
    )
    await refresh_all(conn)
    assert [(r.bucket, r.value) for r in await read(conn, stream)] == [
        (START, 1.0),
        (START + HOUR, 2.0),
    ]


async def test_bearings_are_averaged_round_the_circle(conn: Connection) -> None:
    degrees = await add_datastream(conn, "wind_direction", "deg")
    radians = await add_datastream(conn, "wind_direction", "rad")
    for minute, bearing in enumerate([350.0, 10.0, 30.0, 330.0, 2.0, 358.0]):
        time = START + timedelta(minutes=minute)
        await store(conn, (degrees, time, bearing), (radians, time, math.radians(bearing)))
    await refresh_all(conn)
    in_degrees, in_radians = await read(conn, degrees, radians)
    assert in_degrees.value is not None
    assert in_radians.value is not None
    assert min(in_degrees.value, 360 - in_degrees.value) < 1e-9
    assert min(in_radians.value, math.tau - in_radians.value) < 1e-9
    assert (in_degrees.summary.minimum, in_degrees.summary.maximum) == (None, None)


async def test_a_longitude_is_averaged_along_its_line(conn: Connection) -> None:
    stream = await add_datastream(conn, "longitude", "deg")
    await store(conn, (stream, START, -0.2), (stream, START + timedelta(minutes=1), 0.1))
    await refresh_all(conn)
    [rollup] = await read(conn, stream)
    assert rollup.value == pytest.approx(-0.05)
    assert (rollup.summary.minimum, rollup.summary.maximum) == (-0.2, 0.1)


async def test_opposite_bearings_have_no_mean(conn: Connection) -> None:
    stream = await add_datastream(conn, "wind_direction", "deg")
    await store(conn, (stream, START, 90.0), (stream, START + timedelta(minutes=1), 270.0))
    await refresh_all(conn)
    [rollup] = await read(conn, stream)
    assert rollup.summary.n == 2
    assert rollup.value is None


async def test_decibels_are_averaged_by_energy(conn: Connection) -> None:
    stream = await add_datastream(conn, "laeq", "dBA")
    await store(conn, (stream, START, 60.0), (stream, START + timedelta(minutes=1), 70.0))
    await refresh_all(conn)
    [rollup] = await read(conn, stream)
    assert rollup.value == pytest.approx(67.40362689)
    assert (rollup.summary.minimum, rollup.summary.maximum) == (60.0, 70.0)


async def test_counts_are_summed(conn: Connection) -> None:
    stream = await add_datastream(conn, "vehicle_count", "count", averaging_seconds=900)
    await store(conn, *((stream, START + i * HOUR / 4, 10.0) for i in range(1, 5)))
    await refresh_all(conn)
    assert [(r.bucket, r.value) for r in await read(conn, stream)] == [(START, 40.0)]


async def test_results_that_cannot_be_summed_are_left_out_and_hold_nothing_up(
    conn: Connection,
) -> None:
    streams = [
        await add_datastream(conn),
        await add_datastream(conn, "laeq", "dBA"),
        await add_datastream(conn, "wind_direction", "deg"),
    ]
    strange = [None, math.nan, math.inf, -math.inf, 1.7e308, -1.7e308]
    for stream in streams:
        for minute, value in enumerate([*strange, 45.0]):
            await store(conn, (stream, START + timedelta(minutes=minute), value))
    await refresh_all(conn)
    assert [(r.summary.n, r.value) for r in await read(conn, *streams)] == [
        (1, pytest.approx(45.0))
    ] * 3


async def test_a_level_beyond_any_sound_holds_nothing_up(conn: Connection) -> None:
    stream = await add_datastream(conn, "laeq", "dBA")
    await store(
        conn,
        (stream, START, 1e200),
        (stream, START + HOUR, -1e200),
        (stream, START + 2 * HOUR, 50.0),
    )
    await refresh_all(conn)
    assert [r.summary.n for r in await read(conn, stream)] == [1, 1, 1]


async def test_what_lies_out_of_its_range_is_left_out_and_every_other_flag_counts(
    conn: Connection,
) -> None:
    stream = await add_datastream(conn)
    await store(conn, *((stream, START + bit * timedelta(minutes=1), 2.0**bit) for bit in range(7)))
    await flag(conn, stream, {bit: 1 << bit for bit in range(6)})
    await refresh_all(conn)
    [rollup] = await read(conn, stream)
    assert (rollup.summary.n, rollup.summary.sum) == (6, sum(2.0**bit for bit in range(1, 7)))
    assert (rollup.summary.minimum, rollup.summary.maximum) == (2.0, 64.0)


async def test_an_hour_of_nothing_in_range_has_no_rollup_until_a_late_reading_is(
    conn: Connection,
) -> None:
    stream = await add_datastream(conn)
    await store(conn, (stream, START, 900.0), (stream, START + timedelta(minutes=1), 901.0))
    await flag(conn, stream, {0: 1, 1: 1 | 8})
    await refresh_all(conn)
    assert await read(conn, stream) == []
    await store(conn, (stream, START + timedelta(minutes=2), 30.0))
    await refresh_all(conn)
    assert [(r.summary.n, r.value) for r in await read(conn, stream)] == [(1, 30.0)]
    await store(conn, (stream, START + timedelta(minutes=3), 902.0))
    await flag(conn, stream, {3: 1})
    await refresh_all(conn)
    assert [(r.summary.n, r.value) for r in await read(conn, stream)] == [(1, 30.0)]


async def test_late_observations_correct_old_hours(conn: Connection) -> None:
    """In the Community edition these are columns by then."""
    stream = await add_datastream(conn)
    await store(conn, (stream, START, 1.0), (stream, START + 50 * HOUR, 1.0))
    await refresh_all(conn)
    if await detect(conn) is Edition.TIMESCALE:
        await conn.execute("SELECT compress_chunk(chunk) FROM show_chunks('observation') AS chunk")
    await store(conn, (stream, START + timedelta(minutes=59), 3.0), (stream, START, 1000.0))
    await refresh_all(conn)
    assert [r.value for r in await read(conn, stream)] == [2.0, 1.0]


async def test_an_hour_whose_observations_are_gone_has_no_rollup(conn: Connection) -> None:
    stream = await add_datastream(conn)
    await store(conn, (stream, START, 1.0), (stream, START + HOUR, 1.0))
    await refresh_all(conn)
    await conn.execute("DELETE FROM observation WHERE time = %s", (START,))
    await conn.execute("INSERT INTO rollup_log VALUES (%s, %s)", (START, stream))
    await refresh_all(conn)
    assert [r.bucket for r in await read(conn, stream)] == [START + HOUR]


async def test_repeating_changes_nothing(conn: Connection) -> None:
    stream = await add_datastream(conn)
    await store(conn, (stream, START, 1.0))
    await refresh_all(conn)
    version = "SELECT xmin::text, * FROM rollup_1h"
    before = await (await conn.execute(version)).fetchall()
    await conn.execute("INSERT INTO rollup_log SELECT bucket, datastream_id FROM rollup_1h")
    assert await refresh_rollups(conn) == 1
    assert await (await conn.execute(version)).fetchall() == before


async def test_a_failed_refresh_loses_no_log_entry(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await add_datastream(conn)
    await store(conn, (stream, START, 1.0))
    with monkeypatch.context() as patch:
        patch.setattr(rollups, "LEVEL_UNITS", [1, "x"])
        with pytest.raises(TypeError):
            await refresh_rollups(conn)
    assert await refresh_rollups(conn) == 1
    assert len(await read(conn, stream)) == 1


async def test_one_refresh_takes_a_bounded_bite(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "LOG_ENTRIES", 5)
    stream = await add_datastream(conn)
    await store(conn, *((stream, START + i * HOUR, 1.0) for i in range(12)))
    assert [await refresh_rollups(conn) for _ in range(4)] == [5, 5, 2, 0]
    assert len(await read(conn, stream)) == 12


async def test_a_second_worker_leaves_at_once(conn: Connection, dsn: str) -> None:
    stream = await add_datastream(conn)
    await store(conn, (stream, START, 1.0))
    async with await connect(dsn, application_name="test") as other, other.transaction():
        await rollups.lock_rollups(other)
        assert await refresh_rollups(conn) == 0
    assert await refresh_rollups(conn) == 1


async def test_a_snapshot_older_than_the_log_is_refused(conn: Connection) -> None:
    await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    async with conn.transaction():
        await conn.execute("SELECT FROM observation")
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            await refresh_rollups(conn)


async def test_rollups_are_exact_while_writers_and_workers_run(conn: Connection, dsn: str) -> None:
    """Late, repeated and current observations from six writers, and three workers at once."""
    streams = [await add_datastream(conn, averaging_seconds=i % 2 * 900) for i in range(8)]
    written: dict[tuple[int, datetime], float] = {}
    writing = asyncio.Event()
    writing.set()

    async def write(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        async with await connect(dsn, autocommit=True, application_name="test") as writer:
            for _ in range(60):
                batch = {
                    (chance.choice(streams), START + timedelta(minutes=chance.randrange(60 * 90)))
                    for _ in range(chance.randrange(1, 40))
                }
                # The value follows from the key, so that whoever comes first does not matter.
                rows = [
                    (stream, time, float(hash((stream, time)) % 1000)) for stream, time in batch
                ]
                async with writer.transaction():
                    await store(writer, *rows)
                    await asyncio.sleep(chance.random() / 200)
                written.update({(stream, time): value for stream, time, value in rows})

    async def work() -> None:
        async with await connect(dsn, autocommit=True, application_name="test") as worker:
            while writing.is_set():
                await refresh_rollups(worker)
                await asyncio.sleep(0)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.gather(*(write(seed) for seed in range(6)))
    writing.clear()
    await asyncio.gather(*workers)
    await refresh_all(conn)

    expected: dict[tuple[int, datetime], list[float]] = defaultdict(list)
    for (stream, time), value in written.items():
        assigned = time - timedelta(microseconds=1) if streams.index(stream) % 2 else time
        bucket = assigned.replace(minute=0, second=0, microsecond=0)
        expected[stream, bucket].append(value)
    found = await hourly(conn, streams, START - HOUR, END)
    assert {(r.datastream_id, r.bucket): (r.summary.n, r.summary.sum) for r in found} == {
        key: (len(values), sum(values)) for key, values in expected.items()
    }
