"""`kerbstone data export URL DIRECTORY`: closed days as Parquet, by council and day.

An operator's tool: it writes every observation of the councils asked for. What of it may be
shared, and with whom, is for the operator to see to.
"""

import argparse
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from command_line.data.terminal import MisusedError, add_url, show, size
from command_line.progress import Progress, say
from storage.archive.backup import APPLICATION_NAME
from storage.archive.export import (
    ClosedDay,
    ExportError,
    begin_snapshot,
    closed_days,
    day_parts,
    days_are_waiting,
    exported_datastreams,
)
from storage.archive.export_files import Export
from storage.database import Connection, connect

SUMMARY: Final = "write days that are over as Parquet files, those that changed once more"
_MANIFEST_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Sum:
    """What a run came to."""

    files: int = 0
    rows: int = 0
    bytes: int = 0
    current: int = 0
    kept: int = 0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_url(parser)
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="where the files go")
    parser.add_argument(
        "--council",
        action="append",
        default=[],
        metavar="NAME",
        help="short name of a council; again for more (default: all)",
    )
    for option, text in (("--from", "first"), ("--to", "last")):
        parser.add_argument(
            option,
            dest=option.removeprefix("--") + "_day",
            type=date.fromisoformat,
            metavar="DAY",
            help=f"{text} day, UTC, e.g. 2026-06-01 (default: any)",
        )


async def run(arguments: argparse.Namespace) -> int:
    """Write what is new or changed."""
    started = time.monotonic()
    today = datetime.now(UTC).date()
    last = today - timedelta(days=1)
    if arguments.to_day is not None and arguments.to_day > last:
        raise MisusedError(f"--to {arguments.to_day}: the last day that is over is {last}")
    arguments.directory.mkdir(parents=True, exist_ok=True)
    export = Export(arguments.directory)
    async with await connect(arguments.dsn, application_name=APPLICATION_NAME) as conn:
        with _alone(arguments.directory):
            export.read_manifest()
            await begin_snapshot(conn)
            days = await closed_days(
                conn, arguments.council, start=arguments.from_day, end=arguments.to_day or last
            )
            waiting = await days_are_waiting(conn, today)
            await conn.rollback()
            total = await _write_days(conn, export, days)
    if waiting:
        say(
            "Some days have observations that are not worked off yet, and will change: does "
            "`kerbstone analytics run` run?"
        )
    _show(arguments, total, time.monotonic() - started, waiting=waiting)
    return 0


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep a second export out of the directory.

    Raises:
        ExportError: one is at it.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ExportError(f"another export writes to {directory}") from error
    else:
        yield
    finally:
        os.close(descriptor)


async def _write_days(conn: Connection, export: Export, days: list[ClosedDay]) -> _Sum:
    total = _Sum()
    due = []
    for day in days:
        if export.is_current(day):
            total.current += 1
        elif _is_kept(export, day):
            total.kept += 1
        else:
            due.append(day)
    with Progress("Exporting", len(due), unit="days") as bar:
        saved = time.monotonic()
        try:
            for done, day in enumerate(due):
                await _write_day(conn, export, day, total)
                bar.update(done + 1)
                if time.monotonic() > saved + _MANIFEST_SECONDS:
                    export.write_manifest()
                    saved = time.monotonic()
            for council in sorted({day.council for day in due}):
                export.write_datastreams(council, await exported_datastreams(conn, council))
        finally:
            export.write_manifest()
    return total


def _is_kept(export: Export, day: ClosedDay) -> bool:
    """Return whether what was exported before is the fuller copy: some was dropped since."""
    return day.thinned and (day.council, day.day) in export.days


async def _write_day(conn: Connection, export: Export, listed: ClosedDay, total: _Sum) -> None:
    """Write one day from one snapshot, with the version that it has in this very snapshot."""
    await begin_snapshot(conn)
    [day] = await closed_days(conn, [listed.council], start=listed.day, end=listed.day)
    if _is_kept(export, day):
        total.kept += 1
        return
    datastreams = await exported_datastreams(conn, day.council)
    with export.day_file(day, datastreams) as file:
        async for part in day_parts(conn, day.day, [each.id for each in datastreams]):
            file.write(part)
    await conn.rollback()
    written = export.days[day.council, day.day]
    total.files += 1
    total.rows += written.rows
    total.bytes += written.bytes


def _show(arguments: argparse.Namespace, total: _Sum, seconds: float, *, waiting: bool) -> None:
    facts = {
        "directory": str(arguments.directory),
        "days_written": total.files,
        "rows": total.rows,
        "bytes": total.bytes,
        "days_current": total.current,
        "days_kept": total.kept,
        "waiting": waiting,
        "seconds": round(seconds, 1),
    }
    lines = [
        (
            f"{total.rows:,} observations of {total.files:,} days written, {size(total.bytes)}, in "
            f"{seconds:.1f} s; {total.current:,} days are as they were."
        )
    ]
    if total.kept:
        lines.append(
            f"{total.kept:,} days changed after some of their observations were dropped: the files "
            "of before are kept, without what came late."
        )
    show(arguments, facts, "\n".join(lines))
