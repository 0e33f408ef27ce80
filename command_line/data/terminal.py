"""What every `kerbstone data` command shares: results, and what errors come to."""

import argparse
import asyncio
import json
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

from command_line.process import USAGE_ERROR
from runtime.printable import printable
from runtime.settings import SettingsError
from storage.archive.backup_file import BackupError
from storage.archive.export import ExportError
from storage.archive.restore import TargetError
from storage.database import LACKS, OUTAGES, lack
from storage.migration import MigrationError

FAILED = 1


class MisusedError(Exception):
    """The words on the command line do not fit together; the message says what would."""


def guarded(action: Coroutine[Any, Any, int]) -> int:
    """Carry out an action; say what went wrong, and return the exit status."""
    try:
        return asyncio.run(action)
    except (MisusedError, SettingsError, TargetError, FileExistsError) as error:
        return _tell(error, USAGE_ERROR)
    except LACKS as error:
        return _tell(lack(error), FAILED)
    except (*OUTAGES, BackupError, ExportError, MigrationError) as error:
        return _tell(str(error).strip() or repr(error), FAILED)


def _tell(what: object, status: int) -> int:
    lines = map(printable, f"{what}".split("\n"))  # a backup's manifest may have chosen some of it
    print("kerbstone data: " + "\n".join(lines), file=sys.stderr)
    return status


def show(arguments: argparse.Namespace, facts: Mapping[str, object], text: str) -> None:
    """Print the result: facts for scripts, or text for people."""
    print(json.dumps(facts) if arguments.json else text)


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add the database."""
    parser.add_argument("dsn", metavar="URL", help="postgresql://user@host:port/name")


def size(octets: int) -> str:
    """Return a size for people, e.g. 12.3 MB."""
    number = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004 - the next unit
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
