"""Who this gateway is: its certificate and private key, read from their files when they change.

The certificate's key is also the key that signs readings, unless the settings name a token that
holds one (see `credentials.signer`). Asking for certificates is not done here; a renewal is
noticed because the files have changed.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from device_protocol.errors import RejectionError
from device_protocol.identity import device_of
from device_protocol.keys import SigningKey, VerifyingKey
from edge_agent.clock import Clock
from edge_agent.credentials.tls import mutual_context
from edge_agent.settings import AgentSettings

if TYPE_CHECKING:
    from edge_agent.credentials.signer import HardwareToken

_SIGNING_CERTIFICATE = "signing.pem"


class NoIdentityError(Exception):
    """Certificate and key cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A usable certificate and key.

    not_before, not_after: the certificate's, Unix seconds; of two, the shorter time.
    tls: for connections to the broker under this certificate.
    """

    signer: SigningKey
    not_before: int
    not_after: int
    tls: ssl.SSLContext


class Keystore:
    """The certificate and key files of one device, and its token if it has one."""

    def __init__(self, settings: AgentSettings, clock: Clock) -> None:
        self._settings = settings
        self._broker = settings.broker
        self._clock = clock
        self._token: HardwareToken | None = None

    def load(self) -> Identity:
        """Read the files.

        Raises:
            NoIdentityError: one is missing or unusable, or they are not of this device.
        """
        certificate_file, key_file = self._files()
        try:
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
            key = load_pem_private_key(key_file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise NoIdentityError(str(error)) from error
        if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
            raise NoIdentityError(f"a {type(key).__name__} cannot sign readings")
        signer = self._signer(certificate, key)
        certificates = [certificate]
        if self._settings.signer is not None:
            signing = certificate_file.with_name(_SIGNING_CERTIFICATE)
            signer, signing_certificate = self._signer_in_token(signing)
            certificates.append(signing_certificate)
        try:
            tls = mutual_context(
                ca_file=self._broker.ca_file,
                certificate_file=certificate_file,
                key_file=key_file,
                clock=self._clock,
            )
        except OSError as error:
            raise NoIdentityError(f"TLS: {error}") from error
        return Identity(
            signer=signer,
            not_before=int(max(each.not_valid_before_utc.timestamp() for each in certificates)),
            not_after=int(min(each.not_valid_after_utc.timestamp() for each in certificates)),
            tls=tls,
        )

    def stamp(self) -> tuple[int, ...]:
        """Return what differs once a file has been replaced; zeros for a missing one."""
        return tuple(
            _modified(path) for path in (self._broker.certificate_file, self._broker.key_file)
        )

    def token(self) -> "HardwareToken | None":
        """Return the token that the settings name, opened.

        Raises:
            OSError: it cannot be used.
        """
        if self._token is None and self._settings.signer is not None:
            from edge_agent.credentials.signer import HardwareToken  # noqa: PLC0415  # only with a token

            self._token = HardwareToken(self._settings.signer, self._settings.device)
        return self._token

    def close(self) -> None:
        """Log out of the token, if it was used."""
        token, self._token = self._token, None
        if token is not None:
            token.close()

    def _files(self) -> tuple[Path, Path]:
        """Return both files under a name that stays theirs when a renewal replaces them."""
        certificate, key = self._broker.certificate_file, self._broker.key_file
        if certificate.parent != key.parent:
            return certificate, key
        directory = certificate.parent.resolve()
        return directory / certificate.name, directory / key.name

    def _signer(
        self, certificate: x509.Certificate, key: Ed25519PrivateKey | EllipticCurvePrivateKey
    ) -> SigningKey:
        """Return what signs with `key`, if `certificate` is this device's and the key's."""
        try:
            device = device_of(certificate)
            public = VerifyingKey.from_public(certificate.public_key())
            signer = SigningKey.from_private(key)
        except (ValueError, TypeError, RejectionError) as error:
            raise NoIdentityError(str(error)) from error
        if device != self._settings.device:
            raise NoIdentityError(f"the certificate is {device}'s, this is {self._settings.device}")
        if signer.kid != public.kid:
            raise NoIdentityError("the key is not the certificate's")
        return signer

    def _signer_in_token(self, file: Path) -> tuple[SigningKey, x509.Certificate]:
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
            public_key = certificate.public_key()
            if not isinstance(public_key, EllipticCurvePublicKey):
                raise NoIdentityError(f"{file} is not of a P-256 key")
            token = self.token()
            if token is None:
                raise NoIdentityError("the settings name no token")
            key = token.find(public_key)
        except (OSError, ValueError) as error:
            self.close()  # perhaps another session fares better
            raise NoIdentityError(str(error)) from error
        return self._signer(certificate, key), certificate


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
