"""Section 8's checks come in section 8's order: of two faults, the earlier one decides.

A message is put together from its parts, each of which a fault may change. Every fault alone must
give its code, and every pair the code of the earlier; accepted without a fault.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pytest

from device_protocol import associated_data, cbor, cose, delivery
from device_protocol.errors import RejectionError
from device_protocol.receiver import (
    Channel,
    Device,
    OpenEpoch,
    Policy,
    ReplayWindow,
    open_announcement,
    open_data,
)
from device_protocol.topics import parse

EPOCH_ID = bytes.fromhex("dfd2c11537921375")
OTHER_ID = bytes.fromhex("00000000000000aa")
KEY, BASE_IV = bytes(range(32)), bytes(range(12))


@dataclass(kw_only=True)
class Sent:
    """The parts of a message D or K, and what its receiver knows."""

    suite: Any
    topic: str
    retained: bool = False
    now: int
    device: Device | None
    policy: Policy = field(default_factory=Policy)
    damage: Callable[[bytes], bytes] = lambda message: message
    unprotected: dict[int, object] = field(default_factory=dict)
    signature_algorithm: int
    kid: bytes
    covered: bytes = b""  # appended to what is signed, so that the signature is of something else

    @property
    def place(self) -> tuple[str, str, str]:
        return self.suite.tenant, self.suite.device, self.suite.group

    @property
    def devices(self) -> dict[tuple[str, str], Device]:
        return {(self.device.tenant, self.device.device): self.device} if self.device else {}

    def sign(self, headers: dict[int, object], payload: bytes, aad: bytes) -> cose.Sign1:
        protected = cbor.encode({cose.ALG: self.signature_algorithm, cose.KID: self.kid} | headers)
        covered = cose.to_be_signed(protected, aad, payload) + self.covered
        return cose.Sign1(protected, {}, payload, self.suite.signer.sign(covered))


@dataclass(kw_only=True)
class SentData(Sent):
    """A message D."""

    algorithm: int
    epoch_id: bytes = EPOCH_ID
    partial_iv: bytes = b"\1"
    epoch: OpenEpoch | None
    key: bytes = KEY
    inner: Callable[[bytes], bytes] = lambda signed: signed
    content_format: int = 112
    window: Callable[[bytes], ReplayWindow] = lambda _: ReplayWindow()

    def message(self) -> bytes:
        seq = int.from_bytes(self.partial_iv, "big")
        aad = associated_data.signed(*self.place, EPOCH_ID, seq)
        signed = self.sign({cose.CONTENT_TYPE: self.content_format}, b"x", aad).encode(tagged=False)
        protected = cbor.encode({1: self.algorithm, 4: self.epoch_id, 6: self.partial_iv})
        ciphertext = cose.encrypt(
            self.suite.content_algorithm,
            self.key,
            cose.nonce(BASE_IV, self.partial_iv[:12]),
            self.inner(signed),
            cose.associated_data("Encrypt0", protected, associated_data.data(*self.place)),
        )
        return self.damage(cose.Encrypt0(protected, self.unprotected, ciphertext).encode())

    def receive(self) -> None:
        message = self.message()
        open_data(
            parse(self.topic),
            message,
            retained=self.retained,
            devices=self.devices,
            epochs={self.epoch.epoch_id: self.epoch} if self.epoch else {},
            windows={EPOCH_ID: self.window(hashlib.sha256(message).digest()[:8])},
            policy=self.policy,
            now=self.now,
        )


@dataclass(kw_only=True)
class SentAnnouncement(Sent):
    """A message K."""

    changes: dict[int, object] = field(default_factory=dict)
    body: Callable[[bytes], bytes] = lambda encoded: encoded
    channel: Callable[[bytes], Channel] = lambda _: Channel()
    box: Callable[[bytes], bytes] = lambda box: box
    wrapped_algorithm: int | None = None
    recipient: Any = None

    def message(self) -> bytes:
        key = delivery.EpochKey(
            epoch_id=EPOCH_ID,
            content_algorithm=self.wrapped_algorithm or self.suite.content_algorithm,
            key=KEY,
            base_iv=BASE_IV,
        )
        aad = associated_data.wrapped(*self.place, 41, EPOCH_ID)
        recipient = (self.recipient or self.suite.recipient).public()
        body: dict[int, object] = {
            1: 1,
            2: 41,
            3: EPOCH_ID,
            4: self.suite.now,
            5: self.suite.now + 3600,
            6: 2,
            7: 7,
            8: None,
            9: [self.box(delivery.wrap(key, recipient, external_aad=aad))],
        }
        payload = self.body(cbor.encode(body | self.changes))
        signed = self.sign({}, payload, associated_data.announcement(*self.place))
        return self.damage(replace(signed, unprotected=self.unprotected).encode())

    def receive(self) -> None:
        message = self.message()
        open_announcement(
            parse(self.topic),
            message,
            devices=self.devices,
            channel=self.channel(hashlib.sha256(message).digest()),
            recipients={self.suite.recipient.kid: self.suite.recipient},
            policy=self.policy,
            now=self.now,
        )


def _registered(suite: Any, **changes: Any) -> Device:
    """Return the gateway as registered, its signer's window or key changed."""
    device: Device = suite.registered()
    (signer,) = device.signers.values()
    return replace(device, signers={suite.signer.kid: replace(signer, **changes)})


def _taken(seq: int, digest: bytes) -> ReplayWindow:
    window = ReplayWindow()
    window.add(seq, digest)
    return window


def _change(**changes: Any) -> Callable[[Any], None]:
    def change(sent: Any) -> None:
        for name, value in changes.items():
            setattr(sent, name, value)

    return change


def _merge(**fields: Any) -> Callable[[Any], None]:
    """Change announcement fields, named by their key as `_4`."""

    def change(sent: Any) -> None:
        sent.changes = sent.changes | {int(name[1:]): value for name, value in fields.items()}

    return change


def _without_signer(sent: Any) -> None:
    sent.device = replace(sent.device, signers={})


def _expired_signer(sent: Any) -> None:
    sent.device = _registered(sent.suite, valid_until=sent.now - 604_801)


def _signer_to_come(sent: Any) -> None:
    sent.device = _registered(sent.suite, valid_from=sent.now + 1)


def _superseded_signer(sent: Any) -> None:
    sent.device = _registered(sent.suite, superseded=True)


def _signer_of_other_algorithm(sent: Any) -> None:
    sent.signature_algorithm = {-19: -9, -9: -19}[sent.suite.signer.algorithm]


def _revoked(sent: Any) -> None:
    sent.device = sent.suite.registered(revoked=True)


def _old_algorithm(sent: Any) -> None:
    sent.signature_algorithm = {-19: -8, -9: -7}[sent.suite.signer.algorithm]


def _closed(sent: Any) -> None:
    sent.epoch = replace(sent.epoch, closes_at=sent.now - 1)


def _not_the_epochs_algorithm(sent: Any) -> None:
    sent.algorithm = {24: 3, 3: 24}[sent.suite.content_algorithm]


def _for_somebody_else(sent: Any) -> None:
    sent.recipient = sent.suite.stranger


def _too_long_lived(sent: Any) -> None:
    _merge(_5=sent.suite.now + 100_000)(sent)


def _issued(sent: Any, ahead: int) -> None:
    _merge(_4=sent.suite.now + ahead, _5=sent.suite.now + ahead + 3600)(sent)


def _corrupt(box: bytes) -> bytes:
    parts = cose.decode_encrypt(box)
    damaged = bytes([parts.ciphertext[0] ^ 1]) + parts.ciphertext[1:]
    return replace(parts, ciphertext=damaged).encode()


SHARED: list[tuple[int, Callable[[Any], None]]] = [
    (104, _change(topic="snaas/1/Bristol/k7q2m9xd4t/d/main")),
    (104, _change(topic="snaas/1/bristol/k7q2m9xd4t/a/main")),
    (103, _change(topic="snaas/2/bristol/k7q2m9xd4t/d/main")),
]
OUTER: list[tuple[int, Callable[[Any], None]]] = [
    (101, _change(damage=lambda message: message + b"\0")),
    (101, _change(damage=lambda message: message[:-1])),
    (102, _change(damage=lambda message: message[1:])),
    (102, _change(damage=lambda message: b"\xd1" + message[1:])),
    (102, _change(unprotected={99: 1})),
    (200, _change(device=None)),
    (201, _revoked),
]
SIGNER: list[tuple[int, Callable[[Any], None]]] = [
    (203, _without_signer),
    (203, _change(kid=bytes(8))),
    (204, _expired_signer),
    (204, _signer_to_come),
    (204, _superseded_signer),
    (400, _signer_of_other_algorithm),
    (400, _old_algorithm),
    (402, _change(covered=b"!")),
]
DATA: list[tuple[int, Callable[[Any], None]]] = [
    *SHARED,
    (105, _change(retained=True)),
    (100, _change(damage=lambda message: message + bytes(65_537 - len(message)))),
    *OUTER,
    (400, _change(algorithm=1)),
    (400, _change(policy=Policy(content_algorithms=frozenset()))),
    (300, _change(epoch=None)),
    (300, _change(epoch_id=OTHER_ID)),
    (303, _closed),
    (400, _not_the_epochs_algorithm),
    (403, _change(partial_iv=b"")),
    (403, _change(partial_iv=b"\0")),
    (403, _change(partial_iv=b"\0\1")),
    (403, _change(partial_iv=b"\1\0\0\0\0\0")),
    (503, _change(partial_iv=b"\x10\0\1")),
    (401, _change(key=bytes(32))),
    (101, _change(inner=lambda signed: signed + b"\0")),
    (102, _change(inner=lambda signed: b"\xd2" + signed)),
    (102, _change(inner=lambda signed: b"\x83" + signed[1:-66])),
    *SIGNER,
    (501, _change(window=lambda digest: _taken(2000, digest))),
    (500, _change(window=lambda digest: _taken(1, digest))),
    (502, _change(window=lambda _: _taken(1, b"another!"))),
    (600, _change(content_format=0)),
]
ANNOUNCEMENT: list[tuple[int, Callable[[Any], None]]] = [
    *SHARED,
    (100, _change(damage=lambda message: message + bytes(16_385 - len(message)))),
    *OUTER,
    *SIGNER,
    (101, _change(body=lambda encoded: encoded + b"\0")),
    (102, _change(body=lambda _: b"\x80")),
    (102, _change(body=lambda _: b"\xa0")),
    (102, _merge(_1=True)),
    (103, _merge(_1=2)),
    (102, _merge(_10=0)),
    (102, _merge(_2=0)),
    (102, _merge(_3=b"short")),
    (102, _merge(_5=1)),
    (102, _too_long_lived),
    (102, _merge(_6=4)),
    (102, _merge(_6=None)),
    (102, _merge(_7=-1)),
    (102, _merge(_8=[1])),
    (102, _merge(_9=[])),
    (102, _merge(_9=9 * [b""])),
    (101, _merge(_9=[b"\xd8\x60"])),
    (102, _merge(_9=[b"\x80"])),
    (500, _change(channel=lambda sha256: Channel(41, sha256))),
    (302, _change(channel=lambda _: Channel(41, bytes(32)))),
    (301, _change(channel=lambda _: Channel(42, bytes(32)))),
    (302, _change(channel=lambda _: Channel(40, bytes(32), {EPOCH_ID}))),
    (304, lambda sent: _issued(sent, 301)),
    (304, lambda sent: _issued(sent, -604_801)),
    (305, _for_somebody_else),
    (400, _change(box=lambda box: box.replace(b"\xa1\x01\x38\x18", b"\xa1\x01\x38\x1a"))),
    (400, _change(box=lambda box: box.replace(b"\x43\xa1\x01\x03", b"\x43\xa1\x01\x01"))),
    (306, _change(box=_corrupt)),
    (400, _change(wrapped_algorithm=30)),
]


def _data(suite: Any) -> SentData:
    epoch = OpenEpoch(
        epoch_id=EPOCH_ID,
        counter=41,
        content_algorithm=suite.content_algorithm,
        key=KEY,
        base_iv=BASE_IV,
        closes_at=suite.now,
    )
    return SentData(
        suite=suite,
        topic=suite.data_topic,
        now=suite.now,
        device=suite.registered(),
        signature_algorithm=suite.signer.algorithm,
        kid=suite.signer.kid,
        algorithm=suite.content_algorithm,
        epoch=epoch,
    )


def _announcement(suite: Any) -> SentAnnouncement:
    return SentAnnouncement(
        suite=suite,
        topic=suite.announcement_topic,
        now=suite.now,
        device=suite.registered(),
        signature_algorithm=suite.signer.algorithm,
        kid=suite.signer.kid,
    )


@pytest.mark.parametrize("make", [_data, _announcement])
def test_without_a_fault_it_is_accepted(suite: Any, make: Callable[[Any], Any]) -> None:
    make(suite).receive()


@pytest.mark.parametrize(("make", "faults"), [(_data, DATA), (_announcement, ANNOUNCEMENT)])
def test_each_fault_has_its_code(suite: Any, make: Callable[[Any], Any], faults: Any) -> None:
    for position, (code, fault) in enumerate(faults):
        sent = make(suite)
        fault(sent)
        with pytest.raises(RejectionError) as refusal:
            sent.receive()
        assert refusal.value.code == code, f"fault {position}: {refusal.value!r}"


@pytest.mark.parametrize(("make", "faults"), [(_data, DATA), (_announcement, ANNOUNCEMENT)])
def test_of_two_faults_the_earlier_decides(
    suite: Any, make: Callable[[Any], Any], faults: Any
) -> None:
    for (first, (code, earlier)), (second, (_, later)) in combinations(enumerate(faults), 2):
        sent = make(suite)
        later(sent)
        earlier(sent)  # last, so that it prevails where both change the same part
        with pytest.raises(RejectionError) as refusal:
            sent.receive()
        assert refusal.value.code == code, f"faults {first} and {second}: {refusal.value!r}"
