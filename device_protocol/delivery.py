"""How an epoch's key reaches one recipient: the Wrapped of message K (envelope, section 6).

In suites 1 and 2, ECDH-ES with HKDF-SHA-256 gives the key of an AES-256-GCM box (RFC 9053,
section 6.3.1), the ephemeral key being new for every box. In suite 3 HPKE seals the box to an
X-Wing key; what COSE would have as its associated data goes into HPKE's `info`, which binds as
firmly (RFC 9180, section 5.1). Which recipients get one is decided by the key set.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from device_protocol import cbor, cose, keys
from device_protocol.errors import AlgorithmError, RejectionError, StructureError, UnwrapError
from device_protocol.keys import RecipientKey, RecipientPublicKey

EPOCH_ID_BYTES = 8

_CONTENT_PROTECTED = cbor.encode({cose.ALG: cose.A256GCM})
_ECDH = (cose.A256GCM, cose.ECDH_ES_HKDF_256)
_RECIPIENT_PROTECTED = cbor.encode({cose.ALG: cose.ECDH_ES_HKDF_256})
_SYMMETRIC = 4
_BASE_IV = 5
_K = -1


@dataclass(frozen=True, slots=True)
class EpochKey:
    """What is delivered: the symmetric key of one epoch and what belongs to it.

    epoch_id: 8 random bytes. content_algorithm: 24 or 3. key: 32 bytes. base_iv: 12 bytes.
    """

    epoch_id: bytes
    content_algorithm: int
    key: bytes = field(repr=False)
    base_iv: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Encode as a symmetric COSE_Key."""
        return cbor.encode(
            {
                keys.KTY: _SYMMETRIC,
                2: self.epoch_id,
                3: self.content_algorithm,
                _BASE_IV: self.base_iv,
                _K: self.key,
            }
        )

    @classmethod
    def decode(cls, encoded: bytes) -> "EpochKey":
        """Read a symmetric COSE_Key.

        Raises:
            EncodingError, StructureError: not one of section 6's form.
        """
        found = cbor.fields(cbor.decode(encoded), (keys.KTY, 2, 3, _BASE_IV, _K))
        if found[keys.KTY] != _SYMMETRIC:
            raise StructureError(f"key type {found[keys.KTY]}, expected {_SYMMETRIC}")
        return cls(
            epoch_id=cbor.octets(found[2], EPOCH_ID_BYTES),
            content_algorithm=cbor.integer(found[3]),
            key=cbor.octets(found[_K], cose.CONTENT_KEY_BYTES),
            base_iv=cbor.octets(found[_BASE_IV], cose.NONCE_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One recipient's box of suites 1 and 2, its structure already checked.

    algorithms: of the content and of its key's delivery.
    """

    box: cose.Encrypt
    kid: bytes
    algorithms: tuple[int, int]
    iv: bytes
    ephemeral_key: dict[int, object]

    @property
    def algorithm(self) -> int:
        """How the box is delivered."""
        return self.algorithms[1]


@dataclass(frozen=True, slots=True)
class HybridWrapped:
    """One recipient's box of suite 3, its structure already checked."""

    box: cose.Encrypt0
    kid: bytes
    algorithm: int
    encapsulated_key: bytes


Box: TypeAlias = Wrapped | HybridWrapped


def wrap(
    epoch_key: EpochKey,
    recipient: RecipientPublicKey,
    *,
    external_aad: bytes,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return a Wrapped that only `recipient` can open.

    `random` is used in suites 1 and 2 only: HPKE draws for itself.

    Raises:
        StructureError: an X-Wing key that cannot be sealed to.
    """
    if recipient.kind == keys.X_WING:
        return _seal(epoch_key, recipient, external_aad)
    ephemeral, secret = recipient.agree(random)
    iv = random(cose.NONCE_BYTES)
    aad = cose.associated_data("Encrypt", _CONTENT_PROTECTED, external_aad)
    ciphertext = cose.encrypt(cose.A256GCM, _derive(secret), iv, epoch_key.encode(), aad)
    headers: dict[int, object] = {cose.KID: recipient.kid, cose.EPHEMERAL_KEY: ephemeral}
    return cose.Encrypt(
        _CONTENT_PROTECTED,
        {cose.IV: iv},
        ciphertext,
        (cose.Recipient(_RECIPIENT_PROTECTED, headers, b""),),
    ).encode()


def parse(encoded: bytes) -> Box:
    """Take a Wrapped apart without judging its algorithms.

    Raises:
        EncodingError, StructureError: not one of section 6's forms.
    """
    if cose.is_encrypt0(encoded):
        return _parse_hybrid(encoded)
    box = cose.decode_encrypt(encoded)
    if len(box.recipients) != 1:
        raise StructureError(f"{len(box.recipients)} recipients of one box")
    recipient = box.recipients[0]
    cbor.octets(recipient.ciphertext, 0)
    content = cbor.fields(cose.protected_headers(box.protected), (cose.ALG,))
    agreement = cbor.fields(cose.protected_headers(recipient.protected), (cose.ALG,))
    headers = cbor.fields(recipient.unprotected, (cose.KID, cose.EPHEMERAL_KEY))
    return Wrapped(
        box=box,
        kid=cbor.octets(headers[cose.KID], keys.KID_BYTES),
        algorithms=(cbor.integer(content[cose.ALG]), cbor.integer(agreement[cose.ALG])),
        iv=cbor.octets(cbor.fields(box.unprotected, (cose.IV,))[cose.IV], cose.NONCE_BYTES),
        ephemeral_key=keys.check_members(headers[cose.EPHEMERAL_KEY]),
    )


def unwrap(
    wrapped: Box, recipient: RecipientKey, *, epoch_id: bytes, external_aad: bytes
) -> EpochKey:
    """Open a Wrapped that should hold the key of `epoch_id`.

    Raises:
        AlgorithmError: delivered by other algorithms than the suites use.
        UnwrapError: it does not open, or holds something else.
    """
    expected = _ECDH if isinstance(wrapped, Wrapped) else cose.HPKE_MLKEM768_X25519
    given = wrapped.algorithms if isinstance(wrapped, Wrapped) else wrapped.algorithm
    if given != expected:
        raise AlgorithmError(f"key delivery by algorithms {given}")
    try:
        key = EpochKey.decode(_open(wrapped, recipient, external_aad))
    except RejectionError as error:
        raise UnwrapError(f"key {recipient.kid.hex()} does not open the box: {error}") from error
    if key.epoch_id != epoch_id:
        raise UnwrapError(f"key of epoch {key.epoch_id.hex()} for {epoch_id.hex()}")
    return key


def _open(wrapped: Box, recipient: RecipientKey, external_aad: bytes) -> bytes:
    aad = wrapped.box.associated_data(external_aad)
    ciphertext = wrapped.box.ciphertext
    if isinstance(wrapped, HybridWrapped):
        return recipient.open(wrapped.encapsulated_key, ciphertext, info=aad)
    secret = recipient.agree(wrapped.ephemeral_key)
    return cose.decrypt(cose.A256GCM, _derive(secret), wrapped.iv, ciphertext, aad)


def _seal(epoch_key: EpochKey, recipient: RecipientPublicKey, external_aad: bytes) -> bytes:
    protected = cbor.encode({cose.ALG: cose.HPKE_MLKEM768_X25519, cose.KID: recipient.kid})
    info = cose.associated_data("Encrypt0", protected, external_aad)
    encapsulated, ciphertext = recipient.seal(epoch_key.encode(), info)
    return cose.Encrypt0(protected, {cose.ENCAPSULATED_KEY: encapsulated}, ciphertext).encode()


def _parse_hybrid(encoded: bytes) -> HybridWrapped:
    box = cose.decode_encrypt0(encoded)
    headers = cbor.fields(cose.protected_headers(box.protected), (cose.ALG, cose.KID))
    unprotected = cbor.fields(box.unprotected, (cose.ENCAPSULATED_KEY,))
    return HybridWrapped(
        box=box,
        kid=cbor.octets(headers[cose.KID], keys.KID_BYTES),
        algorithm=cbor.integer(headers[cose.ALG]),
        encapsulated_key=cbor.octets(unprotected[cose.ENCAPSULATED_KEY]),
    )


def kdf_context(algorithm: int, key_bits: int, recipient_protected: bytes) -> bytes:
    """Encode a COSE_KDF_Context without party information (RFC 9053, section 5.2)."""
    nobody = (None, None, None)
    return cbor.encode((algorithm, nobody, nobody, (key_bits, recipient_protected)))


def _derive(secret: bytes) -> bytes:
    context = kdf_context(cose.A256GCM, 8 * cose.CONTENT_KEY_BYTES, _RECIPIENT_PROTECTED)
    return HKDF(hashes.SHA256(), cose.CONTENT_KEY_BYTES, salt=None, info=context).derive(secret)
