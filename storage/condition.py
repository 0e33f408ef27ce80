"""How the store and the network fare, in numbers that cost little to ask for every few seconds.

Each gateway by name is `storage.status_board`; what a number means for an operator is the alert
rules' business (deploy/monitoring).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from psycopg.rows import class_row

from storage.database import Connection, query
from storage.edition import Edition, detect
from storage.partitions import existing_partitions, next_month

GatewayMood = Literal["heard", "late", "silent", "never"]

MOODS: Final[tuple[GatewayMood, ...]] = ("heard", "late", "silent", "never")
"""heard: within 16 minutes (a gateway sends at least every 15). late: within 31. silent: longer
ago. never: enrolled, and not heard yet."""

MOST_ENTRIES: Final = 1_000_000
"""Where counting the rollup log ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCondition:
    """The database itself.

    rollup_log_entries: hours to summarise, counted up to `MOST_ENTRIES`. replicas: how many follow
    this server. replica_lag_seconds: of the slowest, None where the server does not tell. held:
    rows in quarantine that wait for a person, by reason. asked: those that ingest is to try.
    """

    bytes: int
    read_only: bool
    rollup_log_entries: int
    replicas: int
    replica_lag_seconds: float | None
    held: Mapping[str, int]
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCondition:
    """The gateways of one council that are in use.

    unsynchronised: whose clock is set from nowhere, as they last reported. certificates_ending:
    within two days. missing_messages: in epochs of the last 24 hours.
    """

    tenant: str
    heard: int
    late: int
    silent: int
    never: int
    unsynchronised: int
    certificates_ending: int
    missing_messages: int


async def store_condition(conn: Connection) -> StoreCondition:
    """Return how the database fares."""
    cursor = await conn.execute(query("store_condition"), {"most": MOST_ENTRIES})
    [(size, read_only, entries, replicas, lag)] = await cursor.fetchall()
    cursor = await conn.execute(
        "SELECT state, reason, count(*) FROM quarantine WHERE state IN ('held', 'asked')"
        " GROUP BY state, reason ORDER BY reason"
    )
    rows = await cursor.fetchall()
    return StoreCondition(
        bytes=size,
        read_only=read_only,
        rollup_log_entries=entries,
        replicas=replicas,
        replica_lag_seconds=lag,
        held={reason: n for state, reason, n in rows if state == "held"},
        asked=sum(n for state, _, n in rows if state == "asked"),
    )


async def network_condition(conn: Connection) -> list[NetworkCondition]:
    """Return how the gateways of each council fare, by short name."""
    async with conn.cursor(row_factory=class_row(NetworkCondition)) as cursor:
        await cursor.execute(query("network_condition"))
        return await cursor.fetchall()


async def partitions_until(conn: Connection) -> datetime | None:
    """Return when the last partition made ahead ends; None on a hypertable, which needs none."""
    if await detect(conn) is not Edition.PLAIN:
        return None
    months = (await existing_partitions(conn)).months
    if not months:
        return datetime.fromtimestamp(0, UTC)
    end = next_month(max(months))
    return datetime(end.year, end.month, 1, tzinfo=UTC)
