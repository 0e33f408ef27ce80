"""A sensor that fails is started again, and its log says so once for each reason."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from device_protocol.description import Datastream
from edge_agent import collection
from edge_agent.clock import Clock
from edge_agent.collection import harvest
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.sensors import (
    ADAPTERS,
    Adapter,
    AdapterError,
    Harvest,
    SensorSettings,
    Surroundings,
)

SENSOR = SensorSettings(
    adapter="moody",
    urn="urn:dev:street:moody",
    thing="urn:dev:street:lamp",
    name="M",
    description="M",
)


@dataclass
class Moody:
    """Fails with each of these reasons in turn; an empty one is a harvest before it goes on."""

    reasons: list[str]

    async def harvests(
        self, _settings: SensorSettings, _surroundings: Surroundings
    ) -> AsyncGenerator[Harvest, None]:
        while self.reasons:
            reason = self.reasons.pop(0)
            if reason:
                raise AdapterError(reason)
            yield Harvest(())
        await asyncio.Event().wait()


def no_datastreams(_settings: SensorSettings) -> tuple[Datastream, ...]:
    return ()


async def test_a_reason_that_stays_the_same_is_logged_once(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(collection, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(collection, "_LONGEST_WAIT_SECONDS", 0.001)
    moody = Moody(["away", "away", "deaf", "away", "", "away", ""])
    monkeypatch.setitem(ADAPTERS, "moody", Adapter(SensorSettings, no_datastreams, moody.harvests))
    facts, taken = AdapterFacts("moody"), asyncio.Event()

    async def take(_brought: Harvest) -> None:
        if not moody.reasons:
            taken.set()

    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(harvest(SENSOR, Surroundings(clock, tmp_path), take, facts))
        async with asyncio.timeout(5):
            await taken.wait()
        task.cancel()
        await asyncio.wait([task])
    said = [vars(record)["error"] for record in caplog.records]
    assert said == ["away", "deaf", "away", "away"]
    assert facts.failures == 5


async def test_what_no_longer_fails_is_not_said_to_fail_though_nothing_comes(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(collection, "_HOLDING_SECONDS", 0.05)
    moody = Moody(["away"])  # then it waits for ever
    monkeypatch.setitem(ADAPTERS, "moody", Adapter(SensorSettings, no_datastreams, moody.harvests))
    facts = Facts(0.0, adapters={SENSOR.urn: AdapterFacts("moody")})
    own = facts.adapters[SENSOR.urn]

    async def take(_brought: Harvest) -> None:
        pytest.fail("there is nothing to take")

    task = asyncio.create_task(harvest(SENSOR, Surroundings(clock, tmp_path), take, own))
    was_failing = False
    async with asyncio.timeout(5):
        while not own.holds:
            was_failing = was_failing or SENSOR.urn in facts.failing
            await asyncio.sleep(0.001)
    assert was_failing
    assert not facts.failing
    assert not own.running
    task.cancel()
    await asyncio.wait([task])
