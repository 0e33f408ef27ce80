"""Messages of one local broker between their arrival and their acknowledgement.

Outlives connections, so that what the broker sends again over the next one is known again and
neither lost nor doubled. Knows nothing of sockets: a connection is whoever can acknowledge.
All of it runs on the event loop, except that a message may be let go anywhere.
"""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from paho.mqtt.client import topic_matches_sub

log = logging.getLogger(__name__)

MOST_BYTES_OF_ONE: Final = 256 * 1024
"""Largest payload that is taken; a larger one is no message of a sensor."""

_MOST_MESSAGES: Final = 200
_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_TRIES: Final = 5
_MOST_SETTLED: Final = 256
_MOST_TOPICS: Final = 256
_COPIES_SECONDS: Final = 1.0
_MOST_SHOWN: Final = 200  # characters of a topic in the log


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a sensor published.

    retained: the broker had kept it; when it was published is not known.
    acknowledge: to be called, on the event loop, once its readings are stored.
    urgent: the broker will soon send nothing more until some are acknowledged, so its readings
        are to be stored at once (`Harvest.at_once`).
    """

    topic: str
    payload: bytes
    retained: bool
    received: datetime
    acknowledge: Callable[[], None]
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """A PUBLISH as it came.

    again: the broker has sent it before. mid: its packet identifier; None with QoS 0.
    subscriptions: numbers of those it comes by (MQTT 5); empty where the broker tells none.
    """

    topic: str
    payload: bytes
    retained: bool
    again: bool
    mid: int | None
    subscriptions: tuple[int, ...] = ()

    def fingerprint(self) -> int:
        """Return what tells it from another message under the same packet identifier."""
        return hash((self.topic, self.payload))

    @property
    def size(self) -> int:
        """How many bytes it keeps; a topic may have 65,535."""
        return len(self.topic) + len(self.payload)


class Acknowledging(Protocol):
    """A connection."""

    def acknowledge(self, mid: int) -> None:
        """Tell the broker that it may forget a message."""


def subscription_number(topic_filter: str) -> int:
    """Return the Subscription Identifier (MQTT 5, 3.8.2.1.2) under which we ask for a filter.

    The same at every start: a session holds messages that came by earlier subscriptions.
    """
    digest = hashlib.sha256(topic_filter.encode()).digest()
    return int.from_bytes(digest[:3]) + 1


@dataclass(eq=False, slots=True)
class _Delivery:
    """A message from its arrival until every mailbox it came into has acknowledged it."""

    arrived: Arrived
    received: datetime
    connection: Acknowledging
    owed: int


class _Ticket:
    """One reader's hold on a delivery: acknowledged once, or put back when it is let go."""

    def __init__(self, box: "Mailbox", delivery: _Delivery, tries: int) -> None:
        self._box: Mailbox | None = box
        self._delivery = delivery
        self._tries = tries
        self._loop = asyncio.get_running_loop()

    def acknowledge(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            box.boxes.acknowledged(self._delivery)

    def __del__(self) -> None:
        if self._box is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # the loop has closed since
                self._loop.call_soon_threadsafe(self._box.put_back, self._delivery, self._tries)


@dataclass(eq=False, slots=True)
class Mailbox:
    """What waits for one reader of a topic filter, in the order of arrival."""

    boxes: "Mailboxes"
    topic_filter: str
    waiting: deque[tuple[_Delivery, int]] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    is_read: bool = False

    def wants(self, arrived: Arrived) -> bool:
        """Tell whether `arrived` came by this filter."""
        number = subscription_number(self.topic_filter)
        return topic_matches_sub(self.topic_filter, arrived.topic) and (
            not arrived.subscriptions or number in arrived.subscriptions
        )

    def take(self) -> Message | None:
        """Return the next message, if there is one."""
        if not self.waiting:
            self.filled.clear()
            return None
        delivery, tries = self.waiting.popleft()
        arrived = delivery.arrived
        return Message(
            topic=arrived.topic,
            payload=arrived.payload,
            retained=arrived.retained,
            received=delivery.received,
            acknowledge=_Ticket(self, delivery, tries + 1).acknowledge,
            urgent=self.boxes.is_window_half_full,
        )

    def put_back(self, delivery: _Delivery, tries: int) -> None:
        """Give a message that was let go to the next reader, unless it has failed too many."""
        if tries < _MOST_TRIES:
            self.waiting.appendleft((delivery, tries))
            self.filled.set()
            return
        extra = {"topic": delivery.arrived.topic[:_MOST_SHOWN], "tries": tries}
        log.error("message given up", extra=extra)
        self.boxes.acknowledged(delivery)


class Mailboxes:
    """All that one local broker has sent and that is not yet acknowledged.

    dropped: messages without QoS that came while too much was waiting.
    mqtt_version: of which the broker is known to speak it.
    is_window_half_full: whether the broker will soon wait for acknowledgements.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.dropped = 0
        self.mqtt_version: Any = None
        self.is_window_half_full = False
        self._now = now
        self._boxes: list[Mailbox] = []
        self._held: set[_Delivery] = set()
        self._held_bytes = 0
        self._by_mid: dict[int, _Delivery] = {}  # held
        self._settled: dict[int, int] = {}  # fingerprints of those acknowledged last
        self._copies: dict[int, tuple[int | None, int, datetime]] = {}  # by topic's hash
        self._changed = asyncio.Event()
        self._window = 1

    @contextmanager
    def reading(self, topic_filter: str) -> Iterator[Mailbox]:
        """Give a mailbox that nobody reads; what comes into it afterwards waits for the next."""
        unread = (
            box for box in self._boxes if not box.is_read and box.topic_filter == topic_filter
        )
        box = next(unread, None)
        if box is None:
            box = Mailbox(self, topic_filter)
            self._boxes.append(box)
        box.is_read = True
        try:
            yield box
        finally:
            box.is_read = False

    def put(self, arrived: Arrived, connection: Acknowledging, window: int) -> bool:
        """Take a message from `connection`; False if there is no room for it.

        window: how many unacknowledged messages the broker sends at most.
        """
        self._window = window
        if self._is_known(arrived, connection):
            return True
        boxes = [box for box in self._boxes if box.wants(arrived)]
        if not boxes or len(arrived.payload) > MOST_BYTES_OF_ONE:
            if boxes:
                extra = {"topic": arrived.topic[:_MOST_SHOWN], "bytes": len(arrived.payload)}
                log.warning("message too large", extra=extra)
            if arrived.mid is not None:
                connection.acknowledge(arrived.mid)
            return True
        if self._is_copy(arrived, {box.topic_filter for box in boxes}):
            if arrived.mid is not None:
                connection.acknowledge(arrived.mid)
            return True
        if not self._has_room(arrived):
            return self._drop(arrived)
        delivery = _Delivery(arrived, self._now(), connection, owed=len(boxes))
        self._held.add(delivery)
        self._held_bytes += arrived.size
        if arrived.mid is not None:
            self._by_mid[arrived.mid] = delivery
        self._note_change()
        for box in boxes:
            box.waiting.append((delivery, 0))
            box.filled.set()
        return True

    def _has_room(self, arrived: Arrived) -> bool:
        """Tell whether it may be kept; half is for what the broker keeps until it is stored.

        So a flood without QoS neither ends the connection nor holds up other sensors.
        """
        part = 1 if arrived.mid is not None else 2
        return (
            len(self._held) < _MOST_MESSAGES // part
            and self._held_bytes + arrived.size <= _MOST_BYTES // part
        )

    def acknowledged(self, delivery: _Delivery) -> None:
        """Note that one more mailbox is done with it; after the last, tell the broker."""
        delivery.owed -= 1
        if delivery.owed:
            return
        self._held.discard(delivery)
        self._held_bytes -= delivery.arrived.size
        mid = delivery.arrived.mid
        # Out of order, if need be (against MQTT-4.6.0-2): one message that waits for its sensor
        # must not hold up all the others. Brokers go by the packet identifier alone.
        if mid is not None and self._by_mid.get(mid) is delivery:
            del self._by_mid[mid]
            self._settled[mid] = delivery.arrived.fingerprint()
            while len(self._settled) > _MOST_SETTLED:
                del self._settled[next(iter(self._settled))]
            delivery.connection.acknowledge(mid)
        self._note_change()

    def forget_session(self) -> None:
        """Note that the broker knows nothing of earlier connections."""
        self._by_mid.clear()
        self._settled.clear()

    async def settled(self, seconds: float, unless: asyncio.Future[Any]) -> None:
        """Wait until nothing is on its way to the disk, `unless` is done, or time is up."""
        unless.add_done_callback(lambda _: self._changed.set())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._on_their_way() and not unless.done():
                    self._changed.clear()
                    await self._changed.wait()

    def _on_their_way(self) -> int:
        here = {delivery for box in self._boxes for delivery, _ in box.waiting}
        return len(self._held - here)

    def _is_known(self, arrived: Arrived, connection: Acknowledging) -> bool:
        """Tell whether it was here before; if so, it is acknowledged over `connection`."""
        mid = arrived.mid
        if mid is None:
            return False
        held = self._by_mid.pop(mid, None)
        settled = self._settled.pop(mid, None)
        if not arrived.again:  # the identifier is used anew
            return False
        if held is not None and held.arrived.fingerprint() == arrived.fingerprint():
            held.connection = connection
            self._by_mid[mid] = held
            return True
        if settled == arrived.fingerprint():
            self._settled[mid] = settled
            connection.acknowledge(mid)
            return True
        return False

    def _is_copy(self, arrived: Arrived, filters: set[str]) -> bool:
        """Tell whether it is what just came by another subscription that matches the topic.

        Over MQTT 3.1.1 a broker may send one copy for each (section 3.3.5), and copies tell
        nothing of it; the first is the one that is acknowledged only when stored.
        """
        if arrived.subscriptions or len(filters) == 1:
            return False
        now, topic, print_ = self._now(), hash(arrived.topic), arrived.fingerprint()
        print_before, left, since = self._copies.pop(topic, (None, 0, now))
        is_recent = (now - since).total_seconds() < _COPIES_SECONDS
        is_copy = print_ == print_before and left > 0 and is_recent
        left = left - 1 if is_copy else len(filters) - 1
        self._copies[topic] = (print_, left, since if is_copy else now)
        while len(self._copies) > _MOST_TOPICS:
            del self._copies[next(iter(self._copies))]
        return is_copy

    def _drop(self, arrived: Arrived) -> bool:
        """Drop what the broker will not send again; all else it keeps."""
        if arrived.mid is not None:
            return False
        if not self.dropped:
            log.warning(
                "messages without QoS dropped", extra={"topic": arrived.topic[:_MOST_SHOWN]}
            )
        self.dropped += 1
        return True

    def _note_change(self) -> None:
        self.is_window_half_full = len(self._held) >= self._window // 2
        self._changed.set()
