"""What every `kerbstone network` command shares: options, output, confirmation, exit status."""

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from broker_config.errors import BrokerError
from broker_config.network import NetworkError
from command_line.network.cluster import ClusterError
from command_line.network.councils import CouncilError
from command_line.network.directory import (
    DEFAULT_DIRECTORY,
    VARIABLE,
    NetworkDirectory,
    NetworkDirectoryError,
    default_directory,
)
from command_line.network.gateways import GatewayError
from command_line.network.own_recipients import RecipientError
from command_line.network.passphrases import PassphraseError
from command_line.network.rotation import RotationError
from command_line.network.setup import SetupError
from command_line.process import USAGE_ERROR
from enrolment.files import CredentialError
from enrolment.policy import PolicyError
from runtime.settings import SettingsError
from storage.access import UnknownDatastreamError
from storage.api_keys import UnknownKeyError
from storage.database import LACKS, OUTAGES, lack
from storage.migration import MigrationError
from storage.recipients import LastRecipientError, RetiredError, UnknownRecipientError
from storage.registry import (
    NotEnrolledError,
    RevokedForGoodError,
    TakenError,
    UnknownCouncilError,
    UnknownGatewayError,
)
from storage.site_list import SiteError, SiteListError
from storage.staff import UnknownPassError

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse gives what add_subparsers returns no public name
CarryOut: TypeAlias = Callable[[argparse.Namespace, NetworkDirectory], Coroutine[Any, Any, int]]

FAILED: Final = 1

SIGNED_WITHIN_SECONDS: Final = 10.0
"""The enrolment service signs what is asked for within a second or two, where it runs."""
NOT_SIGNED: Final = (
    "Nothing is signed yet: does the enrolment service run (`kerbstone enrolment run`)? "
    "Its log says what holds it up."
)


class MisusedError(Exception):
    """The words on the command line do not fit together; the message says what would."""


MISUSES: Final = (
    MisusedError,
    ClusterError,
    CouncilError,
    GatewayError,
    NetworkError,
    PassphraseError,
    PolicyError,
    RecipientError,
    SetupError,
    SiteError,
    SiteListError,
)
FAILURES: Final = (
    BrokerError,
    CredentialError,
    LastRecipientError,
    MigrationError,
    NetworkDirectoryError,
    NotEnrolledError,
    RetiredError,
    RevokedForGoodError,
    RotationError,
    SettingsError,
    TakenError,
    UnknownCouncilError,
    UnknownDatastreamError,
    UnknownGatewayError,
    UnknownKeyError,
    UnknownPassError,
    UnknownRecipientError,
    *OUTAGES,
)


def add_action(
    actions: Actions, name: str, carry_out: CarryOut, text: str, *, detail: str = ""
) -> argparse.ArgumentParser:
    """Add a command with the options that all have; `carry_out` returns the exit status."""
    parser = actions.add_parser(name, help=text, description=f"{text}. {detail}".strip())
    parser.add_argument(
        "--directory",
        type=Path,
        default=default_directory(),
        metavar="DIR",
        help=f"the network's directory (default ${VARIABLE}, else {DEFAULT_DIRECTORY})",
    )
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(carry_out=carry_out)
    return parser


def add_group(actions: Actions, name: str, text: str) -> Actions:
    """Add a word that has words below it."""
    parser = actions.add_parser(name, help=text, description=text)
    return parser.add_subparsers(dest=f"{name}_action", metavar="ACTION", required=True)


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add `--yes`."""
    parser.add_argument("--yes", action="store_true", help="do not ask; for scripts")


def guarded(arguments: argparse.Namespace) -> int:
    """Run what `add_action` was given; what a person can mend becomes a line and a status."""
    directory = NetworkDirectory(arguments.directory.absolute())
    try:
        return int(asyncio.run(arguments.carry_out(arguments, directory)))
    except MISUSES as error:
        return _fail(error, USAGE_ERROR)
    except FAILURES as error:
        return _fail(error, FAILED)
    except LACKS as error:
        return _fail(lack(error), FAILED)


def confirm(arguments: argparse.Namespace, question: str, answer: str) -> None:
    """Return once the person has typed `answer`, or has said --yes beforehand.

    Raises:
        MisusedError: there is nobody to ask, or something else was typed.
    """
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise MisusedError(f"{question} There is no terminal to confirm this; add --yes")
    print(f"{question}\nType {answer} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != answer:
        raise MisusedError(f"{answer} was not typed; nothing was done")


def show(
    arguments: argparse.Namespace, document: Mapping[str, object], lines: Sequence[str]
) -> None:
    """Print `document` as JSON if asked to, else `lines`."""
    if arguments.json:
        print(json.dumps(_plain(document), ensure_ascii=False))
    else:
        print("\n".join(lines))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return rows as lines with columns of even width."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def moment(at: datetime | None) -> str:
    """Return a time for people, to the minute and in UTC; "-" for none."""
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "-"


def _fail(error: Exception | str, status: int) -> int:
    print(f"kerbstone network: {error}", file=sys.stderr)
    return status


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return moment(value) if isinstance(value, datetime) else str(value)


def _plain(value: object) -> object:
    """Return what JSON can say: times and days in ISO 8601, octets in hexadecimal."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, Path) else value
