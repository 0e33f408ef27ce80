"""Every check between a delivered message and a stored observation, in section 8's order. Pure.

`Admission` takes the messages of one batch against a snapshot of the registry and a state it does
not change, and says what to store, refuse, quarantine, park and acknowledge. It waits for nothing
and asks no clock: the time of a message's receipt came with it.

Messages of an epoch announced in the same batch, and readings that follow a changed description
from the same device, are deferred: the next batch takes them once this one is in the database.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from device_protocol import cbor, cose, topics
from device_protocol.announcement import CLOCK_NONE
from device_protocol.description import CONTENT_FORMAT_CBOR, decode_description
from device_protocol.errors import (
    QUARANTINED,
    ContentFormatError,
    DuplicateError,
    RejectionError,
    StructureError,
    TooOldError,
    TopicError,
    UnknownEpochError,
)
from device_protocol.keys import RecipientKey
from device_protocol.reading import Quality
from device_protocol.receiver import Channel as KnownChannel
from device_protocol.receiver import (
    OpenedMessage,
    Policy,
    UnverifiedMessage,
    accept_data,
    decrypt_data,
    open_announcement,
)
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, Record, decode_cbor
from device_protocol.topics import Kind, Topic
from ingest.admission import packs
from ingest.admission.descriptions import check_description
from ingest.admission.drafts import Drafts
from ingest.admission.outcome import (
    AcceptedAnnouncement,
    AcceptedDescription,
    Outcome,
    ReadingRefusals,
    Refusal,
)
from ingest.admission.readings import Origin, ReadingTable, Span, conflicting_result
from ingest.admission.refusals import (
    clipped,
    contradicting_reading,
    refused_message,
    refused_part,
    refused_reading,
)
from ingest.admission.snapshot import UNKNOWN_PLACE, DeviceKey, Snapshot
from ingest.admission.state import Channel, ChannelKey, Parking, ReceiverState
from ingest.receiving.delivery import Delivery
from storage.batches import SignedBatch
from storage.quarantine import QuarantineRow, Verdict

MAX_AHEAD_SECONDS: Final = 300
_LARGEST_STORED: Final = (1 << 63) - 1
_LARGEST_FORMAT: Final = (1 << 31) - 1  # of any kind; those of CoAP end at 65 535
_MICROSECONDS: Final = 1_000_000
_HOUR_SECONDS: Final = 3600


class _AnyFormat(frozenset[int]):
    """Contains every content format: also a message of a format we do not take is opened.

    Its signature holds, so it counts as received (envelope, section 8), and is refused here.
    """

    def __contains__(self, _: object) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What this receiver allows.

    recipients: our private keys by kid. earliest: no reading is older (Unix seconds).
    parked_*: how much may wait for an announcement, and how long.
    kept_messages: how many messages of one device are quarantined in an hour. kept_readings: how
    many readings of one message. More are counted only; the signed message is kept in any case.
    """

    recipients: Mapping[bytes, RecipientKey]
    policy: Policy = field(default_factory=Policy)
    earliest: int = 946_684_800
    parked_messages: int = 1000
    parked_seconds: int = 300
    parked_bytes: int = 64 << 20
    kept_messages: int = 1000
    kept_readings: int = 250


def admit(
    deliveries: Iterable[Delivery],
    *,
    snapshot: Snapshot,
    state: ReceiverState,
    rules: Rules,
    now: int,
) -> Outcome:
    """Return what is to be done about these messages; `now` in Unix seconds."""
    admission = Admission(snapshot=snapshot, state=state, rules=rules, now=now)
    for delivery in deliveries:
        admission.take(delivery)
    return admission.outcome()


class Admission:
    """The decision about one batch, made message by message. taken: how many so far."""

    def __init__(self, *, snapshot: Snapshot, state: ReceiverState, rules: Rules, now: int) -> None:
        self._snapshot = snapshot
        self._rules = rules
        self._policy = replace(rules.policy, content_formats=_AnyFormat())
        self._now = now
        self.taken = 0
        self._accepted = 0
        self._parked = 0
        self._drafts = Drafts(state.channels)
        self._parking = state.parking.copy() if state.parking else Parking()
        self._kept = dict(state.kept)
        self._deferred: list[Delivery] = []
        self._announcements: list[AcceptedAnnouncement] = []
        self._descriptions: dict[DeviceKey, AcceptedDescription] = {}
        self._signed: list[SignedBatch] = []
        self._table = ReadingTable()
        self._quarantined: list[QuarantineRow] = []
        self._refusals: list[Refusal] = []
        self._reading_refusals: list[ReadingRefusals] = []
        self._last_heard: dict[int, int] = {}
        self._verdicts: list[Verdict] = []
        self._expire_parked()

    def decrypt(self, delivery: Delivery) -> UnverifiedMessage | None:
        """Return a message D whose signature is all that is to be checked before `take`.

        None: `take` alone says what is the matter with it, or it is of another kind.
        """
        try:
            topic = topics.parse(delivery.topic)
            return self._decrypt(topic, delivery) if topic.kind is Kind.DATA else None
        except RejectionError:
            return None

    def take(self, delivery: Delivery, verified: UnverifiedMessage | None = None) -> None:
        """Decide about one message; `verified` as of `decrypt`, if its signature holds."""
        self.taken += 1
        try:
            topic = topics.parse(delivery.topic)
        except RejectionError as error:
            self._note(UNKNOWN_PLACE, delivery, error, quarantined=False)
            return
        try:
            if topic.kind is Kind.DATA:
                self._take_data(topic, delivery, verified)
            elif topic.kind is Kind.ANNOUNCEMENT:
                self._take_announcement(topic, delivery)
            else:
                raise TopicError(f"topic of kind {topic.kind} is not for the centre")
        except UnknownEpochError as error:
            self._park(topic, delivery, error)
        except RejectionError as error:
            self._refuse(topic, delivery, error)

    def outcome(self) -> Outcome:
        """Return everything decided; the admission is spent."""
        columns, contradictions = self._table.columns()
        for found in contradictions:
            self._quarantined.append(contradicting_reading(found))
            self._count_readings(found.origin, [conflicting_result(found)])
        return Outcome(
            announcements=self._announcements,
            descriptions=list(self._descriptions.values()),
            signed=self._signed,
            columns=columns,
            progress=self._drafts.progress(),
            quarantined=self._quarantined,
            refusals=self._refusals,
            reading_refusals=self._reading_refusals,
            acknowledgements=self._drafts.acknowledgements(self._now),
            deferred=self._deferred,
            accepted=self._accepted,
            parked=self._parked,
            channels=self._drafts.changed,
            parking=self._parking,
            kept=self._kept,
            last_heard=self._last_heard,
            verdicts=self._verdicts,
        )

    # Announcements (message K)

    def _take_announcement(self, topic: Topic, delivery: Delivery) -> None:
        key = (topic.tenant, topic.device, topic.group)
        known = self._drafts.channel(key)
        accepted = open_announcement(
            topic,
            delivery.message,
            devices=self._snapshot.devices,
            channel=KnownChannel(known.highest_counter, known.announcement_sha256, known.epochs),
            recipients=self._rules.recipients,
            policy=self._rules.policy,
            now=delivery.received_at,
        )
        epoch = accepted.epoch
        if epoch.counter > _LARGEST_STORED:
            raise StructureError(f"counter {epoch.counter}, limit {_LARGEST_STORED}")
        gateway_id = self._snapshot.gateways[topic.tenant, topic.device].id
        self._announcements.append(
            AcceptedAnnouncement(
                key,
                gateway_id,
                accepted,
                delivery,
                known.highest_counter,
                known.announcement_sha256,
            )
        )
        self._drafts.begin(key, accepted, self._rules.policy.window)
        self._accept(delivery)
        self._drafts.owe(key, epoch.epoch_id, delivery.connection)
        self._last_heard[gateway_id] = delivery.received_at
        self._deferred += self._parking.release((topic.tenant, topic.device), topics.data(*key))

    # Data (message D)

    def _decrypt(self, topic: Topic, delivery: Delivery) -> UnverifiedMessage:
        known = self._drafts.channel((topic.tenant, topic.device, topic.group))
        return decrypt_data(
            topic,
            delivery.message,
            retained=delivery.retained,
            devices=self._snapshot.devices,
            epochs=known.epochs,
            policy=self._policy,
            now=delivery.received_at,
        )

    def _take_data(
        self, topic: Topic, delivery: Delivery, verified: UnverifiedMessage | None
    ) -> None:
        key = (topic.tenant, topic.device, topic.group)
        if verified is None:
            verified = self._decrypt(topic, delivery)
            verified.verify()
        windows = self._drafts.channel(key).windows
        opened = accept_data(verified, windows=windows, policy=self._policy)
        if self._must_wait(topic, opened):
            self._deferred.append(delivery)
            return
        gateway = self._snapshot.gateways[topic.tenant, topic.device]
        origin = Origin(topic.tenant, topic.device, delivery.topic, delivery.received_at, gateway)
        channel = self._drafts.advance(key, opened)
        try:
            span = self._take_payload(opened, origin, channel.tallies[opened.epoch_id].clock)
        except RejectionError as error:  # its signature holds: kept, and counted as received
            span = Span(0)
            self._refuse(topic, delivery, error)
        else:
            self._accept(delivery)
        self._signed.append(_signed_batch(opened, origin, span))
        self._drafts.owe(key, opened.epoch_id, delivery.connection)
        self._last_heard[gateway.id] = delivery.received_at

    def _must_wait(self, topic: Topic, opened: OpenedMessage) -> bool:
        """Return whether the message needs what this batch will only bring into the database."""
        described = (topic.tenant, topic.device) in self._descriptions
        return opened.epoch_id in self._drafts.begun or (
            described and opened.content_format == CONTENT_FORMAT_SENML_CBOR
        )

    def _take_payload(self, opened: OpenedMessage, origin: Origin, clock: int) -> Span:
        if opened.content_format not in self._rules.policy.content_formats:
            raise ContentFormatError(f"content format {opened.content_format}")
        if opened.content_format == CONTENT_FORMAT_SENML_CBOR:
            return self._take_readings(opened.payload, origin, clock)
        if opened.content_format == CONTENT_FORMAT_CBOR:
            self._take_description(opened.payload, origin)
            return Span(0)
        raise ContentFormatError(f"content format {opened.content_format} is not read here")

    def _take_readings(self, payload: bytes, origin: Origin, clock: int) -> Span:
        earliest = self._rules.earliest * _MICROSECONDS
        latest = (origin.received_at + MAX_AHEAD_SECONDS) * _MICROSECONDS
        quality = Quality.CLOCK_UNSYNCHRONISED if clock == CLOCK_NONE else 0
        readings = packs.read(payload, origin.gateway, earliest=earliest, latest=latest)
        if readings is not None:
            return self._table.take_pack(readings, origin, quality=quality)
        refused: list[RejectionError] = []

        def refuse(record: Record, error: RejectionError) -> None:
            refused.append(error)
            if len(refused) <= self._rules.kept_readings:
                self._quarantined.append(refused_reading(origin, record, error))

        span = self._table.take(
            decode_cbor(payload),
            origin,
            earliest=earliest,
            latest=latest,
            quality=quality,
            refuse=refuse,
        )
        self._count_readings(origin, refused)
        return span

    def _take_description(self, payload: bytes, origin: Origin) -> None:
        sha256 = hashlib.sha256(payload).digest()
        if sha256 == origin.gateway.description_sha256:
            return
        description, refused = check_description(decode_description(payload))
        for name, error in refused:
            self._quarantined.append(refused_part(origin, name, error))
        self._count_readings(origin, [error for _, error in refused])
        self._descriptions[origin.tenant, origin.device] = AcceptedDescription(
            origin, description, b"" if refused else sha256
        )

    def _accept(self, delivery: Delivery) -> None:
        self._accepted += 1
        if delivery.held_as:
            self._verdicts.append(Verdict(delivery.held_as))

    # Refusals

    def _refuse(self, topic: Topic, delivery: Delivery, error: RejectionError) -> None:
        key = (topic.tenant, topic.device, topic.group)
        channel = self._drafts.channel(key)
        if isinstance(error, DuplicateError | TooOldError):
            self._acknowledge_again(key, channel, topic, delivery)
        if channel.epochs and not isinstance(error, DuplicateError):
            self._drafts.draft(key).last_refusal = error.code
        tenant, device = self._snapshot.known_place(topic.tenant, topic.device)
        kept = error.reason in QUARANTINED and self._may_keep((tenant, device), delivery)
        if kept and not delivery.held_as:
            self._quarantined.append(refused_message(tenant, device, delivery, error))
        self._note((tenant, device), delivery, error, quarantined=kept)

    def _note(
        self, place: DeviceKey, delivery: Delivery, error: RejectionError, *, quarantined: bool
    ) -> None:
        tenant, device = place
        if delivery.held_as:
            self._verdicts.append(Verdict(delivery.held_as, error.reason, clipped(str(error))))
        self._refusals.append(
            Refusal(
                tenant=tenant,
                device=device,
                code=error.code,
                reason=error.reason,
                detail=clipped(str(error)),
                delivery=delivery,
                quarantined=quarantined,
            )
        )

    def _acknowledge_again(
        self, key: ChannelKey, channel: Channel, topic: Topic, delivery: Delivery
    ) -> None:
        """Answer again: a gateway that repeats itself has missed our acknowledgement."""
        if topic.kind is Kind.ANNOUNCEMENT:
            epoch_id = channel.epoch_of(channel.highest_counter) or b""
        else:
            epoch_id = _epoch_id(delivery.message)
        self._drafts.owe(key, epoch_id, delivery.connection)

    def _may_keep(self, device: DeviceKey, delivery: Delivery) -> bool:
        hour = delivery.received_at // _HOUR_SECONDS
        since, kept = self._kept.get(device, (hour, 0))
        kept = kept + 1 if since == hour else 1
        self._kept[device] = (hour, kept)
        return kept <= self._rules.kept_messages

    def _count_readings(self, origin: Origin, refused: Iterable[RejectionError]) -> None:
        last = {}
        count: Counter[str] = Counter()
        for error in refused:
            count[error.reason] += 1
            last[error.reason] = clipped(str(error))
        self._reading_refusals += [
            ReadingRefusals(
                origin.tenant, origin.device, reason, n, last[reason], origin.received_at
            )
            for reason, n in count.items()
        ]

    # Messages whose epoch is not announced yet

    def _park(self, topic: Topic, delivery: Delivery, error: UnknownEpochError) -> None:
        device = (topic.tenant, topic.device)
        rules = self._rules
        if (
            delivery.received_at < self._now - rules.parked_seconds
            or self._parking.of(device) >= rules.parked_messages
            or self._parking.size_bytes + len(delivery.message) > rules.parked_bytes
        ):
            self._refuse(topic, delivery, error)
            return
        self._parking.add(device, delivery)
        self._parked += 1

    def _expire_parked(self) -> None:
        limit = self._rules.parked_seconds
        for delivery in self._parking.expire(self._now - limit):
            error = UnknownEpochError(f"the epoch was not announced within {limit} s")
            self._refuse(topics.parse(delivery.topic), delivery, error)


def _epoch_id(message: bytes) -> bytes:
    """Return the epoch a message D names; it has been opened before."""
    headers = cose.protected_headers(cose.decode_encrypt0(message).protected)
    return cbor.octets(headers[cose.KID])


def _signed_batch(opened: OpenedMessage, origin: Origin, span: Span) -> SignedBatch:
    return SignedBatch(
        epoch_id=opened.epoch_id,
        seq=opened.seq,
        message_hash=opened.digest,
        gateway_id=origin.gateway.id,
        signer_kid=opened.signer_kid,
        content_format=min(opened.content_format, _LARGEST_FORMAT),
        signed=opened.signed,
        readings=span.readings,
        first_time=span.first,
        last_time=span.last,
        received_at=origin.received_at,
    )
