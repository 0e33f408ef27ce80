"""The private keys that gateways seal to: files in `centre/recipients`, one for each key.

Made, listed and destroyed here. That gateways seal to them is a row in the database, signed into
message R by the enrolment service; opening with them is ingest's business.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from command_line.network.directory import PRIVATE
from device_protocol.errors import StructureError
from device_protocol.keys import P256, X25519, X_WING, RecipientKey
from device_protocol.recipient_pem import decode_pem, encode_pem, generate
from enrolment.files import CredentialError
from runtime.atomic_files import write_atomically

KINDS: Final = (X25519, P256, X_WING)
DEFAULT_KINDS: Final = (X25519, P256)  # suites 1 and 2
SUFFIX: Final = ".key"


@dataclass(frozen=True, slots=True)
class RecipientFile:
    """A private key on disk."""

    path: Path
    key: RecipientKey


def make(directory: Path, kind: str, *, prefix: str) -> RecipientFile:
    """Write a new private key, mode 0600, as `<prefix>-<kind>-<kid>.key`; return it."""
    key = generate(kind)
    path = directory / f"{prefix}-{kind}-{key.kid.hex()}{SUFFIX}"
    write_atomically(path, encode_pem(key), PRIVATE)
    return RecipientFile(path, key)


def read_all(directory: Path) -> list[RecipientFile]:
    """Read every key of a directory, in the order of their names.

    Raises:
        CredentialError: one of them is damaged.
    """
    return [_read(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]


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


def _read(path: Path) -> RecipientFile:
    try:
        return RecipientFile(path, decode_pem(path.read_bytes()))
    except (OSError, StructureError) as error:
        raise CredentialError(
            f"{path} holds no private key of a recipient: {error}; move it away, or restore it"
        ) from error
