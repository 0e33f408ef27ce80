"""The index of many datastreams at once, kept for a minute, for a page that is asked for often.

How an index is found is `storage.air_quality`; what a page says of it, `api.pages.air_quality`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from standards_mapping.air_quality_index import Index, NoIndex, latest_end, oldest_end
from storage.air_quality import KnownIndices, Pollutant
from storage.database import OUTAGES

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 60.0
"""How long an index is told before it is asked for again: late readings may have changed it."""

Read = Callable[[Sequence[Pollutant], KnownIndices], Awaitable[Mapping[int, Index | NoIndex]]]


@dataclass(frozen=True, slots=True)
class _Kept:
    hour: datetime
    until: float
    found: Index | NoIndex

    def is_of(self, now: datetime) -> bool:
        """Whether it may still be told: after some hours no index is better than an old one."""
        end = self.found.end if isinstance(self.found, Index) else self.hour
        return oldest_end(now) <= end <= latest_end(now)


class IndexCache:
    """Indices by datastream. One reading is under way at a time.

    Only who asks for what nobody has asked for waits. What has run out is told as it is, with the
    end of its period, while `run` reads it again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[int, _Kept] = {}
        self._known = KnownIndices()
        self._reading = asyncio.Lock()
        self._failed_until = 0.0
        self._due_now = asyncio.Event()
        self._again: dict[int, Pollutant] = {}
        self._how: tuple[Read, datetime] | None = None

    async def indices(
        self,
        read: Read,
        pollutants: Sequence[Pollutant],
        now: datetime,
    ) -> dict[int, Index | NoIndex]:
        """Return the index of each datastream, by id; without those that cannot be told now.

        read: asks for indices. An outage leaves the page without what is not known, for a while.
        """
        if self._unknown(pollutants, now):
            async with self._reading:
                await self._keep(read, self._unknown(pollutants, now), now)
        elif due := self._due(pollutants, now):
            self._again |= {one.datastream_id: one for one in due}
            self._how = read, now
            self._due_now.set()
        return {
            one.datastream_id: kept.found
            for one in pollutants
            if (kept := self._kept.get(one.datastream_id)) and kept.is_of(now)
        }

    async def run(self) -> None:
        """Read again what was asked for and has run out, until cancelled."""
        while True:
            await self._due_now.wait()
            self._due_now.clear()
            again, self._again = self._again, {}
            if self._how is not None:
                read, now = self._how
                async with self._reading:
                    await self._keep(read, self._due(again.values(), now), now)

    def _unknown(self, pollutants: Iterable[Pollutant], now: datetime) -> list[Pollutant]:
        """Return those that nothing can be told of now."""
        return [
            one
            for one in pollutants
            if not (kept := self._kept.get(one.datastream_id)) or not kept.is_of(now)
        ]

    def _due(self, pollutants: Iterable[Pollutant], now: datetime) -> list[Pollutant]:
        """Return those that what is told of has run out."""
        hour, at = latest_end(now), self._clock()
        return [
            one
            for one in pollutants
            if not (kept := self._kept.get(one.datastream_id))
            or kept.hour != hour
            or kept.until <= at
        ]

    async def _keep(self, read: Read, asked: Sequence[Pollutant], now: datetime) -> None:
        if not asked or self._clock() < self._failed_until:
            return
        hour = latest_end(now)
        try:
            found = await read(asked, self._known)
        except OUTAGES as error:  # the page is there without it
            log.warning("air quality indices not read", extra={"error": str(error)})
            self._failed_until = self._clock() + KEPT_SECONDS
            return
        until = self._clock() + KEPT_SECONDS
        self._kept = {key: kept for key, kept in self._kept.items() if kept.is_of(now)}
        self._kept |= {key: _Kept(hour, until, one) for key, one in found.items()}
