"""`kerbstone ingest run`: from the broker into the database, as one process or as several."""

import argparse
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from command_line.database_process import on_database
from command_line.process import configure_config, run_process
from ingest.epoch_keys import ServiceKeyError
from ingest.recipient_keys import RecipientKeyError
from ingest.service import run as run_alone
from ingest.service import run_part
from ingest.settings import IngestSettings
from ingest.workers.claim import ClaimError
from ingest.workers.shares import Child, NoSuchShareError, children, part_of
from ingest.workers.supervisor import MisusedError, follow_parent, supervise
from storage.migration import MigrationError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the one action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    action = actions.add_parser("run", help="verify and store until stopped")
    configure_config(action)
    action.add_argument(
        "--worker",
        type=int,
        metavar="NUMBER",
        help="run this one of several processes alone, counted from 0",
    )
    action.add_argument(
        "--share", default="", metavar="NAME", help="of this share (needed where there are some)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    name = "ingest"
    if arguments.worker is not None:
        follow_parent()
        name = f"ingest {Child(arguments.share, arguments.worker)}"
    elif arguments.share:
        print("kerbstone ingest: --share needs --worker", file=sys.stderr)
        return 2
    refused: list[ClaimError] = []
    code = run_process(
        name,
        IngestSettings,
        _unless_refused(_main(arguments), refused),
        arguments,
        misused=(
            MigrationError,
            RecipientKeyError,
            ServiceKeyError,
            NoSuchShareError,
            MisusedError,
        ),
    )
    for error in refused:
        print(f"kerbstone ingest: {error}", file=sys.stderr)
    return 1 if refused else code


_Main = Callable[[IngestSettings], Coroutine[Any, Any, None]]


def _main(arguments: argparse.Namespace) -> _Main:
    async def one_of_several(settings: IngestSettings) -> None:
        await run_part(part_of(settings, Child(arguments.share, arguments.worker)))

    async def all_there_are(settings: IngestSettings) -> None:
        processes = children(settings)
        if len(processes) == 1 and not settings.share:
            await on_database(run_alone)(settings)
            return
        command = ["-m", "command_line", "ingest", "run"]
        command += ["--config", str(arguments.config), "--log-level", arguments.log_level]
        await supervise(processes, command)

    return all_there_are if arguments.worker is None else on_database(one_of_several)


def _unless_refused(main: _Main, refused: list[ClaimError]) -> _Main:
    """Return `main`, noting in `refused` that another process runs in its place."""

    async def run_unless(settings: IngestSettings) -> None:
        try:
            await main(settings)
        except* ClaimError as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            if isinstance(error, ClaimError):
                refused.append(error)

    return run_unless
