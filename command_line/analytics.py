"""`kerbstone analytics run`: keeps hourly rollups true and partitions ahead."""

import argparse

from analytics.runner import run as run_analytics
from analytics.settings import AnalyticsSettings
from command_line.process import configure_config, run_process


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the one action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    configure_config(actions.add_parser("run", help="refresh rollups until stopped"))


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    return run_process("analytics", AnalyticsSettings, run_analytics, arguments)
