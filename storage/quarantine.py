"""What was refused: rows kept for a person to look at, and counts of everything turned away.

Which refusals are kept is `device_protocol.errors.QUARANTINED`; nothing here decides that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from psycopg.types.json import Jsonb

from storage.database import Connection, query

Reported: TypeAlias = float | bool | str
"""A result as a gateway reported it."""

_HOUR_SECONDS: Final = 3600


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


async def held_readings(conn: Connection, device: str, reason: str) -> list[HeldReading]:
    """Return the readings of a gateway that are held for this reason, oldest first.

    At most 100 000: what is left is found the next time.
    """
    cursor = await conn.execute(query("held_readings"), {"device": device, "reason": reason})
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
