"""What each kind of certificate says: subject, names, usages, lifetime. Pure.

The authority asks this module and nobody else: a requester supplies a public key and
proves who it is, and decides nothing. No key, clock or file is touched here; issuing is
`enrolment.authority`.

Five kinds (profiles of RFC 5280):

    service root        region; signs the broker's server certificate and service clients
    council root        one per council; signs gateways and key-set signers, and can name
                        nobody outside its own council (name constraints, section 4.2.1.10)
    broker server       every listener of the broker
    service client      a central process, e.g. ingest; for NATS one for each council
    gateway             CN = device id, O = council; 7 days
    key-set signer      signs message R; its extended key usage says so
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker_config.network import Gateway, service_user
from device_protocol import topics
from device_protocol.errors import TopicError
from device_protocol.identity import KEY_SET_SIGNING_OID

BACKDATED = timedelta(minutes=5)  # a gateway's clock may be a little behind the authority's
ROOT_LIFETIME = timedelta(days=3650)
SERVICE_LIFETIME = timedelta(days=90)
SIGNER_LIFETIME = timedelta(days=90)
GATEWAY_LIFETIME = timedelta(days=7)

DEVICE_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: people type these ids
DEVICE_ID_CHARACTERS = 10  # 50 bits: the registry refuses the rare collision

_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class PolicyError(ValueError):
    """The request is for a certificate that must not exist; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything a certificate says except its key, serial number and issuer.

    names: subject alternative names. usages: extended key usages; empty on roots.
    constrained_to: for a council root, the tenant that every name below it must belong to.
    """

    common_name: str
    organisation: str
    lifetime: timedelta
    names: tuple[x509.GeneralName, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] = ()
    authority: bool = False
    constrained_to: str = ""

    def subject(self) -> x509.Name:
        """Return the distinguished name: organisation, then common name."""
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.organisation),
                x509.NameAttribute(NameOID.COMMON_NAME, self.common_name),
            ]
        )

    def validity(self, now: datetime, *, issuer_ends: datetime | None = None) -> "Validity":
        """Return the window of a certificate issued at `now`, never outliving its issuer.

        Raises:
            PolicyError: the issuer itself has ended.
        """
        begins = now.astimezone(UTC).replace(microsecond=0) - BACKDATED
        ends = begins + BACKDATED + self.lifetime
        if issuer_ends is not None:
            ends = min(ends, issuer_ends)
        if ends <= now:
            raise PolicyError(f"the issuer's certificate ended {ends:%Y-%m-%d %H:%M} UTC")
        return Validity(begins, ends)

    def extensions(self) -> tuple[tuple[x509.ExtensionType, bool], ...]:
        """Return (extension, critical) pairs, without the two key identifiers."""
        held: list[tuple[x509.ExtensionType, bool]] = [
            (
                x509.BasicConstraints(ca=self.authority, path_length=0 if self.authority else None),
                True,
            ),
            (_key_usage(authority=self.authority), True),
        ]
        if self.usages:
            held.append((x509.ExtendedKeyUsage(self.usages), False))
        if self.names:
            held.append((x509.SubjectAlternativeName(self.names), False))
        if self.constrained_to:
            # Not critical, though RFC 5280 asks for it: both brokers' TLS libraries enforce it
            # all the same, and receivers of message R, who need only the anchor's key, would
            # have to refuse a root with a critical extension they do not use.
            held.append((_only_below(self.constrained_to), False))
        return tuple(held)


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate begins and ends, both with a UTC offset."""

    begins: datetime
    ends: datetime


def service_root(network: str) -> Profile:
    """Describe the region's root for the broker and the central services."""
    return Profile(
        common_name=f"{network} service root",
        organisation=network,
        lifetime=ROOT_LIFETIME,
        authority=True,
    )


def council_root(tenant: str) -> Profile:
    """Describe a council's own root, which can speak only for that council's gateways."""
    _check("tenant", tenant)
    return Profile(
        common_name=f"{tenant} IoT root",
        organisation=tenant,
        lifetime=ROOT_LIFETIME,
        authority=True,
        constrained_to=tenant,
    )


def broker_server(network: str, hosts: Iterable[str]) -> Profile:
    """Describe the broker's server certificate, good for this machine and for `hosts`.

    hosts: DNS names or IP addresses that gateways connect to.
    """
    ordered = tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", *hosts)))
    return Profile(
        common_name=f"{network} broker",
        organisation=network,
        lifetime=SERVICE_LIFETIME,
        names=tuple(_host_name(host) for host in ordered),
        usages=(ExtendedKeyUsageOID.SERVER_AUTH,),
    )


def service_client(network: str, service: str, tenant: str = "") -> Profile:
    """Describe a central process's client certificate.

    tenant: empty for every council (Mosquitto); otherwise the one council whose NATS
    account the certificate opens. The SAN stands outside every council's constraint, so
    that no council's root can name a service.
    """
    if not _SERVICE.fullmatch(service):
        raise PolicyError(f"service {service!r} is not of the form {_SERVICE.pattern}")
    if tenant:
        _check("tenant", tenant)
    return Profile(
        common_name=f"{service}.{tenant}" if tenant else service,
        organisation=network,
        lifetime=SERVICE_LIFETIME,
        names=(x509.DNSName(service_user(service, tenant)),),
        usages=(ExtendedKeyUsageOID.CLIENT_AUTH,),
    )


def gateway(tenant: str, device: str) -> Profile:
    """Describe a gateway's certificate: its subject and its SAN both hold device and tenant.

    The subject is user name and client id on Mosquitto; the SAN is the user on NATS.
    """
    _check("tenant", tenant)
    _check("device", device)
    return Profile(
        common_name=device,
        organisation=tenant,
        lifetime=GATEWAY_LIFETIME,
        names=(x509.DNSName(Gateway(tenant, device).user),),
        usages=(ExtendedKeyUsageOID.CLIENT_AUTH,),
    )


def key_set_signer(tenant: str) -> Profile:
    """Describe the certificate that may sign a council's recipient key sets (message R).

    It carries no client usage: no broker lets it in.
    """
    _check("tenant", tenant)
    return Profile(
        common_name=f"{tenant} key-set signer",
        organisation=tenant,
        lifetime=SIGNER_LIFETIME,
        usages=(KEY_SET_SIGNING_OID,),
    )


def new_device_id(random: Callable[[int], bytes]) -> str:
    """Draw a device id of 10 base-32 characters, 50 random bits.

    random: returns that many random bytes, e.g. `os.urandom`.
    """
    drawn = random(DEVICE_ID_CHARACTERS)
    return "".join(DEVICE_ID_ALPHABET[byte % 32] for byte in drawn)


def _check(level: str, name: str) -> None:
    try:
        topics.checked(level, name)
    except TopicError as error:
        raise PolicyError(str(error)) from error


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _only_below(council: str) -> x509.NameConstraints:
    """Confine every form of name that a broker might take for a user to one council.

    Mosquitto takes the user from the subject, NATS from e-mail, DNS or URI names: without
    these constraints a council's root could speak for another council's gateway.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, council)])
    return x509.NameConstraints(
        permitted_subtrees=[
            x509.DirectoryName(subject),
            x509.DNSName(council),
            x509.RFC822Name(council),
            x509.UniformResourceIdentifier(council),
        ],
        excluded_subtrees=None,
    )
