"""Epoch keys at rest: sealed under the service key, each to its own epoch.

AES-256-GCM (SP 800-38D) with a random nonce; the associated data names gateway and epoch, so that
a row cannot be moved to another. Where the sealed keys are kept is `storage.epochs`.
"""

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_EPOCH_KEY_BYTES: Final = 32
_BASE_IV_BYTES: Final = 12


class ServiceKeyError(Exception):
    """The service key file holds no key, or not the one the epoch keys were sealed under."""


class EpochKeys:
    """Seals and opens epoch keys under one service key."""

    def __init__(self, service_key: bytes) -> None:
        self._cipher = AESGCM(service_key)

    @classmethod
    def from_file(cls, path: Path) -> "EpochKeys":
        """Read the service key: 32 bytes in hexadecimal.

        Raises:
            ServiceKeyError: the file holds something else.
            OSError: it cannot be read.
        """
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise ServiceKeyError(f"{path} does not hold 32 bytes in hexadecimal")
        return cls(key)

    def seal(
        self, gateway_id: int, epoch_id: bytes, *, key: bytes, base_iv: bytes, clock: int
    ) -> bytes:
        """Return what may be stored; `clock` is the clock quality the gateway announced."""
        nonce = os.urandom(_NONCE_BYTES)
        secret = key + base_iv + bytes((clock,))
        return nonce + self._cipher.encrypt(nonce, secret, _context(gateway_id, epoch_id))

    def open(self, gateway_id: int, epoch_id: bytes, sealed: bytes) -> tuple[bytes, bytes, int]:
        """Return key, base IV and clock quality.

        Raises:
            ServiceKeyError: sealed under another service key, or for another epoch.
        """
        nonce, box = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            secret = self._cipher.decrypt(nonce, box, _context(gateway_id, epoch_id))
        except InvalidTag:
            raise ServiceKeyError(
                f"the key of epoch {epoch_id.hex()} was sealed under another service key"
            ) from None
        end = _EPOCH_KEY_BYTES + _BASE_IV_BYTES
        return secret[:_EPOCH_KEY_BYTES], secret[_EPOCH_KEY_BYTES:end], secret[end]


def _context(gateway_id: int, epoch_id: bytes) -> bytes:
    return b"kerbstone epoch key" + gateway_id.to_bytes(8, "big") + epoch_id
