"""`kerbstone enrolment run`: the certificate service, the only process that holds its keys."""

import argparse

from command_line.database_process import on_database
from command_line.process import configure_config, run_process
from enrolment.files import CredentialError
from enrolment.service import run as run_enrolment
from enrolment.settings import EnrolmentSettings
from storage.migration import MigrationError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the one action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    configure_config(
        actions.add_parser("run", help="enrol and renew gateways, and do its duties, until stopped")
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    return run_process(
        "enrolment",
        EnrolmentSettings,
        on_database(run_enrolment),
        arguments,
        misused=(CredentialError, MigrationError),
    )
