"""A recipient's private key as PEM text (RFC 7468): the form in which its owner keeps it.

X25519 and P-256 are the usual PKCS #8. So is X-Wing, holding its seed under the algorithm
id-XWing, 1.3.6.1.4.1.62253.25722; as the library cannot read or write that, it is done here.
Files, their modes and where they lie are the reader's business.
"""

import base64
import binascii
import os
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from device_protocol.errors import StructureError
from device_protocol.hybrid import SEED_BYTES, HybridPrivateKey
from device_protocol.keys import P256, X25519, X_WING, RecipientKey

_BEGIN, _END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
_LINE = 64
_X_WING_HEAD = bytes.fromhex("3034020100300d060b2b0601040183e62d81c87a0420")
"""SEQUENCE { 0, SEQUENCE { id-XWing }, OCTET STRING of 32 bytes }, up to those (RFC 5958)."""


def generate(kind: str, random: Callable[[int], bytes] = os.urandom) -> RecipientKey:
    """Draw a new key of a kind that `keys` names; `random` is used for X-Wing only.

    Raises:
        StructureError: an unknown kind.
    """
    if kind == X25519:
        return RecipientKey(X25519PrivateKey.generate())
    if kind == P256:
        return RecipientKey(ec.generate_private_key(ec.SECP256R1()))
    if kind == X_WING:
        return RecipientKey(HybridPrivateKey.generate(random))
    raise StructureError(f"recipient key {kind!r}, known: {X25519}, {P256}, {X_WING}")


def encode_pem(key: RecipientKey) -> bytes:
    """Return the key, unencrypted."""
    private = key.private
    if not isinstance(private, HybridPrivateKey):
        return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    body = base64.b64encode(_X_WING_HEAD + private.seed()).decode()
    lines = [body[at : at + _LINE] for at in range(0, len(body), _LINE)]
    return "\n".join((_BEGIN, *lines, _END, "")).encode()


def decode_pem(pem: bytes) -> RecipientKey:
    """Read an unencrypted private key.

    Raises:
        StructureError: not one of the kinds a recipient may have.
    """
    seed = _x_wing_seed(pem)
    if seed is not None:
        return RecipientKey(HybridPrivateKey(seed))
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise StructureError("no unencrypted private key in PEM") from error
    if not isinstance(private, X25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise StructureError(f"{type(private).__name__}, expected X25519, P-256 or X-Wing")
    return RecipientKey.from_private(private)


def _x_wing_seed(pem: bytes) -> bytes | None:
    """Return the seed if this is an X-Wing key in PKCS #8, None if it is anything else."""
    lines = pem.decode("ascii", "replace").split()
    if " ".join(lines[:3]) != _BEGIN or " ".join(lines[-3:]) != _END:
        return None
    try:
        encoded = base64.b64decode("".join(lines[3:-3]), validate=True)
    except (binascii.Error, ValueError):
        return None
    if not encoded.startswith(_X_WING_HEAD) or len(encoded) != len(_X_WING_HEAD) + SEED_BYTES:
        return None
    return encoded[len(_X_WING_HEAD) :]
