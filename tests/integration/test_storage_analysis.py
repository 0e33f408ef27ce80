"""Questions over many datastreams give what Python computes from the same readings."""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from device_protocol.description import Datastream, GatewayDescription, Sensor, Thing
from device_protocol.reading import Quality
from standards_mapping.properties import find_property
from storage import registry
from storage.analysis import (
    Box,
    TooBigError,
    council_hours,
    exceedances,
    gaps,
    last_values,
    observations,
    percentiles,
    values_in_box,
)
from storage.batches import Latest, prepare, reconcile_latest, upsert_latest
from storage.database import Connection, connect
from storage.descriptions import Describer, store_description
from storage.exact_hours import DroppedError, find_streams
from storage.retention import expire
from storage.rollups import refresh_rollups
from tests.simulators.street import store

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
PERIOD = timedelta(minutes=10)
HOURS = 48
END = START + HOURS * HOUR
PROPERTIES = {"no2": 0, "laeq": 600, "wind_direction": 0, "people_count": 0}
"""By key, what each result is averaged over, in seconds."""

OUT_OF_RANGE = int(Quality.OUT_OF_RANGE)
SUSPECT = int(Quality.SUSPECT)

Rows = list[tuple[datetime, float]]


@dataclass
class Towns:
    """Two councils with three sites each. rows: what counts, by (council, property), by stream."""

    streams: dict[tuple[str, int, str], int] = field(default_factory=dict)
    rows: dict[int, Rows] = field(default_factory=lambda: defaultdict(list))
    wild: dict[int, Rows] = field(default_factory=lambda: defaultdict(list))

    def of(self, tenant: str, key: str) -> list[int]:
        return [
            stream
            for (council, _, measured), stream in self.streams.items()
            if (council, measured) == (tenant, key)
        ]

    def results(self, tenant: str, key: str, start: datetime, end: datetime) -> list[float]:
        """What counts of a council's hours from `start` to before `end`."""
        return [
            value
            for stream in self.of(tenant, key)
            for time, value in self.rows[stream]
            if start <= hour_of(time, key) < end
        ]


def hour_of(time: datetime, key: str) -> datetime:
    inside = time - timedelta(microseconds=1 if PROPERTIES[key] else 0)
    return inside.replace(minute=0, second=0, microsecond=0)


async def describe(conn: Connection) -> Towns:
    towns = Towns()
    for place, tenant in enumerate(("camden", "leeds")):
        council = await registry.add_council(
            conn, gss=f"E0900000{place}", tenant=tenant, name=tenant
        )
        gateway = await registry.add_gateway(conn, tenant=tenant, device=f"{tenant}-gateway")
        things = tuple(thing(tenant, number, place) for number in range(3))
        async with conn.transaction():
            await store_description(
                conn,
                Describer(gateway_id=gateway, council_id=council, described_at=0),
                GatewayDescription(things),
                b"",
            )
    cursor = await conn.execute(
        "SELECT tenant, right(thing.urn, 1)::int, short_name, datastream.id FROM datastream"
        " JOIN thing ON thing.id = thing_id JOIN council ON council.id = thing.council_id"
    )
    for tenant, number, name, stream in await cursor.fetchall():
        towns.streams[tenant, number, name] = stream
    return towns


def thing(tenant: str, number: int, place: int) -> Thing:
    urn = f"urn:x:{tenant}:{number}"
    streams = tuple(
        Datastream(
            name=key,
            title=key,
            description=key,
            observed_property=key,
            unit=find_property(key).unit,
            period_seconds=int(PERIOD.total_seconds()),
            averaging_seconds=averaged,
        )
        for key, averaged in PROPERTIES.items()
    )
    return Thing(
        urn=urn,
        name=f"{tenant} {number}",
        description="",
        longitude=place + number / 10,
        latitude=51 + number / 10,
        place_name=f"{tenant} {number}",
        sensors=(
            Sensor(urn=f"{urn}:s", name="s", description="", metadata="", datastreams=streams),
        ),
    )


async def seeded(conn: Connection) -> Towns:
    """Readings on and off the hour, some missing, some wild, some suspect, some no numbers."""
    await prepare(conn)
    towns = await describe(conn)
    chance = np.random.default_rng(7)
    suspect: dict[int, Rows] = defaultdict(list)
    for (_, number, key), stream in towns.streams.items():
        offset = timedelta(minutes=number * 3)  # the first site reports on the hour
        for step in range(6 * HOURS + 1):
            time, value = START + step * PERIOD + offset, a_value(key, step, chance)
            fate = chance.random()
            if fate < 0.1:
                continue
            if fate < 0.12:
                towns.wild[stream].append((time, 6553.5))
            else:
                (suspect if fate < 0.14 else towns.rows)[stream].append((time, value))
    await store(conn, towns.rows)
    await store(conn, towns.wild, quality=OUT_OF_RANGE)
    await store(conn, suspect, quality=SUSPECT)
    for stream, found in suspect.items():
        towns.rows[stream] += found
    await not_numbers(conn, towns)
    await reconcile_latest(conn)
    return towns


def a_value(key: str, step: int, chance: np.random.Generator) -> float:
    daily = math.sin(step / 144 * math.tau)
    match key:
        case "wind_direction":
            return round((350 + 60 * daily + chance.normal(0, 20)) % 360, 1)
        case "people_count":
            return float(chance.integers(40))
        case _:
            return round(55 + 10 * daily + chance.normal(0, 5), 1)


async def not_numbers(conn: Connection, towns: Towns) -> None:
    """Results that are none, and ones that no sum could take."""
    for stream in towns.streams.values():
        for odd, value in enumerate((None, float("nan"), float("inf"), -1e300)):
            await conn.execute(
                "INSERT INTO observation VALUES (%s, %s, %s)",
                (stream, START + timedelta(hours=3 + odd, seconds=17), value),
            )


async def worked_off(conn: Connection) -> None:
    while await refresh_rollups(conn):
        pass


async def half_worked_off(conn: Connection, towns: Towns, how: str) -> None:
    """Let the worker come so far; then something late, which it has not come to in "some"."""
    if how == "none":
        return
    await worked_off(conn)
    late = {
        stream: [(START + timedelta(hours=number, minutes=59, seconds=1), 99.5)]
        for number, stream in enumerate(sorted(towns.streams.values()))
    }
    await store(conn, late)
    for stream, found in late.items():
        towns.rows[stream] += found
    if how == "all":
        await worked_off(conn)


def mean(key: str, values: Sequence[float]) -> float:
    match key:
        case "people_count":
            return math.fsum(values)
        case "laeq":
            return 10 * math.log10(math.fsum(10 ** (value / 10) for value in values) / len(values))
        case "wind_direction":
            sine = math.fsum(math.sin(math.radians(value)) for value in values)
            cosine = math.fsum(math.cos(math.radians(value)) for value in values)
            return math.degrees(math.atan2(sine, cosine)) % 360
        case _:
            return math.fsum(values) / len(values)


@pytest.mark.parametrize("how", ["none", "some", "all"])
async def test_answers_are_exact_however_far_the_rollups_have_come(
    connection: Connection, how: str
) -> None:
    towns = await seeded(connection)
    await half_worked_off(connection, towns, how)
    await check_council_hours(connection, towns)
    await check_percentiles(connection, towns)
    await check_exceedances(connection, towns)


async def check_council_hours(conn: Connection, towns: Towns) -> None:
    start, end = START + 2 * HOUR, END - HOUR
    found = await council_hours(conn, start, end)
    expected: Mapping[tuple[str, str, datetime], list[tuple[int, float]]] = defaultdict(list)
    for (tenant, _, key), stream in towns.streams.items():
        for time, value in towns.rows[stream]:
            if start <= hour_of(time, key) < end:
                expected[tenant, key, hour_of(time, key)].append((stream, value))
    keys = [(hour.group.tenant, hour.group.property_key, hour.bucket) for hour in found]
    assert keys == sorted(expected)
    for hour_key, hour in zip(keys, found, strict=True):
        values = [value for _, value in expected[hour_key]]
        assert hour.summary.n == len(values)
        assert hour.datastreams == len({stream for stream, _ in expected[hour_key]})
        assert hour.value is not None
        apart = abs(hour.value - mean(hour_key[1], values))
        assert min(apart, abs(apart - 360)) < 1e-6 * max(1, abs(hour.value))
    of_one = await council_hours(conn, start, end, property_key="laeq", tenant="leeds")
    assert [(one.bucket, one.summary.n) for one in of_one] == [
        (hour.bucket, hour.summary.n)
        for hour in found
        if (hour.group.tenant, hour.group.property_key) == ("leeds", "laeq")
    ]


async def test_hours_of_sites_that_await_approval_are_left_out_of_all(
    connection: Connection,
) -> None:
    towns = await seeded(connection)
    await worked_off(connection)
    cursor = await connection.execute(
        "UPDATE thing SET approved = false WHERE id = (SELECT min(id) FROM thing) RETURNING id"
    )
    [(thing_id,)] = await cursor.fetchall()
    cursor = await connection.execute("SELECT id FROM datastream WHERE thing_id = %s", (thing_id,))
    hidden = {number for (number,) in await cursor.fetchall()}
    asked_of_all = await find_streams(connection, None, None)
    assert asked_of_all.columns["most"], "the few others are added up as well, then left out"
    found = await council_hours(connection, START + 2 * HOUR, END - HOUR)
    expected = {
        (tenant, key, hour)
        for (tenant, _, key), stream in towns.streams.items()
        for time, _ in towns.rows[stream]
        if stream not in hidden and START + 2 * HOUR <= (hour := hour_of(time, key)) < END - HOUR
    }
    assert {(one.group.tenant, one.group.property_key, one.bucket) for one in found} == expected
    results = sum(
        START + 2 * HOUR <= hour_of(time, key) < END - HOUR
        for (_, _, key), stream in towns.streams.items()
        if stream not in hidden
        for time, _ in towns.rows[stream]
    )
    assert sum(one.summary.n for one in found) == results


async def check_percentiles(conn: Connection, towns: Towns) -> None:
    start, end = START + 5 * HOUR, END - 7 * HOUR
    for key, fraction in itertools.product(
        ("no2", "laeq", "people_count"), (0, 0.05, 0.3, 0.5, 0.77, 0.95, 0.999, 1)
    ):
        found = await percentiles(conn, key, start, end, fraction=fraction)
        assert [one.group.tenant for one in found] == ["camden", "leeds"]
        for one in found:
            results = towns.results(one.group.tenant, key, start, end)
            assert one.n == len(results)
            assert one.value == pytest.approx(np.quantile(results, fraction), abs=1e-9)


async def check_exceedances(conn: Connection, towns: Towns) -> None:
    start, end = START + 5 * HOUR, END - 7 * HOUR
    for key, limit in itertools.product(("no2", "laeq"), (-1000, 40, 55, 64.5, 99.5, 1000)):
        found = await exceedances(
            conn, key, start, end, limit=limit, unit=find_property(key).unit, tenant="camden"
        )
        expected = {
            stream: [
                value for time, value in towns.rows[stream] if start <= hour_of(time, key) < end
            ]
            for stream in towns.of("camden", key)
        }
        assert {one.datastream_id: (one.exceeding, one.n) for one in found} == {
            stream: (sum(value > limit for value in values), len(values))
            for stream, values in expected.items()
        }


async def test_one_datastream_is_read_with_its_flags_and_without_what_is_no_number(
    connection: Connection,
) -> None:
    towns = await seeded(connection)
    stream = towns.streams["camden", 0, "no2"]
    start, end = START + 10 * HOUR, START + 34 * HOUR
    found = await observations(connection, stream, start, end)
    expected = sorted(
        (time, value)
        for time, value in [*towns.rows[stream], *towns.wild[stream]]
        if start <= time < end
    )
    assert [(one.time, one.value) for one in found] == expected
    wild = {time for time, _ in towns.wild[stream]}
    assert {one.time for one in found if one.quality & OUT_OF_RANGE} == {
        time for time in wild if start <= time < end
    }
    assert not await observations(connection, stream, END + HOUR, END + 2 * HOUR)
    assert not await observations(connection, 1_000_000, start, end)


async def test_the_newest_values_are_the_newest_also_when_late_ones_come(
    connection: Connection,
) -> None:
    towns = await seeded(connection)
    newest = {
        stream: max([*towns.rows[stream], *towns.wild[stream]]) for stream in towns.streams.values()
    }
    found = await last_values(connection)
    assert {one.datastream_id: (one.time, one.value) for one in found} == newest
    stream = towns.streams["leeds", 1, "laeq"]
    old = Latest(int(START.timestamp()) * 1_000_000, 1.0, None, 0)
    await upsert_latest(connection, {stream: old})
    [one] = [
        one for one in await last_values(connection, tenant="leeds") if one.datastream_id == stream
    ]
    assert (one.time, one.value) == newest[stream]
    await connection.execute("UPDATE thing SET approved = false WHERE urn LIKE 'urn:x:leeds:%'")
    assert {one.datastream_id for one in await last_values(connection)} == {
        stream for (tenant, _, _), stream in towns.streams.items() if tenant == "camden"
    }


async def test_a_box_holds_the_sites_that_are_in_it_now(connection: Connection) -> None:
    towns = await seeded(connection)
    box = Box(west=0.1, south=51.1, east=1.1, north=51.2)  # its edges count
    found = await values_in_box(connection, box)
    assert {one.thing_name for one in found} == {"camden 1", "camden 2", "leeds 1"}
    newest = {one.datastream_id: one for one in await last_values(connection)}
    for one in found:
        last = newest[one.datastream_id]
        assert (one.time, one.value, one.quality) == (last.time, last.value, last.quality)
    assert len(found) == 3 * len(PROPERTIES)
    assert {one.tenant for one in await values_in_box(connection, box, tenant="leeds")} == {"leeds"}
    assert not await values_in_box(connection, Box(west=5, south=5, east=6, north=6))
    await connection.execute(
        "DELETE FROM latest WHERE datastream_id = %s", (towns.streams["camden", 1, "no2"],)
    )
    never = [one for one in await values_in_box(connection, box) if one.time is None]
    assert [one.datastream_id for one in never] == [towns.streams["camden", 1, "no2"]]
    with pytest.raises(ValueError, match="inside out"):
        Box(west=1, south=51, east=0, north=52)


async def test_gaps_are_found_between_readings_and_at_both_ends(connection: Connection) -> None:
    towns = await seeded(connection)
    silent = towns.streams["camden", 2, "no2"]
    start, end = START + 20 * HOUR, START + 40 * HOUR
    await connection.execute(
        "DELETE FROM observation WHERE datastream_id = %s AND time < %s", (silent, END)
    )
    found = await gaps(connection, start, end)
    expected = []
    for stream in sorted(towns.streams.values()):
        rows = [] if stream == silent else [*towns.rows[stream], *towns.wild[stream]]
        times = sorted(time for time, _ in rows if start <= time < end)
        expected += [
            (stream, one, other)
            for one, other in itertools.pairwise([start, *times, end])
            if other - one > 1.5 * PERIOD
        ]
    assert [(gap.datastream_id, gap.start, gap.end) for gap in found] == expected
    assert (silent, start, end) in expected
    of_leeds = await gaps(connection, start, end, tenant="leeds", factor=3)
    assert [(gap.datastream_id, gap.start, gap.end) for gap in of_leeds] == [
        (gap.datastream_id, gap.start, gap.end)
        for gap in found
        if gap.tenant == "leeds" and gap.end - gap.start > 3 * PERIOD
    ]
    await connection.execute("UPDATE datastream SET period_seconds = NULL")
    assert not await gaps(connection, start, end)  # irregular ones are never late


async def test_without_results_there_is_no_answer(connection: Connection) -> None:
    await describe(connection)
    assert not await last_values(connection)
    assert not await council_hours(connection, START, END)
    assert not await percentiles(connection, "no2", START, END, fraction=0.95)
    assert not await exceedances(connection, "no2", START, END, limit=1, unit="ug/m3")
    assert not await percentiles(connection, "unheard_of", START, END, fraction=0.95)


async def test_what_makes_no_sense_is_said(connection: Connection) -> None:
    await describe(connection)
    odd = START + timedelta(minutes=1)
    with pytest.raises(ValueError, match="no order"):
        await percentiles(connection, "wind_direction", START, END, fraction=0.5)
    with pytest.raises(ValueError, match="no order"):
        await exceedances(connection, "wind_direction", START, END, limit=180, unit="deg")
    with pytest.raises(ValueError, match="is not a whole hour"):
        await council_hours(connection, odd, END)
    with pytest.raises(ValueError, match="is empty"):
        await gaps(connection, END, START)
    with pytest.raises(ValueError, match="fraction is 95"):
        await percentiles(connection, "no2", START, END, fraction=95)
    with pytest.raises(ValueError, match="factor is 0"):
        await gaps(connection, START, END, factor=0)


async def test_dropped_observations_are_never_taken_for_missing_ones(
    connection: Connection,
) -> None:
    await seeded(connection)
    await worked_off(connection)
    before = await council_hours(connection, START, END, property_key="no2")
    await expire(connection, END + timedelta(days=40))
    for question in (
        percentiles(connection, "no2", START, END, fraction=0.95),
        exceedances(connection, "no2", START, END, limit=50, unit="ug/m3"),
        gaps(connection, START, END),
    ):
        with pytest.raises(DroppedError, match="kept from 2026-04"):
            await question
    assert await council_hours(connection, START, END, property_key="no2") == before


async def test_a_question_that_takes_too_long_says_which_and_how_to_ask_for_less(
    dsn: str, connection: Connection
) -> None:
    await describe(connection)
    async with (
        await connect(dsn, autocommit=True, application_name="kerbstone test") as other,
        other.transaction(),
    ):
        await other.execute("LOCK TABLE latest, rollup_log IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TooBigError, match=r"newest values took longer than 0\.05 s: ask"):
            await last_values(connection, seconds=0.05)
        with pytest.raises(TooBigError, match=r"percentile of no2 .*one council or fewer days"):
            await percentiles(connection, "no2", START, END, fraction=0.95, seconds=0.05)
    assert await last_values(connection) == []  # and the connection is still good
