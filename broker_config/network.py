"""The network description: councils, gateways and services, as values and as TOML.

What a broker needs to know about who may speak where, and nothing about how one broker
or the other is told (`mosquitto`, `nats`). Topics are those of the envelope, section 2.

    name = "London"
    host = "broker.example.org"     # what gateways and services connect to
    bind = "0.0.0.0"                # optional: the address listened on
    service_port = 8883             # on NATS the port of everyone
    keeper_port = 8882              # Mosquitto: on loopback, where sessions are ended

    [[council]]
    tenant = "camden"
    gss = "E09000007"
    name = "Camden"
    port = 8884                     # its own listener on Mosquitto

    [[gateway]]
    tenant = "camden"
    device = "k7q2m9xd4t"

    [[service]]
    name = "ingest"
    tenants = ["camden"]

NATS alone can also run as a cluster, of three nodes or five:

    council_store_bytes = 1073741824  # optional: room for a council's messages on each node

    [[node]]
    name = "n1"
    host = "n1.example.org"
    mqtt_port = 8883
    native_port = 4222
    route_port = 6222
"""

import ipaddress
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from broker_config.nodes import NODE_KEYS, Node, node_mistakes, node_rows, repeated
from device_protocol import topics
from device_protocol.errors import TopicError

MAX_PACKET_BYTES = 66_560  # the largest message D, 65 536 bytes, its topic and the heads
TOPIC_ROOT = f"snaas/{topics.VERSION}"
LOOPBACK = "127.0.0.1"
PID_FILE = "broker.pid"  # in the broker's data directory, written by the broker
STORE_BYTES = 1 << 30
"""What a council's messages that wait for ingest may take on each node, unless it is said."""

KEEPER = "keeper"  # the name under which live sessions are ended; no service may bear it

_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_GSS = re.compile(r"[A-Z][0-9]{8}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class NetworkError(ValueError):
    """The description is wrong; the message lists every mistake, with what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Council:
    """A tenant of the network. gss: its nine-character code. port: 0 = any free one."""

    tenant: str
    gss: str
    name: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A device that may speak for one council; `device` is unique in the whole network."""

    tenant: str
    device: str

    @property
    def user(self) -> str:
        """The name in its certificate's SAN, its user name on NATS."""
        return f"{self.device}.{self.tenant}"

    @property
    def subject(self) -> str:
        """Its certificate's subject (RFC 4514), its user name and client id on Mosquitto."""
        return f"CN={self.device},O={self.tenant}"


@dataclass(frozen=True, slots=True)
class Service:
    """A central process that takes in the readings of `tenants`, e.g. ingest."""

    name: str
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One region's network; valid from birth.

    host: DNS name or address that gateways connect to. bind: address listened on.
    service_port: listener of the services, on NATS of everyone; 0 = any free one.
    keeper_port: Mosquitto's listener on loopback where `broker_config.keeper` ends live
        sessions; NATS needs none. 0 = any free one.
    nodes: of a NATS cluster; none for one broker.
    council_store_bytes: what a council's messages that wait for ingest may take on each node; when
        it is full gateways are refused, and keep what they have.

    Raises:
        NetworkError: naming each bad value, where it stands and what would be right.
    """

    name: str
    host: str
    councils: tuple[Council, ...]
    gateways: tuple[Gateway, ...] = ()
    services: tuple[Service, ...] = ()
    service_port: int = 0
    keeper_port: int = 0
    bind: str = "0.0.0.0"  # noqa: S104 - gateways come from outside; embedded brokers use loopback
    nodes: tuple[Node, ...] = ()
    council_store_bytes: int = STORE_BYTES

    def __post_init__(self) -> None:
        mistakes = tuple(_mistakes(self))
        if mistakes:
            raise NetworkError("\n".join(mistakes))

    @property
    def tenants(self) -> tuple[str, ...]:
        """The councils' short names, in the order described."""
        return tuple(council.tenant for council in self.councils)

    def gateways_of(self, tenant: str) -> tuple[Gateway, ...]:
        """Return one council's gateways, in the order described."""
        return tuple(gateway for gateway in self.gateways if gateway.tenant == tenant)

    def services_of(self, tenant: str) -> tuple[Service, ...]:
        """Return the services that take in one council's readings."""
        return tuple(service for service in self.services if tenant in service.tenants)

    def node(self, name: str) -> Node:
        """Return the node of this name.

        Raises:
            NetworkError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes) or "none"
        raise NetworkError(f"{name!r} is no node here; described are: {known}")

    def with_gateway(self, tenant: str, device: str) -> "Network":
        """Return the network with one more gateway.

        Raises:
            NetworkError: no such council, or the device exists already.
        """
        added = Gateway(tenant=tenant, device=device)
        return replace(self, gateways=(*self.gateways, added))

    def without_gateway(self, device: str) -> "Network":
        """Return the network without a gateway; unchanged if it holds no such device."""
        left = tuple(gateway for gateway in self.gateways if gateway.device != device)
        return replace(self, gateways=left)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerCertificates:
    """The files a broker's listeners need. council_roots: by tenant.

    service_root: what clients of the services' listener, and the broker's own certificate,
    lead to. revocation_lists: by tenant, PEM. A council that has none is checked against
    none; a council whose list is missing as a file, or has expired, is locked out whole.
    """

    service_root: Path
    server_certificate: Path
    server_key: Path
    council_roots: Mapping[str, Path]
    revocation_lists: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPaths:
    """Where a broker finds what was rendered for it and keeps its own files; absolute."""

    configuration: Path
    data: Path
    certificates: BrokerCertificates


def service_user(service: str, tenant: str = "") -> str:
    """Return the name in a service's SAN; with a tenant, its NATS user for that council.

    No tenant can hold the underscore: a service is never mistaken for a gateway.
    """
    return f"{service}.{tenant}._services" if tenant else f"{service}._services"


def load(path: Path) -> Network:
    """Read a network description.

    Raises:
        NetworkError: not TOML, an unknown or missing key, or a bad value.
        OSError: the file cannot be read.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except NetworkError as error:
        raise NetworkError(
            "\n".join(f"{path}: {line}" for line in str(error).split("\n"))
        ) from None


def parse(text: str) -> Network:
    """Read a network description from its TOML text.

    Raises:
        NetworkError: as `load`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NetworkError(f"not TOML: {error}") from error
    fields = _fields(document, "the description", _NETWORK_KEYS)
    return Network(
        name=fields["name"],
        host=fields["host"],
        councils=tuple(
            Council(**_fields(row, f"[[council]] {number}", _COUNCIL_KEYS))
            for number, row in enumerate(fields.get("council", []), 1)
        ),
        gateways=tuple(
            Gateway(**_fields(row, f"[[gateway]] {number}", _GATEWAY_KEYS))
            for number, row in enumerate(fields.get("gateway", []), 1)
        ),
        services=tuple(
            _service(_fields(row, f"[[service]] {number}", _SERVICE_KEYS))
            for number, row in enumerate(fields.get("service", []), 1)
        ),
        nodes=read_nodes(fields),
        **{key: fields[key] for key in _OPTIONAL if key in fields},
    )


def read_nodes(document: Mapping[str, Any]) -> tuple[Node, ...]:
    """Return the nodes of a description that has been read as TOML.

    Raises:
        NetworkError: an unknown or missing key, or one of another type.
    """
    return tuple(
        Node(**_fields(row, f"[[node]] {number}", NODE_KEYS))
        for number, row in enumerate(document.get("node", []), 1)
    )


def dump(network: Network) -> str:
    """Return the TOML text that `parse` reads back as an equal network."""
    lines = [
        f"name = {_quoted(network.name)}",
        f"host = {_quoted(network.host)}",
        f"bind = {_quoted(network.bind)}",
        f"service_port = {network.service_port}",
        f"keeper_port = {network.keeper_port}",
    ]
    if network.nodes:
        lines.append(f"council_store_bytes = {network.council_store_bytes}")
    for council in network.councils:
        lines += [
            "",
            "[[council]]",
            f"tenant = {_quoted(council.tenant)}",
            f"gss = {_quoted(council.gss)}",
            f"name = {_quoted(council.name)}",
            f"port = {council.port}",
        ]
    for gateway in network.gateways:
        lines += [
            "",
            "[[gateway]]",
            f"tenant = {_quoted(gateway.tenant)}",
            f"device = {_quoted(gateway.device)}",
        ]
    for service in network.services:
        tenants = ", ".join(_quoted(tenant) for tenant in service.tenants)
        lines += ["", "[[service]]", f"name = {_quoted(service.name)}", f"tenants = [{tenants}]"]
    lines += node_rows(network.nodes)
    return "\n".join(lines) + "\n"


_OPTIONAL = ("service_port", "keeper_port", "bind", "council_store_bytes")
_NETWORK_KEYS: Mapping[str, tuple[type, bool]] = {  # key -> (type, must stand there)
    "name": (str, True),
    "host": (str, True),
    "bind": (str, False),
    "service_port": (int, False),
    "keeper_port": (int, False),
    "council_store_bytes": (int, False),
    "node": (list, False),
    "council": (list, True),
    "gateway": (list, False),
    "service": (list, False),
}
_COUNCIL_KEYS: Mapping[str, tuple[type, bool]] = {
    "tenant": (str, True),
    "gss": (str, True),
    "name": (str, True),
    "port": (int, False),
}
_GATEWAY_KEYS: Mapping[str, tuple[type, bool]] = {"tenant": (str, True), "device": (str, True)}
_SERVICE_KEYS: Mapping[str, tuple[type, bool]] = {"name": (str, True), "tenants": (list, True)}


def _fields(row: Any, where: str, keys: Mapping[str, tuple[type, bool]]) -> dict[str, Any]:
    """Return a TOML table whose keys and types are those expected, or refuse it."""
    if not isinstance(row, dict):
        raise NetworkError(f"{where}: {row!r} is not a table")
    mistakes = [
        f"{where}: unknown key {key!r}; allowed: {', '.join(keys)}"
        for key in row
        if key not in keys
    ]
    for key, (kind, required) in keys.items():
        if key not in row:
            if required:
                mistakes.append(f"{where}: {key!r} is missing")
        elif not isinstance(row[key], kind) or isinstance(row[key], bool):
            mistakes.append(f"{where}: {key} = {row[key]!r} is not {_KIND_NAMES[kind]}")
    if mistakes:
        raise NetworkError("\n".join(mistakes))
    return row


_KIND_NAMES = {str: "a string", int: "an integer", list: "a list"}


def _service(fields: Mapping[str, Any]) -> Service:
    return Service(name=fields["name"], tenants=tuple(str(tenant) for tenant in fields["tenants"]))


def _quoted(text: str) -> str:
    """Write a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _mistakes(network: Network) -> Iterator[str]:
    if not network.name.isprintable() or not network.name.strip():
        yield f"name = {network.name!r}: give the network a name of printable characters"
    if not (_HOST.fullmatch(network.host) or _is_address(network.host)):
        yield f"host = {network.host!r} is neither a DNS name nor an IP address"
    if not _is_address(network.bind):
        yield f"bind = {network.bind!r} is not an IP address; 0.0.0.0 listens on all interfaces"
    yield from _port_mistakes(network)
    yield from node_mistakes(network.nodes, network.council_store_bytes)
    if not network.councils:
        yield "there is no [[council]]: describe at least one"
    for council in network.councils:
        yield from _council_mistakes(council)
    for gateway in network.gateways:
        yield from _name_mistakes("gateway", "device", gateway.device)
        yield from _unknown_tenants(f"gateway {gateway.device!r}", (gateway.tenant,), network)
    for service in network.services:
        yield from _service_mistakes(service, network)
    yield from repeated("council tenant", network.tenants)
    yield from repeated("council gss", (council.gss for council in network.councils))
    yield from repeated("gateway device", (gateway.device for gateway in network.gateways))
    yield from repeated("service name", (service.name for service in network.services))


def _council_mistakes(council: Council) -> Iterator[str]:
    yield from _name_mistakes("council", "tenant", council.tenant)
    if not _GSS.fullmatch(council.gss):
        yield f"council {council.tenant!r}: gss = {council.gss!r} is not a code such as E09000007"
    if not council.name.isprintable() or not council.name.strip():
        yield f"council {council.tenant!r}: name = {council.name!r} is not a printable name"


def _service_mistakes(service: Service, network: Network) -> Iterator[str]:
    if not _SERVICE.fullmatch(service.name):
        yield f"service name = {service.name!r} is not of the form {_SERVICE.pattern}"
    if service.name == KEEPER:
        yield f"service name = {KEEPER!r} is taken: live sessions are ended under it"
    if not service.tenants:
        yield f"service {service.name!r}: tenants is empty; name the councils it takes in"
    yield from _unknown_tenants(f"service {service.name!r}", service.tenants, network)
    yield from repeated(f"service {service.name!r}: tenant", service.tenants)


def _port_mistakes(network: Network) -> Iterator[str]:
    ports = {"service_port": network.service_port, "keeper_port": network.keeper_port}
    ports |= {f"council {council.tenant!r}: port": council.port for council in network.councils}
    for where, port in ports.items():
        if not 0 <= port <= 65535:  # noqa: PLR2004 - the largest port there is
            yield f"{where} = {port} is not a port; allowed: 1 to 65535, or 0 for any free one"
    yield from repeated("port", (str(port) for port in ports.values() if port))


def _name_mistakes(table: str, level: str, name: str) -> Iterator[str]:
    try:
        topics.checked(level, name)
    except TopicError as error:
        yield f"{table} {level}: {error}"


def _unknown_tenants(where: str, tenants: Iterable[str], network: Network) -> Iterator[str]:
    for tenant in tenants:
        if tenant not in network.tenants:
            known = ", ".join(network.tenants) or "none"
            yield f"{where}: tenant = {tenant!r} is no council here; described are: {known}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
