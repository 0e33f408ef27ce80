"""X-Wing: a recipient's key that withstands quantum computers, and sealing to it by HPKE (suite 3).

ML-KEM-768 (FIPS 203) and X25519 together, as HPKE's KEM 0x647a MLKEM768-X25519, with HKDF-SHA256
and AES-256-GCM: who is to read what is sealed must break both. A key is kept as its seed of
32 bytes, from which both halves come (draft-irtf-cfrg-concrete-hybrid-kems; X-Wing). How this is
carried in message K is `delivery`'s business, what a key is called `keys`'s.
"""

import hashlib
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from device_protocol.errors import AeadError, StructureError

SEED_BYTES = 32
PUBLIC_BYTES = 1216
ENCAPSULATED_BYTES = 1120

_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class HybridPublicKey:
    """The public half: 1 184 bytes of ML-KEM-768, then 32 of X25519."""

    __slots__ = ("_key", "_raw")

    def __init__(self, raw: bytes) -> None:
        """Take the public key's bytes.

        Raises:
            StructureError: not 1 216 of them, or no ML-KEM key (FIPS 203, section 7.2).
        """
        if len(raw) != PUBLIC_BYTES:
            raise StructureError(f"X-Wing key of {len(raw)} bytes, expected {PUBLIC_BYTES}")
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES])
        except ValueError as error:
            raise StructureError("an X-Wing key without an ML-KEM key") from error
        x25519 = X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:])
        self._key = MLKEM768X25519PublicKey(mlkem, x25519)
        self._raw = raw

    def public_bytes_raw(self) -> bytes:
        """Return the 1 216 bytes."""
        return self._raw

    def seal(self, plaintext: bytes, info: bytes) -> tuple[bytes, bytes]:
        """Return the encapsulated key (1 120 bytes) and the ciphertext (RFC 9180, section 6.1).

        `info` is bound in: what is sealed opens only with the same.

        Raises:
            StructureError: the X25519 half is a point of small order.
        """
        try:
            sealed = _SUITE.encrypt(plaintext, self._key, info)
        except ValueError as error:
            raise StructureError("an X-Wing key whose X25519 half is of small order") from error
        return sealed[:ENCAPSULATED_BYTES], sealed[ENCAPSULATED_BYTES:]


class HybridPrivateKey:
    """The private half, made from a seed of 32 bytes."""

    __slots__ = ("_key", "_public", "_seed")

    def __init__(self, seed: bytes) -> None:
        """Expand a seed into both halves (X-Wing, expandDecapsulationKey).

        Raises:
            StructureError: it has not 32 bytes.
        """
        if len(seed) != SEED_BYTES:
            raise StructureError(f"X-Wing seed of {len(seed)} bytes, expected {SEED_BYTES}")
        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + SEED_BYTES)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self._public = (
            mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        )
        self._seed = seed

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> "HybridPrivateKey":
        """Draw a new key."""
        return cls(random(SEED_BYTES))

    def seed(self) -> bytes:
        """Return the 32 bytes that are the whole secret."""
        return self._seed

    def public_key(self) -> HybridPublicKey:
        """Return the public half."""
        return HybridPublicKey(self._public)

    def open(self, encapsulated: bytes, ciphertext: bytes, info: bytes) -> bytes:
        """Return what was sealed to this key.

        Raises:
            AeadError: key, encapsulated key, ciphertext and `info` do not belong together.
        """
        if len(encapsulated) != ENCAPSULATED_BYTES:
            raise AeadError(f"encapsulated key of {len(encapsulated)} bytes")
        try:
            return _SUITE.decrypt(encapsulated + ciphertext, self._key, info)
        except (InvalidTag, ValueError):
            raise AeadError(f"tag of {len(ciphertext)} bytes of ciphertext is wrong") from None
