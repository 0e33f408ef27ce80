"""A program that prints like rtl_433, and a FIFO: shared, drained, and ended in order."""

import asyncio
import logging
import os
import sys
import textwrap
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from types import MappingProxyType

import pytest

from edge_agent import sources as sources_module
from edge_agent.adapter import AdapterError, Surroundings
from edge_agent.clock import Clock
from edge_agent.inputs.fields import FieldSettings
from edge_agent.sensors import rtl_433
from edge_agent.sensors.rtl_433 import Rtl433Settings, datastreams, file_chunks, harvests
from edge_agent.sources import Sources

LINES = Path(__file__).parents[1] / "data/rtl_433/lines.jsonl"
WAITS = "import sys, time; sys.stdout.write(open(sys.argv[1]).read()); sys.stdout.flush(); "


def field(name: str, path: str, unit: str, **changes: object) -> FieldSettings:
    values: dict[str, object] = {
        "name": name,
        "title": name,
        "description": name,
        "observed_property": name,
        "unit": unit,
        "path": path,
    }
    return FieldSettings(**(values | changes))  # type: ignore[arg-type]


TEMPERATURE = field("air_temperature", "temperature_C|temperature_1_C", "Cel")
FAHRENHEIT = field("air_temperature", "temperature_F", "Cel", from_unit="degF")
HUMIDITY = field("relative_humidity", "humidity", "%RH")
WIND = field("wind_speed", "wind_avg_m_s|wind_speed_ms", "m/s")
MILES = field("wind_speed", "wind_avg_mi_h|wind_speed_mph", "m/s", from_unit="mi/h")
RAIN = field("rainfall", "rain_in|rainfall_accumulation_inch", "mm", from_unit="in")
MOISTURE = field("soil_moisture", "moisture", "%")
BATTERY = field(
    "battery_level",
    "battery_ok|battery",
    "%EL",
    scale=100.0,
    values=MappingProxyType({"OK": 100.0, "LOW": 0.0}),
)


def settings(model: str, *fields: FieldSettings, **changes: object) -> Rtl433Settings:
    values: dict[str, object] = {
        "urn": f"urn:dev:example:{model.replace(' ', '-')}",
        "thing": "urn:dev:example:mast",
        "name": "Sensor",
        "description": "A radio sensor.",
        "command": (sys.executable, "-c", f"{WAITS} time.sleep(60)", str(LINES)),
        "model": model,
        "fields": MappingProxyType({each.name: each for each in fields}),
    }
    return Rtl433Settings(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers' packets stand first in the file: nobody is to wait for who might claim them."""
    monkeypatch.setattr(sources_module, "_GRACE_SECONDS", 0.05)


@pytest.fixture
async def surroundings(tmp_path: Path) -> AsyncIterator[Surroundings]:
    async with Sources() as sources:
        yield Surroundings(Clock(tmp_path / "clock"), tmp_path, sources)


async def first(sensor: Rtl433Settings, surroundings: Surroundings) -> Mapping[str, object]:
    async with aclosing(harvests(sensor, surroundings)) as found:
        return {reading.name: reading.result for reading in (await anext(found)).readings}


@pytest.mark.parametrize(
    ("sensor", "expected"),
    [
        (
            settings("Nexus-TH", TEMPERATURE, HUMIDITY, BATTERY, id="184", channel="2"),
            {"air_temperature": 21.7, "relative_humidity": 55.0, "battery_level": 100.0},
        ),
        (
            settings("Acurite-5n1", FAHRENHEIT, MILES, id="839"),
            {"air_temperature": 9.72222222222, "wind_speed": 2.2352},
        ),
        (
            settings("Acurite 5n1 sensor", MILES, RAIN, BATTERY, id="1361", channel="A"),
            {"wind_speed": 4.4704, "rainfall": 2.54, "battery_level": 100.0},
        ),
        (
            settings("Bresser-6in1", TEMPERATURE, HUMIDITY, WIND),
            {"air_temperature": -3.4, "wind_speed": 2.5},
        ),
        (
            settings("Schrader", TEMPERATURE, id="3DA1F08", own_vehicle=True),
            {"air_temperature": 19.0},
        ),
    ],
    ids=lambda each: each.model if isinstance(each, Rtl433Settings) else "",
)
async def test_each_transmitter_becomes_readings(
    surroundings: Surroundings, sensor: Rtl433Settings, expected: Mapping[str, object]
) -> None:
    assert not list(sensor.contradictions())
    assert await first(sensor, surroundings) == expected


async def test_sensors_share_one_process_and_strangers_are_named_but_never_vehicles(
    surroundings: Surroundings, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    script = f"open({str(started)!r}, 'a').write('x'); {WAITS} time.sleep(60)"
    command = (sys.executable, "-c", script, str(LINES))
    sensors = [
        settings("Nexus-TH", TEMPERATURE, command=command),
        settings("Hyundai-WS", TEMPERATURE, command=command),
    ]
    with caplog.at_level(logging.DEBUG):
        found = [harvests(sensor, surroundings) for sensor in sensors]
        harvested = await asyncio.gather(*(anext(each) for each in found))
        for each in found:
            await each.aclose()
    assert [harvest.readings[0].result for harvest in harvested] == [21.7, 4.1]
    assert started.read_text() == "x"
    assert surroundings.sources.unclaimed == {
        "Acurite-5n1/839/A": 1,
        "Acurite 5n1 sensor/1361/A": 1,
        "Fineoffset-WH51/0d83d0/-": 2,
        "Bresser-6in1/405274682/0": 1,
    }
    told = "\n".join(str(vars(record)) for record in caplog.records)
    assert "Fineoffset-WH51" in told
    for vehicle in ("fb26ac5a", "3DA1F08", "84281096", "Toyota", "Schrader", "CarRemote"):
        assert vehicle not in told


async def test_a_repeated_packet_is_one_reading(surroundings: Surroundings, tmp_path: Path) -> None:
    fifo = tmp_path / "packets"
    os.mkfifo(fifo)
    line = b'{"model": "Fineoffset-WH51", "moisture": %d, "rssi": -%d, "sequence_num": %d}\n'
    sent = b"".join(line % (moisture, at, at) for at, moisture in enumerate((44, 44, 44, 45)))
    sensor = settings("Fineoffset-WH51", MOISTURE, file=fifo, repeat_seconds=60.0)
    async with aclosing(harvests(sensor, surroundings)) as found:
        reading = asyncio.ensure_future(anext(found))
        await asyncio.to_thread(fifo.write_bytes, sent)
        results = [(await reading).readings[0].result, (await anext(found)).readings[0].result]
    assert results == [44.0, 45.0]


async def test_a_fifo_lives_on_when_its_writer_ends_and_garbage_between_is_left_out(
    surroundings: Surroundings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fifo = tmp_path / "packets"
    os.mkfifo(fifo)
    found = harvests(settings("Nexus-TH", TEMPERATURE, file=fifo), surroundings)
    async with aclosing(found):
        reading = asyncio.ensure_future(anext(found))
        for text in ("Tuned to 433.92MHz.\n" * 3, '{"model": "Nexus-TH", "temper'):
            await asyncio.to_thread(fifo.write_text, text)
        await asyncio.to_thread(fifo.write_text, 'ature_C": "warm"}\n')
        await asyncio.to_thread(fifo.write_text, '{"model": "Nexus-TH", "temperature_C": 1.5}\n')
        assert (await reading).readings[0].result == 1.5
    messages = [record.message for record in caplog.records if "unusable" in record.message]
    assert sorted(messages) == ["packet unusable", "value unusable"]


async def test_the_end_of_the_program_fails_every_sensor_with_its_last_words(
    surroundings: Surroundings,
) -> None:
    script = "import sys; print('usb_open error -3\\nNo supported devices found.', file=sys.stderr)"
    command = (sys.executable, "-c", f"{script}; sys.exit(3)")
    sensors = [settings(model, TEMPERATURE, command=command) for model in ("Nexus-TH", "Other")]
    failures = await asyncio.gather(
        *(first(sensor, surroundings) for sensor in sensors), return_exceptions=True
    )
    for failure in failures:
        assert isinstance(failure, AdapterError)
        assert str(failure).endswith(
            "has ended (status 3); it last said: usb_open error -3; No supported devices found."
        )


async def test_a_program_and_a_file_that_are_not_there_are_named(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    absent = settings("Nexus-TH", TEMPERATURE, command=("rtl_432",))
    with pytest.raises(AdapterError, match="rtl_432 cannot be run: No such file"):
        await first(absent, surroundings)
    gone = settings("Nexus-TH", TEMPERATURE, file=tmp_path / "none")
    with pytest.raises(AdapterError, match="none: No such file"):
        await first(gone, surroundings)


async def test_what_is_added_to_a_file_is_read_also_when_a_new_one_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtl_433, "_LOOK_SECONDS", 0.01)
    log = tmp_path / "packets.json"
    log.write_text("long before\n")
    looked = asyncio.Event()
    sleep = asyncio.sleep

    async def look_again(seconds: float) -> None:
        looked.set()
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", look_again)
    async with aclosing(file_chunks(log)) as chunks:
        reading = asyncio.ensure_future(anext(chunks))
        await looked.wait()
        with log.open("a") as file:
            file.write("added\n")
        assert await reading == b"added\n"
        log.rename(tmp_path / "packets.json.1")
        with (tmp_path / "packets.json.1").open("a") as file:
            file.write("still to the old one\n")
        assert await anext(chunks) == b"still to the old one\n"
        log.write_text("new\n")
        assert await anext(chunks) == b"new\n"
        log.write_text("c\n")  # cut: shorter than what was read
        assert await anext(chunks) == b"c\n"


async def test_a_program_that_talks_much_on_stderr_is_not_held_up_and_ends_with_its_reader(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    script = textwrap.dedent("""
        import os, sys, time
        sys.stderr.write("noise\\n" * 100_000)
        open(sys.argv[1], "w").write(str(os.getpid()))
        print('{"model": "Nexus-TH", "temperature_C": 3}', flush=True)
        time.sleep(60)
    """)
    command = (sys.executable, "-c", script, str(pid_file))
    sensor = settings("Nexus-TH", TEMPERATURE, command=command)
    async with aclosing(harvests(sensor, surroundings)) as found:
        await anext(found)
        pid = int(pid_file.read_text())
        os.kill(pid, 0)
    await asyncio.wait(surroundings.sources._tasks._tasks, timeout=10)  # where it is closed
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("sensor", "path", "allowed"),
    [
        (settings("Toyota", TEMPERATURE, id="fb26ac5a"), ("model",), "identifies vehicles"),
        (settings("Toyota", TEMPERATURE, own_vehicle=True), ("id",), "must be given"),
        (settings("Nexus-TH", TEMPERATURE, command=()), ("command",), "must name a program"),
        (settings("Nexus-TH"), ("fields",), "at least one"),
    ],
)
def test_contradictions_are_named(
    sensor: Rtl433Settings, path: tuple[str, ...], allowed: str
) -> None:
    ((found, text),) = sensor.contradictions()
    assert found == path
    assert allowed in text


def test_its_datastreams_promise_a_period_only_where_it_is_known() -> None:
    (described,) = datastreams(settings("Nexus-TH", TEMPERATURE))
    assert described.period_seconds is None
    (described,) = datastreams(settings("Nexus-TH", TEMPERATURE, period_seconds=60))
    assert described.period_seconds == 60
