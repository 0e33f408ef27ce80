"""The receiver's half of the envelope: the checks of section 8, in their order.

The functions are pure: registry, keys, replay state and the time are arguments, and nothing
changes by a refusal or an acceptance. `Receiver` composes them with state in memory, for vectors
and tests; at the centre, ingest keeps that state in the database.

Where the text leaves a choice, this is the one made (the vectors agree):

- A partial IV that is empty is a matter of its form (403), not of structure (102).
- What belongs to "signer" in K's procedure is what D's spells out: 203, 204, 400.
- The boxes of an announcement are checked for their form together with its other fields.
- An announcement in suite 3 delivers to everybody by it: its key is as safe as the weakest box.
"""

import hashlib
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from device_protocol import (
    announcement,
    associated_data,
    cbor,
    cose,
    delivery,
    keys,
    suites,
    topics,
)
from device_protocol.announcement import AnnouncementBody
from device_protocol.errors import (
    AlgorithmError,
    ClockError,
    ContentFormatError,
    DuplicateError,
    EpochClosedError,
    EpochConflictError,
    EpochRollbackError,
    NotRecipientError,
    RetainedError,
    RevokedError,
    SeqFormError,
    SeqLimitError,
    SignerError,
    SignerTimeError,
    TopicError,
    UnknownDeviceError,
    UnknownEpochError,
)
from device_protocol.keys import RecipientKey, VerifyingKey
from device_protocol.limits import MAX_DATA_BYTES, MAX_OTHER_BYTES, MAX_SEQ, check_size
from device_protocol.replay import ReplayWindow
from device_protocol.topics import Kind, Topic

__all__ = [
    "MAX_SEQ",
    "Announcement",
    "Channel",
    "Device",
    "OpenEpoch",
    "OpenedMessage",
    "Policy",
    "Receiver",
    "ReplayWindow",
    "Signer",
    "UnverifiedMessage",
    "accept_data",
    "decrypt_data",
    "open_announcement",
    "open_data",
]

MAX_PARTIAL_IV_BYTES = 5
MAX_CLOCK_AHEAD_SECONDS = 300
DIGEST_BYTES = 8
_KNOWN_HEADERS = 4096
_USUAL_OUTER = re.compile(
    rb"\xa3\x01(\x03|\x18\x18)\x04\x48(.{8})\x06([\x41-\x45])(.{1,5})", re.DOTALL
)
"""{alg: A256GCM or ChaCha20/Poly1305, kid: 8 bytes, Partial IV: 1 to 5 bytes} in CBOR."""
_SHORT_LENGTH = 0x1F  # of a byte string under 24 bytes, in its head


@dataclass(frozen=True, slots=True)
class Signer:
    """A registered signing key; valid_from and valid_until are its certificate's, Unix seconds.

    superseded: its device has enrolled anew, so that nothing counts by it, on its way or not.
    """

    key: VerifyingKey
    valid_from: int
    valid_until: int
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """What the registry knows of one gateway; `signers` by kid."""

    tenant: str
    device: str
    revoked: bool
    signers: Mapping[bytes, Signer]


@dataclass(frozen=True, slots=True)
class OpenEpoch:
    """An epoch whose messages can be opened until `closes_at` (Unix seconds)."""

    epoch_id: bytes
    counter: int
    content_algorithm: int
    key: bytes = field(repr=False)
    base_iv: bytes = field(repr=False)
    closes_at: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant allows; by default suites 1 and 2."""

    content_algorithms: frozenset[int] = cose.CONTENT_ALGORITHMS
    signature_algorithms: frozenset[int] = cose.SIGNATURE_ALGORITHMS
    delivery_algorithms: frozenset[int] = frozenset({cose.ECDH_ES_HKDF_256})
    max_delay_seconds: int = 604_800
    window: int = 1024
    content_formats: frozenset[int] = frozenset({60, 112})


@dataclass(frozen=True, slots=True)
class Announcement:
    """An accepted message K.

    previous: counter and last seq of the epoch before, by which losses are counted.
    issued_at, expires_at: by the device's clock, whose quality is `clock` (0 to 3).
    suite: in which it is signed and delivered.
    sha256: of the message, to recognise it when it comes again.
    """

    epoch: OpenEpoch
    previous: tuple[int, int] | None
    issued_at: int
    expires_at: int
    clock: int
    key_set_version: int
    signer_kid: bytes
    suite: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Channel:
    """What is remembered of the announcements of one (tenant, device, group)."""

    highest_counter: int = 0
    announcement_sha256: bytes = b""
    known_epoch_ids: Container[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """An accepted message D.

    payload: of the CoAP Content-Format `content_format`, opaque here.
    signed: the COSE_Sign1, evidence that can be kept and handed on without the epoch key.
    digest: first 8 bytes of the message's SHA-256, for the replay window.
    """

    epoch_id: bytes
    seq: int
    payload: bytes
    content_format: int
    signer_kid: bytes
    signed: bytes
    digest: bytes


def open_announcement(
    topic: Topic,
    message: bytes,
    *,
    devices: Mapping[tuple[str, str], Device],
    channel: Channel,
    recipients: Mapping[bytes, RecipientKey],
    policy: Policy,
    now: int,
) -> Announcement:
    """Open message K, received at `now` (Unix seconds) on `topic`.

    Raises:
        RejectionError: the first check of section 8 that fails.
    """
    _check_kind(topic, Kind.ANNOUNCEMENT)
    check_size(message, MAX_OTHER_BYTES)
    signed = cose.decode_sign1(message)
    headers = _signed_headers(signed, (cose.ALG, cose.KID))
    device = _find_device(devices, topic)
    signer = _find_signer(device, headers, policy, now)
    place = (topic.tenant, topic.device, topic.group)
    signer.verify(signed.signature, signed.to_be_signed(associated_data.announcement(*place)))
    body = announcement.decode(signed.payload)
    boxes = [delivery.parse(box) for box in body.wrapped]
    sha256 = hashlib.sha256(message).digest()
    _check_counter(body, sha256, channel)
    _check_clock(body, policy, now)
    box, recipient = _find_box(boxes, recipients)
    _check_delivery(box, boxes, policy)
    aad = associated_data.wrapped(*place, body.counter, body.epoch_id)
    key = delivery.unwrap(box, recipient, epoch_id=body.epoch_id, external_aad=aad)
    _check_allowed(key.content_algorithm, policy.content_algorithms)
    expiry = body.expires_at
    if body.clock == announcement.CLOCK_NONE:  # its times mean nothing, only their difference does
        expiry = now + body.expires_at - body.issued_at
    return Announcement(
        epoch=OpenEpoch(
            epoch_id=body.epoch_id,
            counter=body.counter,
            content_algorithm=key.content_algorithm,
            key=key.key,
            base_iv=key.base_iv,
            closes_at=expiry + policy.max_delay_seconds,
        ),
        previous=body.previous,
        issued_at=body.issued_at,
        expires_at=body.expires_at,
        clock=body.clock,
        key_set_version=body.key_set_version,
        signer_kid=signer.kid,
        suite=suites.suite_of(signer.algorithm, box.algorithm),
        sha256=sha256,
    )


@dataclass(frozen=True, slots=True)
class UnverifiedMessage:
    """A message D that decrypts; whether its signature holds has not been asked yet.

    Apart from `open_data` for whoever verifies many signatures at once: `decrypt_data`, then
    `verify`, then `accept_data` are what `open_data` does.
    """

    opened: OpenedMessage
    key: VerifyingKey = field(repr=False)
    signature: bytes = field(repr=False)
    covered: bytes = field(repr=False)

    def verify(self) -> None:
        """Return if the signature holds.

        Raises:
            SignatureError: it does not.
        """
        self.key.verify(self.signature, self.covered)


def open_data(
    topic: Topic,
    message: bytes,
    *,
    retained: bool,
    devices: Mapping[tuple[str, str], Device],
    epochs: Mapping[bytes, OpenEpoch],
    windows: Mapping[bytes, ReplayWindow],
    policy: Policy,
    now: int,
) -> OpenedMessage:
    """Open message D, received at `now` (Unix seconds) on `topic`.

    `epochs` and `windows` are those of the topic's tenant, device and group. A message accepted
    is not yet in its window: the caller adds it when it has stored the readings.

    Raises:
        RejectionError: the first check of section 8 that fails.
    """
    unverified = decrypt_data(
        topic, message, retained=retained, devices=devices, epochs=epochs, policy=policy, now=now
    )
    unverified.verify()
    return accept_data(unverified, windows=windows, policy=policy)


def decrypt_data(
    topic: Topic,
    message: bytes,
    *,
    retained: bool,
    devices: Mapping[tuple[str, str], Device],
    epochs: Mapping[bytes, OpenEpoch],
    policy: Policy,
    now: int,
) -> UnverifiedMessage:
    """Do the checks of `open_data` that come before the signature.

    Raises:
        RejectionError: the first that fails.
    """
    _check_kind(topic, Kind.DATA)
    if retained:
        raise RetainedError("data came with the retain flag")
    check_size(message, MAX_DATA_BYTES)
    sealed = cose.decode_encrypt0(message)
    cbor.fields(sealed.unprotected, ())
    algorithm, epoch_id, partial_iv = outer_headers(sealed.protected)
    device = _find_device(devices, topic)
    _check_allowed(algorithm, policy.content_algorithms)
    epoch = _find_epoch(epochs, epoch_id, algorithm, now)
    seq = _read_seq(partial_iv)
    place = (topic.tenant, topic.device, topic.group)
    plaintext = cose.decrypt(
        algorithm,
        epoch.key,
        cose.nonce(epoch.base_iv, partial_iv),
        sealed.ciphertext,
        sealed.associated_data(associated_data.data(*place)),
    )
    signed = cose.decode_sign1(plaintext, tagged=False)
    headers = _signed_headers(signed, (cose.ALG, cose.CONTENT_TYPE, cose.KID))
    content_format = cbor.unsigned(headers[cose.CONTENT_TYPE])
    signer = _find_signer(device, headers, policy, now)
    return UnverifiedMessage(
        OpenedMessage(
            epoch_id=epoch_id,
            seq=seq,
            payload=signed.payload,
            content_format=content_format,
            signer_kid=signer.kid,
            signed=plaintext,
            digest=hashlib.sha256(message).digest()[:DIGEST_BYTES],
        ),
        signer,
        signed.signature,
        signed.to_be_signed(associated_data.signed(*place, epoch_id, seq)),
    )


def accept_data(
    verified: UnverifiedMessage, *, windows: Mapping[bytes, ReplayWindow], policy: Policy
) -> OpenedMessage:
    """Do the checks of `open_data` that come after the signature, which the caller has seen hold.

    Raises:
        RejectionError: the first that fails.
    """
    opened = verified.opened
    window = windows.get(opened.epoch_id)
    if window is not None:
        window.check(opened.seq, opened.digest)
    if opened.content_format not in policy.content_formats:
        raise ContentFormatError(f"content format {opened.content_format}")
    return opened


class _ChannelState:
    """What `Receiver` keeps of one (tenant, device, group)."""

    def __init__(self) -> None:
        self.highest_counter = 0
        self.announcement_sha256 = b""
        self.epochs: dict[bytes, OpenEpoch] = {}
        self.windows: dict[bytes, ReplayWindow] = {}


class Receiver:
    """One receiver with its state in memory; epochs are never forgotten."""

    def __init__(
        self,
        *,
        devices: Iterable[Device],
        recipients: Iterable[RecipientKey],
        policy: Policy | None = None,
    ) -> None:
        self._devices = {(device.tenant, device.device): device for device in devices}
        self._recipients = {recipient.kid: recipient for recipient in recipients}
        self._policy = policy or Policy()
        self._channels: dict[tuple[str, str, str], _ChannelState] = {}

    def receive(
        self, topic: str, message: bytes, *, retained: bool, now: int
    ) -> Announcement | OpenedMessage:
        """Accept one message K or D, received at `now` (Unix seconds).

        Raises:
            RejectionError: refused; nothing has changed.
        """
        parsed = topics.parse(topic)
        place = (parsed.tenant, parsed.device, parsed.group)
        state = self._channels.get(place) or _ChannelState()
        if parsed.kind is Kind.ANNOUNCEMENT:
            accepted = self._take_announcement(state, parsed, message, now)
            self._channels[place] = state
            return accepted
        opened = open_data(
            parsed,
            message,
            retained=retained,
            devices=self._devices,
            epochs=state.epochs,
            windows=state.windows,
            policy=self._policy,
            now=now,
        )
        state.windows[opened.epoch_id].add(opened.seq, opened.digest)
        return opened

    def _take_announcement(
        self, state: _ChannelState, topic: Topic, message: bytes, now: int
    ) -> Announcement:
        accepted = open_announcement(
            topic,
            message,
            devices=self._devices,
            channel=Channel(state.highest_counter, state.announcement_sha256, state.epochs),
            recipients=self._recipients,
            policy=self._policy,
            now=now,
        )
        epoch = accepted.epoch
        state.highest_counter = epoch.counter
        state.announcement_sha256 = accepted.sha256
        state.epochs[epoch.epoch_id] = epoch
        state.windows[epoch.epoch_id] = ReplayWindow(size=self._policy.window)
        return accepted


def _check_kind(topic: Topic, kind: Kind) -> None:
    if topic.kind is not kind:
        raise TopicError(f"topic of kind {topic.kind}, expected {kind}")


def _check_allowed(algorithm: int, allowed: frozenset[int]) -> None:
    if algorithm not in allowed:
        raise AlgorithmError(f"algorithm {algorithm}, allowed: {sorted(allowed)}")


def outer_headers(protected: bytes) -> tuple[int, bytes, bytes]:
    """Return algorithm, epoch id and partial IV; read as in every message of a gateway, or at all.

    The form of `_USUAL_OUTER` leaves one length open, which is checked here: so its bytes are the
    map of three that the general way makes of them.
    """
    usual = _USUAL_OUTER.fullmatch(protected)
    if usual is not None:
        algorithm, epoch_id, head, partial_iv = usual.groups()
        if len(partial_iv) == head[0] & _SHORT_LENGTH:
            return algorithm[-1], epoch_id, partial_iv
    outer = cbor.fields(cose.protected_headers(protected), (cose.ALG, cose.KID, cose.PARTIAL_IV))
    return (
        cbor.integer(outer[cose.ALG]),
        cbor.octets(outer[cose.KID], delivery.EPOCH_ID_BYTES),
        cbor.octets(outer[cose.PARTIAL_IV]),
    )


def _signed_headers(signed: cose.Sign1, expected: tuple[int, ...]) -> Mapping[int, object]:
    """Return the protected headers once they and the rest have section 6's form."""
    cbor.fields(signed.unprotected, ())
    cbor.octets(signed.signature, keys.SIGNATURE_BYTES)
    return _signers_headers(signed.protected, expected)


@lru_cache(maxsize=_KNOWN_HEADERS)
def _signers_headers(protected: bytes, expected: tuple[int, ...]) -> Mapping[int, object]:
    """Return headers, which are the same in all messages of one signer and content format."""
    headers = cbor.fields(cose.protected_headers(protected), expected)
    cbor.integer(headers[cose.ALG])
    cbor.octets(headers[cose.KID], keys.KID_BYTES)
    return MappingProxyType(headers)


def _find_device(devices: Mapping[tuple[str, str], Device], topic: Topic) -> Device:
    device = devices.get((topic.tenant, topic.device))
    if device is None:
        raise UnknownDeviceError(f"no device {topic.device} of {topic.tenant}")
    if device.revoked:
        raise RevokedError(f"device {topic.device} is revoked or suspended")
    return device


def _find_signer(
    device: Device, headers: Mapping[int, object], policy: Policy, now: int
) -> VerifyingKey:
    kid = cbor.octets(headers[cose.KID])
    signer = device.signers.get(kid)
    if signer is None:
        raise SignerError(f"key {kid.hex()} is not registered for {device.device}")
    if signer.superseded:
        raise SignerTimeError(f"key {kid.hex()} ended when {device.device} enrolled anew")
    closes_at = signer.valid_until + policy.max_delay_seconds
    if not signer.valid_from <= now <= closes_at:
        raise SignerTimeError(
            f"key {kid.hex()} at {now}, valid from {signer.valid_from} to {closes_at}"
        )
    if headers[cose.ALG] != signer.key.algorithm:
        raise AlgorithmError(f"algorithm {headers[cose.ALG]}, registered {signer.key.algorithm}")
    _check_allowed(signer.key.algorithm, policy.signature_algorithms)
    return signer.key


def _find_epoch(
    epochs: Mapping[bytes, OpenEpoch], epoch_id: bytes, algorithm: int, now: int
) -> OpenEpoch:
    epoch = epochs.get(epoch_id)
    if epoch is None:
        raise UnknownEpochError(f"no epoch {epoch_id.hex()} on this topic")
    if now > epoch.closes_at:
        raise EpochClosedError(f"epoch {epoch_id.hex()} closed at {epoch.closes_at}, now {now}")
    if algorithm != epoch.content_algorithm:
        raise AlgorithmError(f"algorithm {algorithm}, the epoch's is {epoch.content_algorithm}")
    return epoch


def _read_seq(partial_iv: bytes) -> int:
    if not 0 < len(partial_iv) <= MAX_PARTIAL_IV_BYTES or not partial_iv[0]:
        raise SeqFormError(f"partial IV {partial_iv[:8].hex()} of {len(partial_iv)} bytes")
    seq = int.from_bytes(partial_iv, "big")
    if seq > MAX_SEQ:
        raise SeqLimitError(f"seq {seq}, limit {MAX_SEQ}")
    return seq


def _check_counter(body: AnnouncementBody, sha256: bytes, channel: Channel) -> None:
    if body.counter == channel.highest_counter:
        if sha256 == channel.announcement_sha256:
            raise DuplicateError(f"announcement {body.counter} was accepted before")
        raise EpochConflictError(f"another announcement of counter {body.counter} was accepted")
    if body.counter < channel.highest_counter:
        raise EpochRollbackError(f"counter {body.counter}, accepted: {channel.highest_counter}")
    if body.epoch_id in channel.known_epoch_ids:
        raise EpochConflictError(f"epoch {body.epoch_id.hex()} is known already")


def _check_clock(body: AnnouncementBody, policy: Policy, now: int) -> None:
    if body.clock == announcement.CLOCK_NONE:
        return
    ahead = body.issued_at - now
    if not -policy.max_delay_seconds <= ahead <= MAX_CLOCK_AHEAD_SECONDS:
        raise ClockError(f"issued {ahead} s ahead of the time of receipt")


def _check_delivery(own: delivery.Box, boxes: Iterable[delivery.Box], policy: Policy) -> None:
    """Refuse what the tenant does not allow, and suite 3 beside a box that undoes it.

    The algorithms of somebody else's box are that receiver's business otherwise.
    """
    _check_allowed(own.algorithm, policy.delivery_algorithms)
    if own.algorithm == cose.HPKE_MLKEM768_X25519:
        for box in boxes:
            _check_allowed(box.algorithm, frozenset({cose.HPKE_MLKEM768_X25519}))


def _find_box(
    boxes: Iterable[delivery.Box], recipients: Mapping[bytes, RecipientKey]
) -> tuple[delivery.Box, RecipientKey]:
    for box in boxes:
        recipient = recipients.get(box.kid)
        if recipient is not None:
            return box, recipient
    raise NotRecipientError("nothing is wrapped for a key of this receiver")
