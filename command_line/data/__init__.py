"""`kerbstone data …`: what an operator does with data at rest, one module for each action.

Each says what it did, on standard output for people or as JSON, and leaves the doing to
`storage`. All exit with 0 when done, 1 when it failed or something differs, 2 when misused.
"""

import argparse

from command_line.data import backup, export, restore, retention, verify
from command_line.data.terminal import guarded

_ACTIONS = {
    "export": export,
    "verify": verify,
    "backup": backup,
    "restore": restore,
    "retention": retention,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add every action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, module in _ACTIONS.items():
        sub = actions.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.configure(sub)
        sub.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    return guarded(_ACTIONS[arguments.action].run(arguments))
