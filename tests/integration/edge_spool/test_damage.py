"""A spool or its log that the disk has spoilt: noticed, and what is left of it kept."""

import random
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.spool.rows import encode
from edge_agent.spool.store import Priority, Spool, is_damage
from tests.integration.edge_spool.spools import (
    NOW,
    PAGE_BYTES,
    ROOT,
    WRITER,
    blank_beginning,
    cut_short,
    everything,
    filled,
    flip_bits,
    full,
    gap_record,
    open_at,
    overwrite,
    reading,
    scribble,
)


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
        cwd=ROOT,
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
