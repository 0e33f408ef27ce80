"""`kerbstone analytics run`: keeps hourly rollups true and partitions ahead."""

import argparse

from analytics.runner import run as run_analytics
from analytics.settings import AnalyticsSettings
from command_line.database_process import on_database
from command_line.process import configure_config, run_process
from storage.migration import MigrationError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the one action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    configure_config(actions.add_parser("run", help="refresh rollups until stopped"))


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    return run_process(
        "analytics",
        AnalyticsSettings,
        on_database(run_analytics),
        arguments,
        misused=(MigrationError,),
    )
