"""What a gateway makes of readings: from harvest to disk, and on to SensorThings."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from device_protocol.description import Datastream, GatewayDescription, Sensor, Thing
from device_protocol.reading import Quality, Reading
from edge_agent import durable, intervals
from edge_agent.clock import Clock, ClockQuality
from edge_agent.collection import collect
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.intervals import OpenIntervals
from edge_agent.processing.privacy import version
from edge_agent.processing.published import published
from edge_agent.processing.settings import AggregateSettings, CheckSettings, PrivacySettings
from edge_agent.sensors import ADAPTERS, Adapter, Harvest, SensorSettings, Surroundings
from edge_agent.settings import SpoolSettings
from edge_agent.spool.group_commit import GroupCommit, open_spool
from storage.database import Connection
from storage.rollups import hourly, refresh_rollups
from tests.integration.fix_brokers import City
from tests.integration.region import Region, begin, eventually, make_region
from tests.integration.sensorthings.conftest import serve

SENSOR = "urn:dev:street:air"
HOUR = datetime.fromtimestamp(int(time.time()) // 3600 * 3600 - 7200, UTC)
STREAMS = tuple(
    Datastream(
        name=name,
        title=name,
        description=name,
        observed_property=observed_property,
        unit=unit,
        period_seconds=60,
        valid_minimum=minimum,
        valid_maximum=1000.0 if minimum == 0 else None,
    )
    for name, observed_property, unit, minimum in (
        ("no2", "no2", "ug/m3", 0.0),
        ("people", "people_count", "count", 0.0),
        ("tag", "agent_version", "1", None),
        ("plate", "agent_version", "1", None),
        ("bay", "bay_occupied", "bool", None),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedSettings(SensorSettings):
    """A sensor that says what a test tells it to."""

    adapter: Literal["scripted"] = "scripted"


def scripted(**settings: Any) -> ScriptedSettings:
    return ScriptedSettings(
        urn=SENSOR, thing="urn:dev:lamp", name="Air", description="Air.", **settings
    )


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[Harvest]:
    """What the sensor will say."""
    said: asyncio.Queue[Harvest] = asyncio.Queue()

    async def harvests(
        _settings: ScriptedSettings, _surroundings: Surroundings
    ) -> AsyncGenerator[Harvest, None]:
        while True:
            yield await said.get()

    adapter = Adapter(ScriptedSettings, lambda _: STREAMS, harvests)
    monkeypatch.setitem(ADAPTERS, "scripted", adapter)
    return said


def reading(
    result: float | bool | str,  # noqa: FBT001  # a result
    minute: float,
    name: str = "no2",
    unit: str = "ug/m3",
    quality: Quality = Quality(0),  # noqa: B008  # immutable
) -> Reading:
    return Reading(
        sensor=SENSOR,
        name=name,
        phenomenon_time=HOUR + timedelta(minutes=minute),
        result=result,
        unit=unit,
        quality=quality,
    )


class Gateway:
    """The collecting half of an agent in a directory. minute: past the hour, by its clock."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.minute = 0.0
        self.facts = Facts(started_at=0)
        self.facts.adapters = {SENSOR: AdapterFacts("scripted")}
        self._spool: GroupCommit | None = None

    @asynccontextmanager
    async def collecting(self, sensor: SensorSettings) -> AsyncIterator[GroupCommit]:
        """Collect from the sensor for the length of the block."""
        clock = Clock(
            self.directory / "clock",
            wall=lambda: HOUR.timestamp() + 60 * self.minute,
            source=lambda: ClockQuality.NETWORK,
        )
        settings = SpoolSettings(commit_seconds=0.01)
        path = self.directory / "spool.sqlite"
        async with open_spool(path, settings, clock=clock, gap_record=_no_gap) as spool:
            self._spool = spool
            tasks = [
                asyncio.create_task(spool.run()),
                asyncio.create_task(
                    collect(sensor, Surroundings(clock, self.directory), spool, self.facts)
                ),
            ]
            try:
                yield spool
            finally:
                for task in reversed(tasks):  # what collecting leaves is still committed
                    task.cancel()
                    await asyncio.wait([task])

    def spooled(self) -> list[Reading]:
        """Return what is on the disk, in the order of acceptance."""
        import sqlite3  # noqa: PLC0415  # beside the agent's own connection

        from edge_agent.spool.rows import decode  # noqa: PLC0415

        with sqlite3.connect(self.directory / "spool.sqlite") as database:
            rows = database.execute("SELECT body FROM reading ORDER BY place").fetchall()
        database.close()
        return [decode(body) for (body,) in rows]

    def open_intervals(self) -> list[Any]:
        """Return the open intervals that are on the disk."""
        [file] = self.directory.glob("intervals-*.json")
        found: list[Any] = json.loads(file.read_bytes())["open"]
        return found


def _no_gap(_dropped: int) -> Reading:
    raise AssertionError("nothing is dropped here")


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path / "gateway")


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep and tell intervals without the patience a flash card deserves."""
    monkeypatch.setattr(intervals, "_OWED_SECONDS", 0.02)
    monkeypatch.setattr(intervals, "_LONGEST_WAIT_SECONDS", 0.02)


AGGREGATE = AggregateSettings(interval_seconds=600, functions=("mean",), wait_seconds=0)


@pytest.mark.usefixtures("quickly")
async def test_what_was_acknowledged_to_a_sensor_outlives_a_power_cut_inside_its_interval(
    script: asyncio.Queue[Harvest], gateway: Gateway, tmp_path: Path
) -> None:
    told: list[list[Any]] = []

    def stored() -> None:
        """Note what is on the disk when the sensor is told that its readings are."""
        told.append(gateway.open_intervals())
        shutil.copytree(gateway.directory, tmp_path / f"cut-{len(told)}")

    gateway.minute = 5
    async with gateway.collecting(scripted(aggregate=AGGREGATE)):
        script.put_nowait(Harvest((reading(1.0, 1), reading(2.0, 2)), stored=stored))
        await eventually(lambda: len(told) == 1)
        script.put_nowait(Harvest((reading(6.0, 3),), at_once=True, stored=stored))
        await eventually(lambda: len(told) == 2)
    for number, expected in ((1, [1.5, 2.0]), (2, [3.0, 3.0])):
        survivor = Gateway(tmp_path / f"cut-{number}")
        survivor.minute = 11
        async with survivor.collecting(scripted(aggregate=AGGREGATE)):
            await eventually(lambda: survivor.open_intervals() == [])  # noqa: B023
        assert [each.result for each in survivor.spooled()] == expected
        assert [each.name for each in survivor.spooled()] == ["no2.mean", "no2.n"]


@pytest.mark.usefixtures("quickly")
async def test_a_disk_that_refuses_delays_the_acknowledgement_and_loses_nothing(
    script: asyncio.Queue[Harvest], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures, told = durable.write_durably, [0], asyncio.Event()

    def full(path: Path, content: bytes, *, private: bool = False) -> None:
        if path.name.startswith("intervals") and failures[0] < 3:
            failures[0] += 1
            assert not told.is_set()
            raise OSError(28, "No space left on device")
        real(path, content, private=private)

    monkeypatch.setattr(durable, "write_durably", full)
    async with gateway.collecting(scripted(aggregate=AGGREGATE)):
        script.put_nowait(Harvest((reading(1.0, 1),), stored=told.set))
        async with asyncio.timeout(10):
            await told.wait()
        assert failures == [3]
        assert len(gateway.open_intervals()) == 1


async def test_an_agent_that_stops_tells_whom_it_owes_an_answer(
    script: asyncio.Queue[Harvest], gateway: Gateway
) -> None:
    """Whoever is told nothing brings it again, and it would be in the sums twice."""
    told: list[int] = []

    def stored() -> None:
        told.append(len(gateway.open_intervals()))

    bay = reading(True, 1, "bay", "")  # noqa: FBT003
    async with gateway.collecting(scripted(aggregate=AGGREGATE)):
        script.put_nowait(Harvest((reading(1.0, 1),), stored=stored))
        script.put_nowait(Harvest((reading(2.0, 1), bay), stored=stored))
        await eventually(lambda: gateway.facts.readings == 3)
        assert told == []
    assert told == [1, 1]


async def test_an_agent_that_stops_in_the_middle_of_writing_leaves_a_whole_file(
    script: asyncio.Queue[Harvest], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "_OWED_SECONDS", 0.02)
    real, begun, others = durable.write_durably, threading.Event(), [0]

    def slowly(path: Path, content: bytes, *, private: bool = False) -> None:
        others[0] += 1
        assert others[0] == 1, "two write the same file"
        if not begun.is_set():
            begun.set()
            time.sleep(0.2)  # longer than it takes to be told to stop
        real(path, content, private=private)
        others[0] -= 1

    monkeypatch.setattr(durable, "write_durably", slowly)
    told = asyncio.Event()
    async with gateway.collecting(scripted(aggregate=AGGREGATE)):
        script.put_nowait(Harvest((reading(1.0, 1),), stored=told.set))
        await eventually(begun.is_set)
    assert others == [0]
    assert told.is_set()
    assert len(gateway.open_intervals()) == 1


@pytest.mark.usefixtures("quickly")
async def test_an_interval_that_a_cut_tells_twice_is_told_with_the_same_results(
    script: asyncio.Queue[Harvest], gateway: Gateway, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"

    async def settle_late(self: OpenIntervals) -> bool:
        """Cut the power when what it came to is in the spool, and the file does not know yet."""
        told = await tell(self)
        if told:
            shutil.copytree(gateway.directory, cut)
        return told

    tell = OpenIntervals.tell
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenIntervals, "tell", settle_late)
        gateway.minute = 5
        async with gateway.collecting(scripted(aggregate=AGGREGATE)):
            script.put_nowait(Harvest((reading(1.0, 1),), at_once=True))
            await eventually(lambda: gateway.facts.readings == 1)
            script.put_nowait(Harvest((reading(2.0, 2),)))  # nobody waits for this one
            await eventually(lambda: gateway.facts.readings == 2)
            gateway.minute = 11
            await eventually(cut.exists)
    survivor = Gateway(cut)
    survivor.minute = 11
    async with survivor.collecting(scripted(aggregate=AGGREGATE)):
        await eventually(lambda: survivor.open_intervals() == [])
    assert [each.result for each in survivor.spooled()] == [1.5, 2.0, 1.5, 2.0]
    assert len({each.phenomenon_time for each in survivor.spooled()}) == 1


@pytest.mark.usefixtures("quickly")
async def test_readings_that_pass_and_those_that_are_summed_up_are_acknowledged_together(
    script: asyncio.Queue[Harvest], gateway: Gateway
) -> None:
    told: list[tuple[int, int]] = []

    def stored() -> None:
        told.append((len(gateway.spooled()), len(gateway.open_intervals())))

    bay = reading(True, 1, "bay", "")  # noqa: FBT003
    sensor = scripted(aggregate=AGGREGATE, privacy=PrivacySettings(drop=("plate",)))
    async with gateway.collecting(sensor):
        plate = reading("AB12", 1, "plate", "")
        script.put_nowait(Harvest((reading(1.0, 1), bay, plate), stored=stored))
        await eventually(lambda: bool(told))
        assert told == [(2, 1)]
        gateway.minute = 20
        await eventually(lambda: len(gateway.spooled()) == 4)
    names = [each.name for each in gateway.spooled()]
    assert names == ["privacy_filter", "bay", "no2.mean", "no2.n"]
    assert "AB12" not in "".join(path.read_text("latin-1") for path in gateway.directory.iterdir())


async def test_without_aggregation_what_the_spool_has_is_acknowledged(
    script: asyncio.Queue[Harvest], gateway: Gateway
) -> None:
    told = asyncio.Event()
    async with gateway.collecting(scripted()):
        wrong = reading(5.0, 2, unit="Cel")
        script.put_nowait(Harvest((reading(1.0, 1), reading(1.0, 1), wrong)))
        script.put_nowait(Harvest((reading(1.0, 1),), stored=told.set))  # all of it repeated
        async with asyncio.timeout(10):
            await told.wait()
    assert gateway.spooled() == [reading(1.0, 1)]
    own = gateway.facts.adapters[SENSOR]
    assert (own.readings, own.refused, own.repeated, own.flagged) == (4, 1, 2, 0)


# From the gateway to SensorThings


@pytest.fixture
async def region(city: City, dsn: str, tmp_path: Path, connection: Connection) -> Region:
    return await make_region(city, dsn, tmp_path, connection)


def described(sensor: SensorSettings) -> GatewayDescription:
    return GatewayDescription(
        (
            Thing(
                urn="urn:dev:lamp",
                name="Lamp",
                description="A lamp.",
                longitude=-0.13,
                latitude=51.5,
                place_name="Here",
                sensors=(
                    Sensor(
                        urn=SENSOR,
                        name="Air",
                        description="Air.",
                        metadata="",
                        datastreams=published(sensor, STREAMS),
                    ),
                ),
            ),
        )
    )


async def spooled_by(
    sensor: SensorSettings, gateway: Gateway, script: asyncio.Queue[Harvest], *said: Reading
) -> list[Reading]:
    """Return what an agent would seal of these readings."""
    async with gateway.collecting(sensor):
        script.put_nowait(Harvest(said, at_once=True))
        await eventually(lambda: gateway.facts.adapters[SENSOR].running)
    return gateway.spooled()


@pytest.mark.parametrize("database_server", ["plain"], indirect=True)
async def test_flags_and_filter_of_a_gateway_are_read_in_sensorthings(
    region: Region,
    gateway: Gateway,
    script: asyncio.Queue[Harvest],
) -> None:
    privacy = PrivacySettings(drop=("plate",), hash=("tag",), minimum_count=5)
    sensor = scripted(
        checks={"no2": CheckSettings(maximum=400.0, most_change=1.0)}, privacy=privacy
    )
    readings = await spooled_by(
        sensor,
        gateway,
        script,
        reading(40.0, 1),
        reading(6553.5, 2),
        reading(500.0, 10),
        reading(41.0, 11, quality=Quality.WARMING_UP),
        reading(43.0, 12),
        reading(46.0, 12.01),
        reading(3.0, 1, "people", "count"),
        reading(8.0, 2, "people", "count"),
        reading("AB12 CDE", 1, "tag", ""),
        reading("AB12 CDE", 1, "plate", ""),
    )
    async with region.ingest(), region.gateway() as sealing:
        await begin(sealing)
        await sealing.publish(sealing.gateway.describe(described(sensor)))
        await sealing.publish(sealing.gateway.report(readings))
        await sealing.acknowledged(3)
    async with serve(region.dsn) as service:
        stored = await service.get(
            "Observations", expand="Datastream", orderby="phenomenonTime", top="100"
        )
    seen = [
        (
            entity["Datastream"]["name"],
            entity["result"],
            entity.get("resultQuality", {"flags": []})["flags"],
        )
        for entity in stored["value"]
    ]
    assert [each[1:] for each in seen if each[0] == "no2"] == [
        (40.0, []),
        (6553.5, ["out-of-range", "suspect"]),
        (500.0, ["out-of-range"]),
        (41.0, ["warming-up"]),
        (43.0, []),
        (46.0, ["suspect"]),
    ]
    assert [each[1] for each in seen if each[0] == "people"] == [8.0]
    assert [each[1] for each in seen if each[0] == "Privacy filter"] == [version(privacy)]
    [(_, tag, _)] = [each for each in seen if each[0] == "tag"]
    assert len(tag) == 16
    assert "AB12" not in json.dumps(stored)
    assert {entity["Datastream"]["properties"]["privacy_filter"] for entity in stored["value"]} == {
        version(privacy)
    }
    while await refresh_rollups(region.conn):
        pass
    [(stream,)] = await (
        await region.conn.execute(
            "SELECT id FROM datastream WHERE name = 'no2' AND sensor_id = "
            "(SELECT id FROM sensor WHERE urn = %s)",
            (SENSOR,),
        )
    ).fetchall()
    [rollup] = await hourly(region.conn, [stream], HOUR, HOUR + timedelta(hours=1))
    assert (rollup.summary.n, rollup.summary.maximum) == (4, 46.0)
