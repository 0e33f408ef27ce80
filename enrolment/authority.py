"""The certificate authority: region root, service root and council roots, and what they sign.

`Authority` owns one directory and is safe to run again over it: what exists and is still
good is kept, what is due is made anew. It signs public keys; private keys of gateways
never reach it. What certificates say is decided in `enrolment.policy`, and the revocation
of a gateway is a row in the registry, not a matter of this module.

    <directory>/region-root.{pem,key}       the key may, and should, be taken offline
               /service-root.{pem,key}      the .pem holds the region root, too
               /server.{pem,key}            servers and services: chain up to the service root
               /enrolment-server.{pem,key}
               /nodes/<node>.{pem,key}          of a broker cluster
               /services/<service>[.<tenant>].{pem,key}
               /councils/<tenant>/root.{pem,key}
               /councils/<tenant>/key-set-signer.{pem,key}
               /councils/<tenant>/configuration-signer.{pem,key}

Keys of roots and signers are encrypted under a passphrase. Those of servers and services are
not: they start unattended, and their certificates are short-lived and say only who they are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from broker_config.network import BrokerCertificates
from device_protocol.identity import renewal_due
from device_protocol.keys import SigningKey
from enrolment import policy
from enrolment.files import (
    PUBLIC_MODE,
    CredentialError,
    OpenedKeys,
    PrivateKey,
    read_certificate,
    read_certificates,
    write_certificate,
    write_key,
)
from enrolment.issuing import (
    PublicKey,
    belongs,
    build_certificate,
    build_revocation_list,
    is_as,
    signed_by,
)
from runtime.atomic_files import write_atomically

Clock: TypeAlias = Callable[[], datetime]

_REGION_ROOT = "region-root"
_COUNCILS = "councils"


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


def network_of(directory: Path) -> str:
    """Return the name of the network whose authority `directory` holds, from its region root.

    Raises:
        CredentialError: there is none.
    """
    root = read_certificate(CredentialFiles.named(directory / _REGION_ROOT).certificate)
    [name] = root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(name.value)


class Authority:
    """One network's certificate authority over a directory of its own.

    network: the network's name, which appears in service certificates.
    passphrase: of the keys of service root, council roots and signers; None leaves them
        unencrypted, which is for tests and the demo.
    region_passphrase: of the region root's key, needed only when a service root is made.
    gateway_lifetime: how long a gateway's certificate lives.
    clock: returns the time with its UTC offset.

    Every method that needs a key raises CredentialError when the key is missing, does not open
    under its passphrase or is not its certificate's.
    """

    def __init__(
        self,
        directory: Path,
        network: str,
        *,
        passphrase: bytes | None = None,
        region_passphrase: bytes | None = None,
        gateway_lifetime: timedelta = policy.GATEWAY_LIFETIME,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._network = network
        self._passphrase = passphrase
        self._region_passphrase = region_passphrase
        self._gateway_lifetime = gateway_lifetime
        self._clock = clock
        self._keys = OpenedKeys()

    def region_root(self) -> Path:
        """Return the region's anchor, made on first use; gateways trust it for TLS.

        Raises:
            CredentialError: the directory is of an earlier layout, or the key that must be
                made has no passphrase though the others have.
        """
        files = self._region_root_files()
        if not files.certificate.exists():
            self._check_beginning()
            self._make_root(files, policy.region_root(self._network), self._region_passphrase)
        _check_says(files.certificate, policy.region_root(self._network))
        return files.certificate

    def service_root(self) -> Path:
        """Return the service root's certificate and the region root's, one file, made on first use.

        Raises:
            CredentialError: as `region_root`, or the region root's key is needed and away.
        """
        region = read_certificate(self.region_root())
        files = self._service_root_files()
        if not files.certificate.exists():
            self._make_service_root()
        held, *above = read_certificates(files.certificate)
        if above != [region] or not signed_by(held, region):
            raise CredentialError(
                f"{files.certificate} is not of {self._region_root_files().certificate}; "
                "make a new service root, for which the region root's key is needed"
            )
        _check_says(files.certificate, policy.service_root(self._network))
        self._check_key(files, self._passphrase)
        return files.certificate

    def renew_service_root(self) -> Path:
        """Make a new service root; what the old one signed is made anew when next asked for.

        Gateways trust the region root and notice nothing; central processes read the new file
        at their next start.

        Raises:
            CredentialError: the region root's key is away.
        """
        self.region_root()
        self._make_service_root(anew=True)
        return self.service_root()

    def council_root(self, tenant: str) -> Path:
        """Return a council's IoT root certificate, made on first use.

        Raises:
            PolicyError: no tenant can be called so.
        """
        profile = policy.council_root(tenant)
        files = self._council_root_files(tenant)
        if not files.certificate.exists():
            self._make_root(files, profile, self._passphrase)
        self._check_key(files, self._passphrase)
        _check_says(files.certificate, profile)
        return files.certificate

    def council_roots(self) -> dict[str, Path]:
        """Return the root of every council that has one, by tenant; makes none."""
        found = (self._directory / _COUNCILS).glob("*/root.pem")
        return {path.parent.name: path for path in sorted(found)}

    def certificates(self) -> dict[str, x509.Certificate]:
        """Return every certificate that lies here, by its file's name; makes none."""
        found = sorted(self._directory.rglob("*.pem"))
        return {
            path.relative_to(self._directory).with_suffix("").as_posix(): read_certificate(path)
            for path in found
        }

    def holds_council(self, tenant: str) -> bool:
        """Tell whether this council has a root; makes none, whatever is asked."""
        try:
            policy.council_root(tenant)
        except policy.PolicyError:
            return False
        return self._council_root_files(tenant).certificate.exists()

    def council_certificate(self, tenant: str) -> x509.Certificate:
        """Return a council's IoT root, made on first use."""
        return read_certificate(self.council_root(tenant))

    def broker_server(self, hosts: Iterable[str] = ()) -> CredentialFiles:
        """Return the broker's server certificate, good for localhost and `hosts`."""
        return self._ensure_service("server", policy.broker_server(self._network, hosts))

    def broker_node(self, node: str, hosts: Iterable[str] = ()) -> CredentialFiles:
        """Return the certificate of one node of a broker cluster, good for `hosts`, too."""
        return self._ensure_service(f"nodes/{node}", policy.broker_node(self._network, node, hosts))

    def enrolment_server(self, hosts: Iterable[str] = ()) -> CredentialFiles:
        """Return the enrolment service's server certificate, good for localhost and `hosts`."""
        profile = policy.enrolment_server(self._network, hosts)
        return self._ensure_service("enrolment-server", profile)

    def service_client(self, service: str, tenant: str = "") -> CredentialFiles:
        """Return a central process's client certificate, for one council or (empty) for all."""
        profile = policy.service_client(self._network, service, tenant)
        return self._ensure_service(f"services/{profile.common_name}", profile)

    def key_set_signer(self, tenant: str) -> CredentialFiles:
        """Return the certificate that signs a council's key sets (message R)."""
        return self._ensure_signer(tenant, "key-set-signer", policy.key_set_signer(tenant))

    def configuration_signer(self, tenant: str) -> CredentialFiles:
        """Return the certificate that signs settings for a council's gateways (message C)."""
        profile = policy.configuration_signer(tenant)
        return self._ensure_signer(tenant, "configuration-signer", profile)

    def sign_as_key_set_signer(self, tenant: str) -> tuple[SigningKey, list[x509.Certificate]]:
        """Return what signs a council's key sets: the opened key and its chain, leaf first."""
        return self._opened_signer(self.key_set_signer(tenant))

    def sign_as_configuration_signer(
        self, tenant: str
    ) -> tuple[SigningKey, list[x509.Certificate]]:
        """Return what signs a council's settings: the opened key and its chain, leaf first."""
        return self._opened_signer(self.configuration_signer(tenant))

    def issue_gateway(self, tenant: str, device: str, public_key: PublicKey) -> x509.Certificate:
        """Certify a gateway's public key under its council's root.

        The caller has proved that the requester is this device and holds the private key.

        Raises:
            PolicyError: tenant or device is malformed, or the key is neither Ed25519 nor P-256.
        """
        self.council_root(tenant)
        profile = policy.gateway(tenant, device, self._gateway_lifetime)
        return self._sign(profile, public_key, self._council_root_files(tenant), self._passphrase)

    def issue_revocation_list(
        self,
        tenant: str,
        *,
        number: int,
        revoked: Sequence[policy.RevokedEntry],
        now: datetime,
    ) -> bytes:
        """Return a council's revocation list, DER, good for a week from `now`.

        number: of the list, higher than that of the one before.
        """
        return build_revocation_list(
            self.council_certificate(tenant),
            self._keys.read(self._council_root_files(tenant).key, self._passphrase),
            number=number,
            revoked=revoked,
            now=now,
        )

    def broker_certificates(
        self, tenants: Iterable[str], hosts: Iterable[str] = (), *, node: str = ""
    ) -> BrokerCertificates:
        """Return the files a broker of these councils needs, making what is missing.

        node: its name where it is one of a cluster's.
        """
        server = self.broker_node(node, hosts) if node else self.broker_server(hosts)
        return BrokerCertificates(
            service_root=self.service_root(),
            server_certificate=server.certificate,
            server_key=server.key,
            council_roots={tenant: self.council_root(tenant) for tenant in tenants},
        )

    def _region_root_files(self) -> CredentialFiles:
        return CredentialFiles.named(self._directory / _REGION_ROOT)

    def _service_root_files(self) -> CredentialFiles:
        return CredentialFiles.named(self._directory / "service-root")

    def _council_root_files(self, tenant: str) -> CredentialFiles:
        return CredentialFiles.named(self._directory / _COUNCILS / tenant / "root")

    def _check_beginning(self) -> None:
        """Let a region root be made only where nothing hangs on another."""
        older = self._service_root_files().certificate
        if older.exists():
            raise CredentialError(
                f"{older} stands without a region root: either region-root.pem was lost, then "
                "restore it, or the directory is of an earlier release, whose service root signed "
                f"itself, then move {self._directory} away, make a new one and enrol the gateways "
                "again"
            )
        if self._passphrase is not None and self._region_passphrase is None:
            raise CredentialError(
                f"{self._region_root_files().key} cannot be made: the region root's key needs a "
                "passphrase of its own"
            )

    def _make_root(
        self, files: CredentialFiles, profile: policy.Profile, passphrase: bytes | None
    ) -> None:
        """Make a self-signed root once. A lost key is never replaced: trust hangs on it."""
        key = self._new_key(files.key, passphrase)
        certificate = build_certificate(profile, key.public_key(), key, None, self._clock())
        write_certificate(files.certificate, certificate)

    def _make_service_root(self, *, anew: bool = False) -> None:
        region, files = self._region_root_files(), self._service_root_files()
        if not region.key.exists():
            raise CredentialError(
                f"{region.key} is not here and a service root must be made: bring the region "
                "root's key from where it is kept offline, then take it away again"
            )
        self._check_key(region, self._region_passphrase)
        if anew:
            files.key.unlink(missing_ok=True)
        profile = policy.service_root(self._network)
        public = self._new_key(files.key, self._passphrase).public_key()
        certificate = self._sign(profile, public, region, self._region_passphrase)
        write_certificate(files.certificate, certificate, read_certificate(region.certificate))

    def _new_key(self, path: Path, passphrase: bytes | None) -> PrivateKey:
        """Return a key written before its certificate: one left by a crash is used."""
        if not path.exists():
            write_key(path, KeyKind.P256.generate(), passphrase)
        return self._keys.read(path, passphrase)

    def _check_key(self, files: CredentialFiles, passphrase: bytes | None) -> None:
        key = self._keys.read(files.key, passphrase)
        if not belongs(key, read_certificate(files.certificate)):
            raise CredentialError(f"{files.key} is not the key of {files.certificate}")

    def _ensure_service(self, stem: str, profile: policy.Profile) -> CredentialFiles:
        above = read_certificate(self.service_root())
        files = CredentialFiles.named(self._directory / stem)
        if not self._is_good(files, profile, above, [above], None):
            key = KeyKind.P256.generate()
            certificate = self._sign(
                profile, key.public_key(), self._service_root_files(), self._passphrase
            )
            write_key(files.key, key)
            write_certificate(files.certificate, certificate, above)
        return files

    def _ensure_signer(self, tenant: str, name: str, profile: policy.Profile) -> CredentialFiles:
        root = self.council_certificate(tenant)
        issuer = self._council_root_files(tenant)
        files = CredentialFiles.named(issuer.key.with_name(name))
        if not self._is_good(files, profile, root, [], self._passphrase):
            key = KeyKind.ED25519.generate()
            certificate = self._sign(profile, key.public_key(), issuer, self._passphrase)
            write_key(files.key, key, self._passphrase)
            write_certificate(files.certificate, certificate)  # whoever checks holds the root
        return files

    def _opened_signer(self, files: CredentialFiles) -> tuple[SigningKey, list[x509.Certificate]]:
        key = self._keys.read(files.key, self._passphrase)
        return SigningKey.from_private(key), read_certificates(files.certificate)

    def _is_good(
        self,
        files: CredentialFiles,
        profile: policy.Profile,
        issuer: x509.Certificate,
        chain: list[x509.Certificate],
        passphrase: bytes | None,
    ) -> bool:
        """Tell whether a credential is whole, current and says what policy says.

        chain: what its certificate's file must hold above it.
        """
        if not (files.certificate.exists() and files.key.exists()):
            return False
        certificate, *above = read_certificates(files.certificate)
        return (
            above == chain
            and signed_by(certificate, issuer)
            and not renewal_due(certificate, int(self._clock().timestamp()))
            and is_as(certificate, profile)
            and belongs(self._keys.read(files.key, passphrase), certificate)
        )

    def _sign(
        self,
        profile: policy.Profile,
        public_key: PublicKey,
        issuer: CredentialFiles,
        passphrase: bytes | None,
    ) -> x509.Certificate:
        return build_certificate(
            profile,
            public_key,
            self._keys.read(issuer.key, passphrase),
            read_certificate(issuer.certificate),
            self._clock(),
        )


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
    write_atomically(files.service_root, authority.service_root().read_bytes(), PUBLIC_MODE)
    write_certificate(files.council_root, authority.council_certificate(tenant))
    return files


def _check_says(path: Path, profile: policy.Profile) -> None:
    if not is_as(read_certificate(path), profile):
        raise CredentialError(
            f"{path} is not what policy wants of this root; whoever trusts it might mistake one "
            "council for another. Replace it and its certificates, or restore the original"
        )
