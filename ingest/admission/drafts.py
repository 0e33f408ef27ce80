"""How far a batch has brought the epochs it touched, before anything of it is stored. Pure.

Channels are copied at the first touch, replay windows likewise; the state they were copied from
stays as it is.
"""

from collections.abc import Mapping
from typing import Final

from device_protocol.acknowledgement import Acknowledgement
from device_protocol.receiver import Announcement, OpenedMessage, ReplayWindow
from ingest.admission.outcome import AcknowledgementDue
from ingest.admission.state import Channel, ChannelKey, Tally
from storage.epochs import Progress

_NO_CHANNEL: Final = Channel()


class Drafts:
    """The channels a batch has changed, over those it found.

    begun: ids of the epochs announced in this batch.
    """

    def __init__(self, found: Mapping[ChannelKey, Channel]) -> None:
        self._found = found
        self.changed: dict[ChannelKey, Channel] = {}
        self.begun: set[bytes] = set()
        self._advanced: set[tuple[ChannelKey, bytes]] = set()
        self._due: dict[tuple[ChannelKey, bytes], str] = {}

    def channel(self, key: ChannelKey) -> Channel:
        """Return a channel as it is by now; not to be changed."""
        return self.changed.get(key) or self._found.get(key) or _NO_CHANNEL

    def draft(self, key: ChannelKey) -> Channel:
        """Return this batch's own copy of a channel."""
        draft = self.changed.get(key)
        if draft is None:
            draft = self.changed[key] = self.channel(key).draft()
        return draft

    def begin(self, key: ChannelKey, accepted: Announcement, window: int) -> None:
        """Take in an announced epoch."""
        channel = self.draft(key)
        channel.highest_counter = accepted.epoch.counter
        channel.announcement_sha256 = accepted.sha256
        channel.last_refusal = 0
        channel.begin(accepted.epoch, Tally(accepted.clock), ReplayWindow(size=window))
        if accepted.previous is not None:
            channel.end(*accepted.previous)
        self.begun.add(accepted.epoch.epoch_id)

    def advance(self, key: ChannelKey, opened: OpenedMessage) -> Channel:
        """Count a message as received."""
        channel = self.draft(key)
        epoch_id = opened.epoch_id
        if (key, epoch_id) not in self._advanced:
            self._advanced.add((key, epoch_id))
            channel.windows[epoch_id] = channel.windows[epoch_id].copy()
        channel.windows[epoch_id].add(opened.seq, opened.digest)
        tally = channel.tallies[epoch_id]
        channel.tallies[epoch_id] = Tally(tally.clock, tally.received + 1, tally.final_seq)
        if tally.final_seq is not None:
            channel.settle(epoch_id)
        return channel

    def owe(self, key: ChannelKey, epoch_id: bytes, connection: str) -> None:
        """Note that an acknowledgement is due, if the epoch is open."""
        if epoch_id in self.channel(key).epochs:
            self._due[key, epoch_id] = connection

    def progress(self) -> list[Progress]:
        """Return how far every epoch with new messages has come."""
        found = []
        for key, epoch_id in self._advanced:
            channel = self.changed[key]
            window = channel.windows[epoch_id]
            found.append(
                Progress(
                    epoch_id=epoch_id,
                    highest_seq=window.highest,
                    contiguous_seq=window.contiguous,
                    received_messages=channel.tallies[epoch_id].received,
                )
            )
        return found

    def acknowledgements(self, now: int) -> list[AcknowledgementDue]:
        """Return what to tell gateways once the batch is stored; `now` in Unix seconds."""
        found = []
        for (key, epoch_id), connection in self._due.items():
            channel = self.channel(key)
            acknowledgement = Acknowledgement(
                contiguous_seq=channel.windows[epoch_id].contiguous,
                highest_counter=channel.highest_counter,
                last_refusal=channel.last_refusal,
                time=now,
            )
            key_of_epoch = channel.epochs[epoch_id].key
            found.append(
                AcknowledgementDue(connection, key, epoch_id, key_of_epoch, acknowledgement)
            )
        return found
