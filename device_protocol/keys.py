"""The keys of the envelope and their names (envelope, section 4).

A key that signs or verifies is Ed25519 or P-256; a recipient's key is X25519, P-256 or, in
suite 3, X-Wing. Each is
written as a deterministic COSE_Key of its required public members only, and its `kid` is the
first 8 bytes of the SHA-256 over that (RFC 9679). Reading key files is not done here.
"""

import hashlib
import os
from collections.abc import Callable
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from device_protocol import cbor, cose
from device_protocol.errors import SignatureError, StructureError, UnwrapError
from device_protocol.hybrid import PUBLIC_BYTES, HybridPrivateKey, HybridPublicKey

KID_BYTES = 8
SIGNATURE_BYTES = 64

X25519, P256, X_WING = "x25519", "p-256", "x-wing"
"""Kinds of recipients' keys."""

KTY = 1
_ALG, _PUB = 3, -1
_CRV, _X, _Y = -1, -2, -3
_OKP, _EC2, _AKP = 1, 2, 7
_P256, _X25519, _ED25519 = 1, 4, 6
_COORDINATE_BYTES = 32
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ECDSA_SHA256 = ec.ECDSA(hashes.SHA256())


class VerifyingKey:
    """A public key that verifies what a device, or a council's signer, has signed.

    algorithm: -19 (Ed25519) or -9 (ESP256).
    kid: its 8-byte name.
    cose_key: its deterministic COSE_Key.
    """

    __slots__ = ("_key", "algorithm", "cose_key", "kid")

    def __init__(self, key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self.algorithm = cose.ED25519 if isinstance(key, Ed25519PublicKey) else cose.ESP256
        self.cose_key = cbor.encode(members(key))
        self.kid = thumbprint(self.cose_key)

    @classmethod
    def from_public(cls, key: PublicKeyTypes | HybridPublicKey) -> Self:
        """Take an Ed25519 or P-256 key.

        Raises:
            StructureError: a key of another kind.
        """
        if not isinstance(key, Ed25519PublicKey | ec.EllipticCurvePublicKey):
            raise StructureError(f"{type(key).__name__} cannot sign here")
        return cls(key)

    @classmethod
    def from_cose_key(cls, encoded: bytes) -> Self:
        """Read a COSE_Key.

        Raises:
            EncodingError, StructureError: not an Ed25519 or P-256 key of section 4's form.
        """
        return cls.from_public(public_key(cbor.decode(encoded)))

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if `signature` (64 bytes) is this key's over `data`.

        Raises:
            SignatureError: it is not.
        """
        if len(signature) != SIGNATURE_BYTES:
            raise SignatureError(f"signature of {len(signature)} bytes")
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, data)
            else:
                self._key.verify(_to_der(signature), data, _ECDSA_SHA256)
        except InvalidSignature:
            raise SignatureError(f"signature is not of key {self.kid.hex()}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyingKey) and other.cose_key == self.cose_key

    def __hash__(self) -> int:
        return hash(self.cose_key)

    def __repr__(self) -> str:
        return f"VerifyingKey({self.kid.hex()})"


class SigningKey:
    """A private key that signs; `algorithm`, `kid` and `cose_key` are its public half's."""

    __slots__ = ("_key", "algorithm", "cose_key", "kid")

    def __init__(self, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        public = VerifyingKey.from_public(key.public_key())
        self._key = key
        self.algorithm = public.algorithm
        self.kid = public.kid
        self.cose_key = public.cose_key

    @classmethod
    def from_private(cls, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> Self:
        """Take an Ed25519 or P-256 key.

        Raises:
            StructureError: a key on another curve.
        """
        return cls(key)

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(data)
        r, s = decode_dss_signature(self._key.sign(data, _ECDSA_SHA256))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")

    def __repr__(self) -> str:
        return f"SigningKey({self.kid.hex()})"


class RecipientPublicKey:
    """A key that epoch keys are delivered to; see `VerifyingKey` for its other attributes.

    kind: X25519, P256 or X_WING; the last `seal`s, the others `agree`.
    """

    __slots__ = ("_key", "cose_key", "kid", "kind")

    def __init__(self, key: X25519PublicKey | ec.EllipticCurvePublicKey | HybridPublicKey) -> None:
        self._key = key
        self.cose_key = cbor.encode(members(key))
        self.kid = thumbprint(self.cose_key)
        self.kind = _kind(key)

    @classmethod
    def from_public(cls, key: PublicKeyTypes | HybridPublicKey) -> Self:
        """Take an X25519, P-256 or X-Wing key.

        Raises:
            StructureError: a key of another kind.
        """
        if not isinstance(key, X25519PublicKey | ec.EllipticCurvePublicKey | HybridPublicKey):
            raise StructureError(f"{type(key).__name__} cannot receive here")
        return cls(key)

    @classmethod
    def from_cose_key(cls, encoded: bytes) -> Self:
        """Read a COSE_Key.

        Raises:
            EncodingError, StructureError: not an X25519, P-256 or X-Wing key of section 4's form.
        """
        return cls.from_public(public_key(cbor.decode(encoded)))

    def agree(self, random: Callable[[int], bytes] = os.urandom) -> tuple[dict[int, object], bytes]:
        """Return a new ephemeral key's members and the secret it shares with this key.

        The ephemeral private key is forgotten when this returns.

        Raises:
            TypeError: an X-Wing key, which has no such agreement.
        """
        if isinstance(self._key, HybridPublicKey):
            raise TypeError("an X-Wing key seals")
        if isinstance(self._key, X25519PublicKey):
            x25519 = X25519PrivateKey.from_private_bytes(random(_COORDINATE_BYTES))
            return members(x25519.public_key()), x25519.exchange(self._key)
        p256 = ec.derive_private_key(_draw_scalar(random), ec.SECP256R1())
        return members(p256.public_key()), p256.exchange(ec.ECDH(), self._key)

    def seal(self, plaintext: bytes, info: bytes) -> tuple[bytes, bytes]:
        """Return an encapsulated key and what is sealed under it; see `hybrid`.

        Raises:
            TypeError: not an X-Wing key.
        """
        if not isinstance(self._key, HybridPublicKey):
            raise TypeError(f"a {self.kind} key agrees")
        return self._key.seal(plaintext, info)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecipientPublicKey) and other.cose_key == self.cose_key

    def __hash__(self) -> int:
        return hash(self.cose_key)

    def __repr__(self) -> str:
        return f"RecipientPublicKey({self.kid.hex()})"


class RecipientKey:
    """A private key that opens the epoch keys delivered to it; `kind` as of its public half."""

    __slots__ = ("_key", "cose_key", "kid", "kind")

    def __init__(
        self, key: X25519PrivateKey | ec.EllipticCurvePrivateKey | HybridPrivateKey
    ) -> None:
        public = RecipientPublicKey.from_public(key.public_key())
        self._key = key
        self.cose_key = public.cose_key
        self.kid = public.kid
        self.kind = public.kind

    @classmethod
    def from_private(
        cls, key: X25519PrivateKey | ec.EllipticCurvePrivateKey | HybridPrivateKey
    ) -> Self:
        """Take an X25519, P-256 or X-Wing key.

        Raises:
            StructureError: a key on another curve.
        """
        return cls(key)

    @property
    def private(self) -> X25519PrivateKey | ec.EllipticCurvePrivateKey | HybridPrivateKey:
        """The key itself, for whoever keeps it."""
        return self._key

    def public(self) -> RecipientPublicKey:
        """Return the half to publish in a key set."""
        return RecipientPublicKey(self._key.public_key())

    def agree(self, ephemeral: dict[int, object]) -> bytes:
        """Return the secret shared with the ephemeral key of these members.

        Raises:
            StructureError: no key, or a point off the curve.
            UnwrapError: a key on another curve than this, or one that gives the all-zero secret.
        """
        theirs = public_key(ephemeral)
        mine = self._key
        if isinstance(mine, X25519PrivateKey) and isinstance(theirs, X25519PublicKey):
            try:
                return mine.exchange(theirs)
            except ValueError as error:
                raise UnwrapError("the shared secret is zero") from error
        if isinstance(mine, ec.EllipticCurvePrivateKey) and isinstance(
            theirs, ec.EllipticCurvePublicKey
        ):
            return mine.exchange(ec.ECDH(), theirs)
        raise UnwrapError("the ephemeral key is on another curve")

    def open(self, encapsulated: bytes, ciphertext: bytes, info: bytes) -> bytes:
        """Return what was sealed to this key; see `hybrid`.

        Raises:
            AeadError: it was sealed to another, or for another purpose.
            UnwrapError: not an X-Wing key.
        """
        if not isinstance(self._key, HybridPrivateKey):
            raise UnwrapError(f"sealed to a {self.kind} key")
        return self._key.open(encapsulated, ciphertext, info)

    def __repr__(self) -> str:
        return f"RecipientKey({self.kid.hex()})"


def thumbprint(encoded: bytes) -> bytes:
    """Return the kid of a deterministic COSE_Key."""
    return hashlib.sha256(encoded).digest()[:KID_BYTES]


def members(
    key: Ed25519PublicKey | X25519PublicKey | ec.EllipticCurvePublicKey | HybridPublicKey,
) -> dict[int, object]:
    """Return the members of a key's COSE_Key.

    Raises:
        StructureError: a key on another curve.
    """
    if isinstance(key, HybridPublicKey):
        return {KTY: _AKP, _ALG: cose.HPKE_MLKEM768_X25519, _PUB: key.public_bytes_raw()}
    if isinstance(key, Ed25519PublicKey):
        return {KTY: _OKP, _CRV: _ED25519, _X: key.public_bytes_raw()}
    if isinstance(key, X25519PublicKey):
        return {KTY: _OKP, _CRV: _X25519, _X: key.public_bytes_raw()}
    if not isinstance(key.curve, ec.SECP256R1):
        raise StructureError(f"a key on {key.curve.name}, expected secp256r1")
    point = key.public_numbers()
    return {
        KTY: _EC2,
        _CRV: _P256,
        _X: point.x.to_bytes(_COORDINATE_BYTES, "big"),
        _Y: point.y.to_bytes(_COORDINATE_BYTES, "big"),
    }


def check_members(item: object) -> dict[int, object]:
    """Return a decoded COSE_Key whose members have section 6's form, whatever its curve.

    Raises:
        StructureError: they have not.
    """
    found = cbor.fields(item, (KTY, _CRV, _X), (_Y,))
    if cbor.integer(found[KTY]) not in (_OKP, _EC2):
        raise StructureError(f"key type {found[KTY]}")
    cbor.integer(found[_CRV])
    cbor.octets(found[_X], _COORDINATE_BYTES)
    if _Y in found:
        cbor.octets(found[_Y], _COORDINATE_BYTES)
    return found


def public_key(
    item: object,
) -> Ed25519PublicKey | X25519PublicKey | ec.EllipticCurvePublicKey | HybridPublicKey:
    """Return the key a decoded COSE_Key stands for.

    Raises:
        StructureError: not of the form of section 4, or a point off the curve.
    """
    if type(item) is dict and item.get(KTY) == _AKP:
        return _hybrid(item)
    found = check_members(item)
    x = cbor.octets(found[_X])
    match found[KTY], found[_CRV], found.get(_Y):
        case 1, 6, None:
            return Ed25519PublicKey.from_public_bytes(x)
        case 1, 4, None:
            return X25519PublicKey.from_public_bytes(x)
        case 2, 1, bytes() as y:
            try:
                return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\4" + x + y)
            except ValueError as error:
                raise StructureError("a point off the curve") from error
    raise StructureError(f"key type {found[KTY]} on curve {found[_CRV]}")


def _hybrid(item: object) -> HybridPublicKey:
    """Read an algorithm key pair (RFC 9964, section 3), of which there is one kind here."""
    found = cbor.fields(item, (KTY, _ALG, _PUB))
    if cbor.integer(found[_ALG]) != cose.HPKE_MLKEM768_X25519:
        raise StructureError(f"algorithm key pair for {found[_ALG]}")
    return HybridPublicKey(cbor.octets(found[_PUB], PUBLIC_BYTES))


def _kind(key: X25519PublicKey | ec.EllipticCurvePublicKey | HybridPublicKey) -> str:
    if isinstance(key, HybridPublicKey):
        return X_WING
    return X25519 if isinstance(key, X25519PublicKey) else P256


def _draw_scalar(random: Callable[[int], bytes]) -> int:
    """Draw a P-256 private key: again and again until one is in range (FIPS 186-5, A.2.2)."""
    while not 0 < (scalar := int.from_bytes(random(_COORDINATE_BYTES), "big")) < _P256_ORDER:
        pass
    return scalar


def _to_der(signature: bytes) -> bytes:
    """Return r‖s in the form the library reads."""
    return encode_dss_signature(
        int.from_bytes(signature[:_COORDINATE_BYTES], "big"),
        int.from_bytes(signature[_COORDINATE_BYTES:], "big"),
    )
