"""`kerbstone ingest run`: from the broker into the database."""

import argparse

from command_line.database_process import on_database
from command_line.process import configure_config, run_process
from ingest.epoch_keys import ServiceKeyError
from ingest.recipient_keys import RecipientKeyError
from ingest.service import run as run_ingest
from ingest.settings import IngestSettings
from storage.migration import MigrationError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the one action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    configure_config(actions.add_parser("run", help="verify and store until stopped"))


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    return run_process(
        "ingest",
        IngestSettings,
        on_database(run_ingest),
        arguments,
        misused=(MigrationError, RecipientKeyError, ServiceKeyError),
    )
