"""`kerbstone network export-broker`."""

import argparse
import shlex
from pathlib import Path
from typing import Final

from broker_config.files import BrokerKind
from broker_config.keeper import command
from command_line.network import broker_files
from command_line.network.broker_files import Exported, Reload
from command_line.network.commands.terminal import Actions, MisusedError, add_action, show
from command_line.network.directory import NetworkDirectory, read_description
from command_line.network.settings_files import default_data, kept_broker
from enrolment.settings import BrokerFilesSettings

_USERS: Final = {BrokerKind.MOSQUITTO: "mosquitto", BrokerKind.NATS: "nats"}


def configure(actions: Actions) -> None:
    """Add the command."""
    parser = add_action(
        actions,
        "export-broker",
        _export,
        "write a broker's configuration, certificates and revocation lists to a directory",
        detail="The enrolment service does this by itself for the network's own broker, once that "
        "runs; without options, it is done here in the same way.",
    )
    parser.add_argument(
        "--kind",
        choices=[kind.value for kind in BrokerKind],
        help="which broker (default: the network's own)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the broker is to find them; copied elsewhere, take the same path (default: "
        "where the enrolment service keeps them)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the broker's own store (default: as the network was made with)",
    )
    parser.add_argument(
        "--run-as", metavar="USER", help="that the broker is (default: as the network's own)"
    )
    parser.add_argument("--node", default="", metavar="NAME", help="of a NATS cluster")
    reload = parser.add_mutually_exclusive_group()
    reload.add_argument("--reload-command", metavar="CMD", help="tell a broker that runs here")
    reload.add_argument(
        "--pid-file", type=Path, metavar="FILE", help="or: holds the process that is sent SIGHUP"
    )


async def _export(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    kept = kept_broker(directory)
    kind = BrokerKind(arguments.kind or (kept.kind if kept else BrokerKind.MOSQUITTO))
    same = kept if kept is not None and kept.kind == kind.value else None
    node = arguments.node
    if node and kind is not BrokerKind.NATS:
        raise MisusedError(f"--node {node}: {kind} runs as one broker, without nodes")
    output = arguments.output or (same.configuration_directory / node if same else None)
    if output is None:
        raise MisusedError(f"--output is needed: this network keeps no files for {kind.value}")
    user = arguments.run_as or _USERS[kind]
    if arguments.run_as is None and same is not None and kind is BrokerKind.MOSQUITTO:
        user = same.run_as
    exported = await broker_files.export(
        directory,
        kind=kind,
        output=output,
        data=arguments.data or _data(same, kind, node),
        run_as=user,
        node=node,
        reload=_reload(arguments),
    )
    lines = [f"{exported.main}: {exported.gateways} gateways may connect."]
    if node:
        lines += _of_node(directory, node, exported)
    elif not exported.readable:
        lines += [
            f"The broker's user {user!r} could not be given the right to read them.",
            "Name another by --run-as; or, as root:",
            f"  chgrp -R {user} {output} && chmod 2750 {output}",
        ]
    lines += [f"The session of {device} was ended." for device in exported.ended]
    if exported.restart_needed:
        lines.append("Restart the broker: it opens listeners only when it starts.")
    show(arguments, {"kind": kind.value, "exported": exported}, lines)
    return 0


def _data(kept: BrokerFilesSettings | None, kind: BrokerKind, node: str) -> Path:
    """Return where a broker or node keeps its own store, by the enrolment service's settings."""
    if kept is None:
        return default_data(kind)
    own = (each.data_directory for each in kept.node if each.name == node)
    return next(own, None) or kept.data_directory


def _of_node(directory: NetworkDirectory, name: str, exported: Exported) -> list[str]:
    """Say what is to be done with a node's files; its private key is among them."""
    host = read_description(directory).network().node(name).host
    at = shlex.quote(str(exported.main.parent))
    who = "its owner and the broker's user" if exported.readable else "its owner alone"
    return [
        f"The key of {name} is among these files; {who} can read it.",
        f"On another machine they take the same path: rsync -a {at}/ {host}:{at}/",
        f"Start it there: nats-server -c {shlex.quote(str(exported.main))}",
    ]


def _reload(arguments: argparse.Namespace) -> Reload | None:
    if arguments.reload_command is not None:
        return Reload(command=command(shlex.split(arguments.reload_command)))
    if arguments.pid_file is not None:
        return Reload(pid_file=arguments.pid_file)
    return None
