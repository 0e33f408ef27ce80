"""Whatever moment the power goes, no reading acknowledged to its sensor is lost.

A real process takes readings through the real group commit and spool; its system calls are
recorded, and disks are rebuilt as they would be after a cut (`tests.simulators.traced_disk` says
which layer that is, and what it does not show). On each the spool must open, hold what it owes,
and go on.
"""

import random
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.spool.rows import Priority
from edge_agent.spool.store import Spool
from tests.integration.edge_spool.spools import (
    ALL,
    NOW,
    everything,
    filled,
    open_at,
    reading,
    scribble,
)
from tests.simulators.traced_disk import Call, Disk, trace

ROOT = Path(__file__).parents[2]
CUTS = 30
READINGS = 600

WRITER = """
    import asyncio, os, random, sys
    from pathlib import Path
    from edge_agent.clock import Clock
    from edge_agent.spool.group_commit import open_spool
    from edge_agent.settings import SpoolSettings
    from tests.integration.edge_spool.spools import ALL, Priority, gap_record, reading

    import edge_agent.spool.store
    edge_agent.spool.store._CHECKPOINT_PAGES = 24  # so that the log is folded in often

    PATH, SYNCHRONOUS, READINGS = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())

    async def sense(spool, priority):
        chosen = random.Random(priority.value)
        for number in range(priority.value * 100_000, priority.value * 100_000 + READINGS):
            await spool.put(
                [reading(number)],
                priority,
                at_once=chosen.random() < 0.1,
                stored=lambda number=number: say("stored", number),
            )
            if chosen.random() < 0.2:
                await asyncio.sleep(0)

    async def deliver(spool):
        while True:
            rows = await spool.read([(ALL, 15)], 15)
            for row in rows:
                say("released", row.reading.phenomenon_time.microsecond)
            spool.release([Span(row.priority, row.number, row.number) for row in rows])
            await asyncio.sleep(0.02)

    from edge_agent.spool.store import Span

    async def main():
        settings = SpoolSettings(commit_seconds=0.01, commit_readings=20)
        clock = Clock(PATH.with_name("clock"))
        async with open_spool(PATH, settings, clock=clock, gap_record=gap_record) as spool:
            spool.spool._database.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
            running = [asyncio.create_task(spool.run()), asyncio.create_task(deliver(spool))]
            await asyncio.gather(*(sense(spool, each) for each in Priority))
            await spool.put([reading(999_999)], Priority.ALARM)
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    asyncio.run(main())
"""

OPENER = """
    import sys
    from tests.integration.edge_spool.spools import Path, open_at
    import edge_agent.spool.store
    edge_agent.spool.store._SALVAGE_ROWS = 300
    open_at(Path(sys.argv[1])).close()
"""


@dataclass
class Recording:
    """What a process did to a directory, and how the disk under it began."""

    directory: Path
    begin: Callable[[], Disk]
    calls: list[Call]


def record(tmp_path: Path, program: str, *arguments: object) -> Recording:
    directory = tmp_path / "spool"
    directory.mkdir(exist_ok=True)
    before = Disk(directory)
    files = {name: file.synced for name, file in before._names.items()}

    def begin() -> Disk:
        for path in directory.iterdir():
            path.unlink()
        for name, content in files.items():
            (directory / name).write_bytes(content)
        return Disk(directory)

    command = [sys.executable, "-c", textwrap.dedent(program), str(directory / "spool.sqlite")]
    command += [str(each) for each in arguments]
    calls = trace(command, tmp_path / "record", cwd=ROOT)
    return Recording(directory, begin, calls)


def cut_often(
    recording: Recording, tmp_path: Path, share: float, cuts: int, look: Callable[[Path, str], None]
) -> None:
    """Cut the power at `cuts` random moments, and look at each disk and what was said by then."""
    disk = recording.begin()
    steps = [call for call in recording.calls if disk.take(call)]
    chosen = random.Random(f"{share}")  # noqa: S311  # no secret
    moments = Counter(chosen.choices(range(len(steps) + 1), k=cuts))
    disk = recording.begin()
    for moment in range(len(steps) + 1):
        for again in range(moments[moment]):
            after = tmp_path / f"after-{share}-{moment}-{again}"
            after.mkdir()
            disk.after_a_cut(after, chosen, share)
            look(after / "spool.sqlite", disk.said.decode())
        if moment < len(steps):
            disk.take(steps[moment])


def owed(said: str) -> set[int]:
    """Which readings were acknowledged to their sensors and not yet by the centre."""
    stored = {int(number) for number in re.findall(r"^stored (\d+)$", said, re.MULTILINE)}
    return stored - {int(number) for number in re.findall(r"^released (\d+)$", said, re.MULTILINE)}


def kept(spool: Spool) -> list[int]:
    return [each.reading.phenomenon_time.microsecond for each in spool.read(ALL, 1_000_000)]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_no_reading_acknowledged_to_its_sensor_is_lost(tmp_path: Path, share: float) -> None:
    promises = []

    def look(path: Path, said: str) -> None:
        with open_at(path) as spool:
            found = kept(spool)
            assert spool.salvaged is None
            assert len(found) == len(set(found))
            assert owed(said) <= set(found)
            spool.write([(Priority.NORMAL, reading(500_000))], [], NOW)
            assert kept(spool).count(500_000) == 1
        promises.append(len(owed(said)))

    cut_often(record(tmp_path, WRITER, "FULL", READINGS), tmp_path, share, CUTS, look)
    assert len(promises) == CUTS
    assert sum(map(bool, promises)) > CUTS // 2, "the cuts came while something was owed"


def test_the_cut_loses_what_a_program_does_not_sync(tmp_path: Path) -> None:
    """Proves the tests above: a spool that syncs less often does lose what it promised."""
    losses = []

    def look(path: Path, said: str) -> None:
        with open_at(path) as spool:
            losses.append(len(owed(said) - set(kept(spool))))

    cut_often(record(tmp_path, WRITER, "NORMAL", READINGS), tmp_path, 0.0, CUTS, look)
    assert sum(map(bool, losses)) > CUTS // 2


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_salvage_that_the_power_interrupts_is_done_again(tmp_path: Path, share: float) -> None:
    (tmp_path / "spool").mkdir()
    path = tmp_path / "spool" / "spool.sqlite"
    filled(path, 2_000)
    scribble(path)
    recording = record(tmp_path, OPENER)
    with open_at(path) as spool:
        whole = {each.result for each in everything(spool) if each.name == "no2"}
    assert 1_800 < len(whole) < 2_000

    def look(path: Path, _: str) -> None:
        with open_at(path) as spool:
            found = everything(spool)
        assert {each.result for each in found if each.name == "no2"} == whole
        gaps = [each.result for each in found if each.name == "spool_dropped"]
        assert gaps, "the gap is owned up to"
        assert set(gaps) == {2_000 - len(whole)}

    cut_often(recording, tmp_path, share, CUTS // 2, look)
