"""Where readings wait until the centre proves that it has stored them: one SQLite file.

Every commit is on the disk when it returns (WAL, `synchronous=FULL`). Past its quota the
spool drops the oldest readings of the lowest priority and, in the same transaction, stores a
reading that says how many. Rows carry a checksum, because SQLite has none: what the disk has
changed is never sent. A damaged file is set aside by `edge_agent.salvage`, and what can still
be read comes back. Grouping readings into commits is `edge_agent.group_commit`.

Everything here blocks and belongs to one thread.
"""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Final, Self

from device_protocol.reading import Reading
from edge_agent import durable, salvage

log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SPARE_SHARE: Final = 0.95  # a full spool is emptied to this share: one gap record for many rows
_DROP_ROWS: Final = 200
_MARK_STEP: Final = 8_192
_CHECKPOINT_PAGES: Final = 256
_PRIMARY_CODE: Final = 0xFF  # an extended result code of SQLite keeps the primary one here
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)

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


class Priority(IntEnum):
    """What goes first when the spool is full, and last when it is emptied."""

    LOW = 0
    NORMAL = 1
    ALARM = 2


@dataclass(frozen=True, slots=True)
class Span:
    """Every row of `priority` from number `first` to number `last`."""

    priority: Priority
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A reading with its place in the spool; `number` rises in the order of acceptance."""

    priority: Priority
    number: int
    reading: Reading


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
    """What came back from a damaged file; `damage` is SQLite's word for what was wrong."""

    readings: int
    damage: str
    quarantined: Path


class Spool:
    """An open spool.

    dropped: readings lost since it was opened: over quota, or changed by the disk.
    salvaged: the last damage, if there was any.
    quota_bytes: size of the pages in use past which readings are dropped.
    gap_record: makes the reading that says how many readings were dropped.
    """

    def __init__(
        self, path: Path, *, quota_bytes: int, gap_record: Callable[[int], Reading]
    ) -> None:
        self.path = path
        self.salvaged: Salvaged | None = None
        self.dropped = 0
        self._quota_bytes = quota_bytes
        self._gap_record = gap_record
        self._page_bytes = 0
        self._readings = 0
        self._next_number = 1
        self._mark_high = 0
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.replace_damaged(str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Fold the log into the file and close it."""
        self._database.close()

    def write(
        self, readings: Iterable[tuple[Priority, Reading]], delete: Iterable[Span], now: int
    ) -> None:
        """Store `readings`, accepted at Unix second `now`, and delete spans, in one transaction.

        On return all of it is on the disk.

        Raises:
            sqlite3.DatabaseError: nothing was changed: the disk is full, or the file is damaged
                (see `is_damage` and `replace_damaged`).
        """
        counts = self._readings, self._next_number, self._mark_high
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._delete(delete)
                self._insert(readings, now)
                dropped = self._drop_over_quota(now)
        except sqlite3.Error:
            self._readings, self._next_number, self._mark_high = counts
            raise
        self.dropped += dropped

    def read(self, after: Mapping[Priority, int], limit: int) -> list[Waiting]:
        """Return at most `limit` readings, highest priority first, then oldest first.

        after: for each priority the number up to which readings are not wanted.
        Rows whose checksum does not hold are dropped, with a record like any dropped reading.

        Raises:
            sqlite3.DatabaseError: the file is damaged; see `replace_damaged`.
        """
        found: list[Waiting] = []
        spoiled: list[Span] = []
        for priority in sorted(Priority, reverse=True):
            if len(found) == limit:
                break
            rows = self._database.execute(
                "SELECT place, body, checksum FROM reading"
                " WHERE place > ? AND place <= ? ORDER BY place LIMIT ?",
                (
                    salvage.place_of(priority, after.get(priority, 0)),
                    salvage.place_of(priority, salvage.HIGHEST_NUMBER),
                    limit - len(found),
                ),
            )
            for place, body, checksum in rows:
                number = place & salvage.HIGHEST_NUMBER
                if salvage.checksum_of(place, body.encode()) == checksum:
                    found.append(Waiting(priority, number, decode(body)))
                else:
                    spoiled.append(Span(priority, number, number))
        if spoiled:
            log.error("spooled readings were changed by the disk", extra={"count": len(spoiled)})
            record = self._gap_record(len(spoiled))
            now = int(record.phenomenon_time.timestamp())
            self.write([(Priority.ALARM, record)], spoiled, now)
            self.dropped += len(spoiled)
        return found

    def depth(self) -> Depth:
        """Return how much waits now."""
        oldest = self._edges("accepted", "ASC")
        return Depth(self._readings, self._used_bytes(), min(oldest, default=None))

    def replace_damaged(self, damage: str) -> None:
        """Set the damaged file aside, start a new one, and put back what can still be read."""
        if hasattr(self, "_database"):
            self._database.close()
        quarantined = salvage.set_aside(self.path)
        self._open()
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            before = self._database.total_changes
            self._database.executemany(
                "INSERT OR IGNORE INTO reading VALUES (?, ?, ?, ?)",
                salvage.readable_rows(quarantined, self.path, priorities=tuple(Priority)),
            )
            saved = self._database.total_changes - before
            self._count()
        self.salvaged = Salvaged(saved, damage, quarantined)
        log.error(
            "damaged spool replaced",
            extra={"damage": damage, "quarantined": str(quarantined), "readings_salvaged": saved},
        )

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
        execute("PRAGMA journal_size_limit = 0")
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
        self._readings = self._database.execute("SELECT count(*) FROM reading").fetchone()[0]
        highest = max(self._edges("place & 0xFFFFFFFFFFFF", "DESC"), default=0)
        self._next_number = highest + 1
        self._mark_high = self._database.execute("SELECT high FROM mark").fetchone()[0]

    def _edges(self, what: str, order: str) -> list[int]:
        """Return `what` of the first (ASC) or last (DESC) row of each priority that has any."""
        statement = (
            f"SELECT {what} FROM reading WHERE place BETWEEN ? AND ? ORDER BY place {order} LIMIT 1"  # noqa: S608  # constants of this file
        )
        return [
            row[0]
            for priority in Priority
            for row in self._database.execute(
                statement,
                (
                    salvage.place_of(priority, 0),
                    salvage.place_of(priority, salvage.HIGHEST_NUMBER),
                ),
            )
        ]

    def _insert(self, readings: Iterable[tuple[Priority, Reading]], now: int) -> None:
        rows = []
        for number, (priority, reading) in enumerate(readings, start=self._next_number):
            body = encode(reading)
            place = salvage.place_of(priority, number)
            rows.append((place, now, body, salvage.checksum_of(place, body.encode())))
        self._database.executemany("INSERT INTO reading VALUES (?, ?, ?, ?)", rows)
        self._readings += len(rows)
        self._next_number += len(rows)
        if self._next_number > self._mark_high:
            self._mark_high = self._next_number + _MARK_STEP
            low = min(self._edges("place & 0xFFFFFFFFFFFF", "ASC"), default=self._next_number)
            self._database.execute("UPDATE mark SET low = ?, high = ?", (low, self._mark_high))

    def _delete(self, spans: Iterable[Span]) -> None:
        for span in spans:
            gone = self._database.execute(
                "DELETE FROM reading WHERE place BETWEEN ? AND ?",
                (
                    salvage.place_of(span.priority, span.first),
                    salvage.place_of(span.priority, span.last),
                ),
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
        gone = self._database.execute(
            "DELETE FROM reading WHERE place IN (SELECT place FROM reading ORDER BY place LIMIT ?)",
            (_DROP_ROWS,),
        )
        self._readings -= gone.rowcount
        return gone.rowcount

    def _used_bytes(self) -> int:
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        (free,) = self._database.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * self._page_bytes


def encode(reading: Reading) -> str:
    """Return a reading as the text of a row; times in microseconds, so nothing is rounded."""
    microseconds = (reading.phenomenon_time - _EPOCH) // _MICROSECOND
    return json.dumps(
        [reading.sensor, reading.name, microseconds, reading.result, reading.unit],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def decode(body: str) -> Reading:
    """Return the reading that `encode` wrote."""
    sensor, name, microseconds, result, unit = json.loads(body)
    return Reading(
        sensor=sensor,
        name=name,
        phenomenon_time=_EPOCH + timedelta(microseconds=microseconds),
        result=result,
        unit=unit,
    )


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell a file or disk that has lost something from one that is only full or busy."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & _PRIMARY_CODE in _DAMAGE
