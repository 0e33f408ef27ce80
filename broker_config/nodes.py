"""The nodes of a NATS cluster, as values and as the rows of a description.

Three or five servers that share every message by Raft, so that one may be lost at any time. What
each of them is told is `nats`; starting some on this machine is `cluster`. A network without nodes
runs on one broker.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

REPLICAS = 3
"""Copies of every message: two of three nodes hold it before a publisher hears of it."""

MIN_STORE_BYTES = 1 << 20

_SIZES = (0, 3, 5)  # an even number bears no more losses than the odd one below it
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DNS_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_MOST_PORT = 65535

NODE_KEYS: Mapping[str, tuple[type, bool]] = {  # key -> (type, must stand there)
    "name": (str, True),
    "host": (str, True),
    "mqtt_port": (int, False),
    "native_port": (int, False),
    "route_port": (int, False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One server of a cluster.

    name: unique among the nodes. host: the DNS name by which gateways, services and the other
        nodes reach it; an address will not do, for a node is known to the others by the name in
        its certificate.
    mqtt_port: of gateways and services. native_port: of the services that read by NATS' own
        protocol. route_port: of the other nodes alone. 0 = any free one, on this machine only.
    """

    name: str
    host: str
    mqtt_port: int = 0
    native_port: int = 0
    route_port: int = 0

    @property
    def ports(self) -> dict[str, int]:
        """The three ports by their keys."""
        return {
            "mqtt_port": self.mqtt_port,
            "native_port": self.native_port,
            "route_port": self.route_port,
        }


def node_mistakes(nodes: tuple[Node, ...], store_bytes: int) -> Iterator[str]:
    """Say what is wrong with a cluster's nodes and the room a council has on each."""
    if len(nodes) not in _SIZES:
        yield f"there are {len(nodes)} [[node]] tables; describe 3 or 5, or none for one broker"
    if store_bytes < MIN_STORE_BYTES:
        yield f"council_store_bytes = {store_bytes} is below {MIN_STORE_BYTES}"
    for node in nodes:
        if not _NAME.fullmatch(node.name):
            yield f"node name = {node.name!r} is not of the form {_NAME.pattern}"
        if not _DNS_NAME.fullmatch(node.host):
            yield f"node {node.name!r}: host = {node.host!r} is not a DNS name"
        for key, port in node.ports.items():
            if not 0 <= port <= _MOST_PORT:
                yield f"node {node.name!r}: {key} = {port} is not a port; allowed: 1 to 65535"
    yield from repeated("node name", (node.name for node in nodes))
    yield from repeated(
        "node port",
        (f"{node.host}:{port}" for node in nodes for port in node.ports.values() if port),
    )


def node_names(host: str, node: Node) -> tuple[str, ...]:
    """Return what a node's certificate must name.

    host: the network's, by which gateways find any node; the node's own is how the others know it.
    """
    return tuple(dict.fromkeys((node.host, host)))


def node_rows(nodes: tuple[Node, ...]) -> Iterator[str]:
    """Yield the lines of TOML that describe the nodes; their names need no escapes."""
    for node in nodes:
        yield from ("", "[[node]]", f'name = "{node.name}"', f'host = "{node.host}"')
        yield from (f"{key} = {port}" for key, port in node.ports.items())


def repeated(what: str, values: Iterable[str]) -> Iterator[str]:
    """Yield a mistake for each value that stands more than once."""
    for value, times in Counter(values).items():
        if times > 1:
            yield f"{what} {value!r} stands {times} times; it must be unique"
