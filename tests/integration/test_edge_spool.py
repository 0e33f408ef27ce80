"""The spool on a real disk: quota, priorities, kill -9, damage, and commits in groups."""

import asyncio
import os
import random
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_protocol.reading import Quality, Reading
from edge_agent.clock import Clock, ClockQuality
from edge_agent.settings import SpoolSettings
from edge_agent.spool.group_commit import GroupCommit, open_spool
from edge_agent.spool.rows import HIGHEST_NUMBER, encode
from edge_agent.spool.store import Priority, Span, Spool, is_damage

BEGIN = datetime(2030, 3, 17, tzinfo=UTC)
NOW = 1_900_000_000
PAGE_BYTES = 4096
ALL = [Span(each, 1, HIGHEST_NUMBER) for each in sorted(Priority, reverse=True)]


def reading(number: int, result: float | bool | str = 1.0, name: str = "no2") -> Reading:  # noqa: FBT001
    return Reading(
        sensor="urn:dev:example:analyser",
        name=name,
        phenomenon_time=BEGIN + timedelta(microseconds=number),
        result=result,
        unit="ug/m3",
    )


def gap_record(dropped: int) -> Reading:
    return reading(0, float(dropped), "spool_dropped")


def open_at(path: Path, quota_bytes: int = 1 << 30) -> Spool:
    return Spool(path, quota_bytes=quota_bytes, gap_record=gap_record)


def filled(path: Path, count: int, priority: Priority = Priority.NORMAL) -> None:
    with open_at(path) as spool:
        spool.write([(priority, reading(number, number / 7)) for number in range(count)], [], NOW)


def everything(spool: Spool) -> list[Reading]:
    return [waiting.reading for waiting in spool.read(ALL, 1_000_000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


@pytest.mark.parametrize("result", [0.1, -1e300, 5e-324, 7.0, True, False, "wet £", ""])
def test_a_reading_comes_back_as_it_went_in(path: Path, result: float | bool | str) -> None:  # noqa: FBT001
    given = reading(1_234_567, result)
    with open_at(path) as spool:
        spool.write([(Priority.NORMAL, given)], [], NOW)
    with open_at(path) as spool:
        (found,) = everything(spool)
    assert found == given
    assert type(found.result) is type(result)


def test_nobody_else_on_the_machine_reads_what_waits(path: Path) -> None:
    with open_at(path) as spool:
        spool.write([(Priority.NORMAL, reading(1))], [], NOW)
        beside = list(path.parent.glob(f"{path.name}*"))
        assert len(beside) > 1, "the write-ahead log, too"
        assert {stat.S_IMODE(each.stat().st_mode) for each in beside} == {0o600}


def test_the_highest_priority_comes_first_then_the_oldest(path: Path) -> None:
    with open_at(path) as spool:
        for number, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.ALARM] * 2):
            spool.write([(priority, reading(number))], [], NOW)
        order = [(each.priority, each.number) for each in spool.read(ALL, 5)]
        wanted = [Span(Priority.NORMAL, 3, 5), Span(Priority.LOW, 1, 3), Span(Priority.LOW, 4, 4)]
        rest = spool.read(wanted, 9)
    assert order == [
        (Priority.ALARM, 3),
        (Priority.ALARM, 6),
        (Priority.NORMAL, 2),
        (Priority.NORMAL, 5),
        (Priority.LOW, 1),
    ]
    assert [each.number for each in rest] == [5, 1, 4]


def test_numbers_go_on_after_everything_was_deleted(path: Path) -> None:
    with open_at(path) as spool:
        spool.write([(Priority.NORMAL, reading(1)), (Priority.NORMAL, reading(2))], [], NOW)
        spool.write([], [Span(Priority.NORMAL, 1, 2)], NOW)
        spool.write([(Priority.NORMAL, reading(3))], [], NOW)
        assert [each.number for each in spool.read(ALL, 9)] == [3]
        assert spool.depth().readings == 1
        assert spool.depth().oldest_accepted == NOW


def test_past_the_quota_the_oldest_of_the_lowest_priority_go_and_a_record_says_so(
    path: Path,
) -> None:
    quota = 512 * 1024
    with open_at(path, quota) as spool:
        low = [(Priority.LOW, reading(number)) for number in range(2000)]
        normal = [(Priority.NORMAL, reading(number)) for number in range(2000, 4000)]
        spool.write(low, [], NOW)
        spool.write(normal, [], NOW)
        written = 4000
        while not spool.dropped:
            batch = [(Priority.NORMAL, reading(written + number)) for number in range(50)]
            spool.write(batch, [], NOW)
            written += 50
        left = spool.read(ALL, 1_000_000)
        assert spool.depth().bytes <= quota
        assert spool.depth().readings == len(left) == written - spool.dropped + 1
    assert left[0].priority is Priority.ALARM
    assert left[0].reading == gap_record(spool.dropped)
    assert [each.reading for each in left if each.priority is Priority.NORMAL] == [
        reading(number) for number in range(2000, written)
    ]
    kept_low = [each.reading for each in left if each.priority is Priority.LOW]
    assert kept_low == [reading(number) for number in range(spool.dropped, 2000)]


def test_a_spool_full_of_alarms_still_takes_new_ones(path: Path) -> None:
    with open_at(path, 64 * 1024) as spool:
        for number in range(40):
            batch = [(Priority.ALARM, reading(number * 100 + each)) for each in range(100)]
            spool.write(batch, [], NOW)
        assert spool.depth().bytes <= 64 * 1024
        newest = [each for each in everything(spool) if each.name == "no2"][-1]
        assert newest == reading(3999)


def test_a_write_that_fails_changes_nothing(path: Path) -> None:
    filled(path, 10)
    with open_at(path) as spool, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        spool._database.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(sqlite3.OperationalError) as refusal:
            spool.write([(Priority.NORMAL, reading(99))], [Span(Priority.NORMAL, 1, 5)], NOW)
        assert not is_damage(refusal.value)
        other.rollback()
        assert spool.depth().readings == 10
        spool.write([(Priority.NORMAL, reading(99))], [], NOW)
        assert [each.number for each in spool.read([Span(Priority.NORMAL, 11, 99)], 9)] == [11]


WRITER = """
    import sys
    from tests.integration.test_edge_spool import NOW, Path, Priority, open_at, reading

    with open_at(Path(sys.argv[1])) as spool:
        for begin in range(0, 1_000_000, 20):
            batch = [(Priority.NORMAL, reading(begin + each)) for each in range(20)]
            spool.write(batch, [], NOW)
            print(begin + 20, flush=True)
"""


@pytest.mark.parametrize("commits_seen", [1, 7, 40])
def test_what_was_accepted_survives_kill_9(path: Path, commits_seen: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as writer:
        assert writer.stdout is not None
        accepted = 0
        for _ in range(commits_seen):
            accepted = int(writer.stdout.readline())
        writer.kill()
        said_before_dying = writer.stdout.read().split()
    accepted = int(said_before_dying[-1]) if said_before_dying else accepted
    with open_at(path) as spool:
        assert spool.salvaged is None
        found = everything(spool)
    assert len(found) in (accepted, accepted + 20)  # the last commit may have gone unsaid
    assert found == [reading(number) for number in range(len(found))]


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3 // PAGE_BYTES * PAGE_BYTES + 100)


def flip_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    chosen = random.Random(5)  # noqa: S311
    for _ in range(30):
        content[chosen.randrange(PAGE_BYTES, len(content))] ^= 1 << chosen.randrange(8)
    path.write_bytes(content)


def scribble(path: Path) -> None:
    pages = path.stat().st_size // PAGE_BYTES
    for page in (pages // 4, pages // 2, pages - 2):
        overwrite(path, page * PAGE_BYTES, random.Random(page).randbytes(PAGE_BYTES))  # noqa: S311


def blank_beginning(path: Path) -> None:
    overwrite(path, 0, bytes(PAGE_BYTES))


@pytest.mark.parametrize(
    ("damage", "least"),
    [(cut_short, 6500), (flip_bits, 9900), (scribble, 9850), (blank_beginning, 10_000)],
)
def test_a_damaged_spool_opens_with_all_that_can_be_read_and_nothing_else(
    path: Path, damage: object, least: int
) -> None:
    filled(path, 10_000)
    assert callable(damage)
    damage(path)
    with open_at(path) as spool:
        everything(spool)  # what the disk has changed is noticed and dropped by this
        found = [each for each in everything(spool) if each.name == "no2"]
        genuine = {(each.phenomenon_time, each.result) for each in found}
        assert genuine <= {
            (reading(number).phenomenon_time, number / 7) for number in range(10_000)
        }
        assert len(found) == len(genuine)
        assert len(found) >= least
        if spool.salvaged is not None:
            assert spool.salvaged.quarantined.exists()
            assert spool.salvaged.readings >= least
        spool.write([(Priority.NORMAL, reading(20_000))], [], NOW)
        assert everything(spool)[-1] == reading(20_000)
    with open_at(path) as spool:
        assert spool.salvaged is None


def killed(path: Path, commits: int) -> None:
    """Leave a spool and its log as a process does that is killed after so many commits of 20."""
    script = textwrap.dedent(WRITER).replace("1_000_000", str(commits * 20))
    script = script.replace("import sys", "import os, sys") + "    os.kill(os.getpid(), 9)\n"
    subprocess.run(
        [sys.executable, "-c", script, str(path)],
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert path.with_name(f"{path.name}-wal").stat().st_size > commits * PAGE_BYTES


def no_beginning(path: Path) -> None:
    overwrite(path, 0, bytes(32))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(7).randbytes(path.stat().st_size))  # noqa: S311


def scribble_once(path: Path) -> None:
    overwrite(path, path.stat().st_size // 2, random.Random(3).randbytes(100))  # noqa: S311


@pytest.mark.parametrize(
    ("damage", "least"),
    [
        (cut_short, 1200),
        (flip_bits, 1900),
        (scribble, 1900),
        (scribble_once, 1980),
        (no_beginning, 2000),
        (blank, 0),
        (garbage, 0),
        (empty, 0),
    ],
)
def test_a_damaged_log_is_noticed_and_what_is_left_of_it_comes_back(
    path: Path, damage: Callable[[Path], None], least: int
) -> None:
    killed(path, 100)
    damage(path.with_name(f"{path.name}-wal"))
    with open_at(path) as spool:
        assert spool.salvaged is not None
        found = [each for each in everything(spool) if each.name == "no2"]
        gaps = [float(each.result) for each in everything(spool) if each.name == "spool_dropped"]
        assert len(found) >= least
        assert len(found) == spool.salvaged.readings
        assert found == sorted(found, key=lambda each: each.phenomenon_time)
        assert {each.phenomenon_time for each in found} <= {
            reading(number).phenomenon_time for number in range(2000)
        }
        assert sum(gaps) == spool.salvaged.missing
        spool.write([(Priority.NORMAL, reading(20_000))], [], NOW)
        assert everything(spool)[-1] == reading(20_000)


def test_an_undamaged_log_is_no_damage(path: Path) -> None:
    killed(path, 100)
    with open_at(path) as spool:
        assert spool.salvaged is None
        assert len(everything(spool)) == 2000


def test_damage_to_both_ends_of_the_keys_leaves_the_middle(path: Path) -> None:
    filled(path, 10_000)
    content = path.read_bytes()
    for number in (0, 9_999):
        page = content.index(encode(reading(number, number / 7)).encode()) // PAGE_BYTES
        overwrite(path, page * PAGE_BYTES, b"\xff" * PAGE_BYTES)
    with open_at(path) as spool:
        assert spool.salvaged is not None
        assert len(everything(spool)) > 9_900


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000, bytes(8192)])
def test_a_file_that_is_no_spool_does_not_stop_the_agent(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with open_at(path) as spool:
        spool.write([(Priority.NORMAL, reading(1))], [], NOW)
        assert everything(spool) == [reading(1)]


def test_somebody_elses_database_is_set_aside(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE song (title)")
    with open_at(path) as spool:
        assert spool.salvaged is not None
        assert "song" in spool.salvaged.damage
        assert everything(spool) == []


def test_the_newest_damaged_file_is_kept_and_no_other(path: Path) -> None:
    for _ in range(3):
        filled(path, 2000)
        blank_beginning(path)
        open_at(path).close()
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "spool.damaged.sqlite",
        "spool.sqlite",
    ]


def test_a_reading_the_disk_has_changed_is_never_sent(path: Path) -> None:
    filled(path, 3)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0.14285714285714285", b"9.14285714285714285"))
    with open_at(path) as spool:
        assert everything(spool) == [gap_record(1), reading(0, 0.0), reading(2, 2 / 7)]
        assert spool.dropped == 1
        assert spool.depth().readings == 3


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


def full(*_: object, **__: object) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


def test_want_of_room_for_the_index_of_the_log_is_no_damage(path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    assert not is_damage(error)
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    assert is_damage(error)


def test_damage_before_an_earlier_salvage_is_done_loses_neither(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path, 1000)
    scribble(path)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "_restore", full)
        with open_at(path) as spool:
            assert not everything(spool)
            later = [(Priority.NORMAL, reading(number)) for number in range(1000, 1500)]
            spool.write(later, [], NOW)
            spool.replace_damaged("again")
            assert not everything(spool)
    with open_at(path) as spool:
        found = {each.phenomenon_time for each in everything(spool) if each.name == "no2"}
    assert {each.phenomenon_time for _, each in later} <= found
    assert len(found) > 1300
    with open_at(path) as spool:
        assert spool.salvaged is None


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


def test_what_is_known_against_a_reading_is_kept_and_the_row_is_short_without(path: Path) -> None:
    flagged = replace(reading(1), quality=Quality.SUSPECT | Quality.WARMING_UP)
    with open_at(path) as spool:
        spool.write([(Priority.NORMAL, flagged), (Priority.NORMAL, reading(2))], [], NOW)
        assert everything(spool) == [flagged, reading(2)]
    assert encode(reading(2)).endswith('"ug/m3"]')
    assert encode(flagged).endswith('"ug/m3",24]')


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
