"""Readings taken before anybody has set the clock, on a real disk, until they are sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from device_protocol.reading import Quality, Reading
from edge_agent.clock import Clock, ClockQuality
from edge_agent.settings import SpoolSettings
from edge_agent.spool.group_commit import GroupCommit, open_spool
from edge_agent.spool.rows import HIGHEST_NUMBER
from edge_agent.spool.store import Priority, Span
from tests.unit.edge_agent.conftest import NOW, FakeTime

HOLD_SECONDS = 120.0
TRUE_NOW = NOW + 90 * 86_400
ALL = [Span(each, 1, HIGHEST_NUMBER) for each in sorted(Priority, reverse=True)]


class Machine:
    """A computer without a clock chip, that was last on three months ago."""

    def __init__(self, directory: Path) -> None:
        self.time = FakeTime()
        self.keeps_time = True
        self._directory = directory
        self.clock = self.boot("last winter")
        self.clock.save_floor()
        self.time.quality, self.time.wall = ClockQuality.NONE, 0.0
        self.clock = self.boot("now")

    def boot(self, name: str) -> Clock:
        """Return the clock of one start of this computer."""
        return Clock(
            self._directory / "clock",
            wall=lambda: self.time.wall,
            monotonic=lambda: self.time.monotonic,
            source=lambda: self.time.quality,
            boot_id=name,
            may_be_set=lambda: self.keeps_time,
        )

    def set_clock(self) -> None:
        """Do as a time service does."""
        self.time.wall, self.time.quality = TRUE_NOW, ClockQuality.NETWORK

    @asynccontextmanager
    async def spool(self) -> AsyncIterator[GroupCommit]:
        """Run the spool; leave it as an agent that is told to stop does."""
        settings = SpoolSettings(commit_readings=1)
        async with open_spool(
            self._directory / "spool.sqlite",
            settings,
            clock=self.clock,
            gap_record=lambda dropped: self.reading(float(dropped)),
            hold_seconds=HOLD_SECONDS,
        ) as spool:
            running = asyncio.create_task(spool.run(), name="spool")
            try:
                yield spool
            finally:
                running.cancel()
                await asyncio.wait([running])

    def reading(self, result: float) -> Reading:
        """Return a reading taken now."""
        return Reading(
            sensor="urn:a",
            name="no2",
            phenomenon_time=self.clock.now(),
            result=result,
            unit="ug/m3",
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def sendable(spool: GroupCommit) -> list[Reading]:
    return [waiting.reading for waiting in await spool.read([(ALL, 100)], 100)]


async def after_commit(spool: GroupCommit, act: Callable[[], None]) -> None:
    """Do `act` and wait until the spool has changed for it."""
    changed = asyncio.Event()
    spool.on_commit = changed.set
    act()
    async with asyncio.timeout(20):
        await changed.wait()


async def test_readings_wait_for_the_time_as_long_as_there_is_no_network(machine: Machine) -> None:
    async with machine.spool() as spool:
        await spool.put([machine.reading(1.0)], Priority.NORMAL, at_once=True)
        machine.time.advance(3 * 86_400)
        await spool.put([machine.reading(2.0)], Priority.NORMAL, at_once=True)
        assert await sendable(spool) == []
        assert (await spool.depth()).readings == 2
        spool.connected()
        await after_commit(spool, machine.set_clock)
        first, second = await sendable(spool)
        assert [first.phenomenon_time.timestamp(), second.phenomenon_time.timestamp()] == [
            TRUE_NOW - 3 * 86_400,
            TRUE_NOW,
        ]
        assert first.quality == second.quality == Quality.TIME_RECONSTRUCTED


async def test_a_time_that_was_sent_is_not_rewritten_when_the_true_one_is_known(
    machine: Machine,
) -> None:
    async with machine.spool() as spool:
        await spool.put([machine.reading(1.0)], Priority.NORMAL, at_once=True)
        spool.connected()
        await after_commit(spool, lambda: machine.time.advance(HOLD_SECONDS))
        (sent,) = await sendable(spool)
        assert (sent.phenomenon_time.timestamp(), sent.quality) == (
            NOW,
            Quality.CLOCK_UNSYNCHRONISED,
        )
        machine.set_clock()
        await spool.put([machine.reading(2.0)], Priority.NORMAL, at_once=True)
        again, later = await sendable(spool)
        assert again == sent
        assert (later.phenomenon_time.timestamp(), later.quality) == (TRUE_NOW, Quality(0))


async def test_connecting_again_gives_no_further_time(machine: Machine) -> None:
    async with machine.spool() as spool:
        await spool.put([machine.reading(1.0)], Priority.NORMAL, at_once=True)
        spool.connected()
        machine.time.advance(HOLD_SECONDS - 1)
        spool.connected()
        await after_commit(spool, lambda: machine.time.advance(1))
        assert len(await sendable(spool)) == 1


async def test_an_alarm_does_not_wait(machine: Machine) -> None:
    async with machine.spool() as spool:
        await spool.put([machine.reading(1.0)], Priority.ALARM)
        (alarm,) = await sendable(spool)
        assert alarm.quality == Quality.CLOCK_UNSYNCHRONISED


async def test_nothing_waits_where_nobody_would_set_the_clock(machine: Machine) -> None:
    machine.keeps_time = False
    async with machine.spool() as spool:
        await spool.put([machine.reading(1.0)], Priority.NORMAL, at_once=True)
        (reading,) = await sendable(spool)
        assert reading.quality == Quality.CLOCK_UNSYNCHRONISED


@pytest.mark.parametrize(
    ("learned", "time", "quality"),
    [
        (True, TRUE_NOW, Quality.TIME_RECONSTRUCTED),
        (False, NOW, Quality.CLOCK_UNSYNCHRONISED),
    ],
)
async def test_readings_of_an_earlier_boot_get_the_time_that_boot_learned(
    machine: Machine, *, learned: bool, time: float, quality: Quality
) -> None:
    async with machine.spool() as spool:
        await spool.put([machine.reading(1.0)], Priority.NORMAL, at_once=True)
    machine.set_clock()
    if learned:
        machine.clock.save_boot()  # and then the power is cut
    machine.time.monotonic = 7.0
    machine.clock = machine.boot("the next")
    async with machine.spool() as spool:
        await after_commit(spool, lambda: None)
        (reading,) = await sendable(spool)
        assert (reading.phenomenon_time.timestamp(), reading.quality) == (time, quality)
