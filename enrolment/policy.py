"""What each kind of certificate says: subject, names, usages, lifetime. Pure.

The authority asks this module and nobody else: a requester supplies a public key and
proves who it is, and decides nothing. No key, clock or file is touched here; issuing is
`enrolment.authority`.

The kinds (profiles of RFC 5280):

    region root         the region's anchor, signs service roots alone; its key is kept offline
    service root        under it; signs the servers' certificates and service clients
    council root        one per council; signs gateways and signers, and can name nobody
                        outside its own council (name constraints, section 4.2.1.10)
    broker server       every listener of the broker
    enrolment server    the enrolment service itself
    service client      a central process, e.g. ingest; for NATS one for each council
    gateway             CN = device id, O = council; 7 days
    key-set signer, configuration signer
                        sign messages R and C; their extended key usage says so
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker_config.network import Gateway, service_user
from device_protocol import topics
from device_protocol.errors import TopicError
from device_protocol.identity import (
    CONFIGURATION_SIGNING_OID,
    ENROLMENT_SERVER,
    KEY_SET_SIGNING_OID,
)

BACKDATED = timedelta(minutes=5)  # a gateway's clock may be a little behind the authority's
_BACKDATED_SHARE = 60  # of a short life no more than this part, or it would be due when issued
REGION_ROOT_LIFETIME = timedelta(days=7300)
SERVICE_ROOT_LIFETIME = timedelta(days=1825)
COUNCIL_ROOT_LIFETIME = timedelta(days=3650)
SERVICE_LIFETIME = timedelta(days=90)
SIGNER_LIFETIME = timedelta(days=90)
GATEWAY_LIFETIME = timedelta(days=7)
REVOCATION_LIST_LIFETIME = timedelta(days=7)
"""A broker locks out a whole council whose list has ended: reissue daily, alarm at three days."""

_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class PolicyError(ValueError):
    """The request is for a certificate that must not exist; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything a certificate says except its key, serial number and issuer.

    names: subject alternative names. usages: extended key usages; empty on roots.
    path_length: of an authority, how many authorities may stand below it.
    constrained_to: for a council root, the tenant that every name below it must belong to.
    """

    common_name: str
    organisation: str
    lifetime: timedelta
    names: tuple[x509.GeneralName, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] = ()
    authority: bool = False
    path_length: int = 0
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
        issued = now.astimezone(UTC).replace(microsecond=0)
        begins = issued - min(BACKDATED, self.lifetime // _BACKDATED_SHARE)
        ends = issued + self.lifetime
        if issuer_ends is not None:
            ends = min(ends, issuer_ends)
        if ends <= now:
            raise PolicyError(f"the issuer's certificate ended {ends:%Y-%m-%d %H:%M} UTC")
        return Validity(begins, ends)

    def extensions(self) -> tuple[tuple[x509.ExtensionType, bool], ...]:
        """Return (extension, critical) pairs, without the two key identifiers."""
        held: list[tuple[x509.ExtensionType, bool]] = [
            (
                x509.BasicConstraints(self.authority, self.path_length if self.authority else None),
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


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """A certificate that counts no more, since when, and whether it may count again (hold).

    superseded: its gateway has enrolled anew; otherwise it was taken from the gateway.
    """

    serial: int
    since: datetime
    hold: bool
    superseded: bool = False

    def reason(self) -> x509.ReasonFlags:
        """Return why, in the words of RFC 5280, section 5.3.1."""
        if self.hold:
            return x509.ReasonFlags.certificate_hold
        if self.superseded:
            return x509.ReasonFlags.superseded
        return x509.ReasonFlags.privilege_withdrawn


def region_root(network: str) -> Profile:
    """Describe the region's anchor: it signs service roots and nothing else."""
    return Profile(
        common_name=f"{network} region root",
        organisation=network,
        lifetime=REGION_ROOT_LIFETIME,
        authority=True,
        path_length=1,
    )


def service_root(network: str) -> Profile:
    """Describe the authority for servers and central services, itself signed by the region root."""
    return Profile(
        common_name=f"{network} service root",
        organisation=network,
        lifetime=SERVICE_ROOT_LIFETIME,
        authority=True,
    )


def council_root(tenant: str) -> Profile:
    """Describe a council's own root, which can speak only for that council's gateways."""
    _check("tenant", tenant)
    return Profile(
        common_name=f"{tenant} IoT root",
        organisation=tenant,
        lifetime=COUNCIL_ROOT_LIFETIME,
        authority=True,
        constrained_to=tenant,
    )


def broker_server(network: str, hosts: Iterable[str]) -> Profile:
    """Describe the broker's server certificate, good for this machine and for `hosts`.

    hosts: DNS names or IP addresses that gateways connect to.
    """
    return _server(network, "broker", hosts)


def broker_node(network: str, node: str, hosts: Iterable[str]) -> Profile:
    """Describe the certificate of one node of a broker cluster: server, and client of the others.

    hosts: DNS names, its own first of all, or IP addresses that it is reached by. No other
    certificate that leads to the service root serves both ways, which routes between nodes need.
    """
    if not _SERVICE.fullmatch(node):
        raise PolicyError(f"node {node!r} is not of the form {_SERVICE.pattern}")
    served = _server(network, f"broker {node}", hosts)
    return replace(served, usages=(*served.usages, ExtendedKeyUsageOID.CLIENT_AUTH))


def enrolment_server(network: str, hosts: Iterable[str]) -> Profile:
    """Describe the enrolment service's server certificate; `hosts` as of `broker_server`."""
    return _server(network, ENROLMENT_SERVER, hosts)


def _server(network: str, name: str, hosts: Iterable[str]) -> Profile:
    ordered = tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", *hosts)))
    return Profile(
        common_name=f"{network} {name}",
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


def gateway(tenant: str, device: str, lifetime: timedelta = GATEWAY_LIFETIME) -> Profile:
    """Describe a gateway's certificate: its subject and its SAN both hold device and tenant.

    The subject is user name and client id on Mosquitto; the SAN is the user on NATS.
    """
    _check("tenant", tenant)
    _check("device", device)
    return Profile(
        common_name=device,
        organisation=tenant,
        lifetime=lifetime,
        names=(x509.DNSName(Gateway(tenant, device).user),),
        usages=(ExtendedKeyUsageOID.CLIENT_AUTH,),
    )


def key_set_signer(tenant: str) -> Profile:
    """Describe the certificate that may sign a council's recipient key sets (message R).

    It carries no client usage: no broker lets it in.
    """
    return _signer(tenant, "key-set signer", KEY_SET_SIGNING_OID)


def configuration_signer(tenant: str) -> Profile:
    """Describe the certificate that may sign settings for a council's gateways (message C).

    As with `key_set_signer`, no broker lets it in.
    """
    return _signer(tenant, "configuration signer", CONFIGURATION_SIGNING_OID)


def _signer(tenant: str, name: str, usage: x509.ObjectIdentifier) -> Profile:
    _check("tenant", tenant)
    return Profile(
        common_name=f"{tenant} {name}",
        organisation=tenant,
        lifetime=SIGNER_LIFETIME,
        usages=(usage,),
    )


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
