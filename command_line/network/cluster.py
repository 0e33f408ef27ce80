"""Nodes of a NATS cluster: describing them, and making the streams that ingest reads.

How one node is told of changed files stands in the enrolment service's settings, which keeps all of
them up to date; the files themselves, once and by hand, are `broker_files`.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from broker_config.files import BrokerKind
from broker_config.network import KEEPER, Network
from broker_config.nodes import Node, node_names
from broker_config.stream import Prepared, native_servers, prepare, reach
from command_line.network import settings_files
from command_line.network.directory import (
    NetworkDirectory,
    NetworkDirectoryError,
    read_description,
    write_description,
)
from command_line.network.options import Telling
from command_line.network.setup import open_authority, operator
from enrolment.authority import Authority
from runtime.tls import client_context
from storage import audit

NATIVE_PORT: Final = 4222
ROUTE_PORT: Final = 6222


class ClusterError(Exception):
    """Nodes cannot be described as asked; the message names the value and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesDescribed:
    """The nodes, and what is still to be done about them.

    certificates: of the nodes. told: nodes that the enrolment service now knows how to tell;
    untold: those it does not. by_mqtt: connections of ingest that read no stream.
    """

    nodes: tuple[Node, ...]
    certificates: tuple[Path, ...] = ()
    told: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    by_mqtt: tuple[str, ...] = ()


def described(directory: NetworkDirectory) -> NodesDescribed:
    """Return the nodes there are."""
    nodes = read_description(directory).nodes
    return NodesDescribed(
        nodes=nodes,
        untold=_untold(directory, nodes),
        by_mqtt=settings_files.connections_by_mqtt(directory) if nodes else (),
    )


async def describe(
    directory: NetworkDirectory,
    nodes: Sequence[Node],
    *,
    store_bytes: int | None,
    telling: Telling | None,
    passphrase: bytes | None,
    change: bool = False,
    actor: str = "",
) -> NodesDescribed:
    """Put nodes into the network description and make their certificates.

    store_bytes: what a council's messages may take on each; None: as before. telling: added to the
    enrolment service's settings for each node that has no table there. change: whether nodes that
    are described already may become others.

    Raises:
        ClusterError: the broker is none that runs as a cluster, the nodes are others already, or
            none listens where gateways come.
        NetworkError: a bad name, host, port, number of nodes or of bytes.
        CredentialError: a key cannot be read with this passphrase.
    """
    kind = settings_files.broker_kind(directory)
    if kind is not BrokerKind.NATS:
        raise ClusterError(
            f"this network's broker is {kind}, which runs as one; make it for NATS first, with "
            "`kerbstone network init … --broker nats --force`"
        )
    with directory.locked():
        held = read_description(directory)
        changed = replace(
            held,
            nodes=tuple(nodes),
            council_store_bytes=held.council_store_bytes if store_bytes is None else store_bytes,
        )
        before = (held.nodes, held.council_store_bytes)
        now = (changed.nodes, changed.council_store_bytes)
        if held.nodes and before != now and not change:
            raise ClusterError(
                f"{directory.network_file} describes {', '.join(map(_words, held.nodes))} with "
                f"{held.council_store_bytes} bytes for a council; leave them as they are, or "
                "add --change, write the files of all nodes anew and restart one after the other"
            )
        if all(node.mqtt_port != changed.service_port for node in nodes):
            raise ClusterError(
                f"no node listens on port {changed.service_port}, where gateways are told to come "
                f"({changed.host}); give that port to the nodes behind this name"
            )
        authority = open_authority(directory, passphrase)
        certificates = tuple(
            authority.broker_node(node.name, node_names(changed.host, node)).certificate
            for node in nodes
        )
        write_description(directory, changed)
        told = settings_files.add_nodes(directory, nodes, telling) if telling else ()
    async with directory.connection() as conn:
        await audit.record(
            conn,
            actor=actor or operator(),
            tenant="",
            action="network.nodes",
            subject=held.name,
            detail={"nodes": [_words(node) for node in nodes]},
        )
    return replace(described(directory), certificates=certificates, told=told)


async def prepare_streams(
    directory: NetworkDirectory, *, passphrase: bytes | None, change: bool = False
) -> list[Prepared]:
    """Make every council's stream and consumers, or find them; return what was done.

    change: whether those with other settings are given those described.

    Raises:
        NetworkDirectoryError: there is no council or no node.
        BrokerError: a node cannot be reached, refused, or holds other settings.
        CredentialError: a key cannot be read with this passphrase.
    """
    with directory.locked():
        network = read_description(directory).network()
        if not network.nodes:
            raise NetworkDirectoryError(
                f"{directory.network_file} describes no node, and one broker needs no streams "
                "made; describe a cluster with `kerbstone network nodes`"
            )
        authority = open_authority(directory, passphrase)
        contexts = {tenant: _keeper(authority, tenant) for tenant in network.tenants}
    return [
        await _prepared(network, tenant, context, change=change)
        for tenant, context in contexts.items()
    ]


async def _prepared(
    network: Network, tenant: str, context: ssl.SSLContext, *, change: bool
) -> Prepared:
    for node in network.nodes:
        await reach(node, context)
    return await prepare(network, tenant, native_servers(network), context, change=change)


def _keeper(authority: Authority, tenant: str) -> ssl.SSLContext:
    credential = authority.service_client(KEEPER, tenant)
    return client_context(
        ca_file=authority.service_root(),
        certificate_file=credential.certificate,
        key_file=credential.key,
    )


def _untold(directory: NetworkDirectory, nodes: Sequence[Node]) -> tuple[str, ...]:
    kept = settings_files.kept_broker(directory)
    told = {node.name for node in kept.node} if kept else set()
    return tuple(node.name for node in nodes if node.name not in told)


def _words(node: Node) -> str:
    return f"{node.name}={node.host}:" + ":".join(map(str, node.ports.values()))
