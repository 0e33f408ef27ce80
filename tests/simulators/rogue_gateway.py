"""A gateway that misbehaves with a genuine key: stolen, cloned, restored from an old disk, or mad.

Also what a forger makes who has no such key: messages bent after they were sealed. Nothing here
is sent: that is the part of whoever carries it to a broker.
"""

import copy
import os
from collections.abc import Callable
from typing import Any

from device_protocol import associated_data, cbor, cose, delivery, topics
from device_protocol.announcement import AnnouncementBody
from device_protocol.delivery import EpochKey
from device_protocol.epoch import Epoch
from device_protocol.keys import SigningKey
from device_protocol.receiver import OpenEpoch
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR
from tests.simulators.gateway import Message, SimulatedGateway

A128GCM, A128KW_DIRECT, ES256 = 1, -29, -7
"""Numbers of algorithms that COSE knows and the envelope refuses."""


class RogueGateway(SimulatedGateway):
    """A simulated gateway that also does what no honest one would."""

    def clone(self) -> "RogueGateway":
        """Return a copy of the whole machine, keys in memory included, as a snapshot of it."""
        return copy.copy(self)._with_epoch(copy.copy(self.epoch))

    def _with_epoch(self, epoch: Epoch | None) -> "RogueGateway":
        self.epoch = epoch
        return self

    def announce_again(self, now: int, epoch_id: bytes, *, counter: int) -> Message:
        """Announce a new epoch under an id that was used before."""
        drawn = iter([epoch_id])

        def random(size: int) -> bytes:
            return next(drawn, None) or os.urandom(size)

        self.counter = counter
        self.epoch = Epoch.begin(
            tenant=self.tenant,
            device=self.device,
            group=self.group,
            counter=counter,
            issued_at=now,
            clock=self.clock,
            key_set_version=1,
            recipients=self.recipients,
            signer=self.signer,
            previous=None,
            random=random,
        )
        return self.announcement()

    def announce_weakly(
        self,
        now: int,
        *,
        counter: int,
        content_algorithm: int = cose.CHACHA20_POLY1305,
        delivered_by: int = cose.ECDH_ES_HKDF_256,
    ) -> Message:
        """Announce an epoch with algorithms that nobody allowed; properly signed."""
        key = EpochKey(os.urandom(8), content_algorithm, os.urandom(32), os.urandom(12))
        place = (self.tenant, self.device, self.group)
        aad = associated_data.wrapped(*place, counter, key.epoch_id)
        box = cose.decode_encrypt(delivery.wrap(key, self.recipients[0], external_aad=aad))
        [recipient] = box.recipients
        protected = cbor.encode({cose.ALG: delivered_by})
        weak = cose.Encrypt(
            box.protected,
            box.unprotected,
            box.ciphertext,
            (cose.Recipient(protected, recipient.unprotected, b""),),
        )
        body = AnnouncementBody(
            counter=counter,
            epoch_id=key.epoch_id,
            issued_at=now,
            expires_at=now + 3600,
            clock=self.clock,
            key_set_version=1,
            previous=None,
            wrapped=(weak.encode(),),
        )
        headers = {cose.ALG: self.signer.algorithm, cose.KID: self.signer.kid}
        covered = associated_data.announcement(*place)
        signed = sign(headers, body.encode(), covered, self.signer, tagged=True)
        return Message(topics.announcement(*place), signed)


def sign(
    headers: dict[int, Any], payload: bytes, aad: bytes, signer: SigningKey, *, tagged: bool
) -> bytes:
    """Return a COSE_Sign1 with any headers."""
    protected = cbor.encode(headers)
    signature = signer.sign(cose.to_be_signed(protected, aad, payload))
    return cose.Sign1(protected, {}, payload, signature).encode(tagged=tagged)


def seal_as_recipient(
    gateway: SimulatedGateway, epoch: OpenEpoch, seq: int, payload: bytes, *, signer: SigningKey
) -> Message:
    """Return message D as somebody makes it who holds the epoch's key, but not the gateway's.

    signer: the forger's own; its kid is told to be the gateway's.
    """
    place = (gateway.tenant, gateway.device, gateway.group)
    headers = {
        cose.ALG: gateway.signer.algorithm,
        cose.CONTENT_TYPE: CONTENT_FORMAT_SENML_CBOR,
        cose.KID: gateway.signer.kid,
    }
    covered = associated_data.signed(*place, epoch.epoch_id, seq)
    signed = sign(headers, payload, covered, signer, tagged=False)
    iv = seq.to_bytes((seq.bit_length() + 7) // 8, "big")
    protected = cbor.encode(
        {cose.ALG: epoch.content_algorithm, cose.KID: epoch.epoch_id, cose.PARTIAL_IV: iv}
    )
    aad = cose.associated_data("Encrypt0", protected, associated_data.data(*place))
    nonce = cose.nonce(epoch.base_iv, iv)
    ciphertext = cose.encrypt(epoch.content_algorithm, epoch.key, nonce, signed, aad)
    return Message(topics.data(*place), cose.Encrypt0(protected, {}, ciphertext).encode())


def rewrapped_headers(message: Message, change: Callable[[dict[int, Any]], None]) -> Message:
    """Return a message K or D with other protected headers; everything else stays."""
    tag = cbor.decode(message.payload)
    assert isinstance(tag, cbor.Tag)
    assert isinstance(tag.value, list)
    protected, *rest = tag.value
    headers: Any = cbor.decode(protected)
    change(headers)
    changed = cbor.Tag(tag.number, [cbor.encode(headers), *rest])
    return message._replace(payload=cbor.encode(changed))


def flipped(message: Message, at: int = -1) -> Message:
    """Return a message with one bit of one byte changed."""
    payload = bytearray(message.payload)
    payload[at] ^= 1
    return message._replace(payload=bytes(payload))


def shortened(message: Message, by: int, *, honestly: bool = False) -> Message:
    """Return message D without the last bytes of its ciphertext; with its length put right."""
    if not honestly:
        return message._replace(payload=message.payload[:-by])
    return _with_ciphertext(message, lambda ciphertext: ciphertext[:-by])


def lengthened(message: Message, tail: bytes, *, honestly: bool = False) -> Message:
    """Return message D with bytes after it, or inside its ciphertext with its length put right."""
    if not honestly:
        return message._replace(payload=message.payload + tail)
    return _with_ciphertext(message, lambda ciphertext: ciphertext + tail)


def on_topic(message: Message, topic: str) -> Message:
    """Return the same bytes on another topic."""
    return message._replace(topic=topic)


def _with_ciphertext(message: Message, change: Callable[[bytes], bytes]) -> Message:
    sealed = cose.decode_encrypt0(message.payload)
    changed = cose.Encrypt0(sealed.protected, {}, change(sealed.ciphertext))
    return message._replace(payload=changed.encode())
