"""`kerbstone network nodes` and `kerbstone network prepare-streams`."""

import argparse
import logging
import re
import shlex
from pathlib import Path
from typing import Final

from broker_config.nodes import Node
from broker_config.stream import OtherSettingsError, Prepared
from command_line.network import cluster, passphrases
from command_line.network.cluster import NATIVE_PORT, ROUTE_PORT, NodesDescribed
from command_line.network.commands.terminal import Actions, MisusedError, add_action, show, table
from command_line.network.directory import NetworkDirectory, read_description
from command_line.network.options import Telling

_NODE: Final = re.compile(r"([^=:]+)=([^=:]+)(?::([0-9]+):([0-9]+):([0-9]+))?")
_STANDS_FOR: Final = "{node}, {host} and {directory} stand for its name, host and files"


def configure(actions: Actions) -> None:
    """Add the commands."""
    nodes = add_action(
        actions,
        "nodes",
        _nodes,
        "describe the nodes of a NATS cluster, or list them",
        detail="Makes a certificate for each. `export-broker --node` writes their files.",
    )
    nodes.add_argument(
        "--node",
        action="append",
        default=[],
        metavar="NAME=HOST[:PORT:PORT:PORT]",
        help="a node and its DNS name, three or five times; ports are those of gateways (default: "
        f"the network's service port), of services ({NATIVE_PORT}) and of nodes ({ROUTE_PORT})",
    )
    nodes.add_argument(
        "--council-store-bytes",
        type=int,
        metavar="N",
        help="room for a council's messages on each node (default: as before; at first 1 GiB)",
    )
    told = nodes.add_mutually_exclusive_group()
    told.add_argument(
        "--reload-command",
        metavar="CMD",
        help=f"by which the enrolment service brings a node its files; {_STANDS_FOR}",
    )
    told.add_argument(
        "--pid-file",
        default="",
        metavar="FILE",
        help="or, for nodes on this machine: holds the process that is sent SIGHUP",
    )
    nodes.add_argument(
        "--data", default="", metavar="DIR", help="a node's own store, where that is another"
    )
    nodes.add_argument(
        "--change", action="store_true", help="let nodes that are described become others"
    )
    _add_passphrase(nodes)
    streams = add_action(
        actions,
        "prepare-streams",
        _prepare_streams,
        "make each council's stream and consumers on a NATS cluster",
        detail="Before the first gateway of a council is invited: until then NATS confirms what "
        "gateways send and keeps it nowhere. Run again, it makes what is missing.",
    )
    streams.add_argument(
        "--change", action="store_true", help="change those that have other settings"
    )
    _add_passphrase(streams)


def parse_node(text: str, mqtt_port: int) -> Node:
    """Return the node that `NAME=HOST` or `NAME=HOST:PORT:PORT:PORT` describes.

    mqtt_port: where gateways come, unless it is said.

    Raises:
        MisusedError: it is of neither form.
    """
    found = _NODE.fullmatch(text)
    if found is None:
        raise MisusedError(
            f"--node {text}: write NAME=HOST, e.g. n1=n1.example.org, or with its ports "
            f"n1=n1.example.org:{mqtt_port}:{NATIVE_PORT}:{ROUTE_PORT}"
        )
    name, host, *ports = found.groups()
    mqtt, native, route = (int(port) if port else 0 for port in ports)
    return Node(
        name=name,
        host=host,
        mqtt_port=mqtt or mqtt_port,
        native_port=native or NATIVE_PORT,
        route_port=route or ROUTE_PORT,
    )


def _add_passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="passphrase of the authority's keys"
    )


async def _nodes(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    directory.check()
    if arguments.node:
        port = read_description(directory).service_port
        found = await cluster.describe(
            directory,
            [parse_node(text, port) for text in arguments.node],
            store_bytes=arguments.council_store_bytes,
            telling=_telling(arguments),
            passphrase=passphrases.of_authority(directory, arguments.passphrase_file),
            change=arguments.change,
        )
    else:
        _refuse_without_nodes(arguments)
        found = cluster.described(directory)
    show(arguments, {"nodes": found.nodes, "described": found}, _lines(directory, found))
    return 0


def _refuse_without_nodes(arguments: argparse.Namespace) -> None:
    given = (arguments.council_store_bytes, arguments.reload_command, arguments.change)
    if any(given) or arguments.pid_file or arguments.data:
        raise MisusedError("name the nodes, all of them: --node NAME=HOST, three or five times")


def _telling(arguments: argparse.Namespace) -> Telling | None:
    if not arguments.reload_command and not arguments.pid_file:
        if arguments.data:
            raise MisusedError(f"--data {arguments.data}: add --reload-command or --pid-file")
        return None
    return Telling(
        reload_command=tuple(shlex.split(arguments.reload_command or "")),
        pid_file=arguments.pid_file,
        data=arguments.data,
    )


def _lines(directory: NetworkDirectory, found: NodesDescribed) -> list[str]:
    if not found.nodes:
        return ["No nodes: this network runs on one broker."]
    rows = [(node.name, node.host, *node.ports.values()) for node in found.nodes]
    lines = table(("NODE", "HOST", "GATEWAYS", "SERVICES", "NODES"), rows)
    if found.certificates:
        names = ", ".join(node.name for node in found.nodes)
        lines.append(f"Next, for each of {names}: kerbstone network export-broker --node NAME")
    if found.told:
        lines.append(
            f"{directory.enrolment_settings} says now how {', '.join(found.told)} are told; "
            "restart the enrolment service if it runs."
        )
    if found.untold:
        lines.append(
            f"Nothing says how {', '.join(found.untold)} are told when gateways come and go: give "
            f"--reload-command, or write a [[broker.node]] for each in "
            f"{directory.enrolment_settings}"
        )
    lines += [
        f"Connection {name} of {directory.ingest_settings} reads one broker, not a cluster's "
        'stream: see receive = "jetstream" in the reference of settings'
        for name in found.by_mqtt
    ]
    return lines


async def _prepare_streams(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    directory.check()
    passphrase = passphrases.of_authority(directory, arguments.passphrase_file)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of what nats-py does with TLS
    try:
        found = await cluster.prepare_streams(
            directory, passphrase=passphrase, change=arguments.change
        )
    except OtherSettingsError as error:
        raise OtherSettingsError(
            f"{error}. Put {directory.network_file} right, or add --change"
        ) from error
    show(arguments, {"councils": found}, [_prepared(each) for each in found])
    return 0


def _prepared(each: Prepared) -> str:
    consumers = ", ".join(f"consumer {name} {step}" for name, step in each.consumers.items())
    return f"{each.tenant}: stream {each.stream}, {consumers}."
