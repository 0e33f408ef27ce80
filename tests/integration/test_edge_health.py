"""The gateway's health on its way into a real spool: at intervals, and at once what cannot wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.clock import Clock, ClockQuality
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.health.heartbeat import Health
from edge_agent.remote_settings import RemoteSettings
from edge_agent.settings import (
    AgentSettings,
    HealthSettings,
    SpoolSettings,
)
from edge_agent.spool.group_commit import GroupCommit, open_spool
from edge_agent.spool.rows import HIGHEST_NUMBER
from edge_agent.spool.store import Priority, Span
from runtime.version import VERSION
from tests.unit.edge_agent.conftest import FakeTime, settings_in

Told = tuple[str, object]
ALARMS = [Span(Priority.ALARM, 1, HIGHEST_NUMBER)]
USUAL = [Span(Priority.NORMAL, 1, HIGHEST_NUMBER)]


class Gateway:
    """Health and spool of one gateway, and time that passes only when told to."""

    def __init__(self, told: AgentSettings) -> None:
        self.time = FakeTime()
        self.facts = Facts(started_at=0.0, adapters={"urn:a": AdapterFacts("host", running=True)})
        self._settings = told
        self._clock = Clock(
            told.state_directory / "clock",
            wall=lambda: self.time.wall,
            monotonic=lambda: self.time.monotonic,
            source=lambda: ClockQuality.NETWORK,
        )

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[GroupCommit]:
        """Report into a spool that commits at once."""
        remote = RemoteSettings(self._settings, self._clock)
        health = Health(self._settings, self._clock, remote, self.facts)
        async with open_spool(
            self._settings.state_directory / "spool.sqlite",
            SpoolSettings(commit_readings=1),
            clock=self._clock,
            gap_record=health.gap_record,
        ) as spool:
            tasks = [
                asyncio.create_task(spool.run(), name="spool"),
                asyncio.create_task(health.report(spool), name="health"),
            ]
            try:
                yield spool
            finally:
                for task in tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr("edge_agent.health.heartbeat._LOOK_SECONDS", 0.01)
    told = replace(settings_in(tmp_path), health=HealthSettings(interval_seconds=3600.0))
    return Gateway(told)


async def until(
    spool: GroupCommit, spans: list[Span], holds: Callable[[list[Told]], bool]
) -> list[Told]:
    """Return names and results of what stands in the spool, once `holds` of them."""
    async with asyncio.timeout(20):
        while True:
            rows = await spool.read([(spans, 1000)], 1000)
            told: list[Told] = [(row.reading.name, row.reading.result) for row in rows]
            if holds(told):
                return told
            await asyncio.sleep(0.01)


async def test_release_and_heartbeat_are_told_at_the_start_and_then_at_every_interval(
    gateway: Gateway,
) -> None:
    async with gateway.reporting() as spool:
        told = await until(spool, USUAL, lambda told: ("adapters_running", 1.0) in told)
        assert ("agent_version", VERSION) in told
        assert ("failing_sensors", "none") in told
        assert [name for name, _ in told].count("uptime") == 1
        gateway.time.advance(3600)
        await until(spool, USUAL, lambda told: ("uptime", 4600.0) in told)


async def test_a_sensor_that_fails_raises_an_alarm_between_heartbeats(gateway: Gateway) -> None:
    async with gateway.reporting() as spool:
        await until(spool, USUAL, lambda told: ("adapters_failing", 0.0) in told)
        assert await until(spool, ALARMS, lambda _: True) == []
        gateway.facts.adapters["urn:a"] = AdapterFacts("host", failures=1, last_error="unplugged")
        told = await until(spool, ALARMS, bool)
        assert told == [
            ("adapters_running", 0.0),
            ("adapters_failing", 1.0),
            ("failing_sensors", "urn:a"),
        ]


async def test_a_spool_that_was_damaged_is_told(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "spool.sqlite").write_bytes(b"no database" * 1000)
    async with gateway.reporting() as spool:
        told = await until(spool, ALARMS, lambda told: ("spool_salvaged", 0.0) in told)
        assert len([name for name, _ in told if name == "spool_salvaged"]) == 1
