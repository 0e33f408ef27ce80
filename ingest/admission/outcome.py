"""What admission decided about one batch: everything there is to store, count and answer. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from device_protocol.acknowledgement import Acknowledgement
from device_protocol.description import GatewayDescription
from device_protocol.receiver import Announcement
from ingest.admission.readings import Columns, Origin
from ingest.admission.snapshot import DeviceKey
from ingest.admission.state import Channel, ChannelKey, Parking
from ingest.receiving.delivery import Delivery
from storage.batches import SignedBatch
from storage.epochs import Progress
from storage.quarantine import QuarantineRow, Verdict


@dataclass(frozen=True, slots=True)
class AcceptedAnnouncement:
    """A message K to store, and what was newest in its channel before it."""

    channel: ChannelKey
    gateway_id: int
    announcement: Announcement
    delivery: Delivery
    counter_before: int
    sha256_before: bytes


@dataclass(frozen=True, slots=True)
class AcceptedDescription:
    """A description to store. sha256: of its payload; empty if a part of it was left out."""

    origin: Origin
    description: GatewayDescription
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message turned away; tenant and device only where the registry knows them.

    quarantined: it is kept. code: of section 8, 0 where it has none.
    """

    tenant: str
    device: str
    code: int
    reason: str
    detail: str
    delivery: Delivery
    quarantined: bool


@dataclass(frozen=True, slots=True)
class ReadingRefusals:
    """Readings of one message refused for one reason, all quarantined; detail of the last."""

    tenant: str
    device: str
    reason: str
    readings: int
    detail: str
    received_at: int


@dataclass(frozen=True, slots=True)
class AcknowledgementDue:
    """What to tell a gateway once the batch is in the database; sealed under the epoch key."""

    connection: str
    channel: ChannelKey
    epoch_id: bytes
    epoch_key: bytes
    acknowledgement: Acknowledgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything decided about the messages of one batch.

    deferred: to be admitted after this batch is stored. accepted: messages taken, data and
    announcements. channels, parking, kept: the state after it. last_heard: Unix seconds by
    gateway id. verdicts: on messages that came out of quarantine.
    """

    announcements: Sequence[AcceptedAnnouncement]
    descriptions: Sequence[AcceptedDescription]
    signed: Sequence[SignedBatch]
    columns: Columns
    progress: Sequence[Progress]
    quarantined: Sequence[QuarantineRow]
    refusals: Sequence[Refusal]
    reading_refusals: Sequence[ReadingRefusals]
    acknowledgements: Sequence[AcknowledgementDue]
    deferred: Sequence[Delivery]
    accepted: int
    parked: int
    channels: Mapping[ChannelKey, Channel]
    parking: Parking
    kept: Mapping[DeviceKey, tuple[int, int]]
    last_heard: Mapping[int, int]
    verdicts: Sequence[Verdict] = ()

    @property
    def ends_batch(self) -> bool:
        """Whether the next batch must wait until this one is in the database."""
        return bool(self.announcements or self.descriptions or self.deferred)

    @property
    def nothing_to_store(self) -> bool:
        """Whether the database has nothing to do for this batch."""
        return not (self.announcements or self.signed or self.quarantined or self.verdicts)
