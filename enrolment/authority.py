"""The certificate authority: region service root and council roots, their keys and what they sign.

`Authority` owns one directory and is safe to run again over it: what exists and is still
good is kept, what is due is made anew. It signs public keys; private keys of gateways
never reach it. What certificates say is decided in `enrolment.policy`, and the revocation
of a gateway is a row in the registry, not a matter of this module.

    <directory>/service-root.{pem,key}
               /server.{pem,key}
               /services/<service>[.<tenant>].{pem,key}
               /councils/<tenant>/root.{pem,key}
               /councils/<tenant>/key-set-signer.{pem,key}
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from broker_config.network import BrokerCertificates
from device_protocol.identity import renewal_due
from enrolment import policy
from enrolment.files import (
    CredentialError,
    PrivateKey,
    read_certificate,
    read_key,
    write_certificate,
    write_key,
)

PublicKey: TypeAlias = Ed25519PublicKey | ec.EllipticCurvePublicKey
Clock: TypeAlias = Callable[[], datetime]


class KeyKind(Enum):
    """The two kinds of gateway key; they decide the envelope's suite (1 or 2)."""

    ED25519 = "ed25519"
    P256 = "p-256"

    def generate(self) -> PrivateKey:
        """Make a new private key of this kind from the operating system's randomness."""
        if self is KeyKind.ED25519:
            return Ed25519PrivateKey.generate()
        return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where a certificate and its private key lie."""

    certificate: Path
    key: Path

    @classmethod
    def named(cls, stem: Path) -> "CredentialFiles":
        """Return `<stem>.pem` and `<stem>.key`; the stem may itself hold dots."""
        return cls(stem.with_name(stem.name + ".pem"), stem.with_name(stem.name + ".key"))


@dataclass(frozen=True, slots=True)
class GatewayFiles:
    """What an enrolled gateway holds: its own credential and the two roots it trusts."""

    credential: CredentialFiles
    service_root: Path
    council_root: Path


class Authority:
    """One network's certificate authority over a directory of its own.

    network: the network's name, which appears in service certificates.
    clock: returns the time with its UTC offset.
    """

    def __init__(
        self, directory: Path, network: str, *, clock: Clock = lambda: datetime.now(UTC)
    ) -> None:
        self._directory = directory
        self._network = network
        self._clock = clock

    def service_root(self) -> Path:
        """Return the service root's certificate, made on first use."""
        return self._ensure_root(self._service_root_files(), policy.service_root(self._network))

    def council_root(self, tenant: str) -> Path:
        """Return a council's IoT root certificate, made on first use."""
        return self._ensure_root(self._council_root_files(tenant), policy.council_root(tenant))

    def broker_server(self, hosts: Iterable[str] = ()) -> CredentialFiles:
        """Return the broker's server certificate, good for localhost and `hosts`."""
        self.service_root()
        return self._ensure(
            CredentialFiles.named(self._directory / "server"),
            policy.broker_server(self._network, hosts),
            self._service_root_files(),
            KeyKind.P256,
        )

    def service_client(self, service: str, tenant: str = "") -> CredentialFiles:
        """Return a central process's client certificate, for one council or (empty) for all."""
        self.service_root()
        profile = policy.service_client(self._network, service, tenant)
        return self._ensure(
            CredentialFiles.named(self._directory / "services" / profile.common_name),
            profile,
            self._service_root_files(),
            KeyKind.P256,
        )

    def key_set_signer(self, tenant: str) -> CredentialFiles:
        """Return the certificate that signs a council's key sets (message R)."""
        self.council_root(tenant)
        return self._ensure(
            CredentialFiles.named(self._directory / "councils" / tenant / "key-set-signer"),
            policy.key_set_signer(tenant),
            self._council_root_files(tenant),
            KeyKind.ED25519,
        )

    def issue_gateway(self, tenant: str, device: str, public_key: PublicKey) -> x509.Certificate:
        """Certify a gateway's public key under its council's root.

        The caller has proved that the requester is this device and holds the private key.

        Raises:
            PolicyError: tenant or device is malformed, or the key is neither Ed25519 nor P-256.
        """
        self.council_root(tenant)
        issuer = self._council_root_files(tenant)
        return self._sign(policy.gateway(tenant, device), public_key, issuer)

    def broker_certificates(
        self, tenants: Iterable[str], hosts: Iterable[str] = ()
    ) -> BrokerCertificates:
        """Return the files a broker of these councils needs, making what is missing."""
        server = self.broker_server(hosts)
        return BrokerCertificates(
            service_root=self.service_root(),
            server_certificate=server.certificate,
            server_key=server.key,
            council_roots={tenant: self.council_root(tenant) for tenant in tenants},
        )

    def _service_root_files(self) -> CredentialFiles:
        return CredentialFiles.named(self._directory / "service-root")

    def _council_root_files(self, tenant: str) -> CredentialFiles:
        return CredentialFiles.named(self._directory / "councils" / tenant / "root")

    def _ensure_root(self, files: CredentialFiles, profile: policy.Profile) -> Path:
        """Make a root once. A lost root key is never replaced silently: trust hangs on it."""
        if files.certificate.exists():
            if not _belongs(read_key(files.key), read_certificate(files.certificate)):
                raise CredentialError(f"{files.key} is not the key of {files.certificate}")
            if not _is_as(read_certificate(files.certificate), profile):
                raise CredentialError(
                    f"{files.certificate} is not what policy wants of this root; a broker that "
                    "trusts it might mistake one council for another. Replace it and its "
                    "certificates, or restore the original"
                )
            return files.certificate
        key = read_key(files.key) if files.key.exists() else KeyKind.P256.generate()
        write_key(files.key, key)
        certificate = build_certificate(profile, key.public_key(), key, None, self._clock())
        write_certificate(files.certificate, certificate)
        return files.certificate

    def _ensure(
        self,
        files: CredentialFiles,
        profile: policy.Profile,
        issuer: CredentialFiles,
        kind: KeyKind,
    ) -> CredentialFiles:
        """Keep a credential that is whole, current and says what policy says; else make one."""
        if not self._is_good(files, profile, issuer):
            key = kind.generate()
            certificate = self._sign(profile, key.public_key(), issuer)
            write_key(files.key, key)
            write_certificate(files.certificate, certificate)
        return files

    def _is_good(
        self, files: CredentialFiles, profile: policy.Profile, issuer: CredentialFiles
    ) -> bool:
        if not (files.certificate.exists() and files.key.exists()):
            return False
        certificate = read_certificate(files.certificate)
        return (
            _belongs(read_key(files.key), certificate)
            and not renewal_due(certificate, int(self._clock().timestamp()))
            and _signed_by(certificate, read_certificate(issuer.certificate))
            and _is_as(certificate, profile)
        )

    def _sign(
        self, profile: policy.Profile, public_key: PublicKey, issuer: CredentialFiles
    ) -> x509.Certificate:
        return build_certificate(
            profile,
            public_key,
            read_key(issuer.key),
            read_certificate(issuer.certificate),
            self._clock(),
        )


def build_certificate(
    profile: policy.Profile,
    public_key: PublicKey,
    issuer_key: PrivateKey,
    issuer: x509.Certificate | None,
    now: datetime,
) -> x509.Certificate:
    """Sign what `profile` says about `public_key`; `issuer` None makes it self-signed.

    Raises:
        PolicyError: the issuer has ended, or the key is neither Ed25519 nor P-256.
    """
    _check_key(public_key)
    validity = profile.validity(now, issuer_ends=issuer.not_valid_after_utc if issuer else None)
    subject = profile.subject()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begins)
        .not_valid_after(validity.ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    for extension, critical in profile.extensions():
        builder = builder.add_extension(extension, critical=critical)
    digest = None if isinstance(issuer_key, Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, digest)


def enrol_locally(
    authority: Authority,
    tenant: str,
    device: str,
    directory: Path,
    *,
    kind: KeyKind = KeyKind.ED25519,
) -> GatewayFiles:
    """Enrol a gateway that shares a machine with the authority: demo, bench and tests.

    Plays the gateway's part in `directory`, its own: makes the key there, hands only the
    public key to the authority, and stores what comes back with the two roots to trust.
    Each call is a renewal: a new key and a new certificate for the same device.
    """
    files = GatewayFiles(
        CredentialFiles.named(directory / "gateway"),
        directory / "service-root.pem",
        directory / "council-root.pem",
    )
    key = kind.generate()
    certificate = authority.issue_gateway(tenant, device, key.public_key())
    write_key(files.credential.key, key)
    write_certificate(files.credential.certificate, certificate)
    write_certificate(files.service_root, read_certificate(authority.service_root()))
    write_certificate(files.council_root, read_certificate(authority.council_root(tenant)))
    return files


def _check_key(public_key: PublicKey) -> None:
    if isinstance(public_key, Ed25519PublicKey):
        return
    if not isinstance(public_key.curve, ec.SECP256R1):
        raise policy.PolicyError(
            f"key on curve {public_key.curve.name}; Ed25519 or P-256 is needed"
        )


def _belongs(key: PrivateKey, certificate: x509.Certificate) -> bool:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, InvalidSignature):
        return False
    return True


def _is_as(certificate: x509.Certificate, profile: policy.Profile) -> bool:
    return certificate.subject == profile.subject() and all(
        _says(certificate, extension) for extension, _ in profile.extensions()
    )


def _says(certificate: x509.Certificate, extension: x509.ExtensionType) -> bool:
    try:
        held = certificate.extensions.get_extension_for_oid(extension.oid)
    except x509.ExtensionNotFound:
        return False
    return held.value == extension
