"""`kerbstone data backup URL FILE`: everything in the database, in one file."""

import argparse
import time
from pathlib import Path
from typing import Final

from command_line.data.terminal import MisusedError, add_url, show, size
from command_line.progress import Progress
from storage.archive.backup import back_up

SUMMARY: Final = "write all that a database holds into one file, while everything goes on"
_NOT_IN_IT: Final = (
    "Not in it: the service key and the recipients' keys, the authority's files, settings. "
    "Keep copies of those apart from this file."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_url(parser)
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="a new file, readable by its owner only"
    )


async def run(arguments: argparse.Namespace) -> int:
    """Write the file, and say what is in it."""
    file = _new_file(arguments.file)
    started = time.monotonic()
    with Progress("Backing up", 0, unit="rows") as bar:
        manifest = await back_up(
            arguments.dsn, file, lambda done, total: bar.update(done, total=total)
        )
    seconds = time.monotonic() - started
    octets = _size_of(file)
    facts = {
        "file": str(file),
        "taken_at": manifest.taken_at.isoformat(),
        "rows": manifest.rows,
        "tables": {
            name: sum(each.rows for each in manifest.contents if each.table == name)
            for name in dict.fromkeys(each.table for each in manifest.contents)
        },
        "bytes": octets,
        "seconds": round(seconds, 1),
    }
    show(
        arguments,
        facts,
        f"{file}: {manifest.rows:,} rows as of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"{size(octets)}, in {seconds:.1f} s\n{_NOT_IN_IT}",
    )
    return 0


def _new_file(file: Path) -> Path:
    if not file.absolute().parent.is_dir():
        raise MisusedError(f"{file.parent} is no directory")
    return file.absolute()


def _size_of(file: Path) -> int:
    return file.stat().st_size
