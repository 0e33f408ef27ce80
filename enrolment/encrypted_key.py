"""Encrypting a private key under a passphrase: PKCS #8 with PBES2, scrypt and AES-256-CBC. Pure.

The library's own encryption stretches a passphrase by 2 048 rounds of PBKDF2, too few for keys
that a region's trust hangs on, and offers no choice. What is written here, `openssl pkey` and
the library read (RFC 5958 section 3, RFC 8018 section 6.2, RFC 7914 section 7); where keys lie
is `enrolment.files`.
"""

import hashlib
import os
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MIN_PASSPHRASE_BYTES: Final = 12

_SALT_BYTES = 16
_IV_BYTES = 16
_KEY_BYTES = 32
_COST, _BLOCK_SIZE, _PARALLEL = 1 << 14, 8, 1  # 16 MiB and some 50 ms for every guess
_INTEGER, _OCTET_STRING, _OBJECT, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES_256_CBC = bytes.fromhex("60864801650304012a")


def encrypt(key: bytes, passphrase: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return the DER of an EncryptedPrivateKeyInfo that holds `key`, the DER of a PKCS #8 key.

    random: returns that many random bytes.

    Raises:
        ValueError: the passphrase is shorter than `MIN_PASSPHRASE_BYTES`.
    """
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise ValueError(
            f"passphrase of {len(passphrase)} bytes; at least {MIN_PASSPHRASE_BYTES} are needed"
        )
    salt, iv = random(_SALT_BYTES), random(_IV_BYTES)
    stretched = hashlib.scrypt(
        passphrase, salt=salt, n=_COST, r=_BLOCK_SIZE, p=_PARALLEL, dklen=_KEY_BYTES
    )
    padder = padding.PKCS7(algorithms.AES256.block_size).padder()
    encryptor = Cipher(algorithms.AES256(stretched), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(key) + padder.finalize()) + encryptor.finalize()
    derivation = _sequence(
        _der(_OBJECT, _SCRYPT),
        _sequence(
            _der(_OCTET_STRING, salt), *(_integer(n) for n in (_COST, _BLOCK_SIZE, _PARALLEL))
        ),
    )
    cipher = _sequence(_der(_OBJECT, _AES_256_CBC), _der(_OCTET_STRING, iv))
    scheme = _sequence(_der(_OBJECT, _PBES2), _sequence(derivation, cipher))
    return _sequence(scheme, _der(_OCTET_STRING, encrypted))


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    """Write one element (X.690, section 8.1); the short form of the length where it fits."""
    size = len(content)
    if size < 0x80:  # noqa: PLR2004 - the long form begins there
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
