"""A gateway that publishes numbered readings while brokers come and go, and keeps the books.

It knows several nodes and takes the next one when its connection is lost. What was confirmed by
PUBACK it never sends again, unlike a real gateway: so a message that a broker confirmed and lost
shows. What was not confirmed is sent again as it was. Like a real gateway it never has more than a
window of messages that the centre has not acknowledged.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, NoReturn

from bench.mqtt_load import LoadConnection, LoadError
from device_protocol import topics
from device_protocol.errors import RejectionError
from tests.simulators.gateway import Message, SimulatedGateway, description, reading

LOST: Final = (OSError, EOFError, LoadError, TimeoutError)
_ANSWER_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 0.1
_ROOM_SECONDS: Final = 0.01
_REMIND_SECONDS: Final = 2.0  # then it announces again, which is always answered


@dataclass
class DoggedGateway:
    """Publishes `at_once` messages of `readings` numbers at a time, `messages_per_second` of them.

    window: messages without the centre's acknowledgement, at most.

    confirmed: messages D with PUBACK. moments: when each lot was confirmed, by the monotonic clock.
    covered: the highest sequence number that the centre's acknowledgement covers.
    """

    simulated: SimulatedGateway
    nodes: Sequence[tuple[str, int]]
    tls: ssl.SSLContext
    start: datetime
    messages_per_second: float = 100.0
    readings: int = 20
    at_once: int = 10
    window: int = 200
    confirmed: int = 0
    covered: int = 0
    moments: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._turns = {"publish": 0, "hear": 1}
        self._numbers = 0

    @property
    def sensor(self) -> str:
        """The one sensor's lasting name."""
        return f"urn:dev:{self.simulated.device}:air"

    @property
    def numbers(self) -> int:
        """How many numbers are in confirmed messages; they begin at 0."""
        return (self.confirmed - 1) * self.readings  # the first message is the description

    async def publish(self) -> None:
        """Announce, describe and go on with readings until `stopped`."""
        unconfirmed: list[Message] = [
            self.simulated.describe(
                description(thing=f"urn:dev:{self.simulated.device}", sensor=self.sensor)
            )
        ]
        while not self.stopped.is_set():
            with contextlib.suppress(*LOST):
                connection = await self._connect("publish")
                try:
                    await self._publish_by(connection, unconfirmed)
                finally:
                    with contextlib.suppress(*LOST):
                        await connection.close()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def hear(self) -> NoReturn:
        """Listen for acknowledgements until cancelled."""
        place = (self.simulated.tenant, self.simulated.device, self.simulated.group)
        while True:
            with contextlib.suppress(*LOST):
                connection = await self._connect("hear")
                try:
                    await connection.subscribe(topics.acknowledgement(*place))
                    while True:
                        self._note(await connection.delivered())
                finally:
                    with contextlib.suppress(*LOST):
                        await connection.close()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def announce(self) -> None:
        """Publish message K of the running epoch, for an acknowledgement of where it stands."""
        with contextlib.suppress(*LOST):
            connection = await self._connect("publish")
            async with asyncio.timeout(_ANSWER_SECONDS):
                await connection.publish([self.simulated.announcement()], retain=True)
            await connection.close()

    async def _publish_by(self, connection: LoadConnection, unconfirmed: list[Message]) -> None:
        reminded = -_REMIND_SECONDS
        while not self.stopped.is_set():
            begun = time.monotonic()
            has_room = self.confirmed + self.at_once <= self.covered + self.window
            if reminded < 0 or (not has_room and begun - reminded > _REMIND_SECONDS):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await connection.publish([self.simulated.announcement()], retain=True)
                reminded = begun
            if not has_room:
                await asyncio.sleep(_ROOM_SECONDS)
                continue
            while len(unconfirmed) < self.at_once:
                unconfirmed.append(self._next())
            async with asyncio.timeout(_ANSWER_SECONDS):
                await connection.publish(unconfirmed)
            self.confirmed += len(unconfirmed)
            unconfirmed.clear()
            self.moments.append(time.monotonic())
            pause = self.at_once / self.messages_per_second - (time.monotonic() - begun)
            await asyncio.sleep(max(0.0, pause))

    def _next(self) -> Message:
        numbers = range(self._numbers, self._numbers + self.readings)
        self._numbers += self.readings
        return self.simulated.report(
            [
                reading(
                    number, sensor=self.sensor, time=self.start + timedelta(milliseconds=number)
                )
                for number in numbers
            ]
        )

    async def _connect(self, purpose: str) -> LoadConnection:
        host, port = self.nodes[self._turns[purpose] % len(self.nodes)]
        self._turns[purpose] += 1
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await LoadConnection.open(
                host, port, f"{self.simulated.device}-{purpose}", self.tls
            )

    def _note(self, message: bytes) -> None:
        with contextlib.suppress(RejectionError):  # of an epoch before this one
            self.covered = max(self.covered, self.simulated.open(message).contiguous_seq)
            self.answers.append(time.monotonic())


def long_ago() -> datetime:
    """Return where a gateway's numbers may begin, so that none lies in the future."""
    return datetime.fromtimestamp(int(time.time()) - 86_400, UTC)


def longest_gap(moments: Sequence[float]) -> float:
    """Return the longest time, in seconds, in which nothing happened."""
    ordered = sorted(moments)
    return max((after - before for before, after in pairwise(ordered)), default=0.0)
