"""Doing something at even intervals: what takes long does not shift what follows."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from edge_agent.clock import Clock


class Rhythm:
    """Beats at `interval_seconds` from its making on, the first at once.

    Whoever comes late gets the beat at once; of several missed, only the last.
    sleep: as `asyncio.sleep`; a test gives another.
    """

    def __init__(
        self,
        clock: Clock,
        interval_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._interval = interval_seconds
        self._sleep = sleep
        self._due = clock.monotonic()

    async def beat(self) -> None:
        """Wait for the next beat."""
        late = self._clock.monotonic() - self._due
        self._due += max(0, math.floor(late / self._interval)) * self._interval
        await self._sleep(max(0.0, self._due - self._clock.monotonic()))
        self._due += self._interval
