"""Serial sensors at a pseudo-terminal: read, disturbed, unplugged, put to sleep."""

import asyncio
import errno
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import serial

from device_protocol.reading import Quality, Reading
from edge_agent.adapter import AdapterError, SensorSettings, Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.collection import collect
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.inputs import serial_line
from edge_agent.inputs.serial_line import SerialLineError, open_line
from edge_agent.sensors import ADAPTERS
from edge_agent.sensors.nmea import NmeaSettings
from edge_agent.sensors.pmsx003 import Pmsx003Settings
from edge_agent.sensors.sds011 import Sds011Settings
from edge_agent.settings import SpoolSettings
from edge_agent.spool.group_commit import open_spool
from tests.simulators.serial_sensor import Pms5003, SatelliteReceiver, Sds011, SerialSensor

NAMED = {
    "urn": "urn:dev:example:dust",
    "thing": "urn:dev:example:lamp-1",
    "name": "Dust",
    "description": "At the lamp.",
}
QUICK = {"interval_seconds": 0.1, "warm_up_seconds": 0.0, "silence_seconds": 0.5}


@pytest.fixture
def port(tmp_path: Path) -> Path:
    return tmp_path / "usb-dust"


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(Clock(tmp_path / "clock"), tmp_path)


def sds011(port: Path, **more: Any) -> Sds011Settings:
    return Sds011Settings(device=port, **{**NAMED, **QUICK, **more})


def pms5003(port: Path, **more: Any) -> Pmsx003Settings:
    return Pmsx003Settings(device=port, **{**NAMED, **QUICK, "model": "PMS5003", **more})


def nmea(port: Path, **more: Any) -> NmeaSettings:
    quick = {"interval_seconds": 0.1, "silence_seconds": 0.5}
    return NmeaSettings(device=port, **{**NAMED, **quick, **more})


def fix(now: datetime) -> list[str]:
    """Return what a receiver in Gower Street sends at that time."""
    moment, place = f"{now:%H%M%S}.00", "5131.2000,N,00007.8000,W"
    return [
        "GPGSV,3,1,10,01,71,307,50,04,22,299,42,06,01,033,00,13,77,327,51",
        f"GNRMC,{moment},A,{place},0.004,77.52,{now:%d%m%y},,,A,V",
        f"GNGGA,{moment},{place},1,12,0.88,20.5,M,47.0,M,,",
    ]


async def readings(
    settings: SensorSettings, surroundings: Surroundings
) -> AsyncGenerator[tuple[Reading, ...], None]:
    async with aclosing(ADAPTERS[settings.adapter].harvests(settings, surroundings)) as found:
        async for harvest in found:
            yield harvest.readings


async def first(
    settings: SensorSettings, surroundings: Surroundings
) -> dict[str, tuple[float | bool | str, str, Quality]]:
    """Return result, unit and quality of each reading of the first harvest that has any."""
    async with aclosing(readings(settings, surroundings)) as harvests:
        async for harvest in harvests:
            if harvest:
                return {each.name: (each.result, each.unit, each.quality) for each in harvest}
    raise AssertionError("it has ended")


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def no_gap(lost: int) -> Reading:
    raise AssertionError(f"{lost} readings are lost")


async def exhaust(found: AsyncGenerator[Any, None]) -> None:
    async for _ in found:
        pass


async def test_an_sds011_is_read(port: Path, surroundings: Surroundings) -> None:
    async with Sds011(port):
        assert await first(sds011(port), surroundings) == {
            "pm25": (12.3, "ug/m3", Quality(0)),
            "pm10": (45.6, "ug/m3", Quality(0)),
        }


async def test_a_pms5003_is_read_with_its_counts(port: Path, surroundings: Surroundings) -> None:
    async with Pms5003(port):
        found = await first(pms5003(port, particles=True), surroundings)
    assert {name: result for name, (result, _, _) in found.items()} == {
        "pm1": 3.0,
        "pm25": 8.0,
        "pm10": 11.0,
        "particles_0_3": 600.0,
        "particles_0_5": 180.0,
        "particles_1": 40.0,
        "particles_2_5": 6.0,
        "particles_5": 2.0,
        "particles_10": 1.0,
    }
    assert found["pm1"][1] == "ug/m3"
    assert found["particles_10"][1] == "count"


@pytest.mark.parametrize("kind", [Sds011, Pms5003])
async def test_garbage_and_half_frames_do_no_harm(
    kind: type[SerialSensor], port: Path, surroundings: Surroundings
) -> None:
    async with kind(port) as sensor:
        sensor.garbage = b"\xaa\xc0BM\0\x1c\xff"
        sensor.halves = True
        settings = sds011(port) if kind is Sds011 else pms5003(port)
        found = await first(settings, surroundings)
    assert found["pm25"][0] == (12.3 if kind is Sds011 else 8.0)


@pytest.mark.parametrize("statistic", ["mean", "newest"])
async def test_a_result_is_the_mean_of_the_frames_or_the_newest(
    statistic: str, port: Path, surroundings: Surroundings
) -> None:
    async with Sds011(port) as sensor:
        sensor.results = (10.0, 20.0)
        sensor.next_results = [(30.0, 40.0)]
        found = await first(sds011(port, statistic=statistic), surroundings)
    pm25, pm10 = found["pm25"][0], found["pm10"][0]
    assert isinstance(pm25, float)
    assert pm10 == pytest.approx(pm25 + 10.0)
    assert (10.0 < pm25 < 30.0) == (statistic == "mean")


async def test_what_is_measured_while_it_warms_up_is_flagged(
    port: Path, surroundings: Surroundings
) -> None:
    async with Pms5003(port):
        qualities = []
        settings = pms5003(port, warm_up_seconds=0.25)
        async with aclosing(readings(settings, surroundings)) as found:
            async for harvest in found:
                qualities.append(harvest[0].quality)
                if len(qualities) == 5:
                    break
    assert qualities[0] == Quality.WARMING_UP
    assert qualities[-1] == Quality(0)
    assert all(later <= sooner for sooner, later in pairwise(qualities))


@pytest.mark.parametrize("kind", [Sds011, Pms5003])
async def test_an_unplugged_sensor_fails_by_name_and_is_read_again_once_it_is_back(
    kind: type[SerialSensor], port: Path, surroundings: Surroundings
) -> None:
    settings = sds011(port) if kind is Sds011 else pms5003(port)
    async with kind(port) as sensor:
        async with aclosing(readings(settings, surroundings)) as found:
            assert await anext(found)
            sensor.unplug()
            with pytest.raises(SerialLineError, match=r"usb-dust: the port is gone.*plugged in"):
                await exhaust(found)
        with pytest.raises(SerialLineError, match="usb-dust: no such port; is it plugged in"):
            await first(settings, surroundings)
        sensor.plug()
        assert await first(settings, surroundings)


async def test_the_agent_goes_on_by_itself_after_it_was_unplugged(
    port: Path, surroundings: Surroundings, tmp_path: Path
) -> None:
    settings = sds011(port)
    facts = Facts(0.0, adapters={settings.urn: AdapterFacts("sds011")})
    own = facts.adapters[settings.urn]

    async def until(*, running: bool) -> None:
        async with asyncio.timeout(30):
            while own.running is not running:  # noqa: ASYNC110  # the agent tells nobody
                await asyncio.sleep(0.02)

    async with (
        open_spool(
            tmp_path / "spool.sqlite",
            SpoolSettings(commit_seconds=0.05),
            clock=surroundings.clock,
            gap_record=no_gap,
        ) as spool,
        Sds011(port) as sensor,
        asyncio.TaskGroup() as tasks,
    ):
        running = [
            tasks.create_task(spool.run()),
            tasks.create_task(collect(settings, surroundings, spool, facts)),
        ]
        await until(running=True)
        sensor.unplug()
        await until(running=False)
        assert "usb-dust" in own.last_error
        before = own.readings
        sensor.plug()
        await until(running=True)
        assert own.readings > before
        for task in running:
            task.cancel()


@pytest.mark.parametrize("kind", [Sds011, Pms5003])
async def test_a_sensor_that_falls_silent_fails(
    kind: type[SerialSensor], port: Path, surroundings: Surroundings
) -> None:
    async with kind(port) as sensor:
        sensor.silent = True
        settings = sds011(port) if kind is Sds011 else pms5003(port)
        with pytest.raises(SerialLineError, match=r"usb-dust: nothing for 0.5 s; has it power"):
            await first(settings, surroundings)


async def test_a_port_where_something_else_speaks_is_told_from_a_silent_one(
    port: Path, surroundings: Surroundings
) -> None:
    async with Pms5003(port):
        with pytest.raises(SerialLineError, match=r"bytes in 0.5 s, none of them makes sense"):
            await first(sds011(port), surroundings)


async def test_another_model_than_the_settings_say_is_named(
    port: Path, surroundings: Surroundings
) -> None:
    async with Pms5003(port):
        settings = pms5003(port, model="PMS3003")
        with pytest.raises(AdapterError, match=r"model is PMS3003, but .* PMS5003, PMS7003"):
            await first(settings, surroundings)


async def test_it_sleeps_between_two_times_of_work(port: Path, surroundings: Surroundings) -> None:
    settings = sds011(port, work_seconds=0.3, sleep_seconds=0.4, warm_up_seconds=0.1)
    async with Sds011(port) as sensor:
        sensor.working = False
        times = []
        async with aclosing(readings(settings, surroundings)) as found:
            for _ in range(2):
                harvest = await anext(found)
                assert {each.result for each in harvest} == {12.3, 45.6}
                assert {each.quality for each in harvest} == {Quality(0)}
                assert sensor.told[-1] == "work"
                times.append(harvest[0].phenomenon_time)
        assert sensor.told == ["work", "sleep", "work"]
        assert times[1] - times[0] > timedelta(seconds=0.6)  # of 0.7; the first came late


async def test_a_command_that_was_not_answered_is_said_again(
    port: Path, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.sensors.sds011._REPLY_SECONDS", 0.2)
    settings = sds011(port, work_seconds=0.2, sleep_seconds=0.2)
    async with Sds011(port) as sensor:
        sensor.working, sensor.slow_to_obey = False, 2
        assert await first(settings, surroundings)
        sensor.deaf = True
        with pytest.raises(AdapterError, match=r"does not answer the command to work.*RXD"):
            await first(settings, surroundings)


async def test_without_sleep_it_is_woken_once_should_it_have_been_left_asleep(
    port: Path, surroundings: Surroundings
) -> None:
    async with Sds011(port) as sensor:
        sensor.working = False
        assert await first(sds011(port), surroundings)


async def test_a_receiver_tells_how_well_it_sees_and_on_request_where_it_is(
    port: Path, surroundings: Surroundings
) -> None:
    async with SatelliteReceiver(port, lambda: fix(datetime.now(UTC))) as receiver:
        receiver.garbage, receiver.halves = b"$GPGGA,12\xff", True
        found = await first(nmea(port), surroundings)
        assert found == {
            "satellites_used": (12.0, "count", Quality(0)),
            "hdop": (0.88, "/", Quality(0)),
        }
        found = await first(nmea(port, position=True), surroundings)
        assert found["latitude"] == (51.52, "deg", Quality(0))
        assert found["longitude"] == (-0.13, "deg", Quality(0))


async def test_a_receiver_sets_a_clock_that_nothing_else_has_set(
    port: Path, tmp_path: Path
) -> None:
    now = datetime(2031, 5, 4, 12, 0, 0, tzinfo=UTC)
    clock = Clock(tmp_path / "clock", wall=lambda: 0.0, source=lambda: ClockQuality.NONE)
    surroundings = Surroundings(clock, tmp_path)
    bodies: list[str] = []
    async with SatelliteReceiver(port, lambda: bodies) as receiver:
        bodies = ["GPRMC,,V,,,,,,,,,,N", "GPGGA,,,,,,0,,,,,,,,"]
        async with aclosing(readings(nmea(port), surroundings)) as found:
            (alone,) = await anext(found)
            assert (alone.name, alone.result) == ("satellites_used", 0.0)
            assert clock.quality() is ClockQuality.NONE
            before = surroundings.whereabouts.newest
            assert before is None
            bodies = fix(now)
            while len(harvest := await anext(found)) < 2:
                pass
            assert clock.quality() is ClockQuality.HARDWARE
            assert now <= harvest[0].phenomenon_time < now + timedelta(seconds=30)
            assert surroundings.whereabouts.newest is not None
            receiver.unplug()
            with pytest.raises(SerialLineError, match="the port is gone"):
                await exhaust(found)


async def test_a_receiver_at_the_wrong_speed_is_told_from_a_silent_one(
    port: Path, surroundings: Surroundings
) -> None:
    async with SatelliteReceiver(port, list) as receiver:
        receiver.garbage = b"\x80\xf8\x00"
        with pytest.raises(SerialLineError, match="none of them makes sense; is it that sensor"):
            await first(nmea(port), surroundings)
        receiver.silent = True
        with pytest.raises(SerialLineError, match=r"nothing for 0.5 s; has the receiver power"):
            await first(nmea(port), surroundings)


async def test_a_port_in_use_says_so(port: Path, surroundings: Surroundings) -> None:
    async with Sds011(port):
        async with open_line(port, 9600):
            with pytest.raises(SerialLineError, match="usb-dust: in use by another sensor"):
                await first(sds011(port), surroundings)
        assert await first(sds011(port), surroundings)


async def test_a_port_in_use_names_the_program_that_has_it(port: Path) -> None:
    holding = (
        "import fcntl, sys; port = open(sys.argv[1], 'rb', 0);"
        "fcntl.flock(port, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    async with Sds011(port):
        holder = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            holding,
            str(port),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdout
        assert await holder.stdout.readline()
        with pytest.raises(SerialLineError, match=rf"in use by python.* \(process {holder.pid}\)"):
            async with open_line(port, 9600):
                pass
        await holder.communicate(b"")  # it ends with its input


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "add the agent's user to the group dialout"),
        (errno.EBUSY, "in use by another"),
        (errno.ENODEV, "is it plugged in"),
        (errno.EIO, "unplug it and plug it in again"),
        (errno.EMFILE, "no more of these"),
    ],
)
async def test_what_keeps_a_port_shut_is_told_with_its_remedy(
    number: int, remedy: str, port: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(number, "no more of these")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(SerialLineError, match=f"usb-dust: .*{remedy}"):
        async with open_line(port, 9600):
            pass


async def test_a_speed_that_the_port_cannot_do_is_refused(port: Path) -> None:
    async with Sds011(port):
        with pytest.raises(SerialLineError, match=r"usb-dust: .*baud"):
            async with open_line(port, -1):
                pass


async def test_a_file_that_is_no_port_is_refused(port: Path, surroundings: Surroundings) -> None:
    port.touch()  # noqa: ASYNC240  # one file, at once
    with pytest.raises(SerialLineError, match="usb-dust: not a serial port"):
        await first(sds011(port), surroundings)


async def test_what_nobody_reads_is_kept_to_a_limit_and_the_newest_stays(
    port: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_line, "MOST_WAITING_BYTES", 8)
    async with Sds011(port) as sensor:
        sensor.silent = True
        async with open_line(port, 9600) as line:
            sensor.send(b"0123456789abcdef")  # one write, taken in one read
            assert await line.read() == b"89abcdef"
            assert line.dropped_bytes == 8


async def test_a_line_gives_what_came_before_it_broke(port: Path) -> None:
    async with Sds011(port) as sensor:
        sensor.silent = True
        async with open_line(port, 9600) as line:
            sensor.send(b"last words")
            assert await line.read() == b"last words"
            sensor.unplug()
            with pytest.raises(SerialLineError, match="the port is gone"):
                await line.read()
            with pytest.raises(SerialLineError, match="the port is gone"):
                line.write(b"anybody?")


async def test_nothing_stays_open(port: Path, surroundings: Surroundings) -> None:
    async with Sds011(port):
        before = open_files()
        await first(sds011(port), surroundings)
        assert open_files() == before
