"""`kerbstone serve`: the open standards, the dashboard and the live stream."""

import argparse

import uvloop

from api.service import run as run_api
from api.settings import ApiSettings
from command_line.database_process import on_database
from command_line.process import configure_config, run_process
from storage.migration import MigrationError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the settings file."""
    configure_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped."""
    return run_process(
        "serve",
        ApiSettings,
        on_database(run_api),
        arguments,
        misused=(MigrationError,),
        loop_factory=uvloop.new_event_loop,
    )
