"""What was delivered and waits for admission: a queue that is never full, but says when it should.

A broker's messages arrive in a callback that can neither wait nor refuse. So nothing is dropped:
past its limits the inbox asks the connections to stop reading (`full`), and to go on once half of
it is worked off (`room`). The overshoot is what a connection had already read from its socket.
"""

import asyncio
from collections import deque

from ingest.receiving.delivery import Delivery


class Inbox:
    """Deliveries in the order they came; max_messages and max_bytes are where pausing begins.

    taken: how many were ever taken out, which is the position of the last of them.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._waiting: deque[Delivery] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._put = 0
        self.taken = 0
        self.full = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def size_bytes(self) -> int:
        """What all waiting messages take."""
        return self._bytes

    @property
    def oldest(self) -> int | None:
        """When the oldest delivery was received, Unix seconds; safe to ask on any thread."""
        try:
            return self._waiting[0].received_at
        except IndexError:
            return None

    def put(self, delivery: Delivery) -> int:
        """Take in a delivery, whatever the limits; return its position, counted from one."""
        self._waiting.append(delivery)
        self._put += 1
        self._bytes += len(delivery.message)
        self._arrived.set()
        if len(self._waiting) >= self._max_messages or self._bytes >= self._max_bytes:
            self.room.clear()
            self.full.set()
        return self._put

    def take(self, most: int) -> list[Delivery]:
        """Return up to `most` of the oldest deliveries, none if there are none."""
        taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self._bytes -= sum(len(delivery.message) for delivery in taken)
        self.taken += len(taken)
        if not self._waiting:
            self._arrived.clear()
        if 2 * len(self._waiting) <= self._max_messages and 2 * self._bytes <= self._max_bytes:
            self.full.clear()
            self.room.set()
        return taken

    async def arrived(self, timeout_seconds: float | None) -> None:
        """Return once there is a delivery, or after this time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._arrived.wait()
        except TimeoutError:
            return
