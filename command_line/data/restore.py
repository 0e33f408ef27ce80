"""`kerbstone data restore FILE URL`: a backup back into a database, ready for ingest."""

import argparse
import time
from pathlib import Path
from typing import Final

from command_line.data.terminal import add_url, show
from command_line.progress import Progress
from storage.archive.backup_file import Manifest, read
from storage.archive.restore import Restored, restore

SUMMARY: Final = "bring a backup back into an empty database, of either edition"
NEXT: Final = (
    "Give ingest and the enrolment service their key files and the authority: no backup has them.",
    "Revoke again, before ingest starts, whom you revoked since: `network gateway revoke`.",
    "Start ingest, analytics, the API and the enrolment service.",
    "Make a key set that is newer than any that gateways have seen: `network rotate recipients`.",
    "Invite again who enrolled or renewed a certificate since: until then readings stay there.",
    "Look at the status page: what was acknowledged since is missing there, gateway by gateway.",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what `data backup` wrote")
    add_url(parser)
    parser.add_argument(
        "--replace",
        action="store_true",
        help="drop all of ours that the database holds first; what is not ours stays",
    )


async def run(arguments: argparse.Namespace) -> int:
    """Restore, and say what the operator must do next."""
    started = time.monotonic()
    with read(arguments.file) as backup:
        with Progress("Restoring", backup.manifest.rows, unit="rows") as bar:
            restored = await restore(
                arguments.dsn,
                backup,
                lambda done, total: bar.update(done, total=total),
                replace=arguments.replace,
            )
        _show(arguments, backup.manifest, restored, time.monotonic() - started)
    return 0


def _show(
    arguments: argparse.Namespace, manifest: Manifest, restored: Restored, seconds: float
) -> None:
    last = restored.last_message_at
    facts = {
        "taken_at": manifest.taken_at.isoformat(),
        "last_message_at": last and last.isoformat(),
        "rows": restored.rows,
        "gateways": restored.gateways,
        "epochs_closed": restored.epochs_closed,
        "seconds": round(seconds, 1),
        "next": NEXT,
    }
    newest = f"{last:%Y-%m-%d %H:%M:%S} UTC" if last else "never"
    lines = [
        f"{restored.rows:,} rows of {restored.gateways:,} gateways restored in {seconds:.1f} s.",
        f"{restored.epochs_closed} epochs were open and are closed.",
        (
            f"The backup is of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, its last message came "
            f"{newest}. What was acknowledged after that is lost: gateways keep only what was not."
        ),
        "",
        "Next:",
        *(f"{number}. {text}" for number, text in enumerate(NEXT, 1)),
    ]
    show(arguments, facts, "\n".join(lines))
