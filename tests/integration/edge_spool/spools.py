"""Spools with readings that can be told apart, and ways to damage a file."""

import os
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from device_protocol.reading import Reading
from edge_agent.spool.rows import HIGHEST_NUMBER
from edge_agent.spool.store import Priority, Span, Spool

BEGIN = datetime(2030, 3, 17, tzinfo=UTC)
NOW = 1_900_000_000
PAGE_BYTES = 4096
ROOT = Path(__file__).parents[3]
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


WRITER = """
    import sys
    from tests.integration.edge_spool.spools import NOW, Path, Priority, open_at, reading

    with open_at(Path(sys.argv[1])) as spool:
        for begin in range(0, 1_000_000, 20):
            batch = [(Priority.NORMAL, reading(begin + each)) for each in range(20)]
            spool.write(batch, [], NOW)
            print(begin + 20, flush=True)
"""


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


def full(*_: object, **__: object) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error
