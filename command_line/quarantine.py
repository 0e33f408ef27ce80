"""`kerbstone quarantine list|show|retry|discard`: work through what was kept aside.

The statements are in `storage.quarantine_review`; trying again is ingest's work, which has the
keys, and happens at its next start if it is not running.
"""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from api.pages.remedies import REMEDIES
from api.pages.words import REASONS
from command_line.network.setup import operator
from command_line.progress import say
from runtime.printable import printable
from storage import quarantine_review as review
from storage.database import LACKS, OUTAGES, Connection, connect, lack
from storage.quarantine_review import OPEN, STATES, Entry, Filter, Moved, ReasonCount

USAGE_ERROR: Final = 2
_APPLICATION: Final = "kerbstone quarantine"
_LOOK_SECONDS: Final = 0.5
_SPAN: Final = re.compile(r"(\d+)([mhd])")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400}
_EXPLAINED: Final = (
    "What a reason means and what to do about it: `show`, and docs/reference/reasons.md"
)


class _MisuseError(Exception):
    """What was asked for makes no sense; the message says what would."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the four actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what is kept aside, newest first")
    _add_database(listing)
    _add_filters(listing)
    listing.add_argument(
        "--state",
        action="append",
        choices=STATES,
        help="repeatable; by default what still waits: held, asked and refused",
    )
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="rows (default 50)")
    listing.add_argument("--before", type=int, metavar="ID", help="only rows with a smaller id")
    listing.add_argument("--summary", action="store_true", help="only how many, by reason")

    showing = actions.add_parser("show", help="one row with everything known of it")
    _add_database(showing)
    showing.add_argument("id", type=int, metavar="ID")
    showing.add_argument(
        "--message", type=Path, metavar="FILE", help="write the whole message as it was received"
    )

    retrying = actions.add_parser("retry", help="have ingest try rows again")
    _add_choice(retrying)
    retrying.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="say how they ended, if by then"
    )
    discarding = actions.add_parser("discard", help="give rows up; they stay, and who did it")
    _add_choice(discarding)
    discarding.add_argument("--why", required=True, metavar="TEXT", help="for the audit")


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dsn", metavar="URL", help="postgresql://user@host:port/name")
    parser.add_argument("--json", action="store_true", help="for scripts")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--council", metavar="NAME", help="short name of a council")
    parser.add_argument("--gateway", metavar="DEVICE", help="device id of a gateway")
    parser.add_argument("--reason", choices=sorted(REASONS), metavar="REASON", help="e.g. payload")
    parser.add_argument(
        "--since", type=_since, metavar="WHEN", help="received since: 2026-06-01, or 90m, 24h, 7d"
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    _add_database(parser)
    parser.add_argument("--id", dest="ids", nargs="+", type=int, metavar="ID", help="these rows")
    _add_filters(parser)
    parser.add_argument("--all", action="store_true", help="everything that can be")
    parser.add_argument("--yes", action="store_true", help="do not ask first")


def _since(text: str) -> datetime:
    """Read a time (UTC unless it says otherwise) or a span before now."""
    if found := _SPAN.fullmatch(text):
        number, unit = found.groups()
        return datetime.now(UTC) - timedelta(seconds=int(number) * _SECONDS[unit])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-06-01, 2026-06-01T12:00, 90m, 24h or 7d"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action: 0 done, 1 failed or nothing there, 2 misused."""
    act = {"list": _list, "show": _show, "retry": _retry, "discard": _discard}[arguments.action]
    try:
        return asyncio.run(_with_connection(act, arguments))
    except _MisuseError as error:
        print(f"kerbstone quarantine: {printable(str(error))}", file=sys.stderr)
        return USAGE_ERROR
    except LACKS as error:
        print(f"kerbstone quarantine: {lack(error)}", file=sys.stderr)
        return 1
    except OUTAGES as error:
        print(f"kerbstone quarantine: {str(error).strip()}", file=sys.stderr)
        return 1


async def _with_connection(
    act: Callable[[Connection, argparse.Namespace], Awaitable[int]], arguments: argparse.Namespace
) -> int:
    conn = await connect(arguments.dsn, autocommit=True, application_name=_APPLICATION)
    async with conn:
        return await act(conn, arguments)


def _filter(arguments: argparse.Namespace) -> Filter:
    return Filter(
        ids=getattr(arguments, "ids", None) or None,
        tenant=arguments.council,
        device=arguments.gateway,
        reason=arguments.reason,
        since=arguments.since,
    )


# Looking


async def _list(conn: Connection, arguments: argparse.Namespace) -> int:
    wanted = replace(_filter(arguments), states=arguments.state or (*OPEN, "asked"))
    counts = await review.summary(conn, wanted)
    if arguments.summary:
        rows: list[Entry] = []
    else:
        rows = await review.entries(conn, wanted, limit=arguments.limit, before=arguments.before)
    if arguments.json:
        print(_json({"summary": list(map(asdict, counts)), "entries": list(map(asdict, rows))}))
        return 0
    for line in summary_lines(counts):
        print(line)
    for entry in rows:
        print(entry_line(entry))
    if len(rows) == arguments.limit:
        say(f"  more with --before {rows[-1].id}")
    if counts:
        say(f"  {_EXPLAINED}")
    return 0


def summary_lines(counts: Sequence[ReasonCount]) -> list[str]:
    """Say how many rows there are, a line for each reason and state."""
    if not counts:
        return ["nothing is kept aside"]
    return [
        f"{count.n:>8,}  {count.reason}, {count.state}: {_kinds(count)}, "
        f"{count.devices} gateway{'s' * (count.devices != 1)}, "
        f"{_minute(count.first_at)} to {_minute(count.last_at)}"
        for count in counts
    ]


def _kinds(count: ReasonCount) -> str:
    readings = count.n - count.messages
    parts = [(count.messages, "whole message"), (readings, "reading")]
    return " and ".join(f"{n:,} {what}{'s' * (n != 1)}" for n, what in parts if n)


def entry_line(entry: Entry) -> str:
    """Say in one line what a row is; what a gateway wrote into it is shown, not obeyed."""
    tried = f", tried {entry.tries}x" if entry.tries else ""
    return printable(
        f"{entry.id:>8}  {_minute(entry.received_at)}  {entry.tenant}/{entry.device or '?'}  "
        f"{entry.reason} ({entry.state}{tried})  {what(entry)}"
    )


def what(entry: Entry) -> str:
    """Say what a row holds: a whole message, a reading, or a part of a description."""
    if entry.message_bytes is not None:
        return f"whole message, {entry.message_bytes:,} byte{'s' * (entry.message_bytes != 1)}"
    if entry.phenomenon_time is None or entry.result is None:
        return f"part of a description: {entry.senml_name}"
    return f"{entry.senml_name} = {entry.result} {entry.unit} at {entry.phenomenon_time:%FT%TZ}"


async def _show(conn: Connection, arguments: argparse.Namespace) -> int:
    found = await review.entries(conn, Filter(ids=[arguments.id]), limit=1)
    if not found:
        print(f"kerbstone quarantine: there is no row {arguments.id}", file=sys.stderr)
        return 1
    entry = found[0]
    if arguments.message is not None:
        message = await review.kept_message(conn, entry.id)
        if message is None:
            raise _MisuseError(f"row {entry.id} is no whole message: {what(entry)}")
        _write_new(arguments.message, message)
    if arguments.json:
        words = {"meaning": REASONS.get(entry.reason), "remedy": REMEDIES.get(entry.reason)}
        print(_json(asdict(entry) | words | {"readmissible": entry.readmissible}))
    else:
        print("\n".join(shown(entry)))
    return 0


def _write_new(path: Path, message: bytes) -> None:
    """Write a file that only its owner can read, and that was not there before.

    Raises:
        _MisuseError: there is something by this name, if only a link.
        OSError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _MisuseError(f"{path} exists: name a new file") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(message)


def shown(entry: Entry) -> list[str]:
    """Return everything known of a row, a fact a line."""
    facts: list[tuple[str, object]] = [
        ("id", entry.id),
        ("state", entry.state),
        ("received", f"{entry.received_at:%FT%TZ}"),
        ("council", entry.tenant),
        ("gateway", entry.device or "unknown"),
        ("topic", entry.topic),
        ("what", what(entry)),
        ("flags", entry.quality or None),
        ("reason", entry.reason),
        ("first reason", entry.first_reason),
        ("detail", entry.detail),
        ("asked", entry.asked_at and f"{entry.asked_at:%FT%TZ}"),
        ("tried", entry.tried_at and f"{entry.tries} times, last {entry.tried_at:%FT%TZ}"),
        ("meaning", REASONS.get(entry.reason)),
        ("what to do", REMEDIES.get(entry.reason)),
        ("retry", None if entry.readmissible else "not by itself: correct the gateway's settings"),
    ]
    return [printable(f"{name:>12}  {value}") for name, value in facts if value is not None]


# Changing


async def _retry(conn: Connection, arguments: argparse.Namespace) -> int:
    actor, begun = operator(), await review.server_time(conn)
    return await _change(
        conn,
        arguments,
        origins=OPEN,
        verb="Try again",
        move=lambda wanted: review.ask(conn, wanted, actor=actor, begun=begun),
    )


async def _discard(conn: Connection, arguments: argparse.Namespace) -> int:
    actor, why = operator(), arguments.why
    return await _change(
        conn,
        arguments,
        origins=(*OPEN, "asked"),
        verb="Give up",
        move=lambda wanted: review.discard(conn, wanted, actor=actor, why=why),
    )


async def _change(
    conn: Connection,
    arguments: argparse.Namespace,
    *,
    origins: Sequence[review.State],
    verb: str,
    move: Callable[[Filter], Awaitable[list[Moved]]],
) -> int:
    wanted = replace(_filter(arguments), states=origins)
    _check_choice(arguments, wanted)
    counts = await review.summary(conn, wanted)
    number = sum(count.n for count in counts)
    if not number:
        print("kerbstone quarantine: no such row waits (see `list`)", file=sys.stderr)
        return 1
    if not arguments.yes:
        say("\n".join(summary_lines(counts)))
        if not _agreed(f"{verb} {number:,} row{'s' * (number != 1)}? [y/N] "):
            return 1
    done: list[Moved] = []
    while portion := await move(wanted):
        done += portion
    ids = [row_id for moved in done for row_id in moved.ids]
    return await _tell(conn, arguments, ids, number)


def _check_choice(arguments: argparse.Namespace, wanted: Filter) -> None:
    chosen = (wanted.ids, wanted.tenant, wanted.device, wanted.reason, wanted.since)
    if all(part is None for part in chosen) and not arguments.all:
        raise _MisuseError(
            "name rows (--id), a filter (--council, --gateway, --reason, --since), or --all"
        )
    if not arguments.yes and not sys.stdin.isatty():
        raise _MisuseError("there is no terminal to ask at: add --yes")


def _agreed(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _tell(
    conn: Connection, arguments: argparse.Namespace, ids: Sequence[int], number: int
) -> int:
    """Say what was done; with --wait also how the rows ended."""
    result: dict[str, Any] = {"rows": len(ids), "left": number - len(ids)}
    ended: list[ReasonCount] = []
    if arguments.action == "retry" and arguments.wait and ids:
        ended = await _wait(conn, ids, arguments.wait)
        result["ended"] = [asdict(count) for count in ended]
    if arguments.json:
        print(_json(result))
    elif arguments.action == "discard":
        print(f"gave up {len(ids):,}")
    else:
        print(f"asked ingest to try {len(ids):,} again")
        for line in summary_lines(ended) if ended else ():
            print(line)
    if result["left"] > 0 and arguments.action == "retry":
        say(f"  {result['left']:,} cannot be tried by themselves: parts of descriptions")
    return 0 if all(count.state == "retried" for count in ended) else 1


async def _wait(conn: Connection, ids: Sequence[int], seconds: float) -> list[ReasonCount]:
    """Return how rows ended, or stand after so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        counts = await review.summary(conn, Filter(ids=ids))
        waiting = any(count.state == "asked" for count in counts)
        if not waiting or loop.time() >= deadline:
            return counts
        await asyncio.sleep(_LOOK_SECONDS)


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def _json(value: object) -> str:
    return json.dumps(value, default=lambda each: each.isoformat())
