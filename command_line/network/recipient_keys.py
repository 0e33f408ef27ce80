"""The private keys that gateways seal to: files in `centre/recipients`, one for each key.

Made, listed and destroyed here. That gateways seal to them is a row in the database, signed into
message R by the enrolment service; opening with them is ingest's business.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from command_line.network.directory import PRIVATE
from device_protocol.keys import RecipientKey
from enrolment.files import CredentialError, write_atomically

KeyType: TypeAlias = Literal["x25519", "p256"]
KEY_TYPES: Final[tuple[KeyType, ...]] = get_args(KeyType)
DEFAULT_KEY_TYPES: Final[tuple[KeyType, ...]] = ("x25519", "p256")  # suites 1 and 2
SUFFIX: Final = ".key"

_Private: TypeAlias = X25519PrivateKey | ec.EllipticCurvePrivateKey
_GENERATE: Final[Mapping[KeyType, Callable[[], _Private]]] = {
    "x25519": X25519PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientFile:
    """A private key on disk. kid, cose_key: of its public half (envelope, section 4)."""

    path: Path
    key_type: KeyType
    kid: bytes
    cose_key: bytes


def make(directory: Path, key_type: KeyType, *, prefix: str) -> RecipientFile:
    """Write a new private key, mode 0600, as `<prefix>-<key type>-<kid>.key`; return it."""
    private = _GENERATE[key_type]()
    kid = RecipientKey.from_private(private).kid.hex()
    path = directory / f"{prefix}-{key_type}-{kid}{SUFFIX}"
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_atomically(path, pem, PRIVATE)
    return read(path)


def read(path: Path) -> RecipientFile:
    """Read a private key's public half.

    Raises:
        CredentialError: no such file, or neither an X25519 nor a P-256 key.
    """
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CredentialError(f"{path} holds no usable private key: {error}") from error
    if not isinstance(private, X25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise CredentialError(f"{path} holds a {type(private).__name__}; X25519 or P-256 is needed")
    key = RecipientKey.from_private(private)
    key_type: KeyType = "x25519" if isinstance(private, X25519PrivateKey) else "p256"
    return RecipientFile(path=path, key_type=key_type, kid=key.kid, cose_key=key.cose_key)


def read_all(directory: Path) -> list[RecipientFile]:
    """Read every key of a directory, in the order of their names.

    Raises:
        CredentialError: one of them is damaged.
    """
    return [read(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]


def destroy(file: RecipientFile) -> None:
    """Overwrite a private key and remove it, both on disk when this returns.

    Flash memory and copying file systems may keep what was overwritten: the disk itself should
    be encrypted.
    """
    with file.path.open("r+b") as opened:
        opened.write(os.urandom(os.fstat(opened.fileno()).st_size))
        opened.flush()
        os.fsync(opened.fileno())
    file.path.unlink()
    directory = os.open(file.path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
