"""`kerbstone network export-broker`."""

import argparse
import shlex
from pathlib import Path

from broker_config.files import BrokerKind
from broker_config.keeper import command
from command_line.network import broker_files
from command_line.network.broker_files import Reload
from command_line.network.commands.terminal import Actions, add_action, show
from command_line.network.directory import NetworkDirectory
from command_line.network.settings_files import default_data


def configure(actions: Actions) -> None:
    """Add the command."""
    parser = add_action(
        actions,
        "export-broker",
        _export,
        "write a broker's configuration, certificates and revocation lists to a directory",
        detail="The enrolment service does this by itself for the network's own broker.",
    )
    parser.add_argument(
        "--kind", choices=[kind.value for kind in BrokerKind], required=True, help="which broker"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="where the broker is to find them; copied elsewhere, take the same path",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the broker's own store (default: as on Debian)"
    )
    parser.add_argument(
        "--run-as", default="mosquitto", help="user that Mosquitto becomes (default %(default)s)"
    )
    reload = parser.add_mutually_exclusive_group()
    reload.add_argument("--reload-command", metavar="CMD", help="tell a broker that runs here")
    reload.add_argument(
        "--pid-file", type=Path, metavar="FILE", help="or: holds the process that is sent SIGHUP"
    )


async def _export(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    kind = BrokerKind(arguments.kind)
    exported = await broker_files.export(
        directory,
        kind=kind,
        output=arguments.output,
        data=arguments.data or default_data(kind),
        run_as=arguments.run_as,
        reload=_reload(arguments),
    )
    lines = [f"{exported.main}: {exported.gateways} gateways may connect."]
    lines += [f"The session of {device} was ended." for device in exported.ended]
    if exported.restart_needed:
        lines.append("Restart the broker: it opens listeners only when it starts.")
    show(arguments, {"kind": kind.value, "exported": exported}, lines)
    return 0


def _reload(arguments: argparse.Namespace) -> Reload | None:
    if arguments.reload_command is not None:
        return Reload(command=command(shlex.split(arguments.reload_command)))
    if arguments.pid_file is not None:
        return Reload(pid_file=arguments.pid_file)
    return None
