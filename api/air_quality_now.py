"""The index of many datastreams at once, kept for a minute, for a page that is asked for often.

How an index is found is `storage.air_quality`; what a page says of it, `api.air_quality`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from standards_mapping.air_quality_index import Index, NoIndex, latest_end
from storage.air_quality import Pollutant
from storage.database import OUTAGES

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 60.0
"""How long an index is told before it is asked for again: late readings may have changed it."""

Read = Callable[[Sequence[Pollutant]], Awaitable[Mapping[int, Index | NoIndex]]]


@dataclass(frozen=True, slots=True)
class _Kept:
    hour: datetime
    until: float
    found: Index | NoIndex


class IndexCache:
    """Indices by datastream and hour. One reading is under way at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[int, _Kept] = {}
        self._reading = asyncio.Lock()
        self._failed_until = 0.0

    async def indices(
        self,
        read: Read,
        pollutants: Sequence[Pollutant],
        now: datetime,
    ) -> dict[int, Index | NoIndex]:
        """Return the index of each datastream, by id; without those that cannot be told now.

        read: asks for those that are not known. While somebody reads, what has just run out is
        told; who finds nothing at all waits. An outage leaves the page without, for a while.
        """
        if self._missing(pollutants, now) and not (
            self._reading.locked() and self._knows(pollutants, now)
        ):
            async with self._reading:
                missing = self._missing(pollutants, now)
                if missing and self._clock() >= self._failed_until:
                    await self._keep(read, missing, now)
        return {
            one.datastream_id: kept.found
            for one in pollutants
            if (kept := self._kept.get(one.datastream_id)) and kept.hour == latest_end(now)
        }

    def _missing(self, pollutants: Sequence[Pollutant], now: datetime) -> list[Pollutant]:
        hour, at = latest_end(now), self._clock()
        return [
            one
            for one in pollutants
            if not (kept := self._kept.get(one.datastream_id))
            or kept.hour != hour
            or kept.until <= at
        ]

    def _knows(self, pollutants: Sequence[Pollutant], now: datetime) -> bool:
        hour = latest_end(now)
        return all(
            (kept := self._kept.get(one.datastream_id)) and kept.hour == hour for one in pollutants
        )

    async def _keep(self, read: Read, missing: Sequence[Pollutant], now: datetime) -> None:
        hour = latest_end(now)
        try:
            found = await read(missing)
        except OUTAGES as error:  # the page is there without it
            log.warning("air quality indices not read", extra={"error": str(error)})
            self._failed_until = self._clock() + KEPT_SECONDS
            return
        until = self._clock() + KEPT_SECONDS
        self._kept = {key: kept for key, kept in self._kept.items() if kept.hour == hour}
        self._kept |= {key: _Kept(hour, until, one) for key, one in found.items()}
