"""One gateway and one recipient in each suite, a council's certificates, and the vectors."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import settings

from device_protocol import cose, topics
from device_protocol.epoch import Epoch
from device_protocol.keys import RecipientKey, SigningKey, VerifyingKey
from device_protocol.receiver import Device, Policy, Receiver, Signer

# A machine shared with others may be slow without anything being wrong.
settings.register_profile("shared-machine", deadline=None, max_examples=60)
settings.load_profile("shared-machine")

NOW = 1_795_000_000
DATA = Path(__file__).parents[2] / "data" / "cose"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A gateway's and a recipient's keys, and what the registry knows of the gateway."""

    number: int
    content_algorithm: int
    signer: SigningKey
    recipient: RecipientKey
    stranger: RecipientKey
    tenant: str = "bristol"
    device: str = "k7q2m9xd4t"
    group: str = "main"
    now: int = NOW

    @property
    def announcement_topic(self) -> str:
        return topics.announcement(self.tenant, self.device, self.group)

    @property
    def data_topic(self) -> str:
        return topics.data(self.tenant, self.device, self.group)

    def registered(self, *, revoked: bool = False) -> Device:
        key = VerifyingKey.from_cose_key(self.signer.cose_key)
        signer = Signer(key=key, valid_from=NOW - 86_400, valid_until=NOW + 518_400)
        return Device(self.tenant, self.device, revoked=revoked, signers={key.kid: signer})

    def receiver(self, policy: Policy | None = None) -> Receiver:
        return Receiver(
            devices=[self.registered()],
            recipients=[self.recipient],
            policy=policy,
        )

    def begin(self, **changes: Any) -> Epoch:
        """Begin an epoch as this gateway would, but for `changes`."""
        arguments: dict[str, Any] = {
            "tenant": self.tenant,
            "device": self.device,
            "group": self.group,
            "counter": 1,
            "content_algorithm": self.content_algorithm,
            "issued_at": NOW,
            "clock": 2,
            "key_set_version": 7,
            "recipients": [self.stranger.public(), self.recipient.public()],
            "signer": self.signer,
            "previous": None,
        }
        return Epoch.begin(**(arguments | changes))


def make_suite(number: int) -> Suite:
    if number == 1:
        return Suite(
            number=1,
            content_algorithm=cose.CHACHA20_POLY1305,
            signer=SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32)))),
            recipient=RecipientKey(X25519PrivateKey.from_private_bytes(bytes(range(32, 64)))),
            stranger=RecipientKey(X25519PrivateKey.from_private_bytes(bytes(range(64, 96)))),
        )
    return Suite(
        number=2,
        content_algorithm=cose.A256GCM,
        signer=SigningKey(ec.derive_private_key(0xA1, ec.SECP256R1())),
        recipient=RecipientKey(ec.derive_private_key(0xB2, ec.SECP256R1())),
        stranger=RecipientKey(ec.derive_private_key(0xC3, ec.SECP256R1())),
    )


@pytest.fixture(scope="session", params=[1, 2], ids=["suite1", "suite2"])
def suite(request: pytest.FixtureRequest) -> Suite:
    return make_suite(request.param)


Private: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: Private

    def issue(
        self,
        name: str,
        *,
        key: Private | None = None,
        eku: tuple[x509.ObjectIdentifier, ...] = (),
        authority: bool = False,
        path_length: int | None = None,
        days: tuple[float, float] = (-1, 6),
        usage: dict[str, bool] | None = None,
        extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    ) -> "Issued":
        """Issue a certificate valid from `days[0]` to `days[1]` days from NOW."""
        key = key or Ed25519PrivateKey.generate()
        usage = usage or {"key_cert_sign": authority, "digital_signature": not authority}
        added = [(x509.BasicConstraints(authority, path_length), True), (_usage(**usage), True)]
        if eku:
            added.append((x509.ExtendedKeyUsage(eku), False))
        return Issued(
            certificate=_certificate(
                name=name,
                key=key,
                issuer=self.certificate.subject,
                issuer_key=self.key,
                days=days,
                extensions=(*added, *extensions),
            ),
            key=key,
        )


def _usage(**allowed: bool) -> x509.KeyUsage:
    uses = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**(uses | allowed))


def _certificate(
    *,
    name: str,
    key: Private,
    issuer: x509.Name,
    issuer_key: Private,
    days: tuple[float, float],
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = datetime.fromtimestamp(NOW, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    algorithm = None if isinstance(issuer_key, Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, algorithm)


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@pytest.fixture(scope="session")
def council() -> Issued:
    """The root under which a council's devices and its key-set signer stand."""
    key = Ed25519PrivateKey.generate()
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=1), True),
        (_usage(key_cert_sign=True, crl_sign=True), True),
    ]
    name = "Bristol IoT root"
    certificate = _certificate(
        name=name,
        key=key,
        issuer=common_name(name),
        issuer_key=key,
        days=(-400, 3000),
        extensions=extensions,
    )
    return Issued(certificate=certificate, key=key)


@pytest.fixture(scope="session")
def vectors() -> dict[int, dict[str, Any]]:
    """The envelope's vectors by suite."""
    return {
        number: json.loads((DATA / f"envelope-v1-suite{number}-dev.json").read_bytes())
        for number in (1, 2)
    }
