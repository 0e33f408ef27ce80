"""What was refused: rows kept for a person to look at, and counts of everything turned away.

Which refusals are kept is `device_protocol.errors.QUARANTINED`; nothing here decides that.
"""

import math
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from psycopg import sql
from psycopg.types.json import Jsonb

from device_protocol.errors import (
    QUARANTINED,
    DuplicateError,
    EpochClosedError,
    RevokedError,
    SignerTimeError,
)
from storage.database import Connection, connect, query

Reported: TypeAlias = float | bool | str
"""A result as a gateway reported it."""

ASKED: Final = "kerbstone_quarantine"
"""The channel on which ingest hears that rows are to be tried again."""

_HOUR_SECONDS: Final = 3600
_BEFORE_REPETITION: Final = [
    kind.reason for kind in (RevokedError, SignerTimeError, EpochClosedError)
]
"""Reasons found before a message is looked for among those taken (envelope, section 8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """One refused message (`message` set), or one reading of an accepted message (the rest set).

    phenomenon_time: Unix microseconds. result: as the gateway reported it, in `unit` (SenML).
    quality: its own flags, a bit mask.
    """

    received_at: int
    tenant: str
    device: str
    reason: str
    detail: str
    topic: str
    message: bytes | None = None
    senml_name: str | None = None
    phenomenon_time: int | None = None
    result: Reported | None = None
    unit: str | None = None
    quality: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReading:
    """A reading in quarantine; times as in `QuarantineRow`."""

    id: int
    topic: str
    received_at: int
    senml_name: str
    phenomenon_time: int
    result: Reported
    unit: str
    quality: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCount:
    """How often something was refused since the last flush; `last_at` in Unix seconds."""

    tenant: str
    device: str
    reason: str
    n: int
    last_at: int
    last_detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRow:
    """A row that a person wants tried again: a whole message, or a reading. tries: before this."""

    id: int
    tries: int
    tenant: str
    device: str
    topic: str
    message: bytes | None
    reading: HeldReading | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a row that was tried again; reason: "" where it is stored."""

    id: int
    reason: str = ""
    detail: str = ""


async def insert_quarantine(conn: Connection, rows: Sequence[QuarantineRow]) -> None:
    """Keep refused messages and readings."""
    if not rows:
        return
    async with conn.cursor() as cursor, cursor.copy(query("copy_quarantine")) as copy:
        for row in rows:
            await copy.write_row(
                (
                    datetime.fromtimestamp(row.received_at, UTC),
                    row.tenant,
                    row.device,
                    row.reason,
                    storable_text(row.detail),
                    storable_text(row.topic),
                    row.message,
                    None if row.senml_name is None else storable_text(row.senml_name),
                    _timestamp(row.phenomenon_time),
                    None if row.result is None else Jsonb(_storable_result(row.result)),
                    None if row.unit is None else storable_text(row.unit),
                    row.quality,
                )
            )


async def held_readings(
    conn: Connection, device: str, reason: str, names: Iterable[str]
) -> list[HeldReading]:
    """Return the readings of a gateway that are held for this reason, oldest first.

    names: SenML names, of which alone; others, however many, must not stand before them. At most
    100 000: what is left is found the next time.
    """
    cursor = await conn.execute(
        query("held_readings"), {"device": device, "reason": reason, "names": list(names)}
    )
    return [
        HeldReading(
            id=row_id,
            topic=topic,
            received_at=received_at,
            senml_name=senml_name,
            phenomenon_time=phenomenon_time,
            result=result,
            unit=unit,
            quality=quality,
        )
        for (
            row_id,
            topic,
            received_at,
            senml_name,
            phenomenon_time,
            result,
            unit,
            quality,
        ) in await cursor.fetchall()
    ]


async def asked(dsn: str, *, application_name: str) -> AsyncGenerator[None, None]:
    """Yield at once, then whenever rows were asked for.

    Never ends by itself.

    Raises:
        psycopg.OperationalError: the server cannot be reached, or was lost.
    """
    conn = await connect(dsn, autocommit=True, application_name=application_name)
    async with conn:
        await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(ASKED)))
        yield
        async for _ in conn.notifies():
            yield


async def announce_asked(conn: Connection) -> None:
    """Tell ingest at commit that there are rows to try again."""
    await conn.execute("SELECT pg_notify(%s, '')", (ASKED,))


async def asked_devices(conn: Connection) -> list[str]:
    """Return the gateways of which something is asked for."""
    cursor = await conn.execute("SELECT DISTINCT device FROM quarantine WHERE state = 'asked'")
    return [device for (device,) in await cursor.fetchall()]


async def asked_rows(
    conn: Connection, devices: Sequence[str], *, limit: int, under_way: Iterable[int] = ()
) -> list[AskedRow]:
    """Return a portion of what is asked for of these gateways, but not those `under_way`."""
    cursor = await conn.execute(
        query("asked_quarantine"),
        {"devices": list(devices), "limit": limit, "under_way": list(under_way)},
    )
    return [
        AskedRow(
            id=row_id,
            tries=tries,
            tenant=tenant,
            device=device,
            topic=topic,
            message=message,
            reading=None
            if message is not None or name is None or time is None or result is None
            else HeldReading(
                id=row_id,
                topic=topic,
                received_at=received_at,
                senml_name=name,
                phenomenon_time=time,
                result=result,
                unit=unit or "",
                quality=quality,
            ),
        )
        for (
            row_id,
            tries,
            tenant,
            device,
            topic,
            message,
            received_at,
            name,
            time,
            result,
            unit,
            quality,
        ) in await cursor.fetchall()
    ]


async def still_asked(conn: Connection, ids: Sequence[int]) -> set[tuple[int, int]]:
    """Return which of these rows have no verdict yet, each with how often it was tried."""
    cursor = await conn.execute(
        "SELECT id, tries FROM quarantine WHERE id = ANY (%s::bigint[]) AND state = 'asked'",
        (list(ids),),
    )
    return set(await cursor.fetchall())


async def settle(conn: Connection, verdicts: Sequence[Verdict]) -> None:
    """Note what became of rows that were tried again, in the transaction that stored them."""
    if not verdicts:
        return
    await conn.execute(
        query("settle_quarantine"),
        {
            "ids": [verdict.id for verdict in verdicts],
            "reasons": [verdict.reason for verdict in verdicts],
            "details": [storable_text(verdict.detail) for verdict in verdicts],
            "kept": sorted(QUARANTINED),
            "duplicate": DuplicateError.reason,
            "before_repetition": _BEFORE_REPETITION,
        },
    )


async def mark_retried(conn: Connection, ids: Sequence[int]) -> None:
    """Note that these rows were taken out of quarantine; part of storing what they held."""
    if ids:
        await conn.execute(
            "UPDATE quarantine SET state = 'retried' WHERE id = ANY(%s::bigint[])", (list(ids),)
        )


async def add_refusals(conn: Connection, counts: Sequence[RefusalCount]) -> None:
    """Add to the hourly counts of refusals."""
    if not counts:
        return
    await conn.execute(
        query("add_refusals"),
        {
            "hours": [count.last_at - count.last_at % _HOUR_SECONDS for count in counts],
            "tenants": [count.tenant for count in counts],
            "devices": [count.device for count in counts],
            "reasons": [count.reason for count in counts],
            "ns": [count.n for count in counts],
            "last_ats": [count.last_at for count in counts],
            "last_details": [storable_text(count.last_detail) for count in counts],
        },
    )


def storable_text(text: str) -> str:
    """Return `text` without what PostgreSQL cannot hold: U+0000 and lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _storable_result(result: Reported) -> Reported:
    """Return `result` as JSON can hold it: NaN and infinities, which it lacks, by name."""
    if isinstance(result, str):
        return storable_text(result)
    if isinstance(result, float) and not math.isfinite(result):
        return str(result)
    return result


def _timestamp(microseconds: int | None) -> datetime | None:
    """Return the time, or None where it is absent or beyond what a datetime holds."""
    if microseconds is None:
        return None
    try:
        seconds, rest = divmod(microseconds, 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
    except (ValueError, OverflowError, OSError):
        return None
