"""Ports for a broker of one's own: free ones on loopback where a description leaves them open."""

import contextlib
import socket
from dataclasses import replace

from broker_config.network import LOOPBACK, Network
from broker_config.nodes import Node

_HERE = "localhost"  # a name, not an address: nodes know one another by it


def ports(network: Network) -> list[int]:
    """Return every port that a description names; 0 for those it leaves open."""
    return [
        network.service_port,
        network.keeper_port,
        *(council.port for council in network.councils),
        *(port for node in network.nodes for port in node.ports.values()),
    ]


def with_ports(network: Network) -> Network:
    """Return the network on loopback, with a free port wherever it has 0."""
    free = iter(free_ports(ports(network).count(0)))
    return replace(
        network,
        host=LOOPBACK,
        bind=LOOPBACK,
        service_port=network.service_port or next(free),
        keeper_port=network.keeper_port or next(free),
        councils=tuple(
            replace(council, port=council.port or next(free)) for council in network.councils
        ),
        nodes=tuple(
            Node(
                name=node.name,
                host=_HERE,
                **{key: port or next(free) for key, port in node.ports.items()},
            )
            for node in network.nodes
        ),
    )


def keep_ports(network: Network, before: Network) -> Network:
    """Return `network` with the ports it leaves open as they were `before`."""
    held = {council.tenant: council.port for council in before.councils}
    nodes = {node.name: node for node in before.nodes}
    return replace(
        network,
        host=before.host,
        bind=before.bind,
        service_port=network.service_port or before.service_port,
        keeper_port=network.keeper_port or before.keeper_port,
        councils=tuple(
            replace(council, port=council.port or held.get(council.tenant, 0))
            for council in network.councils
        ),
        nodes=tuple(nodes.get(node.name, node) for node in network.nodes),
    )


def free_ports(count: int) -> list[int]:
    """Return distinct ports nobody listens on now; held together so that none comes twice."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]
