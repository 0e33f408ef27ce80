"""`kerbstone database migrate|edition`: prepare a database of your own."""

import argparse
import asyncio
import json
import sys

from storage.database import OUTAGES, connect
from storage.edition import detect
from storage.migration import MigrationError, migrate


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, text in (
        ("migrate", "apply the migrations that are missing"),
        ("edition", "say what the server can do: plain, apache or timescale"),
    ):
        sub = actions.add_parser(action, help=text)
        sub.add_argument("dsn", metavar="URL", help="postgresql://user@host:port/name")
        sub.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action; 1 when the server cannot be reached or refuses."""
    try:
        return asyncio.run(
            _migrate(arguments) if arguments.action == "migrate" else _edition(arguments)
        )
    except (*OUTAGES, MigrationError) as error:
        print(f"kerbstone database: {error}", file=sys.stderr)
        return 1


async def _migrate(arguments: argparse.Namespace) -> int:
    applied = await migrate(arguments.dsn)
    if arguments.json:
        print(json.dumps({"applied": applied}))
    else:
        print("\n".join(f"applied {name}" for name in applied) or "nothing to apply")
    return 0


async def _edition(arguments: argparse.Namespace) -> int:
    async with await connect(arguments.dsn, application_name="kerbstone database") as conn:
        edition = await detect(conn)
    print(json.dumps({"edition": edition.value}) if arguments.json else edition.value)
    return 0
