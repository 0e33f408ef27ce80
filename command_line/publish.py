"""`kerbstone publish`: new observations to everybody who subscribes, and the broker for that."""

import argparse
import sys
from pathlib import Path

from api.publishing.publisher import run as run_publisher
from api.publishing.settings import PublishSettings
from broker_config.errors import BrokerError
from broker_config.network import NetworkError
from broker_config.readers_broker import renew, write
from command_line.database_process import on_database
from command_line.network.broker_files import share
from command_line.process import USAGE_ERROR, configure_config, run_process
from runtime.settings import SettingsError, load
from storage.migration import MigrationError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    configure_config(
        actions.add_parser("run", help="publish new observations by MQTT until stopped")
    )
    broker = actions.add_parser(
        "broker",
        help="write the files of the readers' broker, or copy its renewed certificate",
    )
    broker.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, TOML")
    broker.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where its files go"
    )
    broker.add_argument(
        "--renew",
        action="store_true",
        help="copy a renewed certificate alone, and have the broker that runs take it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    if arguments.action == "broker":
        return _write_broker(arguments)
    return run_process(
        "publish",
        PublishSettings,
        on_database(run_publisher),
        arguments,
        misused=(MigrationError,),
    )


def _write_broker(arguments: argparse.Namespace) -> int:
    try:
        settings = load(PublishSettings, arguments.config)
        kind, described = settings.broker.described(arguments.output)
        if arguments.renew:
            changed = renew(kind, described)
            print("The broker has the renewed certificate." if changed else "Nothing is new.")
            return 0
        readable = share(described.configuration, described.data, described.run_as)
        main = write(kind, described)
    except (SettingsError, NetworkError, OSError) as error:
        print(f"kerbstone publish: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokerError as error:
        print(f"kerbstone publish: {error}", file=sys.stderr)
        return 1
    program = "mosquitto" if kind.value == "mosquitto" else "nats-server"
    if not readable:
        print(
            f"Let the broker's user read {described.configuration}: {described.run_as} is not here"
        )
    print(f"Start the readers' broker with: {program} -c {main}")
    return 0
