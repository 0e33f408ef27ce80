"""The index from hourly sums is the one that the observations themselves give, at every hour.

Over air quality recorded in London and over seeded readings of a minute with gaps, with and without
the rollup worker, and with what an earlier reading left to remember.
"""

import csv
import gzip
import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from command_line.demo.london import RECORDING
from standards_mapping.air_quality_index import (
    RULES,
    Index,
    NoIndex,
    PartMean,
    covered_share,
    first_start,
    index_now,
    latest_end,
)
from storage.air_quality import KnownIndices, Pollutant, indices_now, site_indices
from storage.database import Connection
from storage.overview import bounded_read
from storage.partitions import ensure_partitions
from storage.rollups import refresh_rollups
from tests.integration.datastreams import add_datastream, store

HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
FULL: Final = datetime(2026, 3, 1, 14, tzinfo=UTC)
NOW: Final = FULL + 20 * MINUTE

_OBSERVED = """
    SELECT o.time, o.value FROM observation o
      LEFT JOIN observation_extra x ON x.datastream_id = o.datastream_id AND x.time = o.time
     WHERE o.datastream_id = %s AND o.time > %s AND o.time <= %s AND o.value IS NOT NULL
       AND coalesce(x.quality & 1, 0) = 0
     ORDER BY o.time
"""


async def from_observations(conn: Connection, one: Pollutant, now: datetime) -> Index | NoIndex:
    """The index as its rule says it, from every single result."""
    rule = RULES[one.property_key]
    start, end = first_start(rule, now), latest_end(now)
    rows = await (await conn.execute(_OBSERVED, (one.datastream_id, start, end))).fetchall()
    parts: dict[datetime, list[float]] = {}
    for time, value in rows:
        ended = end - math.floor((end - time) / rule.part) * rule.part
        parts.setdefault(ended, []).append(value)
    means = []
    for ended, values in parts.items():
        covered = covered_share(rule, len(values), averaging=one.averaging, period=one.period)
        assert covered is not None
        means.append(PartMean(ended, sum(values) / len(values), covered))
    return index_now(rule, means, now)


def assert_same(found: Index | NoIndex, expected: Index | NoIndex) -> None:
    if isinstance(found, NoIndex) or isinstance(expected, NoIndex):
        assert found == expected
        return
    assert (found.index, found.band, found.start, found.end, found.captured) == (
        expected.index, expected.band, expected.start, expected.end, expected.captured,
    )  # fmt: skip
    assert found.concentration == pytest.approx(expected.concentration, rel=1e-12)


async def assert_equal(
    conn: Connection, asked: Sequence[Pollutant], now: datetime, known: KnownIndices | None = None
) -> Mapping[int, Index | NoIndex]:
    async with bounded_read(conn):
        found = await indices_now(conn, asked, now, known=known)
        for one in asked:
            assert_same(found[one.datastream_id], await from_observations(conn, one, now))
    return found


async def summarise(conn: Connection) -> None:
    while await refresh_rollups(conn):
        pass


async def minutely(conn: Connection, key: str, seed: int) -> Pollutant:
    """A datastream of one reading a minute with gaps and garbage; odd seeds are off the minute."""
    number = await add_datastream(conn, key)
    chance = random.Random(seed)  # noqa: S311  # a test's data
    shift = timedelta(seconds=chance.uniform(0, 50)) if seed % 2 else timedelta()
    missing = [chance.choice((0.0, 0.02, 0.24, 0.26)) for _ in range(31)]  # about the quarter
    reported = []
    for back in range(31 * 60):
        hour = back // 60
        if chance.random() < missing[hour]:
            continue
        if hour in {seed % 9 + 1, seed % 9 + 3}:
            continue
        reported.append((number, FULL - back * MINUTE + shift, round(chance.uniform(0, 90), 1)))
    await store(conn, *reported)
    flagged = [time for _, time, _ in chance.sample(reported, 20)]
    flagged += [time for _, time, _ in reported if not time.minute and chance.random() < 0.3]
    await conn.execute(
        "INSERT INTO observation_extra (datastream_id, time, quality)"
        " SELECT %s, unnest(%s::timestamptz[]), 1",
        (number, sorted(set(flagged))),
    )
    return Pollutant(
        datastream_id=number,
        property_key=key,
        unit="ug/m3",
        averaging=timedelta(),
        period=MINUTE,
    )


async def test_readings_of_a_minute_with_gaps(connection: Connection) -> None:
    await ensure_partitions(connection, FULL - 40 * HOUR, FULL + HOUR)
    asked = [
        await minutely(connection, key, 5 * number + seed)
        for number, key in enumerate(sorted(RULES))
        for seed in range(4)
    ]
    instants = [now for hours in range(5) for now in (NOW - hours * HOUR, FULL - hours * HOUR)]
    for now in instants:  # nothing is summed up: all hours wait
        await assert_equal(connection, asked, now)
    await summarise(connection)
    told = [await assert_equal(connection, asked, now) for now in instants]
    kinds = {type(index) for each in told for index in each.values()}
    assert kinds == {Index, NoIndex}, "both are compared"


async def test_what_comes_late_or_is_corrected_changes_what_is_remembered(
    connection: Connection,
) -> None:
    await ensure_partitions(connection, FULL - 40 * HOUR, FULL + HOUR)
    asked = [await minutely(connection, key, 2) for key in sorted(RULES)]
    known = KnownIndices()
    await summarise(connection)
    await assert_equal(connection, asked, NOW, known)
    assert all(known.fingerprint(one) is not None for one in asked)
    before = await assert_equal(connection, asked, NOW, known)
    late = [(one.datastream_id, FULL - 30.5 * MINUTE, 900.0) for one in asked]
    late += [(one.datastream_id, FULL - 50.5 * MINUTE, 900.0) for one in asked]
    await store(connection, *late)
    waiting = await assert_equal(connection, asked, NOW, known)
    assert waiting != before
    await summarise(connection)
    await assert_equal(connection, asked, NOW, known)
    # On the hour: the hourly sums have it in the hour that runs, the index in the one that ended.
    await connection.execute("UPDATE observation SET value = value + 50 WHERE time = %s", (FULL,))
    corrected = await assert_equal(connection, asked, NOW, known)
    assert corrected != waiting
    await assert_equal(connection, asked, NOW + HOUR, known)


async def test_a_result_beyond_all_others_costs_them_no_digits(connection: Connection) -> None:
    await ensure_partitions(connection, FULL - 40 * HOUR, FULL + HOUR)
    asked = await minutely(connection, "pm10", 2)
    await connection.execute("DELETE FROM observation WHERE time = %s", (FULL - 26 * HOUR,))
    await store(connection, (asked.datastream_id, FULL - 26 * HOUR, 1e200))
    await summarise(connection)
    await assert_equal(connection, [asked], NOW)


async def test_air_recorded_in_london(connection: Connection) -> None:
    first = datetime(2009, 1, 9, tzinfo=UTC)
    hours = 72
    with gzip.open(RECORDING, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sites = sorted({row["site"] for row in rows})
    await ensure_partitions(connection, first - HOUR, first + hours * HOUR)
    asked, reported = [], []
    for site in sites:
        for column, key in (("no2", "no2"), ("pm10", "pm10"), ("pm2.5", "pm25")):
            number = await add_datastream(connection, key, averaging_seconds=3600)
            asked.append(
                Pollutant(
                    datastream_id=number,
                    property_key=key,
                    unit="ug/m3",
                    averaging=HOUR,
                    period=HOUR,
                )
            )
            for row in rows:
                time = datetime.fromisoformat(row["date"]).replace(tzinfo=UTC)
                if row["site"] == site and row[column] and 0 <= (time - first) / HOUR <= hours:
                    reported.append((number, time, float(row[column])))
    await store(connection, *reported)
    await summarise(connection)
    known = KnownIndices()
    indices: list[Index | NoIndex] = []
    for hour in range(0, hours, 3):
        now = first + hour * HOUR + 7 * MINUTE
        indices += (await assert_equal(connection, asked, now, known)).values()
    assert len({index.index for index in indices if isinstance(index, Index)}) > 2


async def test_the_index_of_a_site_is_the_highest_that_the_reader_may_see(
    connection: Connection,
) -> None:
    await ensure_partitions(connection, FULL - 40 * HOUR, FULL + HOUR)
    low = await add_datastream(connection, "no2", averaging_seconds=3600)
    high = await add_datastream(connection, "pm10", averaging_seconds=3600)
    await add_datastream(connection, "air_temperature", "Cel", averaging_seconds=3600)
    await connection.execute("UPDATE thing SET approved = true")
    [(thing,)] = await (await connection.execute("SELECT id FROM thing")).fetchall()
    times = [FULL - back * HOUR for back in range(24)]
    await store(
        connection, *((low, time, 70.0) for time in times), *((high, time, 60.0) for time in times)
    )
    async with bounded_read(connection):
        found = (await site_indices(connection, NOW))[thing]
        assert await site_indices(connection, NOW, things=[thing + 1]) == {}
    assert (found.property_key, found.index, found.band, found.end) == ("pm10", 5, "Moderate", FULL)
    await connection.execute("UPDATE datastream SET access = 'restricted' WHERE id = %s", (high,))
    async with bounded_read(connection):
        open_to_all = (await site_indices(connection, NOW))[thing]
    assert (open_to_all.property_key, open_to_all.index) == ("no2", 2)
    [(council,)] = await (await connection.execute("SELECT id FROM council")).fetchall()
    async with bounded_read(connection, councils=frozenset({council})):
        assert (await site_indices(connection, NOW))[thing] == found
