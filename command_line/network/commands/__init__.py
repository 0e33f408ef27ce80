"""`kerbstone network …`: the words of the command line, one module for each kind of thing.

Each says what it did, on standard output for people or as JSON, and leaves the doing to
`command_line.network`.
"""

import argparse

from command_line.network.commands import (
    access,
    broker,
    cluster,
    council,
    gateway,
    init,
    people,
    recipient,
    report,
    rotate,
    workers,
)
from command_line.network.commands.terminal import guarded


def configure(parser: argparse.ArgumentParser) -> None:
    """Add every action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for module in (
        init,
        council,
        gateway,
        recipient,
        rotate,
        broker,
        cluster,
        workers,
        people,
        access,
        report,
    ):
        module.configure(actions)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action: 0 done, 1 not or not wholly done, 2 misused."""
    return guarded(arguments)
