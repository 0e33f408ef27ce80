"""The sender's rules (envelope, section 7): what to seal, what to send again, when to begin anew.

Decides and seals; the counter is the only thing it writes to disk. Sending is
`edge_agent.delivery.uplink`'s business, and reading the spool its caller's. An epoch's keys live in
memory only, so whatever is unacknowledged at a restart is sealed again in a new epoch; within
an epoch, what is sent again is the same bytes.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from device_protocol.acknowledgement import Acknowledgement
from device_protocol.description import CONTENT_FORMAT_CBOR
from device_protocol.epoch import Epoch
from device_protocol.errors import UnknownEpochError
from device_protocol.keys import RecipientPublicKey, SigningKey
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, encode_cbor
from edge_agent.clock import Clock, ClockQuality
from edge_agent.delivery.counter import EpochCounter
from edge_agent.delivery.drain import Lanes
from edge_agent.settings import UplinkSettings
from edge_agent.spool.rows import Span, Waiting

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS: Final = 900.0
_SECONDS_BEFORE_EXPIRY: Final = 15.0  # in which the last messages of an epoch may be acknowledged
_FRUITLESS_ANNOUNCEMENTS: Final = 3  # of one epoch, before a higher counter is tried
_STRIDE_FACTOR: Final = 16
_LONGEST_STRIDE: Final = 1 << 20
_NEVER_ACKNOWLEDGED: Final = "never acknowledged"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A sealed message D, kept until the centre has acknowledged it.

    spans: the rows of the spool whose readings it carries.
    describes: it is the gateway's description.
    """

    seq: int
    message: bytes
    spans: tuple[Span, ...]
    readings: int
    describes: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """What an acknowledgement changed: the rows it released, and what the centre said."""

    released: tuple[Span, ...]
    messages: int
    readings: int
    acknowledgement: Acknowledgement


class Sealer:
    """One device and group, from its first epoch to its last.

    lanes: which rows of the spool were sealed, and which are wanted next.
    outstanding: messages by seq that the present epoch's acknowledgements do not cover.
    described: the centre has stored this gateway's description.
    rolled_back: the centre knows a higher counter than ours: this disk is old, or has a clone.
    """

    def __init__(
        self,
        *,
        tenant: str,
        device: str,
        group: str,
        counter: EpochCounter,
        clock: Clock,
        settings: UplinkSettings,
        description: bytes,
    ) -> None:
        self.outstanding: dict[int, Outgoing] = {}
        self.lanes = Lanes()
        self.described = False
        self.rolled_back = False
        self._place = (tenant, device, group)
        self._counter = counter
        self._clock = clock
        self._settings = settings
        self._description = description
        self._epoch: Epoch | None = None
        self._ended: str | None = "start"
        self._began_unset = False
        self._expires_at = 0.0
        self._sealed_at = clock.monotonic()
        self._progress_at = clock.monotonic()
        self._patience = settings.reannounce_seconds
        self._is_heard = False
        self._fruitless = 0
        self._stride = 1

    @property
    def announcement(self) -> bytes:
        """Message K of the present epoch; empty before the first."""
        return self._epoch.announcement if self._epoch else b""

    @property
    def counter(self) -> int:
        """The present epoch's counter."""
        return self._counter.value

    def ended(self) -> str | None:
        """Return why a new epoch is due, or None while the present one may be used."""
        if self._ended is None and self._epoch is not None:
            if self._epoch.exhausted:
                self._ended = "exhausted"
            elif self._clock.monotonic() >= self._expires_at:
                self._ended = "expired"
            elif self._began_unset and self._clock.quality() is not ClockQuality.NONE:
                self._ended = "clock set"  # the centre doubts every time of the present one
        return self._ended

    @property
    def repeatable(self) -> bool:
        """Whether the present epoch's messages may be sent again, even if it is to end."""
        return (
            self._epoch is not None
            and self._ended != _NEVER_ACKNOWLEDGED
            and self._clock.monotonic() < self._expires_at
        )

    def end(self, reason: str) -> None:
        """Let a new epoch follow: the recipients, the certificate or the groups have changed."""
        self._ended = reason

    def begin(
        self,
        *,
        signer: SigningKey,
        recipients: Sequence[RecipientPublicKey],
        key_set_version: int,
        content_algorithm: int,
    ) -> None:
        """Begin a new epoch; what is outstanding will be sealed again in it.

        Raises:
            OSError: the counter could not be stored; nothing has changed.
        """
        if self._epoch is not None and self._epoch.counter == self._counter.value:
            self._counter.close(self._epoch.last_seq)
        previous = self._counter.previous
        tenant, device, group = self._place
        lifetime = self._settings.epoch_seconds
        quality = self._clock.quality()
        self._epoch = Epoch.begin(
            tenant=tenant,
            device=device,
            group=group,
            counter=self._counter.advance(self._stride),
            content_algorithm=content_algorithm,
            issued_at=int(self._clock.unix()),
            lifetime_seconds=lifetime,
            clock=int(quality),
            key_set_version=key_set_version,
            recipients=recipients,
            signer=signer,
            previous=previous,
        )
        log.info(
            "epoch begun",
            extra={"counter": self.counter, "reason": self._ended, "again": len(self.outstanding)},
        )
        self._began_unset = quality is ClockQuality.NONE
        self._rewind()
        self._progress_at = self._clock.monotonic()
        self._expires_at = self._progress_at + lifetime - min(_SECONDS_BEFORE_EXPIRY, lifetime / 10)
        if self._ended != _NEVER_ACKNOWLEDGED:
            self._patience = self._settings.reannounce_seconds
        self._ended = None
        self._is_heard = False
        self._fruitless = 0

    def close(self) -> None:
        """Note how the present epoch ended, so that the next can say so.

        Raises:
            OSError: it could not be stored; the next epoch will not say how this one ended.
        """
        if self._epoch is not None and self._epoch.counter == self._counter.value:
            self._counter.close(self._epoch.last_seq)

    @property
    def has_room(self) -> bool:
        """Whether the window allows another message."""
        return len(self.outstanding) < self._settings.window_messages

    @property
    def has_room_for_backlog(self) -> bool:
        """Whether the window allows another message that carries some: half is for live ones."""
        return len(self.outstanding) <= self._settings.window_messages // 2

    @property
    def must_describe(self) -> bool:
        """Whether the description is to be sealed now: it goes before any reading."""
        return not self.described and not any(each.describes for each in self.outstanding.values())

    def seal_description(self) -> Outgoing:
        """Seal the gateway's description; no reading is sealed until it is acknowledged."""
        return self._seal(self._description, CONTENT_FORMAT_CBOR, (), 0, describes=True)

    def seal_readings(self, waiting: Sequence[Waiting]) -> Outgoing:
        """Seal as many of `waiting`, from the first on, as fit into one message."""
        count = min(len(waiting), self._settings.batch_readings)
        payload = encode_cbor([each.reading for each in waiting[:count]])
        while len(payload) > self._settings.batch_bytes and count > 1:
            count = max(1, min(count - 1, count * self._settings.batch_bytes // len(payload)))
            payload = encode_cbor([each.reading for each in waiting[:count]])
        spans = self.lanes.seal(waiting[:count])
        return self._seal(payload, CONTENT_FORMAT_SENML_CBOR, spans, count)

    def heartbeat_due(self) -> bool:
        """Tell whether nothing was sealed for so long that silence would look like failure."""
        return self._clock.monotonic() - self._sealed_at >= self._settings.heartbeat_seconds

    def seal_heartbeat(self) -> Outgoing:
        """Seal an empty batch."""
        return self._seal(encode_cbor([]), CONTENT_FORMAT_SENML_CBOR, (), 0)

    def repetition_due(self) -> bool:
        """Tell whether acknowledgements are overdue: announce and send everything again."""
        return bool(self.outstanding) and self.seconds_until_repetition() <= 0

    def repeated(self) -> None:
        """Note that everything was sent again for want of acknowledgements: be more patient."""
        self._patience = min(self._patience * 2, LONGEST_WAIT_SECONDS)
        self._progress_at = self._clock.monotonic()
        self._fruitless += not self._is_heard
        if self._fruitless >= _FRUITLESS_ANNOUNCEMENTS:
            # Perhaps the centre knows a higher counter (a restored disk) and has refused ours,
            # which it cannot tell us without this epoch's key: leap over it, further each time.
            self._stride = min(self._stride * _STRIDE_FACTOR, _LONGEST_STRIDE)
            self.end(_NEVER_ACKNOWLEDGED)

    def acknowledge(self, message: bytes) -> Progress:
        """Take message A: forget what it covers and return which rows that released.

        Raises:
            RejectionError: not a genuine acknowledgement of the present epoch.
            OSError: a higher counter could not be stored.
        """
        if self._epoch is None:
            raise UnknownEpochError("no epoch has begun")
        acknowledgement = self._epoch.open_acknowledgement(message)
        self._is_heard, self._stride = True, 1
        covered = [
            self.outstanding.pop(seq)
            for seq in list(self.outstanding)
            if seq <= acknowledgement.contiguous_seq
        ]
        if covered:
            self._patience = self._settings.reannounce_seconds
            self._progress_at = self._clock.monotonic()
        self.described |= any(each.describes for each in covered)
        if acknowledgement.highest_counter > self._counter.value:
            self._follow(acknowledgement.highest_counter)
        return Progress(
            tuple(span for each in covered for span in each.spans),
            len(covered),
            sum(each.readings for each in covered),
            acknowledgement,
        )

    def seconds_until_due(self) -> float:
        """Return how long until a heartbeat, a repetition or a new epoch is due."""
        now = self._clock.monotonic()
        waits = [self._expires_at - now]
        if self.has_room and self.described:
            waits.append(self._sealed_at + self._settings.heartbeat_seconds - now)
        if self.outstanding:
            waits.append(self.seconds_until_repetition())
        return max(0.0, min(waits))

    def seconds_until_repetition(self) -> float:
        """Return how long acknowledgements may still stay away."""
        return self._progress_at + self._patience - self._clock.monotonic()

    def _seal(
        self,
        payload: bytes,
        content_format: int,
        spans: tuple[Span, ...],
        readings: int,
        *,
        describes: bool = False,
    ) -> Outgoing:
        if self._epoch is None:
            raise RuntimeError("no epoch has begun")
        if not self.outstanding:
            self._progress_at = self._clock.monotonic()
        sealed = self._epoch.seal(payload, content_format)
        outgoing = Outgoing(sealed.seq, sealed.message, spans, readings, describes)
        self.outstanding[sealed.seq] = outgoing
        self._sealed_at = self._clock.monotonic()
        return outgoing

    def _rewind(self) -> None:
        """Let everything outstanding be read from the spool again."""
        for outgoing in self.outstanding.values():
            self.lanes.give_back(outgoing.spans)
        self.outstanding.clear()

    def _follow(self, highest_counter: int) -> None:
        log.error(
            "the centre knows a higher epoch counter: this disk was rolled back, or has a clone",
            extra={"own": self._counter.value, "centre": highest_counter},
        )
        self.rolled_back = True
        self._counter.raise_to(highest_counter)
        self.end("counter behind")
