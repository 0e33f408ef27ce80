"""The gateway's health as ordinary readings: all that was described, and alarms that rest."""

from pathlib import Path

import pytest

from device_protocol.reading import Reading
from edge_agent.clock import Clock, ClockQuality
from edge_agent.health.datastreams import UNITS, thing
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.health.heartbeat import Health
from edge_agent.remote_settings import RemoteSettings
from edge_agent.settings import AgentSettings
from edge_agent.spool.store import Depth
from runtime.version import VERSION
from tests.unit.edge_agent.conftest import NOW, FakeTime

DEPTH = Depth(readings=12, bytes=8192, oldest_accepted=int(NOW) - 90)


@pytest.fixture
def facts() -> Facts:
    return Facts(
        started_at=NOW,
        adapters={
            "urn:a": AdapterFacts("host", running=True),
            "urn:b": AdapterFacts("replay", running=True),
            "urn:c": AdapterFacts("modbus"),
        },
        unclaimed={"70b3d5": 3, "a84041": 1},
    )


@pytest.fixture
def health(settings: AgentSettings, clock: Clock, facts: Facts) -> Health:
    return Health(settings, clock, RemoteSettings(settings, clock), facts)


def results(readings: list[Reading]) -> dict[str, float | bool | str]:
    return {reading.name: reading.result for reading in readings}


def test_a_heartbeat_has_a_reading_of_every_regular_datastream(
    health: Health, settings: AgentSettings
) -> None:
    (sensor,) = thing(settings).sensors
    regular = {each.name for each in sensor.datastreams if each.period_seconds is not None}
    told = health.heartbeat(DEPTH)
    names = [reading.name for reading in told]
    assert len(names) == len(set(names))
    assert regular <= set(names) <= regular | {"temperature"}
    assert {reading.sensor for reading in told} == {sensor.urn}
    assert all(reading.unit == UNITS[reading.name] for reading in told)
    assert {each.name for each in sensor.datastreams} == UNITS.keys()


def test_a_heartbeat_tells_how_the_gateway_fares(
    health: Health, fake_time: FakeTime, tmp_path: Path
) -> None:
    told = results(health.heartbeat(DEPTH))
    assert 0 < float(told.pop("disk_used")) <= 100
    assert 0 < float(told.pop("memory_used")) <= 100
    assert float(told.pop("agent_memory")) > 1_000_000
    assert float(told.pop("flash_written")) >= 0
    told.pop("temperature", None)
    assert told == {
        "spool_readings": 12,
        "spool_bytes": 8192,
        "spool_oldest_age": 90,
        "clock_quality": 1,
        "uptime": 1000,
        "unclaimed_devices": 2,
        "adapters_running": 2,
        "adapters_failing": 0,
    }
    fake_time.quality = ClockQuality.HARDWARE
    assert results(health.heartbeat(Depth(0, 0, None)))["clock_quality"] == 0.5


def test_a_sensor_that_fails_is_told_once_and_when_it_is_back(
    health: Health, facts: Facts, fake_time: FakeTime
) -> None:
    assert not health.failing_has_changed()
    facts.adapters["urn:b"] = AdapterFacts("replay", failures=1, last_error="unplugged")
    assert health.failing_has_changed()
    assert not health.failing_has_changed()
    assert results(health.adapter_states()) == {"adapters_running": 1, "adapters_failing": 1}
    fake_time.advance(61)
    assert not health.failing_has_changed()
    facts.adapters["urn:b"].running = True
    assert health.failing_has_changed()


def test_which_sensors_fail_is_told_by_name_and_a_long_list_is_cut(
    health: Health, facts: Facts
) -> None:
    assert health.failing_sensors().result == "none"
    for name in "cb":
        facts.adapters[f"urn:{name}"] = AdapterFacts("modbus", failures=1)
    assert health.failing_sensors().result == "urn:b, urn:c"
    for number in range(7):
        facts.adapters[f"urn:d:{number}"] = AdapterFacts("modbus", failures=1)
    told = str(health.failing_sensors().result)
    assert told == "urn:b, urn:c, urn:d:0, urn:d:1, urn:d:2 and 4 more"


def test_a_sensor_that_comes_and_goes_is_told_once_a_minute(
    health: Health, facts: Facts, fake_time: FakeTime
) -> None:
    told = 0
    own = facts.adapters["urn:b"]
    for second in range(600):
        own.running = second % 2 == 0
        own.failures += not own.running
        told += health.failing_has_changed()
        fake_time.advance(1)
    assert 9 <= told <= 10


def test_one_failure_for_another_is_news(health: Health, facts: Facts, fake_time: FakeTime) -> None:
    facts.adapters["urn:a"] = AdapterFacts("host", failures=1)
    assert health.failing_has_changed()
    fake_time.advance(60)
    facts.adapters["urn:a"].running = True
    facts.adapters["urn:c"].failures = 1
    assert health.failing_has_changed()


def test_the_gateway_says_which_release_it_runs(settings: AgentSettings) -> None:
    assert thing(settings).properties == {"role": "gateway", "agent_version": VERSION}


@pytest.mark.parametrize(
    ("facts", "summary"),
    [
        (Facts(started_at=NOW), "not connected yet, 0 of 0 sensors readable"),
        (
            Facts(started_at=NOW, connection_error="no route"),
            "not connected: no route, 0 of 0 sensors readable",
        ),
        (
            Facts(
                started_at=NOW,
                connected=True,
                waiting_for="no recipients",
                adapters={"a": AdapterFacts("host", failures=1), "b": AdapterFacts("host")},
            ),
            "connected, no recipients, 0 of 2 sensors readable, 1 fail",
        ),
    ],
)
def test_one_line_sums_it_up(facts: Facts, summary: str) -> None:
    assert facts.summary() == summary
