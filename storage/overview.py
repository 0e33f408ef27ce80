"""What is there now: councils, their sites, and the newest value of every datastream.

Now-values come from `latest`, never from `observation`. Values over time are `storage.charts`;
how the gateways fare is `storage.status_board`; evidence is `storage.evidence`.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from psycopg import sql
from psycopg.rows import class_row

from storage.access import CHANNEL as ACCESS_CHANNEL
from storage.access import let_read
from storage.database import Connection, query
from storage.registry import CHANNEL as REGISTRY_CHANNEL

READ_TIMEOUT_SECONDS: Final = 10.0

LATEST_CHANNEL: Final = "kerbstone"
"""Where ingest says that `latest` has changed (storage.batches)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Council:
    """One council of the network; `tenant` is its short name, `gss` its ONS code."""

    tenant: str
    gss: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A Thing that is not a gateway's own health; WGS 84, None where it has no place."""

    id: int
    urn: str
    name: str
    description: str
    properties: Mapping[str, Any]
    tenant: str
    council: str
    gss: str
    gateway_id: int | None  # None where its council keeps it by hand
    device: str | None
    place: str | None
    longitude: float | None
    latitude: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentValue:
    """A datastream of a site or a gateway's health with its newest observation, if it ever had one.

    unit: key of the unit table. period_seconds: how often a result is expected, None when
    irregular. averaging_seconds: 0 for an instant, else what the mean ending at `time` covers.
    result: a non-numeric result. quality: bit mask, 0 where nothing is flagged.
    is_open: whether everybody may read it.
    """

    datastream_id: int
    datastream_name: str
    is_open: bool
    unit: str
    period_seconds: int | None
    averaging_seconds: int
    properties: Mapping[str, Any]
    property_key: str
    property_name: str
    thing_id: int
    time: datetime | None
    value: float | None
    result: Any
    quality: int
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedValue:
    """A newest value as it was written to `latest` at `updated_at`.

    is_open: whether everybody may read it; if not, who may read what is restricted of that council.
    """

    datastream_id: int
    thing_id: int
    tenant: str
    council_id: int
    is_open: bool
    unit: str
    time: datetime
    value: float | None
    result: Any
    quality: int
    updated_at: datetime


@asynccontextmanager
async def bounded_read(
    conn: Connection,
    seconds: float = READ_TIMEOUT_SECONDS,
    *,
    councils: Collection[int] = (),
) -> AsyncIterator[None]:
    """Run the block in one read-only transaction whose statements end after `seconds`.

    All reads of the block see the database as of one moment, and of restricted datastreams those
    of `councils` (ids).

    Raises:
        psycopg.errors.QueryCanceled: a statement took longer (an `OUTAGES` member).
    """
    async with conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await conn.execute(
            "SELECT set_config('statement_timeout', %s, true)", (f"{round(seconds * 1000)}ms",)
        )
        if councils:
            await let_read(conn, councils)
        yield


async def observation_count(conn: Connection) -> int:
    """Return how many observations are stored, counted one by one: not for large databases."""
    cursor = await conn.execute("SELECT count(*) FROM observation")
    [(found,)] = await cursor.fetchall()
    return int(found)


async def councils(conn: Connection) -> list[Council]:
    """Return every council of the network by name."""
    async with conn.cursor(row_factory=class_row(Council)) as cursor:
        await cursor.execute("SELECT tenant, gss, name FROM council ORDER BY name")
        return await cursor.fetchall()


async def sites(
    conn: Connection, *, tenant: str | None = None, thing_id: int | None = None
) -> list[Site]:
    """Return the sites, of one council or one Thing if asked, by council and name."""
    async with conn.cursor(row_factory=class_row(Site)) as cursor:
        await cursor.execute(query("overview_sites"), {"tenant": tenant, "thing_id": thing_id})
        return await cursor.fetchall()


async def current_values(
    conn: Connection, *, tenant: str | None = None, thing_id: int | None = None
) -> list[CurrentValue]:
    """Return each datastream of the sites with its newest value, by Thing and property."""
    async with conn.cursor(row_factory=class_row(CurrentValue)) as cursor:
        await cursor.execute(query("overview_values"), {"tenant": tenant, "thing_id": thing_id})
        return await cursor.fetchall()


async def gateway_health(conn: Connection, device: str) -> list[CurrentValue]:
    """Return what the gateway reports about itself, each datastream with its newest value."""
    async with conn.cursor(row_factory=class_row(CurrentValue)) as cursor:
        await cursor.execute(query("gateway_health"), {"device": device})
        return await cursor.fetchall()


async def changed_values(conn: Connection, since: datetime) -> list[ChangedValue]:
    """Return the newest values of sites written after `since`, in the order of writing.

    Restricted ones are among them: who passes them on sees to it that only their readers get them.
    """
    async with conn.cursor(row_factory=class_row(ChangedValue)) as cursor:
        await cursor.execute(query("overview_changes"), {"since": since})
        return await cursor.fetchall()


async def listen(conn: Connection) -> None:
    """Let `conn`, which is autocommit, hear of `latest`, the registry and access from now on."""
    for channel in (LATEST_CHANNEL, REGISTRY_CHANNEL, ACCESS_CHANNEL):
        await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


@dataclass(frozen=True, slots=True)
class Changes:
    """What a listening connection heard of.

    registry: a gateway was invited, enrolled or revoked. access: something was restricted or
    opened.
    """

    registry: bool
    access: bool


async def wait_for_change(conn: Connection, seconds: float) -> Changes:
    """Return when a listening connection hears of a change, or after `seconds`."""
    heard = {one.channel async for one in conn.notifies(timeout=seconds, stop_after=1)}
    return Changes(REGISTRY_CHANNEL in heard, ACCESS_CHANNEL in heard)


async def server_time(conn: Connection) -> datetime:
    """Return the database's clock; where it answers, the database is up."""
    cursor = await conn.execute("SELECT now()")
    [(now,)] = await cursor.fetchall()
    return cast("datetime", now)
