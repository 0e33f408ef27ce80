"""`kerbstone network workers`."""

import argparse
from pathlib import Path

from command_line.network import passphrases, workers
from command_line.network.commands.terminal import Actions, add_action, show
from command_line.network.directory import NetworkDirectory
from ingest.settings import MOST_WORKERS


def configure(actions: Actions) -> None:
    """Add the command."""
    action = add_action(
        actions,
        "workers",
        _provide,
        "let ingest run as several processes",
        detail="Makes a certificate for each, and lets it in at the broker.",
    )
    action.add_argument(
        "number",
        type=int,
        choices=range(1, MOST_WORKERS + 1),
        metavar="NUMBER",
        help=f"of processes, 1 to {MOST_WORKERS}",
    )
    action.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="passphrase of the authority's keys"
    )


async def _provide(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    directory.check()
    passphrase = passphrases.of_authority(directory, arguments.passphrase_file)
    found = await workers.provide(directory, arguments.number, passphrase=passphrase)
    lines = [f"Certificate: {path}" for path in found.certificates]
    if found.certificates:
        lines.append("The broker lets them in within a minute.")
    lines.append(
        f"Now set `workers = {found.workers}` in {directory.ingest_settings} and restart ingest."
    )
    document = {
        "workers": found.workers,
        "broker": found.broker.value,
        "certificates": found.certificates,
    }
    show(arguments, document, lines)
    return 0
