"""The one owner of the spool: gathers readings into few commits, on one thread.

Each commit costs a flash card some ten times the bytes of a reading, so readings wait in memory
for others up to the time and number in the settings; alarms and backfills do not wait. What the
centre has acknowledged is deleted in the same commits. When the disk is full nothing is lost:
what is in memory is tried again, and adapters are held up meanwhile.

Readings whose times an unset clock gave are held in the spool while something on this machine
may yet set it, for a time at most, and settled then: by the true time where it is known, else
flagged. Alarms do not wait for that.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from device_protocol.reading import Reading
from edge_agent.clock import Clock
from edge_agent.settings import SpoolSettings
from edge_agent.spool.store import Depth, Priority, Span, Spool, Waiting, is_damage
from runtime.backoff import FullJitter
from runtime.systemd import still_working

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_READINGS: Final = 10_000  # in memory, at which `put` waits
_MOST_RELEASED: Final = 2_000  # acknowledged and not yet deleted, at which a commit is due
_RETRY_SECONDS: Final = (1.0, 60.0)
_LOOK_SECONDS: Final = 1.0  # between two looks at the clock while readings are held for it


class _Batch:
    """What the next commit will do; `stored` is set once it has."""

    def __init__(self) -> None:
        self.readings: list[tuple[Priority, Reading]] = []
        self.released: list[Span] = []
        self.released_readings = 0
        self.since: float | None = None
        self.entered: float | None = None
        self.urgent = False
        self.is_stored = False
        self.stored = asyncio.Event()
        self.tell: list[Callable[[], None]] = []


class GroupCommit:
    """Readings on their way into the spool, and out of it.

    on_commit: called after each commit, on the event loop.
    oldest_unsent: monotonic time at which the oldest reading entered that the uplink has not
        taken yet; None when it has taken all. The uplink keeps it.
    commits: how many there have been.
    settled: the highest number of a reading that was held and is no more.
    failing: why the spool cannot be written at present, if it cannot.
    """

    def __init__(
        self,
        spool: Spool,
        thread: ThreadPoolExecutor,
        settings: SpoolSettings,
        clock: Clock,
        hold_seconds: float = 0.0,
    ) -> None:
        self.on_commit: Callable[[], None] = lambda: None
        self.oldest_unsent: float | None = float("-inf")
        self.commits = 0
        self.settled = 0
        self.failing: str | None = None
        self.spool = spool
        self._thread = thread
        self._settings = settings
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._hold_until = float("inf")
        self._gathering = _Batch()
        self._writing = _Batch()
        self._wake = asyncio.Event()

    async def put(
        self,
        readings: Iterable[Reading],
        priority: Priority,
        *,
        at_once: bool = False,
        stored: Callable[[], None] | None = None,
    ) -> None:
        """Take readings; with `at_once`, or for alarms, return only when they are on the disk.

        stored: called on the event loop once they are, whenever that is.
        Waits while too much is in memory already, which happens only when the disk fails.
        """
        while len(self._gathering.readings) >= _MOST_READINGS:
            await self._gathering.stored.wait()
        batch = self._gathering
        batch.readings += [(priority, reading) for reading in readings]
        batch.entered = batch.entered or self._clock.monotonic()
        batch.since = batch.since or batch.entered
        batch.urgent |= at_once or priority is Priority.ALARM
        if stored is not None:
            batch.tell.append(stored)
        self._wake.set()
        if batch.urgent:
            await batch.stored.wait()

    async def writable(self) -> None:
        """Return when the spool can be written, as far as is known."""
        while self.failing is not None:  # noqa: ASYNC110  # a disk tells nobody
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def highest(self) -> int:
        """The highest number given to a reading so far."""
        return self.spool.highest

    def release(self, spans: Sequence[Span]) -> None:
        """Delete what the centre has stored, with the next commit."""
        if spans:
            batch = self._gathering
            batch.released += spans
            batch.released_readings += sum(span.last - span.first + 1 for span in spans)
            batch.since = batch.since or self._clock.monotonic()
            self._wake.set()

    async def read(self, wanted: Sequence[tuple[Sequence[Span], int]], limit: int) -> list[Waiting]:
        """Return at most `limit` committed readings.

        wanted: where from, in this order, and how many at most from there; see `Spool.read`.
        """

        def read() -> list[Waiting]:
            found: list[Waiting] = []
            for spans, most in wanted:
                found += self.spool.read(spans, min(most, limit - len(found)))
            return found

        return await self._on_thread(lambda: self._mended(read))

    async def depth(self) -> Depth:
        """Return how much waits, without what is only in memory."""
        return await self._on_thread(lambda: self._mended(self.spool.depth))

    def _mended(self, call: Callable[[], T]) -> T:
        """Do `call` on the spool, once more if the first try meets damage."""
        try:
            return call()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.spool.replace_damaged(str(error))
            return call()

    async def run(self) -> None:
        """Commit whenever it is due until cancelled, then once more."""
        try:
            while True:
                await self._until_due()
                await self._commit()
        finally:
            for batch in (self._writing, self._gathering):
                await self._write(batch)

    async def _until_due(self) -> None:
        while (wait := self._seconds_until_due()) > 0:
            self._wake.clear()
            look = _LOOK_SECONDS if self.spool.held else float("inf")
            if self.spool.held and not self._is_holding():
                look = 0.0 if await self._settle() else _LOOK_SECONDS
            until = min(wait, look)
            try:
                async with asyncio.timeout(None if until == float("inf") else until):
                    await self._wake.wait()
            except TimeoutError:
                if until == wait:
                    return

    def connected(self) -> None:
        """Note that readings could be sent now; from the first time on they are held only so long.

        Before there is a network nobody can set the clock, and there is no hurry either.
        """
        until = self._clock.monotonic() + self._hold_seconds
        self._hold_until = min(self._hold_until, until)

    def _is_holding(self) -> bool:
        """Tell whether it may become known yet what the time was."""
        if not self._hold_seconds or self._clock.monotonic() >= self._hold_until:
            return False
        return self._clock.is_to_be_set()

    async def _settle(self) -> bool:
        """Give some held readings the time they are to be sent with; return whether that worked.

        The others' turn comes after what is due meanwhile.
        """
        now = int(self._clock.unix())
        settle = partial(self.spool.settle, self._clock.settled, now)
        try:
            await self._on_thread(lambda: self._mended(settle))
        except sqlite3.DatabaseError as error:
            self.failing = str(error)
            return False
        self.failing = None
        self.settled = self.highest
        self._note_commit(self._clock.monotonic())
        return True

    def _note_commit(self, entered: float | None) -> None:
        self.commits += 1
        if entered is not None and self.oldest_unsent is None:
            self.oldest_unsent = entered
        self.on_commit()

    def _seconds_until_due(self) -> float:
        batch = self._gathering
        if batch.since is None:
            return float("inf")
        if (
            batch.urgent
            or len(batch.readings) >= self._settings.commit_readings
            or batch.released_readings >= _MOST_RELEASED
        ):
            return 0
        return batch.since + self._settings.commit_seconds - self._clock.monotonic()

    async def _commit(self) -> None:
        """Write what was gathered, however often the disk refuses."""
        self._writing, self._gathering = self._gathering, _Batch()
        backoff = FullJitter(*_RETRY_SECONDS)
        while not await self._write(self._writing):
            await asyncio.sleep(backoff.next())
            self._make_room()
        self._note_commit(self._writing.entered)

    def _make_room(self) -> None:
        """Let what was acknowledged meanwhile go with the commit that finds no room."""
        gathering = self._gathering
        self._writing.released += gathering.released
        gathering.released, gathering.released_readings = [], 0
        if not gathering.readings and not gathering.tell and not gathering.urgent:
            gathering.since = None

    async def _write(self, batch: _Batch) -> bool:
        """Return whether `batch` is on the disk; a damaged spool is replaced."""
        now = int(self._clock.unix())
        is_holding = self._is_holding()
        readings = [
            (priority, reading)
            if is_holding and priority is not Priority.ALARM
            else (priority, self._clock.settled(reading))
            for priority, reading in batch.readings
        ]

        def write() -> None:
            if not batch.is_stored:
                self.spool.write(readings, batch.released, now)
                batch.is_stored = True

        try:
            await self._on_thread(write)
        except sqlite3.DatabaseError as error:
            damage = str(error)
            if is_damage(error):
                await self._replace(damage)
            elif self.failing is None:
                log.error("spool cannot be written", extra={"error": damage})  # noqa: TRY400
            self.failing = damage
            return False
        self.failing = None
        batch.stored.set()
        while batch.tell:
            batch.tell.pop()()
        return True

    async def _replace(self, damage: str) -> None:
        """Replace the damaged spool; if there is no room for another, it is tried again."""
        try:
            await self._on_thread(lambda: self.spool.replace_damaged(damage))
        except (sqlite3.DatabaseError, OSError) as error:
            log.error("damaged spool not replaced yet", extra={"error": str(error)})  # noqa: TRY400

    async def _on_thread(self, call: Callable[[], T]) -> T:
        """Run `call` on the spool's thread; a cancellation waits until it is done."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


@asynccontextmanager
async def open_spool(
    path: Path,
    settings: SpoolSettings,
    *,
    clock: Clock,
    gap_record: Callable[[int], Reading],
    hold_seconds: float = 0.0,
) -> AsyncIterator[GroupCommit]:
    """Open the spool at `path` on a thread of its own, and close both at the end.

    hold_seconds: how long after the first connection readings are held for the clock to be set.
    While the disk has no room for it, it is tried again.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="spool") as thread:
        opening = partial(Spool, path, quota_bytes=settings.quota_bytes, gap_record=gap_record)
        backoff = FullJitter(*_RETRY_SECONDS)
        while True:
            try:
                spool = await loop.run_in_executor(thread, opening)
                break
            except sqlite3.OperationalError as error:  # the disk is full
                if is_damage(error):  # or broken, beyond what a new spool could mend
                    raise
                log.error("spool cannot be opened", extra={"error": str(error)})  # noqa: TRY400
                still_working()
            await asyncio.sleep(backoff.next())
        try:
            yield GroupCommit(spool, thread, settings, clock, hold_seconds)
        finally:
            await loop.run_in_executor(thread, spool.close)
