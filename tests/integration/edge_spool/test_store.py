"""The spool on a real disk: what it keeps, in which order, within its quota, and over kill -9."""

import sqlite3
import stat
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from device_protocol.reading import Quality
from edge_agent.spool.rows import encode
from edge_agent.spool.store import Priority, Span, is_damage
from tests.integration.edge_spool.spools import (
    ALL,
    NOW,
    ROOT,
    WRITER,
    everything,
    filled,
    gap_record,
    open_at,
    reading,
)


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


@pytest.mark.parametrize("commits_seen", [1, 7, 40])
def test_what_was_accepted_survives_kill_9(path: Path, commits_seen: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
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


def test_what_is_known_against_a_reading_is_kept_and_the_row_is_short_without(path: Path) -> None:
    flagged = replace(reading(1), quality=Quality.SUSPECT | Quality.WARMING_UP)
    with open_at(path) as spool:
        spool.write([(Priority.NORMAL, flagged), (Priority.NORMAL, reading(2))], [], NOW)
        assert everything(spool) == [flagged, reading(2)]
    assert encode(reading(2)).endswith('"ug/m3"]')
    assert encode(flagged).endswith('"ug/m3",24]')
