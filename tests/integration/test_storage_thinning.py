"""Classes of datastreams that are kept for a shorter time than the rest; both editions."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest

from storage import thinning
from storage.database import Connection, connect
from storage.edition import Edition, detect
from storage.partitions import ensure_partitions
from storage.retention import expire
from storage.rollups import hourly, refresh_rollups
from storage.thinning import RetentionClass, preview, thin
from tests.integration.datastreams import add_datastream, store

FLOOR = datetime(2024, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def health(*, before: datetime = FLOOR + HOUR, councils: Sequence[str] = ()) -> RetentionClass:
    return RetentionClass(
        name="health",
        observed_properties=frozenset({"battery_level"}),
        councils=frozenset(councils),
        before=before,
    )


async def rows(conn: Connection) -> set[tuple[int, datetime]]:
    cursor = await conn.execute("SELECT datastream_id, time FROM observation")
    return {(datastream_id, time) for datastream_id, time in await cursor.fetchall()}


async def extras(conn: Connection) -> set[tuple[int, datetime]]:
    cursor = await conn.execute("SELECT datastream_id, time FROM observation_extra")
    return {(datastream_id, time) for datastream_id, time in await cursor.fetchall()}


async def flag(conn: Connection, *keys: tuple[int, datetime]) -> None:
    for datastream_id, time in keys:
        await conn.execute(
            "INSERT INTO observation_extra (datastream_id, time, quality) VALUES (%s, %s, 8)",
            (datastream_id, time),
        )


async def values(conn: Connection, datastream: int) -> list[tuple[datetime, float | None]]:
    found = await hourly(conn, [datastream], FLOOR - 400 * DAY, FLOOR + 400 * DAY)
    return [(rollup.bucket, rollup.value) for rollup in found]


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await ensure_partitions(connection, FLOOR - 100 * DAY, FLOOR + 100 * DAY)
    return connection


async def test_only_the_class_goes_only_before_its_midnight_and_summaries_stay(
    conn: Connection,
) -> None:
    battery = await add_datastream(conn, "battery_level", "%")
    air = await add_datastream(conn)
    ages = [90 * DAY, 40 * DAY, 40 * DAY - HOUR, DAY, timedelta(microseconds=1)]
    old = [FLOOR - age for age in ages]
    kept = [FLOOR, FLOOR + 20 * DAY]
    await store(conn, *((each, time, 5.0) for each in (battery, air) for time in old + kept))
    await flag(conn, (battery, old[1]), (air, old[1]), (battery, kept[0]))
    due = await preview(conn, health())
    assert (due.datastreams, due.rows, due.oldest) == (1, len(old), old[0])

    assert await thin(conn, health()) == len(old)

    assert await rows(conn) == {(air, time) for time in old} | {
        (each, time) for each in (battery, air) for time in kept
    }
    assert await extras(conn) == {(air, old[1]), (battery, kept[0])}
    assert await values(conn, battery) == await values(conn, air)
    assert len(await values(conn, battery)) == len(old) + len(kept)
    assert await thin(conn, health()) == 0
    assert await preview(conn, health()) == thinning.Due(1, 0, None)


async def test_a_class_may_be_a_council(conn: Connection) -> None:
    battery = await add_datastream(conn, "battery_level", "%")
    await store(conn, (battery, FLOOR - DAY, 5.0))
    assert await thin(conn, health(councils=["leeds"])) == 0
    assert await thin(conn, health(councils=["leeds", "camden"])) == 1


async def test_what_comes_late_changes_no_thinned_hour_and_goes_with_the_next_run(
    conn: Connection,
) -> None:
    battery = await add_datastream(conn, "battery_level", "%")
    air = await add_datastream(conn)
    for each in (battery, air):
        await store(conn, (each, FLOOR - HOUR, 5.0), (each, FLOOR, 6.0))
    await thin(conn, health())
    for each in (battery, air):
        late = (FLOOR - HOUR + timedelta(minutes=1), FLOOR + timedelta(minutes=1))
        await store(conn, *((each, time, 1000.0) for time in late))
    while await refresh_rollups(conn):
        pass
    assert await values(conn, battery) == [(FLOOR - HOUR, 5.0), (FLOOR, 503.0)]
    assert await values(conn, air) == [(FLOOR - HOUR, 502.5), (FLOOR, 503.0)]

    assert await thin(conn, health()) == 1
    assert await values(conn, battery) == [(FLOOR - HOUR, 5.0), (FLOOR, 503.0)]


async def test_hours_logged_before_are_summarised_from_all_there_was(conn: Connection) -> None:
    battery = await add_datastream(conn, "battery_level", "%")
    await store(conn, (battery, FLOOR - HOUR, 5.0), (battery, FLOOR - HOUR + DAY / 1440, 7.0))
    await thin(conn, health())  # nobody refreshed before
    assert await values(conn, battery) == [(FLOOR - HOUR, 6.0)]


async def test_the_floor_never_falls(conn: Connection) -> None:
    battery = await add_datastream(conn, "battery_level", "%")
    await store(conn, *((battery, FLOOR - days * DAY, 5.0) for days in (1, 9)))
    await thin(conn, health())
    await store(conn, (battery, FLOOR - 9 * DAY, 50.0))
    await thin(conn, health(before=FLOOR - 5 * DAY))  # the class is kept longer now
    await store(conn, (battery, FLOOR - DAY, 50.0))
    while await refresh_rollups(conn):
        pass
    assert [value for _, value in await values(conn, battery)] == [5.0, 5.0]


async def test_a_run_that_was_stopped_is_taken_up(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "DATASTREAMS_AT_ONCE", 2)
    batteries = [await add_datastream(conn, "battery_level", "%") for _ in range(5)]
    times = [FLOOR - days * DAY + each * HOUR for days in (1, 2, 30) for each in range(3)]
    await store(conn, *((battery, time, 5.0) for battery in batteries for time in times))
    delete = thinning._delete
    portions: list[tuple[int, timedelta]] = []

    async def stopping(conn: Connection, ids: Sequence[int], start: datetime, end: datetime) -> int:
        if len(portions) == 4:
            raise OSError("power cut")
        portions.append((len(ids), end - start))
        return await delete(conn, ids, start, end)

    monkeypatch.setattr(thinning, "_delete", stopping)
    with pytest.raises(OSError, match="power cut"):
        await thin(conn, health())
    monkeypatch.setattr(thinning, "_delete", delete)
    gone = 5 * 3 + 2 * 3
    assert portions == [(2, DAY), (2, DAY), (1, DAY), (2, DAY)]
    assert len(await rows(conn)) == len(batteries) * len(times) - gone
    assert await thin(conn, health()) == len(batteries) * len(times) - gone
    assert len(await values(conn, batteries[4])) == len(times)


async def test_readers_and_writers_go_on_meanwhile(conn: Connection, dsn: str) -> None:
    battery = await add_datastream(conn, "battery_level", "%")
    await store(conn, (battery, FLOOR - DAY, 5.0))
    async with await connect(dsn, application_name="test") as other:
        await store(other, (battery, FLOOR - 2 * HOUR, 5.0))  # holds its locks, not committed
        await other.execute("SELECT count(*) FROM observation")
        await conn.execute("SET lock_timeout = '2s'")
        assert await thin(conn, health()) == 1
        await other.commit()
    assert await thin(conn, health()) == 1


async def test_thinned_datastreams_and_a_general_limit_go_together(conn: Connection) -> None:
    battery = await add_datastream(conn, "battery_level", "%")
    air = await add_datastream(conn)
    for each in (battery, air):
        await store(conn, *((each, FLOOR - days * DAY, 5.0) for days in (5, 60)))
    await thin(conn, health())
    await expire(conn, datetime(2024, 2, 1, tzinfo=UTC))
    assert await rows(conn) == {(air, FLOOR - 5 * DAY)}
    await store(conn, (battery, FLOOR - 5 * DAY, 50.0), (air, FLOOR - 60 * DAY, 50.0))
    while await refresh_rollups(conn):
        pass
    for each in (battery, air):
        assert [value for _, value in await values(conn, each)] == [5.0, 5.0]


async def test_days_that_got_observations_are_noted(conn: Connection) -> None:
    battery = await add_datastream(conn, "battery_level", "%")

    async def noted() -> dict[date, int]:
        while await refresh_rollups(conn):
            pass
        cursor = await conn.execute("SELECT day, version FROM changed_day")
        return dict(await cursor.fetchall())

    midnight = datetime(2024, 3, 11, tzinfo=UTC)
    await store(conn, (battery, FLOOR, 5.0), (battery, midnight - timedelta(microseconds=1), 5.0))
    assert await noted() == {date(2024, 3, 10): 1}
    await store(conn, (battery, FLOOR, 5.0))  # a repetition
    assert await noted() == {date(2024, 3, 10): 1}
    await store(conn, (battery, midnight, 5.0), (battery, FLOOR + HOUR, 5.0))
    assert await noted() == {date(2024, 3, 10): 2, date(2024, 3, 11): 1}


async def test_deleting_in_a_hypertable_is_not_held_up_by_columns(conn: Connection) -> None:
    """Only the Community edition has columns; the setting that it needs is known to both."""
    if await detect(conn) is Edition.PLAIN:
        return
    async with conn.transaction():
        await thinning._delete(conn, [1], FLOOR, FLOOR + DAY)
        cursor = await conn.execute("SHOW timescaledb.max_tuples_decompressed_per_dml_transaction")
        assert await cursor.fetchone() == ("0",)
