"""The Daily Air Quality Index from what is stored, against sums made here."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from standards_mapping.air_quality_index import Index, NoIndex
from storage.air_quality import Pollutant, indices_now
from storage.database import Connection
from storage.partitions import ensure_partitions
from tests.integration.datastreams import add_datastream, store

NOW = datetime(2026, 3, 1, 14, 20, tzinfo=UTC)
FULL = datetime(2026, 3, 1, 14, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


async def pollutant(conn: Connection, key: str, unit: str = "ug/m3", **how: timedelta) -> Pollutant:
    averaging = how.get("averaging", timedelta())
    await ensure_partitions(conn, NOW - 30 * HOUR, NOW)
    number = await add_datastream(conn, key, unit, averaging_seconds=int(averaging.total_seconds()))
    return Pollutant(
        datastream_id=number,
        property_key=key,
        unit=unit,
        averaging=averaging,
        period=how.get("period"),
    )


def every(step: timedelta, count: int, last: datetime = FULL) -> Iterator[datetime]:
    """Times a step apart, the newest of them `last`."""
    return (last - number * step for number in range(count))


async def log(conn: Connection, datastream_id: int, times: Sequence[datetime]) -> None:
    """Log the hours of what was changed, as whoever changes it does."""
    hours = {time.replace(minute=0, second=0, microsecond=0) for time in times}
    await conn.execute(
        "INSERT INTO rollup_log SELECT unnest(%s::timestamptz[]), %s", (list(hours), datastream_id)
    )


async def index(conn: Connection, asked: Pollutant) -> Index | NoIndex:
    return (await indices_now(conn, [asked], NOW))[asked.datastream_id]


async def test_hours_are_told_by_their_end_and_averaged(connection: Connection) -> None:
    asked = await pollutant(connection, "o3", averaging=HOUR, period=HOUR)
    times = list(every(HOUR, 30))
    await store(connection, *((asked.datastream_id, time, float(time.hour)) for time in times))
    found = await index(connection, asked)
    assert isinstance(found, Index)
    assert found.concentration == sum(range(7, 15)) / 8
    assert (found.end, found.captured) == (FULL, 1.0)


async def test_readings_of_a_minute_make_hours_first(connection: Connection) -> None:
    asked = await pollutant(connection, "pm25", period=MINUTE)
    dense = [(asked.datastream_id, time, 30.0) for time in every(MINUTE, 12 * 60)]
    older = every(MINUTE * 1.25, 8 * 48, last=FULL - 12 * HOUR)
    sparse = [(asked.datastream_id, time, 10.0) for time in older]
    await store(connection, *dense, *sparse)
    found = await index(connection, asked)
    assert isinstance(found, Index)
    assert found.captured == 20 / 24
    assert found.concentration == (12 * 30 + 8 * 10) / 20, "each hour weighs the same"


async def test_what_is_out_of_range_is_not_measured(connection: Connection) -> None:
    asked = await pollutant(connection, "no2", period=MINUTE)
    times = list(every(MINUTE, 60))
    await store(connection, *((asked.datastream_id, time, 100.0) for time in times))
    found = await index(connection, asked)
    assert isinstance(found, Index)
    await connection.execute(
        "INSERT INTO observation_extra (datastream_id, time, quality)"
        " SELECT %s, unnest(%s::timestamptz[]), 1",
        (asked.datastream_id, times[:16]),
    )
    await log(connection, asked.datastream_id, times[:16])
    assert isinstance(await index(connection, asked), NoIndex)


async def test_milligrams_are_converted_and_parts_per_billion_are_not(
    connection: Connection,
) -> None:
    asked = await pollutant(connection, "pm10", "mg/m3", averaging=HOUR, period=HOUR)
    await store(connection, *((asked.datastream_id, time, 0.017) for time in every(HOUR, 24)))
    found = await index(connection, asked)
    assert isinstance(found, Index)
    assert (found.concentration, found.index) == (17.0, 2)
    other = await pollutant(connection, "no2", "ppb", averaging=HOUR, period=HOUR)
    await store(connection, (other.datastream_id, FULL, 40.0))
    assert await index(connection, other) == NoIndex("no2", "it is not measured in mass per volume")


async def test_means_over_too_long_and_unknown_periods_say_so(connection: Connection) -> None:
    hourly = await pollutant(connection, "so2", averaging=HOUR, period=HOUR)
    irregular = await pollutant(connection, "no2")
    await store(connection, *((each.datastream_id, FULL, 40.0) for each in (hourly, irregular)))
    found = await indices_now(connection, [hourly, irregular], NOW)
    assert found[hourly.datastream_id] == NoIndex(
        "so2", "its means are over longer than the index allows"
    )
    assert found[irregular.datastream_id] == NoIndex("no2", "how often it reports is not known")
