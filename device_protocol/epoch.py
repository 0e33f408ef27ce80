"""The sender's half of the envelope: one epoch, from its announcement to its last message.

An epoch's key, base IV and id live only in the `Epoch` that made them (section 7, rule 1): there
is deliberately no way to save and restore one. Storing the counter before the announcement is
sent, waiting for acknowledgements and ending an epoch in time is the caller's business.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from device_protocol import acknowledgement, associated_data, cbor, cose, delivery
from device_protocol.acknowledgement import Acknowledgement
from device_protocol.announcement import AnnouncementBody
from device_protocol.errors import AlgorithmError, SeqLimitError
from device_protocol.keys import RecipientPublicKey, SigningKey
from device_protocol.limits import MAX_DATA_BYTES, MAX_SEQ, check_size

MAX_PAYLOAD_BYTES = MAX_DATA_BYTES - 256  # headers, signature and tags take about 130


@dataclass(frozen=True, slots=True)
class Sealed:
    """One message D and its place in the epoch."""

    seq: int
    message: bytes


class Epoch:
    """What one gateway sends to one group under one key.

    counter: rises with every epoch of this device and group.
    epoch_id: 8 random bytes.
    announcement: message K, to be sent before any other and again after each reconnect.
    last_seq: sequence number of the last message sealed, 0 before the first.
    """

    def __init__(
        self,
        key: delivery.EpochKey,
        *,
        tenant: str,
        device: str,
        group: str,
        counter: int,
        announcement: bytes,
        signer: SigningKey,
    ) -> None:
        self.counter = counter
        self.epoch_id = key.epoch_id
        self.announcement = announcement
        self.last_seq = 0
        self._key = key
        self._place = (tenant, device, group)
        self._signer = signer
        self._external_aad = associated_data.data(tenant, device, group)

    @classmethod
    def begin(
        cls,
        *,
        tenant: str,
        device: str,
        group: str,
        counter: int,
        content_algorithm: int = cose.CHACHA20_POLY1305,
        issued_at: int,
        lifetime_seconds: int = 3600,
        clock: int,
        key_set_version: int,
        recipients: Sequence[RecipientPublicKey],
        signer: SigningKey,
        previous: tuple[int, int] | None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Make a new key and announce it to 1 to 8 recipients.

        issued_at: Unix seconds; clock: its quality, 0 to 3; previous: counter and last seq of
        the epoch before. `random` is replaced only to reproduce vectors.

        Raises:
            StructureError: a field outside the range section 6 gives it.
            AlgorithmError: a content algorithm other than 24 and 3.
        """
        if content_algorithm not in cose.CONTENT_ALGORITHMS:
            raise AlgorithmError(f"content algorithm {content_algorithm}")
        key = delivery.EpochKey(
            epoch_id=random(delivery.EPOCH_ID_BYTES),
            content_algorithm=content_algorithm,
            key=random(cose.CONTENT_KEY_BYTES),
            base_iv=random(cose.NONCE_BYTES),
        )
        aad = associated_data.wrapped(tenant, device, group, counter, key.epoch_id)
        body = AnnouncementBody(
            counter=counter,
            epoch_id=key.epoch_id,
            issued_at=issued_at,
            expires_at=issued_at + lifetime_seconds,
            clock=clock,
            key_set_version=key_set_version,
            previous=previous,
            wrapped=tuple(
                delivery.wrap(key, recipient, external_aad=aad, random=random)
                for recipient in recipients
            ),
        )
        announcement = _sign(
            {cose.ALG: signer.algorithm, cose.KID: signer.kid},
            body.encode(),
            associated_data.announcement(tenant, device, group),
            signer,
            tagged=True,
        )
        return cls(
            key,
            tenant=tenant,
            device=device,
            group=group,
            counter=counter,
            announcement=announcement,
            signer=signer,
        )

    @property
    def exhausted(self) -> bool:
        """True once 2^20 messages are sealed and a new epoch is due."""
        return self.last_seq >= MAX_SEQ

    def seal(self, payload: bytes, content_format: int) -> Sealed:
        """Sign, then encrypt, the next message D; `content_format` is CoAP's.

        Raises:
            SeqLimitError: the epoch is exhausted.
            SizeError: the payload is over 65 280 bytes. Told before anything is encrypted: two
                messages must never share a sequence number, even if one is thrown away.
        """
        check_size(payload, MAX_PAYLOAD_BYTES)
        if self.exhausted:
            raise SeqLimitError(f"epoch {self.counter} has sealed {MAX_SEQ} messages")
        self.last_seq += 1
        seq = self.last_seq
        headers = {
            cose.ALG: self._signer.algorithm,
            cose.CONTENT_TYPE: content_format,
            cose.KID: self._signer.kid,
        }
        aad = associated_data.signed(*self._place, self.epoch_id, seq)
        signed = _sign(headers, payload, aad, self._signer, tagged=False)
        return Sealed(seq, self._encrypt(signed, seq))

    def open_acknowledgement(self, message: bytes) -> Acknowledgement:
        """Return what a message A of this epoch says.

        Raises:
            RejectionError: as `acknowledgement.open_acknowledgement`.
        """
        tenant, device, group = self._place
        return acknowledgement.open_acknowledgement(
            message,
            tenant=tenant,
            device=device,
            group=group,
            epoch_id=self.epoch_id,
            epoch_key=self._key.key,
        )

    def _encrypt(self, signed: bytes, seq: int) -> bytes:
        key = self._key
        protected = cbor.encode(
            {
                cose.ALG: key.content_algorithm,
                cose.KID: key.epoch_id,
                cose.PARTIAL_IV: partial_iv(seq),
            }
        )
        aad = cose.associated_data("Encrypt0", protected, self._external_aad)
        nonce = cose.nonce(key.base_iv, partial_iv(seq))
        ciphertext = cose.encrypt(key.content_algorithm, key.key, nonce, signed, aad)
        return cose.Encrypt0(protected, {}, ciphertext).encode()


def partial_iv(seq: int) -> bytes:
    """Return the shortest big-endian form of a positive `seq`."""
    return seq.to_bytes((seq.bit_length() + 7) // 8, "big")


def _sign(
    headers: dict[int, object], payload: bytes, aad: bytes, signer: SigningKey, *, tagged: bool
) -> bytes:
    protected = cbor.encode(headers)
    signature = signer.sign(cose.to_be_signed(protected, aad, payload))
    return cose.Sign1(protected, {}, payload, signature).encode(tagged=tagged)
