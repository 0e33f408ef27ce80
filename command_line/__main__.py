"""`kerbstone COMMAND …`: finds the command and hands over.

A command's module is imported only when it is asked for, so that a gateway with the `edge` extra
alone can run `kerbstone agent`, and so that `--help` answers at once.
"""

import argparse
import importlib
import sys
from typing import Final, NamedTuple

from command_line.output import ending_with_its_reader


class Command(NamedTuple):
    """A word on the command line, the module that carries it out, and what it is for.

    The module has `configure(parser)`, which adds its arguments, and `run(arguments) -> int`,
    the exit status.
    """

    module: str
    help: str


COMMANDS: Final[dict[str, Command]] = {
    "demo": Command(
        "command_line.demo", "a whole city on this computer: five gateways to live dashboard"
    ),
    "scale": Command(
        "command_line.scale", "a region on several workers, brokers or databases, on this computer"
    ),
    "test": Command("command_line.testing", "everything that proves this checkout works"),
    "agent": Command(
        "command_line.agent", "the gateway: enrol, run, status, try, check-config, decode"
    ),
    "ingest": Command("command_line.ingest", "the centre's verifying and storing process"),
    "serve": Command("command_line.serve", "the API and the dashboard"),
    "publish": Command(
        "command_line.publish", "new observations by MQTT, to whoever subscribes; the broker for it"
    ),
    "network": Command(
        "command_line.network.commands",
        "make and run the secure network: councils, gateways, keys, broker, people",
    ),
    "enrolment": Command(
        "command_line.enrolment", "the certificate service: enrols gateways, holds the keys"
    ),
    "analytics": Command("command_line.analytics", "hourly rollups and housekeeping"),
    "data": Command(
        "command_line.data", "data at rest: export, verify, back up, restore, preview retention"
    ),
    "database": Command("command_line.database", "migrate a database; show its edition"),
    "quarantine": Command(
        "command_line.quarantine", "look at what was kept aside; have it tried again, or give it up"
    ),
    "map": Command("command_line.map", "a SenML pack in an open standard, without a server"),
    "verify": Command("command_line.verify", "check envelope vectors against this implementation"),
    "bench": Command(
        "command_line.bench",
        "measure ingest, queries, pages, gateways and enrolment beside the machine's raw limit",
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 failed, 2 misused, 130 interrupted.

    Raises:
        SystemExit: the words are wrong or ask for help; or, with 141, nobody reads what it prints.
    """
    with ending_with_its_reader():
        return _run(sys.argv[1:] if argv is None else argv)


def _run(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="kerbstone",
        description="Street sensors to open data: a secure network that many councils share.",
        epilog="`kerbstone COMMAND --help` tells more of each.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=command.help)
        if name == chosen:
            importlib.import_module(command.module).configure(subparser)
    arguments = parser.parse_args(words)
    module = importlib.import_module(COMMANDS[arguments.command].module)
    try:
        return int(module.run(arguments))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
