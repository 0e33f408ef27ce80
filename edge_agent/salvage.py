"""Getting readings out of a damaged spool, by key: the pages that still hold are read.

Used once, when a file will not open or breaks in use. Rows are returned as they stand, after
their checksum was found to hold. The new spool they go into is `edge_agent.spool`'s.
"""

import logging
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

Row = tuple[int, int, str, int]
"""place, accepted, body, checksum"""

HIGHEST_NUMBER: Final = (1 << 48) - 1

_COMPANIONS: Final = ("", "-wal", "-shm")
_MAGIC: Final = b"SQLite format 3\x00"
_PAGE_COUNT_AT: Final = 28  # byte of the file header that holds the number of pages
_ROWS_PER_PAGE: Final = 64  # more than fit on one of 4 KiB
_FRUITLESS_PROBES: Final = 200_000  # keys asked for in vain before the rest is given up


def set_aside(path: Path) -> Path:
    """Rename a spool and its companions, replacing what was set aside before; return the name."""
    quarantined = path.with_name(f"{path.stem}.damaged{path.suffix}")
    for companion in _COMPANIONS:
        old = path.with_name(path.name + companion)
        new = quarantined.with_name(quarantined.name + companion)
        new.unlink(missing_ok=True)
        if old.exists():
            old.rename(new)
    return quarantined


def readable_rows(
    quarantined: Path, replacement: Path, *, priorities: Sequence[int]
) -> Iterator[Row]:
    """Yield every row of a damaged spool that can be read and whose checksum holds.

    replacement: a sound spool of the same schema; a first page that is gone is taken from it.
    """
    _mend_first_page(quarantined, replacement)
    try:
        database = sqlite3.connect(quarantined, isolation_level=None)
    except sqlite3.Error as error:
        log.error("damaged spool cannot be opened", extra={"error": str(error)})  # noqa: TRY400
        return
    database.text_factory = bytes
    try:
        for priority in priorities:
            yield from _rows_of(database, priority, quarantined)
    finally:
        database.close()


def _mend_first_page(quarantined: Path, replacement: Path) -> None:
    """Put a sound first page on a file that has lost its own, and the true number of pages."""
    with quarantined.open("r+b") as damaged, replacement.open("rb") as sound:
        page_bytes = _page_bytes(replacement)
        if damaged.read(len(_MAGIC)) != _MAGIC:
            damaged.seek(0)
            damaged.write(sound.read(page_bytes))
        damaged.seek(_PAGE_COUNT_AT)
        damaged.write(struct.pack(">I", quarantined.stat().st_size // page_bytes))


def _page_bytes(path: Path) -> int:
    with path.open("rb") as file:
        file.seek(16)
        return int.from_bytes(file.read(2), "big")


def place_of(priority: int, number: int) -> int:
    """Return the key of a row: its priority above its number."""
    return priority << 48 | number


def checksum_of(place: int, body: bytes) -> int:
    """Return the CRC-32 that a row keeps of its place and body."""
    return zlib.crc32(body, (place ^ place >> 32) & 0xFFFFFFFF)


def _rows_of(database: sqlite3.Connection, priority: int, path: Path) -> Iterator[Row]:
    """Yield rows forward up to the first damage, backward down to the last, then those between."""
    forward, whole = _scan(database, priority, "ASC")
    yield from forward
    if whole:
        return
    backward, _ = _scan(database, priority, "DESC")
    yield from backward
    low, high = _bounds(database, path)
    first = forward[-1][0] + 1 if forward else place_of(priority, low)
    last = backward[-1][0] - 1 if backward else place_of(priority, high)
    yield from _between(database, first, last)


def _scan(database: sqlite3.Connection, priority: int, order: str) -> tuple[list[Row], bool]:
    """Return the sound rows up to the first unreadable one, and whether there was none such."""
    rows: list[Row] = []
    statement = f"SELECT * FROM reading WHERE place BETWEEN ? AND ? ORDER BY place {order}"  # noqa: S608  # order is a constant of this file
    try:
        for row in database.execute(
            statement, (place_of(priority, 0), place_of(priority, HIGHEST_NUMBER))
        ):
            rows += _if_sound(row)
    except sqlite3.Error:
        return rows, False
    return rows, True


def _bounds(database: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """Return numbers between which all rows lie, as far as anything says so."""
    try:
        low, high = database.execute("SELECT low, high FROM mark").fetchone()
    except (sqlite3.Error, TypeError):
        low, high = 1, path.stat().st_size // _page_bytes(path) * _ROWS_PER_PAGE
    return int(low), int(high)


def _between(database: sqlite3.Connection, begin: int, end: int) -> Iterator[Row]:
    """Yield what can be read of a range of places by halving every part that cannot be."""
    ranges = [(begin, end)]
    fruitless = 0
    while ranges and fruitless < _FRUITLESS_PROBES:
        first, last = ranges.pop()
        if first > last:
            continue
        try:
            rows = database.execute(
                "SELECT * FROM reading WHERE place BETWEEN ? AND ?", (first, last)
            ).fetchall()
        except sqlite3.Error:
            if first == last:
                fruitless += 1
                continue
            middle = (first + last) // 2
            ranges += [(middle + 1, last), (first, middle)]
            continue
        for row in rows:
            yield from _if_sound(row)


def _if_sound(row: tuple[object, ...]) -> list[Row]:
    """Return a row with its text decoded, or nothing if its checksum does not hold."""
    match row:
        case (int(place), int(accepted), bytes(body), int(checksum)):
            if checksum_of(place, body) == checksum:
                return [(place, accepted, body.decode(), checksum)]
    return []
