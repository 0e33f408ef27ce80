"""Key and certificate files: PEM, written whole or not at all, keys for their owner's eyes only.

What the files mean is `enrolment.authority`; what certificates say is `enrolment.policy`.
"""

import os
import secrets
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PrivateKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


class CredentialError(ValueError):
    """A key or certificate file is missing, damaged or not what it should be."""


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that a reader sees the old content or the new, and a crash leaves one.

    The directories above are made as needed. `mode` holds from the first byte on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask took away
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_key(path: Path, key: PrivateKey) -> None:
    """Write a private key as PKCS #8, mode 0600."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_atomically(path, pem, PRIVATE_MODE)


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Write a certificate as PEM, mode 0644."""
    write_atomically(path, certificate.public_bytes(serialization.Encoding.PEM), PUBLIC_MODE)


def read_key(path: Path) -> PrivateKey:
    """Read a private key.

    Raises:
        CredentialError: no such file, not a PEM key, or neither Ed25519 nor elliptic curve.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CredentialError(f"{path} holds no usable private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise CredentialError(f"{path} holds a {type(key).__name__}; Ed25519 or P-256 is needed")
    return key


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate.

    Raises:
        CredentialError: no such file, or not a PEM certificate.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CredentialError(f"{path} holds no certificate: {error}") from error
