"""Where readings wait until the centre proves that it has stored them: one SQLite file.

Every commit is on the disk when it returns (WAL, `synchronous=FULL`). Past its quota the
spool drops the oldest readings of the lowest priority and, in the same transaction, stores a
reading that says how many. Rows carry a checksum, because SQLite has none: what the disk has
changed is never sent. A damaged file is set aside by `edge_agent.spool.salvage`, and what can still
be read comes back. What a row is, is told in `spool.rows`; grouping readings into commits
is `edge_agent.spool.group_commit`.

A reading whose time an unset clock gave is held: it waits beside the others and is not read
until `settle` has put it among them, under a new number, with the time it is to be sent with.
So what is sent is on the disk first, as it is sent, and a stamp once sent is never rewritten.

Everything here blocks and belongs to one thread.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Self, TypeVar

from device_protocol.reading import Reading
from edge_agent import durable
from edge_agent.spool import salvage, wal
from edge_agent.spool.rows import (
    BANDS,
    FIRST_HELD,
    HIGHEST_NUMBER,
    Priority,
    Span,
    Waiting,
    band_of,
    checksum_of,
    decode,
    encode,
    number_of,
    place_of,
    priority_of,
)
from runtime.systemd import still_working

__all__ = ["Depth", "Priority", "Salvaged", "Span", "Spool", "Waiting", "is_damage"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_SPARE_SHARE: Final = 0.95  # a full spool is emptied to this share: one gap record for many rows
_DROP_ROWS: Final = 200
_SETTLE_ROWS: Final = 500
_SALVAGE_ROWS: Final = 5_000
_INTERRUPTED: Final = "a salvage was interrupted"
_MARK_STEP: Final = 8_192
_CHECKPOINT_PAGES: Final = 256
_LOG_BYTES: Final = 2 << 20  # kept and written over: a file that grows costs a flash card more
_PRIMARY_CODE: Final = 0xFF  # an extended result code of SQLite keeps the primary one here
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
_NO_DAMAGE: Final = (  # of the log's index, which is made anew: there was no room for it
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
)

# A row's place holds its priority and, below it, its number: one small integer is the key, so
# that inner pages are few and damage to one of them is unlikely. Salvage needs the mark.
_SCHEMA: Final = """
    CREATE TABLE reading (
        place    INTEGER PRIMARY KEY,
        accepted INTEGER NOT NULL,
        body     TEXT NOT NULL,
        checksum INTEGER NOT NULL
    );
    CREATE TABLE mark (id INTEGER PRIMARY KEY CHECK (id = 1), low INTEGER, high INTEGER);
    INSERT INTO mark VALUES (1, 1, 0);
"""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits.

    bytes: pages of the file in use. oldest_accepted: Unix seconds; None when empty.
    """

    readings: int
    bytes: int
    oldest_accepted: int | None


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came back from a damaged file; `damage` is SQLite's word for what was wrong.

    missing: the most readings that can be lost between the first and the last that came back.
    """

    readings: int
    missing: int
    damage: str
    quarantined: Path


class Spool:
    """An open spool.

    dropped: readings lost since it was opened: over quota, or changed by the disk.
    salvaged: the last damage, if there was any.
    held: how many readings wait for their time.
    quota_bytes: size of the pages in use past which readings are dropped.
    gap_record: makes the reading that says how many readings were dropped.
    """

    def __init__(
        self, path: Path, *, quota_bytes: int, gap_record: Callable[[int], Reading]
    ) -> None:
        self.path = path
        self.salvaged: Salvaged | None = None
        self.dropped = 0
        self.held = 0
        self._quota_bytes = quota_bytes
        self._gap_record = gap_record
        self._page_bytes = 0
        self._readings = 0
        self._next_number = 1
        self._mark_high = 0
        salvage.resume(path)
        try:
            _check_log(path)
            self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.replace_damaged(str(error))
        self._salvage(_INTERRUPTED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Fold the log into the file and close it."""
        self._database.close()

    @property
    def highest(self) -> int:
        """The highest number given to a reading so far."""
        return self._next_number - 1

    def write(
        self, readings: Iterable[tuple[Priority, Reading]], delete: Iterable[Span], now: int
    ) -> None:
        """Store `readings`, accepted at Unix second `now`, and delete spans, in one transaction.

        A reading whose time carries the mark of an unset clock is held until `settle`.
        On return all of it is on the disk.

        Raises:
            sqlite3.DatabaseError: nothing was changed: the disk is full, or the file is damaged
                (see `is_damage` and `replace_damaged`).
        """

        def change() -> int:
            self._delete(delete)
            self._insert(readings, now)
            return self._drop_over_quota(now)

        self.dropped += self._in_transaction(change)

    def settle(self, settled: Callable[[Reading], Reading], now: int) -> None:
        """Let some held readings be read from now on, as `settled` makes them.

        The highest priority goes first, of each the oldest. Their numbers are new ones, above all
        others: nothing appears among what was read.

        Raises:
            sqlite3.DatabaseError: as `write`.
        """
        self.dropped += self._in_transaction(lambda: self._settle_some(settled, now))

    def read(self, spans: Iterable[Span], limit: int) -> list[Waiting]:
        """Return `limit` readings of one span after the other, the oldest of each first.

        Fewer are returned only if there are no more.

        Rows whose checksum does not hold are dropped, with a record like any dropped reading.

        Raises:
            sqlite3.DatabaseError: the file is damaged; see `replace_damaged`.
        """
        spans = tuple(spans)
        found: list[Waiting] = []
        spoiled: list[Span] = []
        for span in spans:
            if len(found) == limit:
                break
            rows = self._database.execute(
                "SELECT place, body, checksum FROM reading"
                " WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?",
                (*_places(span), limit - len(found)),
            )
            for place, body, checksum in rows:
                number = number_of(place)
                if checksum_of(place, body.encode()) == checksum:
                    found.append(Waiting(span.priority, number, decode(body)))
                else:
                    spoiled.append(Span(span.priority, number, number))
        if spoiled:
            log.error("spooled readings were changed by the disk", extra={"count": len(spoiled)})
            record = self._gap_record(len(spoiled))
            now = int(record.phenomenon_time.timestamp())
            self.write([(Priority.ALARM, record)], spoiled, now)
            self.dropped += len(spoiled)
            return self.read(spans, limit)
        return found

    def depth(self) -> Depth:
        """Return how much waits now."""
        oldest = self._edges("accepted", "ASC")
        return Depth(self._readings, self._used_bytes(), min(oldest, default=None))

    def replace_damaged(self, damage: str) -> None:
        """Set the damaged file aside, start a new one, and put back what can still be read."""
        if hasattr(self, "_database"):
            self._database.close()
        salvage.set_aside(self.path)
        self._open()
        self._salvage(damage)

    def _salvage(self, damage: str) -> None:
        """Salvage what was set aside, and whatever an earlier salvage has not come to."""
        while salvage.unfinished(self.path).exists() and self._salvage_one(damage):
            damage = _INTERRUPTED

    def _salvage_one(self, damage: str) -> bool:
        """Put back what can be read of the file set aside, and own up to what cannot.

        Return whether that is done.

        In commits of some thousand rows, so that neither memory nor log grows with the spool.
        If the power goes or the disk is full, the next start does it again.
        """
        aside = salvage.unfinished(self.path)
        try:
            readings, missing = self._put_back(aside)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise
            for each in salvage.remaining(self.path):
                self._next_number = max(self._next_number, salvage.highest_possible(each) + 1)
            log.error("salvage is to be done again", extra={"error": str(error)})  # noqa: TRY400
            return False
        finally:
            self._count()
        quarantined = salvage.finish(self.path)
        self.dropped += missing
        self.salvaged = Salvaged(readings, missing, damage, quarantined)
        log.error(
            "damaged spool replaced",
            extra={
                "damage": damage,
                "quarantined": str(quarantined),
                "readings_salvaged": readings,
                "readings_missing_at_most": missing,
            },
        )
        return True

    def _put_back(self, aside: Path) -> tuple[int, int]:
        """Store salvaged rows as they are, and at last a record of what is missing.

        Return how many came back and how many at most, by their numbers, are missing between the
        first and the last of them: some may have been acknowledged.
        """
        lowest, highest = HIGHEST_NUMBER, 0
        rows = salvage.readable_rows(aside, self.path, bands=BANDS)
        while batch := tuple(islice(rows, _SALVAGE_ROWS)):
            numbers = [number_of(place) for place, *_ in batch]
            lowest, highest = min(lowest, *numbers), max(highest, *numbers)
            self._in_transaction(partial(self._restore, batch))
            still_working()
        readings = self._database.execute(
            "SELECT count(*) FROM reading WHERE place & ? BETWEEN ? AND ?",
            (HIGHEST_NUMBER, lowest, highest),
        ).fetchone()[0]
        missing = highest - lowest + 1 - readings if readings else 0
        self._next_number = max(self._next_number, highest + 1)
        if missing:
            record = self._gap_record(missing)
            now = int(record.phenomenon_time.timestamp())
            self._in_transaction(lambda: self._insert([(Priority.ALARM, record)], now))
        return readings, missing

    def _restore(self, rows: Sequence[salvage.Row]) -> None:
        self._database.executemany("INSERT OR IGNORE INTO reading VALUES (?, ?, ?, ?)", rows)

    def _open(self) -> None:
        with suppress(OSError):  # which SQLite will meet, too
            self.path.touch(mode=durable.PRIVATE_MODE)  # and so are the files beside it
        self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except sqlite3.Error:
            self._database.close()
            raise

    def _prepare(self) -> None:
        execute = self._database.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        execute("PRAGMA cache_size = -1024")
        (verdict,) = execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        tables = {name for (name,) in execute("SELECT name FROM sqlite_master")}
        if not tables:
            self._database.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            execute("PRAGMA wal_checkpoint(TRUNCATE)")  # salvage may need the file's first page
        elif tables != {"reading", "mark"}:
            raise sqlite3.DatabaseError(f"not a spool: it holds {', '.join(sorted(tables))}")
        self._page_bytes = execute("PRAGMA page_size").fetchone()[0]
        self._count()

    def _count(self) -> None:
        count = "SELECT count(*) FROM reading"
        self._readings = self._database.execute(count).fetchone()[0]
        self.held = self._database.execute(f"{count} WHERE place >= {FIRST_HELD}").fetchone()[0]
        highest = max(self._edges(f"place & {HIGHEST_NUMBER}", "DESC"), default=0)
        self._next_number = max(self._next_number, highest + 1)  # even if the last were lost
        self._mark_high = self._database.execute("SELECT high FROM mark").fetchone()[0]

    def _edges(self, what: str, order: str) -> list[int]:
        """Return `what` of the first (ASC) or last (DESC) row of each band that has any."""
        statement = (
            f"SELECT {what} FROM reading WHERE place BETWEEN ? AND ? ORDER BY place {order} LIMIT 1"  # noqa: S608  # constants of this file
        )
        return [
            row[0]
            for band in BANDS
            for row in self._database.execute(
                statement, (place_of(band, 0), place_of(band, HIGHEST_NUMBER))
            )
        ]

    def _in_transaction(self, change: Callable[[], T]) -> T:
        """Do `change` wholly or not at all, and return what it returns."""
        counts = self._readings, self.held, self._next_number, self._mark_high
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                return change()
        except sqlite3.Error:
            self._readings, self.held, self._next_number, self._mark_high = counts
            raise

    def _insert(self, readings: Iterable[tuple[Priority, Reading]], now: int) -> None:
        self._store(
            (band_of(priority, reading), now, encode(reading)) for priority, reading in readings
        )

    def _store(self, rows: Iterable[tuple[int, int, str]]) -> None:
        """Store rows of band, second of acceptance and body under the next numbers."""
        numbered = []
        for number, (band, accepted, body) in enumerate(rows, start=self._next_number):
            place = place_of(band, number)
            numbered.append((place, accepted, body, checksum_of(place, body.encode())))
            self.held += place >= FIRST_HELD
        self._database.executemany("INSERT INTO reading VALUES (?, ?, ?, ?)", numbered)
        self._readings += len(numbered)
        self._next_number += len(numbered)
        if self._next_number > self._mark_high:
            self._mark_high = self._next_number + _MARK_STEP
            low = min(self._edges(f"place & {HIGHEST_NUMBER}", "ASC"), default=self._next_number)
            self._database.execute("UPDATE mark SET low = ?, high = ?", (low, self._mark_high))

    def _settle_some(self, settled: Callable[[Reading], Reading], now: int) -> int:
        """Settle the first held rows; return how many were found changed by the disk."""
        rows: list[salvage.Row] = []
        for band in sorted(BANDS, reverse=True):
            if not rows and place_of(band, 0) >= FIRST_HELD:
                rows = self._database.execute(
                    "SELECT place, accepted, body, checksum FROM reading"
                    " WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?",
                    (place_of(band, 0), place_of(band, HIGHEST_NUMBER), _SETTLE_ROWS),
                ).fetchall()
        sound = [row for row in rows if checksum_of(row[0], row[2].encode()) == row[3]]
        self._database.executemany(
            "DELETE FROM reading WHERE place = ?", [(row[0],) for row in rows]
        )
        self._readings -= len(rows)
        self.held -= len(rows)
        self._store(
            (priority_of(place), accepted, encode(settled(decode(body))))
            for place, accepted, body, _ in sound
        )
        spoiled = len(rows) - len(sound)
        if spoiled:
            self._insert([(Priority.ALARM, self._gap_record(spoiled))], now)
        return spoiled

    def _delete(self, spans: Iterable[Span]) -> None:
        for span in spans:
            gone = self._database.execute(
                "DELETE FROM reading WHERE place BETWEEN ? AND ?", _places(span)
            )
            self._readings -= gone.rowcount

    def _drop_over_quota(self, now: int) -> int:
        """Drop the oldest of the lowest priority while over quota; return how many went."""
        if self._used_bytes() <= self._quota_bytes:
            return 0
        dropped = 0
        while self._readings > 0 and self._used_bytes() > self._quota_bytes * _SPARE_SHARE:
            dropped += self._drop_some()
        if dropped:
            self._insert([(Priority.ALARM, self._gap_record(dropped))], now)
            log.error("spool full, readings dropped", extra={"readings": dropped})
        return dropped

    def _drop_some(self) -> int:
        """Drop the oldest of the lowest priority; held ones, which are newer, go last."""
        (held,) = self._database.execute(
            "SELECT count(*) FROM (SELECT place FROM reading ORDER BY place LIMIT ?)"
            " WHERE place >= ?",
            (_DROP_ROWS, FIRST_HELD),
        ).fetchone()
        gone = self._database.execute(
            "DELETE FROM reading WHERE place IN (SELECT place FROM reading ORDER BY place LIMIT ?)",
            (_DROP_ROWS,),
        )
        self._readings -= gone.rowcount
        self.held -= held
        return gone.rowcount

    def _used_bytes(self) -> int:
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        (free,) = self._database.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * self._page_bytes


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell a file or disk that has lost something from one that is only full or busy."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & _PRIMARY_CODE in _DAMAGE and code not in _NO_DAMAGE


def _check_log(path: Path) -> None:
    """Notice what SQLite would pass over.

    Raises:
        sqlite3.DatabaseError: commits that were finished are damaged.
    """
    with suppress(OSError):  # which SQLite will meet, too
        if wal.read_log(path).lost:
            raise sqlite3.DatabaseError("commits in the log are damaged")


def _places(span: Span) -> tuple[int, int]:
    return place_of(span.priority, span.first), place_of(span.priority, span.last)
