"""Which datastreams are open to everybody, and what a reader may see beyond them.

The views `readable_datastream` and `readable_thing` ask what was allowed for the length of a
transaction; without a word they show what is open. Who may see what is decided by whoever calls.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row

from storage import audit, registry
from storage.database import Connection, query

Access = Literal["open", "restricted"]

CHANNEL: Final = "kerbstone_access"
"""Where it is said at commit that something was opened or restricted."""

_LOCK: Final = 0x4B65_7262_0023  # advisory lock key, ours within a database
_WAIT: Final = "40s"  # longer than what is being published takes before it is given up


async def let_read(conn: Connection, councils: Collection[int]) -> None:
    """Let the transaction that `conn` is in read the restricted datastreams of these councils.

    councils: their ids.
    """
    await conn.execute(
        "SELECT set_config('kerbstone.councils', %s, true)",
        ("{" + ",".join(str(council) for council in sorted(councils)) + "}",),
    )


@asynccontextmanager
async def unchanged(conn: Connection) -> AsyncIterator[None]:
    """Let nothing be restricted while the block lasts, which must be short; `conn` is autocommit.

    So what is read and passed on within it is open until it is passed on.
    """
    await conn.execute("SELECT pg_advisory_lock_shared(%s)", (_LOCK,))
    try:
        yield
    finally:
        await conn.execute("SELECT pg_advisory_unlock_shared(%s)", (_LOCK,))


async def _wait_for_others(conn: Connection) -> None:
    """Wait until nobody passes on what was open; but for one that hangs nothing stays open."""
    try:
        async with conn.transaction():
            await conn.execute("SELECT set_config('lock_timeout', %s, true)", (_WAIT,))
            await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    except LockNotAvailable:
        return


async def councils_of(conn: Connection, tenant: str | None) -> frozenset[int]:
    """Return the ids of the councils that are somebody's: one, or every one where that is None."""
    cursor = await conn.execute(
        "SELECT id FROM council WHERE %(tenant)s::text IS NULL OR tenant = %(tenant)s",
        {"tenant": tenant},
    )
    return frozenset([row[0] for row in await cursor.fetchall()])


class UnknownDatastreamError(LookupError):
    """The council has no such datastream, or measures no such property."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatastreamAccess:
    """Who may read a datastream: everybody where it is open, else its council.

    is_health: it is what a gateway tells of itself, and none of what its council measures.
    """

    id: int
    name: str
    thing: str
    property_key: str
    access: Access
    is_health: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilAccess:
    """What a council shows to everybody. restricts_new: its new datastreams are restricted."""

    restricts_new: bool
    datastreams: list[DatastreamAccess]


async def council_access(conn: Connection, tenant: str) -> CouncilAccess:
    """Return who may read what of a council, the restricted datastreams first.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    council_id = await registry.find_council(conn, tenant)
    cursor = await conn.execute(
        "SELECT restricts_new_datastreams FROM council WHERE id = %s", (council_id,)
    )
    [(restricts_new,)] = await cursor.fetchall()
    async with conn.cursor(row_factory=class_row(DatastreamAccess)) as rows:
        await rows.execute(query("datastream_access"), {"council_id": council_id})
        return CouncilAccess(restricts_new=restricts_new, datastreams=await rows.fetchall())


async def set_access(
    conn: Connection,
    *,
    tenant: str,
    access: Access,
    property_key: str | None = None,
    datastream_id: int | None = None,
    actor: str,
) -> list[int]:
    """Open or restrict a council's datastreams; return the ids of those that were not so before.

    What is being published is waited for: once this returns, nothing restricted is sent any more.
    property_key, datastream_id: only what is measured of one property, or one datastream alone.
    Without them it is all there are, with what gateways tell of themselves: that says where they
    stand, and would give away sites that are hidden.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        UnknownDatastreamError: the council has none of this property, or not this one.
    """
    async with conn.transaction():
        if access == "restricted":
            await _wait_for_others(conn)
        there = await council_access(conn, tenant)
        wanted = [
            one.id
            for one in there.datastreams
            if datastream_id in (None, one.id)
            and (property_key is None or (one.property_key == property_key and not one.is_health))
        ]
        if not wanted and (property_key is not None or datastream_id is not None):
            named = f"datastream {datastream_id}" if property_key is None else repr(property_key)
            raise UnknownDatastreamError(f"{tenant} has no {named}: see what it has with show")
        cursor = await conn.execute(
            query("set_access"),
            {
                "council_id": await registry.find_council(conn, tenant),
                "access": access,
                "ids": wanted,
            },
        )
        changed = sorted([row[0] for row in await cursor.fetchall()])
        if changed:
            subject = property_key or (f"datastream {datastream_id}" if datastream_id else "all")
            await _note(conn, tenant, access, subject, actor, {"datastreams": changed})
            await conn.execute("SELECT pg_notify(%s, %s)", (CHANNEL, tenant))
    return changed


async def set_access_of_new(conn: Connection, *, tenant: str, access: Access, actor: str) -> bool:
    """Decide about datastreams that a council gets from now on; return whether that is a change.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    async with conn.transaction():
        council_id = await registry.find_council(conn, tenant)
        cursor = await conn.execute(
            "UPDATE council SET restricts_new_datastreams = %(restricts)s"
            " WHERE id = %(id)s AND restricts_new_datastreams <> %(restricts)s",
            {"restricts": access == "restricted", "id": council_id},
        )
        if cursor.rowcount:
            await _note(conn, tenant, access, "new datastreams", actor, {})
    return bool(cursor.rowcount)


async def _note(  # noqa: PLR0917  # what an audit entry consists of
    conn: Connection,
    tenant: str,
    access: Access,
    subject: str,
    actor: str,
    detail: Mapping[str, object],
) -> None:
    await audit.record(
        conn,
        actor=actor,
        tenant=tenant,
        action="access.open" if access == "open" else "access.restrict",
        subject=subject,
        detail=detail,
    )
