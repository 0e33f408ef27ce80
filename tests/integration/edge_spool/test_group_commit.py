"""Commits in groups: how long readings wait for others, and a disk that refuses."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from device_protocol.reading import Reading
from edge_agent.clock import Clock
from edge_agent.settings import SpoolSettings
from edge_agent.spool.group_commit import GroupCommit, open_spool
from edge_agent.spool.store import Priority, Span, Spool
from tests.integration.edge_spool.spools import (
    ALL,
    everything,
    filled,
    full,
    gap_record,
    open_at,
    reading,
    scribble,
)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
async def group(path: Path, clock: Clock) -> AsyncIterator[GroupCommit]:
    settings = SpoolSettings(commit_seconds=60, commit_readings=50)
    async with open_spool(path, settings, clock=clock, gap_record=gap_record) as opened:
        yield opened


@pytest.fixture
async def running(group: GroupCommit) -> AsyncIterator[GroupCommit]:
    task = asyncio.create_task(group.run())
    yield group
    task.cancel()
    await asyncio.wait([task])


async def committed(group: GroupCommit) -> None:
    event = asyncio.Event()
    group.on_commit = event.set
    async with asyncio.timeout(15):
        await event.wait()


async def test_readings_wait_for_others_up_to_the_number_in_the_settings(
    running: GroupCommit,
) -> None:
    for number in range(49):
        await running.put([reading(number)], Priority.NORMAL)
    await asyncio.sleep(0.05)
    assert running.commits == 0
    await running.put([reading(49)], Priority.NORMAL)
    await committed(running)
    assert (await running.depth()).readings == 50
    assert running.commits == 1


async def test_readings_wait_for_others_up_to_the_time_in_the_settings(
    path: Path, clock: Clock
) -> None:
    settings = SpoolSettings(commit_seconds=0.1)
    async with open_spool(path, settings, clock=clock, gap_record=gap_record) as group:
        task = asyncio.create_task(group.run())
        begun = clock.monotonic()
        await group.put([reading(1)], Priority.NORMAL)
        await committed(group)
        assert clock.monotonic() - begun >= 0.1
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("priority", "at_once"), [(Priority.ALARM, False), (Priority.NORMAL, True)]
)
async def test_alarms_and_backfills_are_on_the_disk_when_put_returns(
    running: GroupCommit,
    path: Path,
    priority: Priority,
    at_once: bool,  # noqa: FBT001
) -> None:
    await running.put([reading(1)], Priority.NORMAL)
    await running.put([reading(2)], priority, at_once=at_once)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM reading").fetchone() == (2,)


async def test_what_is_in_memory_is_committed_when_the_agent_stops(
    path: Path, clock: Clock
) -> None:
    settings = SpoolSettings(commit_seconds=60)
    async with open_spool(path, settings, clock=clock, gap_record=gap_record) as group:
        task = asyncio.create_task(group.run())
        await asyncio.sleep(0)
        await group.put([reading(1)], Priority.NORMAL)
        task.cancel()
        await asyncio.wait([task])
    with open_at(path) as spool:
        assert everything(spool) == [reading(1)]


async def test_released_rows_go_with_the_next_commit(running: GroupCommit) -> None:
    await running.put([reading(1), reading(2)], Priority.NORMAL, at_once=True)
    running.release([Span(Priority.NORMAL, 1, 1)])
    await asyncio.sleep(0.05)
    assert running.commits == 1
    await running.put([reading(3)], Priority.NORMAL, at_once=True)
    assert [each.number for each in await running.read([(ALL, 9)], 9)] == [2, 3]


async def test_a_disk_that_refuses_loses_nothing(
    running: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = running.spool.write
    refusals = iter([True, True, False])

    def refuse(*arguments: object) -> None:
        if next(refusals, False):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(running.spool, "write", refuse)
    monkeypatch.setattr("edge_agent.spool.group_commit._RETRY_SECONDS", (0.01, 0.02))
    await running.put([reading(1)], Priority.NORMAL, at_once=True)
    assert [each.reading for each in await running.read([(ALL, 9)], 9)] == [reading(1)]
    assert running.failing is None


async def test_damage_in_use_is_repaired_and_the_readings_in_hand_are_kept(
    running: GroupCommit, path: Path
) -> None:
    await running.put([reading(number) for number in range(5000)], Priority.NORMAL, at_once=True)
    running.spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    running.spool._database.execute("PRAGMA cache_size = 1")
    scribble(path)
    await running.put([reading(5000)], Priority.NORMAL, at_once=True)
    found = await running.read([(ALL, 10_000)], 10_000)
    assert found[-1].reading == reading(5000)
    assert len(found) > 4_700


async def test_a_spool_for_which_there_is_no_room_is_opened_when_there_is(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path, 10)
    refusals = [True, True]
    prepare = Spool._prepare

    def prepared(spool: Spool) -> None:
        if refusals:
            refusals.pop()
            full()
        prepare(spool)

    monkeypatch.setattr(Spool, "_prepare", prepared)
    monkeypatch.setattr("edge_agent.spool.group_commit._RETRY_SECONDS", (0.01, 0.02))
    async with open_spool(path, SpoolSettings(), clock=clock, gap_record=gap_record) as group:
        assert (await group.depth()).readings == 10
    assert not refusals


async def test_what_is_acknowledged_while_the_disk_is_full_makes_room(
    running: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file gives back its pages; only what else is on the disk could do so otherwise."""
    await running.put([reading(number) for number in range(5)], Priority.NORMAL, at_once=True)
    write = running.spool.write

    def no_room_but_for_what_goes(
        readings: list[tuple[Priority, Reading]], delete: list[Span], now: int
    ) -> None:
        if not delete:
            full()
        write(readings, delete, now)

    monkeypatch.setattr(running.spool, "write", no_room_but_for_what_goes)
    monkeypatch.setattr("edge_agent.spool.group_commit._RETRY_SECONDS", (0.01, 0.02))
    putting = asyncio.create_task(running.put([reading(5)], Priority.NORMAL, at_once=True))
    while running.failing is None:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0)
    running.release([Span(Priority.NORMAL, 1, 5)])
    async with asyncio.timeout(10):
        await putting
    assert [each.reading for each in await running.read([(ALL, 9)], 9)] == [reading(5)]
