"""What admission remembers between batches: epochs, replay windows, parked messages. Pure.

A batch never changes this state: it works on drafts, which `ReceiverState.apply` takes over once
the batch has been handed to the store. The durable copy is in the database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from device_protocol.receiver import MAX_SEQ, OpenEpoch, ReplayWindow
from ingest.admission.snapshot import DeviceKey
from ingest.receiving.delivery import Delivery

ChannelKey = tuple[str, str, str]
"""Tenant, device and group: what counters, epochs and acknowledgements belong to."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted of an epoch beside its replay window.

    clock: quality of the gateway's clock when it announced it, 0 to 3. received: messages stored.
    final_seq: its last seq, once the next announcement has told.
    """

    clock: int
    received: int = 0
    final_seq: int | None = None


def is_settled(highest: int, contiguous: int, final_seq: int | None) -> bool:
    """Return whether an epoch has ended and every message of it was taken."""
    return final_seq is not None and contiguous == highest >= final_seq


@dataclass(slots=True)
class Channel:
    """The epochs of one tenant, device and group, each with its window and tally.

    last_refusal: code of the last refusal since the newest epoch began, 0 if there was none.
    """

    highest_counter: int = 0
    announcement_sha256: bytes = b""
    last_refusal: int = 0
    epochs: dict[bytes, OpenEpoch] = field(default_factory=dict)
    windows: dict[bytes, ReplayWindow] = field(default_factory=dict)
    tallies: dict[bytes, Tally] = field(default_factory=dict)

    def draft(self) -> Self:
        """Return a copy that can be changed; windows are shared until copied themselves."""
        return type(self)(
            self.highest_counter,
            self.announcement_sha256,
            self.last_refusal,
            dict(self.epochs),
            dict(self.windows),
            dict(self.tallies),
        )

    def begin(self, epoch: OpenEpoch, tally: Tally, window: ReplayWindow) -> None:
        """Take in an epoch."""
        self.epochs[epoch.epoch_id] = epoch
        self.tallies[epoch.epoch_id] = tally
        self.windows[epoch.epoch_id] = window

    def drop(self, epoch_id: bytes) -> None:
        """Forget an epoch."""
        for part in (self.epochs, self.tallies, self.windows):
            part.pop(epoch_id, None)

    def end(self, counter: int, last_seq: int) -> None:
        """Note how many messages an epoch had, as the announcement after it tells."""
        epoch_id = self.epoch_of(counter)
        if epoch_id is not None and last_seq <= MAX_SEQ:
            self.tallies[epoch_id] = replace(self.tallies[epoch_id], final_seq=last_seq)
            self.settle(epoch_id)

    def settle(self, epoch_id: bytes) -> None:
        """Shrink the window of an epoch that ended and is complete: all that comes is old.

        Epochs stay open for a week; without this a gateway's would take megabytes.
        """
        tally, window = self.tallies[epoch_id], self.windows[epoch_id]
        if is_settled(window.highest, window.contiguous, tally.final_seq):
            self.windows[epoch_id] = ReplayWindow.restore(
                window.highest, window.contiguous, window.recent(), size=1
            )

    def epoch_of(self, counter: int) -> bytes | None:
        """Return the id of the open epoch with this counter."""
        for epoch_id, epoch in self.epochs.items():
            if epoch.counter == counter:
                return epoch_id
        return None

    def missing(self) -> int:
        """Return how many messages the gateway numbered in open epochs and we never stored."""
        return sum(
            max(0, max(tally.final_seq or 0, self.windows[epoch_id].highest) - tally.received)
            for epoch_id, tally in self.tallies.items()
        )


class Parking:
    """Messages whose epoch is not announced yet, a bounded number for a bounded time."""

    def __init__(self) -> None:
        self._waiting: dict[DeviceKey, list[Delivery]] = {}
        self._bytes = 0

    def copy(self) -> "Parking":
        """Return a parking place that can be changed."""
        other = Parking()
        other._waiting = {key: list(found) for key, found in self._waiting.items()}
        other._bytes = self._bytes
        return other

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __len__(self) -> int:
        return sum(len(found) for found in self._waiting.values())

    @property
    def size_bytes(self) -> int:
        """What all parked messages take."""
        return self._bytes

    def of(self, device: DeviceKey) -> int:
        """Return how many messages of a device wait."""
        return len(self._waiting.get(device, ()))

    def add(self, device: DeviceKey, delivery: Delivery) -> None:
        """Park a message; the caller has checked that there is room."""
        self._waiting.setdefault(device, []).append(delivery)
        self._bytes += len(delivery.message)

    def release(self, device: DeviceKey, topic: str) -> list[Delivery]:
        """Take out a device's messages on one topic, in their order."""
        return self._take(device, lambda delivery: delivery.topic == topic)

    def expire(self, before: int) -> list[Delivery]:
        """Take out what was received before this time."""
        return [
            delivery
            for device in list(self._waiting)
            for delivery in self._take(device, lambda found: found.received_at < before)
        ]

    def _take(self, device: DeviceKey, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        waiting = self._waiting.get(device, [])
        taken = [delivery for delivery in waiting if wanted(delivery)]
        if taken:
            left = [delivery for delivery in waiting if not wanted(delivery)]
            if left:
                self._waiting[device] = left
            else:
                del self._waiting[device]
            self._bytes -= sum(len(delivery.message) for delivery in taken)
        return taken


class ReceiverState:
    """The state as of the last batch handed to the store.

    kept: by device, an hour and how many of its messages were quarantined in it.
    """

    def __init__(self, channels: Mapping[ChannelKey, Channel] | None = None) -> None:
        self.channels: dict[ChannelKey, Channel] = dict(channels or {})
        self.parking = Parking()
        self.kept: Mapping[DeviceKey, tuple[int, int]] = {}

    def apply(
        self,
        channels: Mapping[ChannelKey, Channel],
        parking: Parking,
        kept: Mapping[DeviceKey, tuple[int, int]],
    ) -> None:
        """Take over what a batch changed."""
        self.channels.update(channels)
        self.parking = parking
        self.kept = kept

    def withdraw(self, key: ChannelKey, epoch_id: bytes, counter: int, sha256: bytes) -> None:
        """Undo an announcement: its epoch goes, counter and SHA-256 are again those before it.

        Unless yet another announcement came after it: then those stay.
        """
        channel = self.channels[key].draft()
        if channel.epochs[epoch_id].counter == channel.highest_counter:
            channel.highest_counter = counter
            channel.announcement_sha256 = sha256
        channel.drop(epoch_id)
        self.channels[key] = channel

    def forget_closed(self, now: int) -> None:
        """Drop epochs that take no messages any more; a late one is then of an unknown epoch."""
        for channel in self.channels.values():
            for epoch in [found for found in channel.epochs.values() if found.closes_at < now]:
                channel.drop(epoch.epoch_id)

    def missing(self) -> dict[str, int]:
        """Return by tenant how many numbered messages of open epochs were never stored."""
        by_tenant: dict[str, int] = {}
        for (tenant, _, _), channel in self.channels.items():
            by_tenant[tenant] = by_tenant.get(tenant, 0) + channel.missing()
        return by_tenant
