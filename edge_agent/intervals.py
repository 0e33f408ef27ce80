"""Open intervals of one aggregated sensor: told when they are due, kept on the disk until then.

Readings that are aggregated never reach the spool, so this file stands in for it. Who brought
them is told that they are safe once the sums they went into are on the disk, within seconds;
what nobody waits for is written once a minute, which is what a power cut may cost. An interval
that is due is written as it will be told, and leaves the file only after what it came to is in the
spool: a cut in between tells it twice, with the same result, which the centre takes as one.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from edge_agent import durable
from edge_agent.clock import Clock
from edge_agent.processing.aggregation import Aggregation
from edge_agent.processing.pipeline import Pipeline
from edge_agent.spool.group_commit import GroupCommit
from edge_agent.spool.store import Priority

log = logging.getLogger(__name__)

_OWED_SECONDS: Final = 5.0  # whoever pushes by HTTP waits for an answer
_KEPT_SECONDS: Final = 60.0
_LONGEST_WAIT_SECONDS: Final = 60.0  # the clock by which intervals end may be set at any time


class OpenIntervals:
    """The runner of one pipeline that aggregates. path: where its open intervals are kept."""

    def __init__(
        self,
        pipeline: Pipeline,
        aggregation: Aggregation,
        spool: GroupCommit,
        *,
        priority: Priority,
        path: Path,
        clock: Clock,
    ) -> None:
        self._pipeline = pipeline
        self._aggregation = aggregation
        self._spool = spool
        self._priority = priority
        self._path = path
        self._clock = clock
        self._owed: list[Callable[[], None]] = []
        self._owed_since: float | None = None
        self._unkept_since: float | None = None
        self._wake = asyncio.Event()
        self._keeping = asyncio.Lock()
        self._is_kept_for_good = False  # no more is added, and all of it is on the disk
        self._restore()

    def _restore(self) -> None:
        try:
            given_up = self._aggregation.restore(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning(
                "open intervals cannot be read",
                extra={"file": str(self._path), "error": str(error)},
            )
            return
        if given_up:
            log.warning(
                "open intervals of other settings given up",
                extra={"file": str(self._path), "intervals": given_up},
            )

    def added(self) -> None:
        """Note that readings were added to intervals."""
        now = self._clock.monotonic()
        self._unkept_since = now if self._unkept_since is None else self._unkept_since
        self._wake.set()

    def owe(self, stored: Callable[[], None]) -> None:
        """Call `stored` once everything added so far is on the disk."""
        if self._is_kept_for_good:
            stored()
            return
        self._owed.append(stored)
        self._owed_since = self._owed_since or self._clock.monotonic()
        self._wake.set()

    async def run(self) -> None:
        """Tell and keep intervals until cancelled, then keep them once more."""
        try:
            while True:
                await self._until_due()
                if await self.tell() or self._seconds_until_kept() <= 0:
                    await self.keep()
        finally:
            await self._write_last()

    async def tell(self) -> bool:
        """Spool what intervals came to that are due; return whether any were.

        On return what they came to is on the disk, and `keep` is to follow.
        """
        due = self._pipeline.due()
        if due is None:
            return False
        if self._unkept_since is not None:
            await self.keep()
        await self._spool.put(due.readings, self._priority, at_once=True)
        self._pipeline.settle(due)
        return True

    async def keep(self) -> None:
        """Write the open intervals, and tell whoever waits for it; try again later if it fails."""
        async with self._keeping:  # else two would write the same file, and the older sums last
            owed, self._owed, self._owed_since = self._owed, [], None
            self._unkept_since = None
            write = partial(
                durable.write_durably, self._path, self._aggregation.state(), private=True
            )
            writing = asyncio.ensure_future(asyncio.to_thread(write))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])
                self._owed = owed + self._owed
                raise
            except OSError as error:
                self._complain(error)
                self._owed = owed + self._owed
                self._owed_since = self._clock.monotonic() if self._owed else None
                self.added()
                return
        for stored in owed:
            stored()

    async def _write_last(self) -> None:
        """Write all there is before the end: whoever is told nothing would bring it again."""
        async with self._keeping:
            try:
                durable.write_durably(self._path, self._aggregation.state(), private=True)
            except OSError as error:
                self._complain(error)
                return
        self._is_kept_for_good = True
        while self._owed:
            self._owed.pop(0)()

    def _complain(self, error: OSError) -> None:
        log.warning(
            "open intervals cannot be written",
            extra={"file": str(self._path), "error": str(error)},
        )

    async def _until_due(self) -> None:
        while (wait := self._seconds_until_due()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _seconds_until_due(self) -> float:
        now = self._clock.unix()
        next_due = self._aggregation.next_due(now)
        told = _LONGEST_WAIT_SECONDS if next_due is None else next_due - now
        return min(told, self._seconds_until_kept(), _LONGEST_WAIT_SECONDS)

    def _seconds_until_kept(self) -> float:
        now = self._clock.monotonic()
        owed, unkept = self._owed_since, self._unkept_since
        return min(
            float("inf") if owed is None else owed + _OWED_SECONDS - now,
            float("inf") if unkept is None else unkept + _KEPT_SECONDS - now,
        )
