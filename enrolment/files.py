"""Key and certificate files: PEM, written whole or not at all, keys for their owner's eyes only.

A key file may be encrypted under a passphrase (`enrolment.encrypted_key`); one given a
passphrase and found unencrypted is refused, so that an authority's key is never left open by
mistake. What the files mean is `enrolment.authority`; what certificates say is
`enrolment.policy`.
"""

import base64
import textwrap
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enrolment.encrypted_key import encrypt
from runtime.atomic_files import write_atomically

PrivateKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


class CredentialError(ValueError):
    """A key or certificate file is missing, damaged or not what it should be."""


def write_key(path: Path, key: PrivateKey, passphrase: bytes | None = None) -> None:
    """Write a private key as PKCS #8, mode 0600; encrypted if there is a passphrase.

    Raises:
        CredentialError: the passphrase is too short to protect anything.
    """
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if passphrase is None:
        content = _pem("PRIVATE KEY", der)
    else:
        try:
            content = _pem("ENCRYPTED PRIVATE KEY", encrypt(der, passphrase))
        except ValueError as error:
            raise CredentialError(f"{path} is not written: {error}") from error
    write_atomically(path, content, PRIVATE_MODE)


def write_certificate(path: Path, *chain: x509.Certificate) -> None:
    """Write a certificate, and those above it, as PEM, mode 0644."""
    pem = (certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)
    write_atomically(path, b"".join(pem), PUBLIC_MODE)


def read_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """Read a private key, encrypted if and only if there is a passphrase.

    Raises:
        CredentialError: no such file, not a PEM key, another passphrase, or neither Ed25519 nor
            elliptic curve.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=passphrase)
    except TypeError as error:
        raise CredentialError(
            f"{path} is encrypted and no passphrase is given"
            if passphrase is None
            else f"{path} is not encrypted though a passphrase is given. Encrypt it: "
            f"openssl pkcs8 -topk8 -scrypt -in {path} -out {path}.new, then move it into place"
        ) from error
    except (OSError, ValueError) as error:
        raise CredentialError(f"{path} holds no usable private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise CredentialError(f"{path} holds a {type(key).__name__}; Ed25519 or P-256 is needed")
    return key


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate, the first where the file holds a chain.

    Raises:
        CredentialError: no such file, or not a PEM certificate.
    """
    return read_certificates(path)[0]


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read the certificates of a file, at least one, in their order.

    Raises:
        CredentialError: no such file, or no PEM certificates.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CredentialError(f"{path} holds no certificate: {error}") from error


class OpenedKeys:
    """Private keys read, and decrypted, once; a file that changed is read anew.

    Decrypting costs some 50 ms on purpose, signing a thousandth of that.
    """

    def __init__(self) -> None:
        self._opened: dict[Path, tuple[tuple[int, int, int], PrivateKey]] = {}

    def read(self, path: Path, passphrase: bytes | None = None) -> PrivateKey:
        """Read a private key as `read_key` does, or take the one read from this same file.

        Raises:
            CredentialError: as `read_key`.
        """
        try:
            status = path.stat()
        except OSError as error:
            self._opened.pop(path, None)
            raise CredentialError(f"{path} holds no usable private key: {error}") from error
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        opened = self._opened.get(path)
        if opened is None or opened[0] != version:
            opened = (version, read_key(path, passphrase))
            self._opened[path] = opened
        return opened[1]


def _pem(label: str, der: bytes) -> bytes:
    """Write `der` as PEM (RFC 7468)."""
    lines = textwrap.wrap(base64.b64encode(der).decode("ascii"), 64)
    text = "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))
    return text.encode("ascii")
