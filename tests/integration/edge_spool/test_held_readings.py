"""Readings that wait in the spool until the clock is set, and are put right."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_protocol.reading import Quality, Reading
from edge_agent.clock import Clock, ClockQuality
from edge_agent.settings import SpoolSettings
from edge_agent.spool.group_commit import GroupCommit, open_spool
from edge_agent.spool.store import Priority
from tests.integration.edge_spool.spools import ALL, NOW, everything, gap_record, open_at, reading


class Unset:
    """A clock that nobody has set, until somebody does; it was started at `BEGIN`'s year."""

    def __init__(self) -> None:
        self.quality = ClockQuality.NONE
        self.wall = float(NOW)
        self.monotonic = 50.0

    def clock(self, directory: Path, boot_id: str = "boot-1") -> Clock:
        return Clock(
            directory / "clock",
            wall=lambda: self.wall,
            monotonic=lambda: self.monotonic,
            source=lambda: self.quality,
            boot_id=boot_id,
            may_be_set=lambda: True,
        )

    def set(self, ahead: float) -> None:
        self.wall += ahead
        self.quality = ClockQuality.NETWORK


@pytest.fixture
def unset() -> Unset:
    return Unset()


@asynccontextmanager
async def holding(path: Path, clock: Clock, hold_seconds: float = 60) -> AsyncIterator[GroupCommit]:
    """A group commit that holds readings, as the agent runs it."""
    settings = SpoolSettings(commit_seconds=60, commit_readings=50)
    async with open_spool(
        path, settings, clock=clock, gap_record=gap_record, hold_seconds=hold_seconds
    ) as group:
        task = asyncio.create_task(group.run())
        yield group
        task.cancel()
        await asyncio.wait([task])


def stamped(clock: Clock, result: float) -> Reading:
    return replace(reading(0, result), phenomenon_time=clock.now())


async def until_read(group: GroupCommit, count: int) -> list[Reading]:
    """Wait until so many readings may be sent."""
    async with asyncio.timeout(10):
        while len(found := await group.read([(ALL, 99)], 99)) < count:  # noqa: ASYNC110  # a thread
            await asyncio.sleep(0.01)
    return [each.reading for each in found]


async def test_readings_wait_for_the_clock_and_are_put_right_before_they_are_sent(
    path: Path, unset: Unset
) -> None:
    clock = unset.clock(path.parent)
    async with holding(path, clock) as group:
        sensors_own = reading(7, 7.0)
        await group.put([stamped(clock, 1.0), sensors_own], Priority.NORMAL, at_once=True)
        unset.monotonic += 5
        unset.wall += 5
        await group.put([stamped(clock, 2.0)], Priority.LOW, at_once=True)
        assert [each.reading for each in await group.read([(ALL, 9)], 9)] == [sensors_own]
        assert (await group.depth()).readings == 3
        unset.set(86_400.0)
        group._wake.set()
        found = {each.result: each for each in await until_read(group, 3)}
    true = datetime.fromtimestamp(NOW + 86_400, UTC)
    assert found[1.0].phenomenon_time == true
    assert found[2.0].phenomenon_time == true + timedelta(seconds=5)
    assert found[1.0].quality == found[2.0].quality == Quality.TIME_RECONSTRUCTED
    assert found[7.0] == sensors_own
    with open_at(path) as spool:  # before anything was sent, the disk says what will be
        assert {each.result: each for each in everything(spool)} == found
        assert spool.held == 0


async def test_after_the_hold_readings_go_flagged_with_the_time_they_have(
    path: Path, unset: Unset
) -> None:
    clock = unset.clock(path.parent)
    async with holding(path, clock) as group:
        group.connected()
        await group.put([stamped(clock, 1.0)], Priority.NORMAL, at_once=True)
        assert await group.read([(ALL, 9)], 9) == []
        unset.monotonic += 60
        group._wake.set()
        (found,) = await until_read(group, 1)
        unset.set(86_400.0)
        await group.put([stamped(clock, 2.0)], Priority.NORMAL, at_once=True)
        first, second = await until_read(group, 2)
    assert found.quality == Quality.CLOCK_UNSYNCHRONISED
    assert found.phenomenon_time == datetime.fromtimestamp(NOW, UTC)
    assert first == found, "a stamp that may have been sent is never rewritten"
    assert second.quality == Quality(0)


async def test_alarms_do_not_wait_for_the_clock(path: Path, unset: Unset) -> None:
    clock = unset.clock(path.parent)
    async with holding(path, clock) as group:
        await group.put([stamped(clock, 1.0)], Priority.ALARM)
        (found,) = await group.read([(ALL, 9)], 9)
    assert found.reading.quality == Quality.CLOCK_UNSYNCHRONISED


async def test_readings_held_when_the_power_went_are_put_right_by_their_own_boot(
    path: Path, unset: Unset
) -> None:
    clock = unset.clock(path.parent)
    async with holding(path, clock) as group:
        await group.put([stamped(clock, 1.0)], Priority.NORMAL, at_once=True)
        assert group.spool.held == 1
    unset.set(3600.0)
    unset.clock(path.parent).save_boot()  # the time came, and the power went before they moved
    unset.quality, unset.monotonic, unset.wall = ClockQuality.NONE, 9.0, float(NOW)
    clock = unset.clock(path.parent, "boot-2")
    async with holding(path, clock) as group:
        await group.put([stamped(clock, 2.0)], Priority.NORMAL, at_once=True)
        unset.set(7200.0)
        group._wake.set()
        found = {each.result: each for each in await until_read(group, 2)}
    assert found[1.0].phenomenon_time == datetime.fromtimestamp(NOW + 3600, UTC)
    assert found[2.0].phenomenon_time == datetime.fromtimestamp(NOW + 7200, UTC)


def test_a_spool_of_held_readings_keeps_its_quota_and_its_count(path: Path, unset: Unset) -> None:
    clock = unset.clock(path.parent)
    with open_at(path, 64 * 1024) as spool:
        for number in range(40):
            batch = [
                (Priority.NORMAL, stamped(clock, float(number * 100 + each))) for each in range(100)
            ]
            spool.write(batch, [], NOW)
            unset.monotonic += 1
        assert spool.depth().bytes <= 64 * 1024
        unset.set(60.0)
        while spool.held:
            spool.settle(clock.settled, NOW)
        found = everything(spool)
        assert spool.depth().readings == len(found)
        assert found[-1].result == 3999.0
