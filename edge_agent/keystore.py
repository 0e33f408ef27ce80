"""Who this gateway is: its certificate and private key, read from their files when they change.

The certificate's key is also the key that signs readings. Asking for certificates is not done
here; a renewal is noticed because the files have changed.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from device_protocol.errors import RejectionError
from device_protocol.identity import device_of
from device_protocol.keys import SigningKey, VerifyingKey
from edge_agent.settings import BrokerSettings
from runtime.tls import client_context


class NoIdentityError(Exception):
    """Certificate and key cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A usable certificate and key.

    not_before, not_after: the certificate's, Unix seconds.
    tls: for connections to the broker under this certificate.
    """

    signer: SigningKey
    not_before: int
    not_after: int
    tls: ssl.SSLContext


class Keystore:
    """The certificate and key files of one device."""

    def __init__(self, settings: BrokerSettings, device: str) -> None:
        self._settings = settings
        self._device = device

    def load(self) -> Identity:
        """Read the files.

        Raises:
            NoIdentityError: one is missing or unusable, or they are not of this device.
        """
        settings = self._settings
        try:
            certificate = x509.load_pem_x509_certificate(settings.certificate_file.read_bytes())
            key = load_pem_private_key(settings.key_file.read_bytes(), password=None)
            device = device_of(certificate)
            public = VerifyingKey.from_public(certificate.public_key())
        except (OSError, ValueError, TypeError, RejectionError) as error:
            raise NoIdentityError(str(error)) from error
        if device != self._device:
            raise NoIdentityError(f"the certificate is {device}'s, this is {self._device}")
        if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
            raise NoIdentityError(f"a {type(key).__name__} cannot sign readings")
        signer = SigningKey.from_private(key)
        if signer.kid != public.kid:
            raise NoIdentityError("the key is not the certificate's")
        try:
            tls = client_context(
                ca_file=settings.ca_file,
                certificate_file=settings.certificate_file,
                key_file=settings.key_file,
            )
        except OSError as error:
            raise NoIdentityError(f"TLS: {error}") from error
        return Identity(
            signer=signer,
            not_before=int(certificate.not_valid_before_utc.timestamp()),
            not_after=int(certificate.not_valid_after_utc.timestamp()),
            tls=tls,
        )

    def stamp(self) -> tuple[int, ...]:
        """Return what differs once a file has been replaced; zeros for a missing one."""
        return tuple(
            _modified(path) for path in (self._settings.certificate_file, self._settings.key_file)
        )


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
