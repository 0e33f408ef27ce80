"""`kerbstone data verify`: what is stored against what was signed; an export against its manifest.

What nobody signed is not looked for: an observation that somebody added by hand is stored beside
those that are proved, and shows in no count here.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from command_line.data.proof import (
    Place,
    Signed,
    check_signature,
    signed_readings,
    tally,
)
from command_line.data.terminal import FAILED, MisusedError, show
from command_line.progress import Progress
from device_protocol.errors import RejectionError
from device_protocol.keys import VerifyingKey
from storage import evidence
from storage.archive.backup import APPLICATION_NAME
from storage.archive.export import begin_snapshot
from storage.archive.export_files import MANIFEST, Export, differences, strays
from storage.database import Connection, connect
from storage.evidence import RegisteredKey, SignedBatch
from storage.registry import streams

SUMMARY: Final = "check every stored reading against its signature, or an export against its list"
_SAMPLE: Final = 1000
_MESSAGES_AT_ONCE: Final = 250
_SHOWN: Final = 20


@dataclass(slots=True)
class _Findings:
    """What was looked at, and what is wrong with it, by the message."""

    messages: int = 0
    readings: int = 0
    stored: int = 0
    contradicted: int = 0
    dropped: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the registry says, read once; keys: those taken apart so far."""

    registered: dict[bytes, RegisteredKey]
    places: dict[str, Place]
    keys: dict[bytes, VerifyingKey]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("dsn", metavar="URL", nargs="?", help="postgresql://user@host:port/name")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--all", action="store_true", help="every message that is kept")
    extent.add_argument(
        "--sample",
        type=int,
        default=_SAMPLE,
        metavar="N",
        help=f"so many messages, drawn by chance (default: {_SAMPLE})",
    )
    parser.add_argument(
        "--export", type=Path, metavar="DIRECTORY", help="instead: the files of an export"
    )


async def run(arguments: argparse.Namespace) -> int:
    """Check, and say what differs."""
    if (arguments.dsn is None) == (arguments.export is None):
        raise MisusedError("give a URL, or --export DIRECTORY")
    if arguments.export is not None:
        return await asyncio.to_thread(_check_export, arguments)
    started = time.monotonic()
    findings = _Findings()
    async with await connect(arguments.dsn, application_name=APPLICATION_NAME) as conn:
        known = await _known(conn)
        kept = await evidence.count_batches(conn)
        total = kept if arguments.all else min(kept, arguments.sample)
        messages = _all(conn) if arguments.all else _sampled(conn, arguments.sample)
        with Progress("Verifying", total, unit="messages") as bar:
            async for portion in messages:
                await _check(conn, portion, known, findings)
                bar.update(findings.messages, total=max(total, findings.messages))
        counts = await evidence.wrong_counts(conn)
    findings.wrong += [
        f"{each.device} epoch {each.counter} of {each.group}: messages, highest and contiguous "
        f"number are noted as {each.noted}, kept are {each.found}"
        for each in counts
    ]
    _show(arguments, findings, kept, time.monotonic() - started)
    return FAILED if findings.wrong else 0


async def _known(conn: Connection) -> _Known:
    places = {
        f"{row.sensor}:{row.short_name}": Place(row.datastream_id, row.unit)
        for row in await streams(conn)
    }
    return _Known(await evidence.registered_keys(conn), places, {})


async def _all(conn: Connection) -> AsyncIterator[list[SignedBatch]]:
    """Yield every message; each portion begins a snapshot that is good until the next."""
    after = (b"", 0)
    while True:
        await begin_snapshot(conn)
        portion = await evidence.batches_after(conn, after, _MESSAGES_AT_ONCE)
        if not portion:
            return
        yield portion
        after = (bytes(portion[-1].epoch_id), portion[-1].seq)


async def _sampled(conn: Connection, wanted: int) -> AsyncIterator[list[SignedBatch]]:
    keys = iter(sorted(await evidence.sampled_batches(conn, wanted)))
    while portion := list(islice(keys, _MESSAGES_AT_ONCE)):
        await begin_snapshot(conn)
        yield await evidence.batches_of(conn, portion)


async def _check(
    conn: Connection, batches: Sequence[SignedBatch], known: _Known, findings: _Findings
) -> None:
    """Check some messages against what the same snapshot holds."""
    opened: list[tuple[SignedBatch, list[Signed]]] = []
    for batch in batches:
        findings.messages += 1
        try:
            signed = check_signature(batch, known.registered, known.keys)
            opened.append((batch, signed_readings(batch, signed, known.places)))
        except RejectionError as error:
            findings.wrong.append(f"{_name(batch)}: {error.reason}: {error}")
    keys = list({reading.key for _, readings in opened for reading in readings})
    stored = await evidence.stored_results(conn, keys)
    floors = await evidence.floors(conn)
    devices = sorted({batch.device for batch, _ in opened})
    for batch, readings in opened:
        found = tally(readings, batch.device, stored, floors, set())
        if found.other:
            times = [reading.time for reading in readings]
            noted = await evidence.noted_contradictions(conn, devices, times)
            found = tally(readings, batch.device, stored, floors, noted)
        findings.readings += len(readings)
        findings.stored += found.stored
        findings.contradicted += found.contradicted
        findings.dropped += found.dropped
        if wrong := found.differs(batch.readings):
            findings.wrong.append(f"{_name(batch)}: {wrong}")


def _name(batch: SignedBatch) -> str:
    return (
        f"{batch.device} epoch {batch.counter} of {batch.recipient_group}, message {batch.seq} of "
        f"{batch.received_at:%Y-%m-%d %H:%M:%S}"
    )


def _show(arguments: argparse.Namespace, findings: _Findings, kept: int, seconds: float) -> None:
    facts = {
        "messages": findings.messages,
        "messages_kept": kept,
        "readings": findings.readings,
        "stored_as_signed": findings.stored,
        "contradicted": findings.contradicted,
        "dropped": findings.dropped,
        "wrong": findings.wrong,
        "seconds": round(seconds, 1),
    }
    text = (
        f"{findings.messages:,} of {kept:,} messages with {findings.readings:,} readings checked "
        f"in {seconds:.1f} s: {findings.stored:,} are stored as signed, "
        f"{findings.contradicted:,} were contradicted, {findings.dropped:,} dropped by retention."
    )
    show(arguments, facts, "\n".join([text, *_verdict(findings.wrong)]))


def _verdict(wrong: Sequence[str]) -> list[str]:
    if not wrong:
        return ["Nothing differs."]
    more = [f"… and {len(wrong) - _SHOWN:,} more"] if len(wrong) > _SHOWN else []
    return [f"{len(wrong):,} differ:", *wrong[:_SHOWN], *more]


def _check_export(arguments: argparse.Namespace) -> int:
    export = Export(arguments.export)
    if not (arguments.export / MANIFEST).exists():
        raise MisusedError(f"no export in {arguments.export}: {MANIFEST} is missing")
    export.read_manifest()
    wrong = []
    with Progress("Verifying", len(export.days), unit="files") as bar:
        for done, day in enumerate(export.days.values(), 1):
            if found := differences(export, day):
                wrong.append(found)
            bar.update(done)
    wrong += [f"{name}: is not in the manifest" for name in strays(export)]
    rows = sum(day.rows for day in export.days.values())
    facts = {"files": len(export.days), "rows": rows, "wrong": wrong}
    text = f"{len(export.days):,} files with {rows:,} observations checked."
    show(arguments, facts, "\n".join([text, *_verdict(wrong)]))
    return FAILED if wrong else 0
