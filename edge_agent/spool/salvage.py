"""Getting readings out of a damaged spool, by key: the pages that still hold are read.

Used once, when a file will not open or breaks in use. Rows are returned as they stand, after
their checksum was found to hold. The new spool they go into is `spool.store`'s. Until that
has taken them all the damaged file keeps a name that says so, and an interrupted salvage is done
again.
"""

import logging
import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from edge_agent.durable import sync_directory
from edge_agent.spool import wal
from edge_agent.spool.rows import HIGHEST_NUMBER, checksum_of, place_of

log = logging.getLogger(__name__)

Row = tuple[int, int, str, int]
"""place, accepted, body, checksum"""

_COMPANIONS: Final = ("", "-wal", "-shm")
_MAGIC: Final = b"SQLite format 3\x00"
_PAGE_COUNT_AT: Final = 28  # byte of the file header that holds the number of pages
_ROWS_PER_PAGE: Final = 64  # more than fit on one of 4 KiB
_FRUITLESS_PROBES: Final = 200_000  # keys asked for in vain before the rest is given up
_PROBED_AT_ONCE: Final = 4_096  # keys; bounds what is in memory


def unfinished(path: Path) -> Path:
    """Return the name of a damaged spool whose rows are not all in the new one yet."""
    return path.with_name(f"{path.stem}.salvaging{path.suffix}")


def set_aside(path: Path) -> None:
    """Rename a damaged spool and its companions to `unfinished`.

    One that is there already waits under another name: its rows are not all in the new one.

    Raises:
        OSError: it failed.
    """
    target = unfinished(path)
    if target.exists() and path.exists() and path.stat().st_size:
        _rename(target, _waiting(path, len(_all_waiting(path)) + 1))
    if target.exists():  # and what took its place never came to be a spool
        for companion in _COMPANIONS:
            _beside(path, companion).unlink(missing_ok=True)
        return
    for companion in _COMPANIONS:
        _beside(target, companion).unlink(missing_ok=True)
    _rename(path, target)


def resume(path: Path) -> None:
    """Do what is left to do if the power went while a spool was being set aside.

    Raises:
        OSError: it failed.
    """
    if unfinished(path).exists() and not path.exists():
        _rename(path, unfinished(path))
    _next_in_turn(path)


def finish(path: Path) -> Path:
    """Rename what was set aside to what people may look at; return that name.

    It replaces what was kept before. If another damaged spool waits, it is `unfinished` now.

    Raises:
        OSError: it failed.
    """
    quarantined = path.with_name(f"{path.stem}.damaged{path.suffix}")
    for companion in _COMPANIONS:
        _beside(quarantined, companion).unlink(missing_ok=True)
    _rename(unfinished(path), quarantined)
    _next_in_turn(path)
    return quarantined


def remaining(path: Path) -> list[Path]:
    """Return every damaged spool whose rows are not all in the new one yet."""
    return [each for each in (unfinished(path), *_all_waiting(path)) if each.exists()]


def _waiting(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.salvaging-{number}{path.suffix}")


def _all_waiting(path: Path) -> list[Path]:
    """Return the damaged spools whose turn has not come, oldest first."""
    found: list[Path] = []
    while (waiting := _waiting(path, len(found) + 1)).exists():
        found.append(waiting)
    return found


def _next_in_turn(path: Path) -> None:
    """Let the last that waits be the one that is salvaged, unless another is."""
    waiting = _all_waiting(path)
    if waiting and not unfinished(path).exists():
        _rename(waiting[-1], unfinished(path))


def _rename(path: Path, target: Path) -> None:
    """Rename a file and its companions, the file first: what is left over tells of the rest."""
    for companion in _COMPANIONS:
        if _beside(path, companion).exists():
            _beside(path, companion).replace(_beside(target, companion))
    sync_directory(path.parent)


def _beside(path: Path, companion: str) -> Path:
    return path.with_name(path.name + companion)


def readable_rows(aside: Path, replacement: Path, *, bands: Sequence[int]) -> Iterator[Row]:
    """Yield every row of a damaged spool that can be read and whose checksum holds.

    Rows that SQLite passes over, because they stand behind damage in the log, come last; some of
    them may have come before.
    replacement: a sound spool of the same schema; a first page that is gone is taken from it.
    """
    beyond = list(wal.read_log(aside).beyond.values())  # before SQLite folds the log in
    _mend_first_page(aside, replacement)
    yield from _rows_by_key(aside, bands)
    for page in beyond:
        for row in wal.rows_on(page):
            yield from _if_sound(row)


def _rows_by_key(aside: Path, bands: Sequence[int]) -> Iterator[Row]:
    try:
        database = sqlite3.connect(aside, isolation_level=None)
    except sqlite3.Error as error:
        log.error("damaged spool cannot be opened", extra={"error": str(error)})  # noqa: TRY400
        return
    database.text_factory = bytes
    try:
        database.execute("PRAGMA cache_size = -1024")
        for band in bands:
            yield from _rows_of(database, band, aside)
    except sqlite3.Error as error:
        log.error("damaged spool cannot be read", extra={"error": str(error)})  # noqa: TRY400
    finally:
        database.close()


def _mend_first_page(damaged_path: Path, replacement: Path) -> None:
    """Put a sound first page on a file that has lost its own, and the true number of pages.

    The magic comes last: until it stands, the file is mended again.
    """
    page_bytes = _page_bytes(replacement)
    is_lost = not _has_schema(damaged_path)
    pages = struct.pack(">I", damaged_path.stat().st_size // page_bytes)
    with damaged_path.open("r+b") as damaged:
        descriptor = damaged.fileno()
        if is_lost:
            with replacement.open("rb") as file:
                sound = file.read(page_bytes)
            os.pwrite(descriptor, bytes(len(_MAGIC)), 0)
            os.pwrite(descriptor, sound[len(_MAGIC) :], len(_MAGIC))
            os.fsync(descriptor)
            os.pwrite(descriptor, _MAGIC, 0)
        os.pwrite(descriptor, pages, _PAGE_COUNT_AT)
        os.fsync(descriptor)


def _has_schema(path: Path) -> bool:
    """Tell whether a file's first page still says what tables there are; folds the log in."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error:
        return False
    return True


def _page_bytes(path: Path) -> int:
    with path.open("rb") as file:
        file.seek(16)
        return int.from_bytes(file.read(2), "big")


def _rows_of(database: sqlite3.Connection, band: int, path: Path) -> Iterator[Row]:
    """Yield rows forward up to the first damage, backward down to the last, then those between."""
    forward = _Scan(database, band, "ASC")
    yield from forward
    if forward.is_whole:
        return
    first = place_of(band, 0) if forward.last is None else forward.last + 1
    backward = _Scan(database, band, "DESC", first)
    yield from backward
    low, high = _bounds(database, path)
    if forward.last is None:
        first = place_of(band, low)
    last = place_of(band, high) if backward.last is None else backward.last - 1
    yield from _between(database, first, last)


class _Scan:
    """The sound rows of a band from one end up to the first that cannot be read.

    last: the place of the last row read. is_whole: nothing stopped it.
    """

    def __init__(
        self, database: sqlite3.Connection, band: int, order: str, first: int | None = None
    ) -> None:
        self.last: int | None = None
        self.is_whole = False
        self._database = database
        self._statement = (
            f"SELECT * FROM reading WHERE place BETWEEN ? AND ? ORDER BY place {order}"  # noqa: S608  # order is a constant of this file
        )
        self._ends = (
            place_of(band, 0) if first is None else first,
            place_of(band, HIGHEST_NUMBER),
        )

    def __iter__(self) -> Iterator[Row]:
        """Yield what can be read."""
        try:
            for row in self._database.execute(self._statement, self._ends):
                if isinstance(row[0], int):
                    self.last = row[0]
                yield from _if_sound(row)
        except sqlite3.Error:
            return
        self.is_whole = True


def highest_possible(aside: Path) -> int:
    """Return a number that no row of a damaged spool is above."""
    with closing(sqlite3.connect(aside)) as database:
        return _bounds(database, aside)[1]


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
        if last - first >= _PROBED_AT_ONCE:
            ranges += [(first + _PROBED_AT_ONCE, last), (first, first + _PROBED_AT_ONCE - 1)]
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
        fruitless += not rows
        for row in rows:
            yield from _if_sound(row)


def _if_sound(row: tuple[object, ...]) -> list[Row]:
    """Return a row with its text decoded, or nothing if its checksum does not hold."""
    match row:
        case (int(place), int(accepted), bytes(body), int(checksum)):
            if checksum_of(place, body) == checksum:
                return [(place, accepted, body.decode(), checksum)]
    return []
