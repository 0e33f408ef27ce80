"""How the network fares: its gateways, what is missing, what was refused and why.

The values themselves are `storage.overview`. What a refusal's reason means in plain English is
the page's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import class_row

from storage.database import Connection, query

GAP_DAYS: Final = 7
REFUSAL_HOURS: Final = 24
LIST_LIMIT: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayState:
    """One gateway.

    completeness: share of the expected readings that arrived in the last 24 whole hours, None
    while there is no whole hour or no expectation. missing_messages: in its epochs of 24 hours.
    spool_readings: waiting in its spool as it reported at `spool_time`.
    """

    id: int
    device: str
    label: str
    status: str
    tenant: str
    council: str
    last_message_at: datetime | None
    spool_readings: float | None
    spool_time: datetime | None
    completeness: float | None
    streams: int
    silent_streams: int
    missing_messages: int
    certificate_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageGap:
    """An epoch in which fewer messages arrived than were sent; `ended`: the gateway said so."""

    council: str
    device: str
    label: str
    recipient_group: str
    counter: int
    received_at: datetime
    received: int
    sent: int
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCount:
    """How often one reason was met in the last hours, and its newest case."""

    reason: str
    n: int
    last_at: datetime
    devices: Sequence[str]
    last_detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message or single reading kept aside; the reading's members are None for a message.

    withheld: the reader may not see what it says; then they are None, too.
    """

    id: int
    received_at: datetime
    tenant: str
    device: str
    reason: str
    detail: str
    senml_name: str | None
    phenomenon_time: datetime | None
    result: Any
    unit: str | None
    state: str
    message_bytes: int | None
    withheld: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineCount:
    """How much of one gateway is kept aside for one reason, whatever became of it since."""

    reason: str
    n: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A sensor that two gateways claim, until a person settles it."""

    noticed_at: datetime
    device: str
    urn: str
    detail: str


async def gateway_states(conn: Connection) -> list[GatewayState]:
    """Return every gateway, the longest silent first."""
    async with conn.cursor(row_factory=class_row(GatewayState)) as cursor:
        await cursor.execute(query("gateway_states"))
        return await cursor.fetchall()


async def message_gaps(conn: Connection) -> list[MessageGap]:
    """Return the newest epochs of the last `GAP_DAYS` days with messages missing."""
    async with conn.cursor(row_factory=class_row(MessageGap)) as cursor:
        await cursor.execute(query("message_gaps"), {"days": GAP_DAYS, "limit": LIST_LIMIT})
        return await cursor.fetchall()


async def refusals_by_reason(conn: Connection) -> list[RefusalCount]:
    """Return what was refused or quarantined in the last `REFUSAL_HOURS` hours, most first."""
    async with conn.cursor(row_factory=class_row(RefusalCount)) as cursor:
        await cursor.execute(query("refusals_by_reason"), {"hours": REFUSAL_HOURS})
        return await cursor.fetchall()


async def recently_quarantined(
    conn: Connection, limit: int = 20, *, device: str | None = None
) -> list[Quarantined]:
    """Return what was kept aside last, of all gateways or of one, newest first."""
    async with conn.cursor(row_factory=class_row(Quarantined)) as cursor:
        await cursor.execute(query("recently_quarantined"), {"limit": limit, "device": device})
        return await cursor.fetchall()


async def quarantine_counts(conn: Connection, device: str) -> list[QuarantineCount]:
    """Return how much of a gateway is kept aside for each reason, the newest reason first."""
    async with conn.cursor(row_factory=class_row(QuarantineCount)) as cursor:
        await cursor.execute(
            "SELECT reason, count(*) AS n, min(received_at) AS first_at,"
            "  max(received_at) AS last_at FROM quarantine"
            "  WHERE device = %s GROUP BY reason ORDER BY last_at DESC, reason",
            (device,),
        )
        return await cursor.fetchall()


async def open_conflicts(conn: Connection) -> list[Conflict]:
    """Return the claims on sensors that nobody has settled yet, newest first."""
    async with conn.cursor(row_factory=class_row(Conflict)) as cursor:
        await cursor.execute(
            "SELECT noticed_at, gateway.device, urn, detail FROM description_conflict "
            "JOIN gateway ON gateway.id = gateway_id WHERE settled_at IS NULL "
            "AND all_readable(gateway_id) AND NOT EXISTS (SELECT FROM thing"
            " LEFT JOIN datastream ON thing_id = thing.id LEFT JOIN sensor ON sensor.id = sensor_id"
            " WHERE description_conflict.urn IN (thing.urn, sensor.urn)"
            " AND NOT all_readable(thing.gateway_id)) "
            "ORDER BY noticed_at DESC LIMIT %s",
            (LIST_LIMIT,),
        )
        return await cursor.fetchall()
