"""Who may sign in to the pages: passes and sessions, both random secrets kept as their hashes.

Making a secret, showing it once and carrying a session in a cookie is the pages' business.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from psycopg.rows import class_row

from storage import audit, registry
from storage.database import Connection, query

Role = Literal["deployer", "operator"]


class UnknownPassError(LookupError):
    """There is no pass of this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Somebody who is signed in. tenant: the only council theirs to administer; None: all are."""

    pass_id: int
    name: str
    role: str
    tenant: str | None

    @property
    def actor(self) -> str:
        """How audit entries call them, e.g. "staff 3 (Ben, camden)"."""
        return f"staff {self.pass_id} ({self.name}, {self.tenant or 'region'})"

    def may_administer(self, tenant: str) -> bool:
        """Return whether this council's gateways are theirs to invite and revoke."""
        return self.tenant is None or self.tenant == tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRow:
    """A pass that was given out. tenant: None for the region's operators."""

    id: int
    tenant: str | None
    name: str
    role: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    withdrawn_at: datetime | None


async def add_pass(
    conn: Connection,
    *,
    tenant: str | None,
    name: str,
    role: Role,
    pass_sha256: bytes,
    expires_at: datetime,
    actor: str,
) -> int:
    """Let whoever knows the pass sign in until it expires; return its number.

    tenant: None for every council.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    async with conn.transaction():
        council_id = None if tenant is None else await registry.find_council(conn, tenant)
        cursor = await conn.execute(
            query("add_pass"),
            {
                "council_id": council_id,
                "name": name,
                "role": role,
                "pass_sha256": pass_sha256,
                "actor": actor,
                "expires_at": expires_at,
            },
        )
        row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("add_pass returned no row")
        staff = Staff(pass_id=int(row[0]), name=name, role=role, tenant=tenant)
        await _note(conn, staff, actor, "pass.add")
    return staff.pass_id


async def withdraw_pass(conn: Connection, *, pass_id: int, actor: str) -> None:
    """End a pass and every session opened with it; one withdrawn already stays as it is.

    Raises:
        UnknownPassError: there is no such pass.
    """
    async with conn.transaction():
        async with conn.cursor(row_factory=class_row(Staff)) as cursor:
            await cursor.execute(query("find_pass"), {"pass_id": pass_id})
            staff = await cursor.fetchone()
        if staff is None:
            raise UnknownPassError(f"there is no pass {pass_id}")
        withdrawn = await conn.execute(
            "UPDATE staff_pass SET withdrawn_at = now() WHERE id = %s AND withdrawn_at IS NULL",
            (pass_id,),
        )
        if withdrawn.rowcount:
            await _note(conn, staff, actor, "pass.withdraw")


async def passes(conn: Connection, tenant: str | None = None) -> list[PassRow]:
    """Return the passes of one council, or all of them, newest first."""
    async with conn.cursor(row_factory=class_row(PassRow)) as cursor:
        await cursor.execute(query("passes"), {"tenant": tenant})
        return await cursor.fetchall()


async def open_session(
    conn: Connection,
    *,
    pass_sha256: bytes,
    session_sha256: bytes,
    now: datetime,
    lifetime: timedelta,
) -> Staff | None:
    """Sign in with a pass; None if it is unknown, expired or withdrawn.

    The session ends after `lifetime`, or with the pass if that is sooner.
    """
    async with conn.transaction():
        async with conn.cursor(row_factory=class_row(Staff)) as cursor:
            await cursor.execute(query("find_good_pass"), {"sha256": pass_sha256, "now": now})
            staff = await cursor.fetchone()
        if staff is None:
            return None
        await conn.execute(
            "INSERT INTO staff_session (session_sha256, staff_pass_id, created_at, expires_at)"
            " SELECT %s, id, %s, least(%s, expires_at) FROM staff_pass WHERE id = %s",
            (session_sha256, now, now + lifetime, staff.pass_id),
        )
        await _note(conn, staff, staff.actor, "session.open")
    return staff


async def staff_of(conn: Connection, session_sha256: bytes, now: datetime) -> Staff | None:
    """Return whose session this is, or None if it ended, expired, or its pass did."""
    async with conn.cursor(row_factory=class_row(Staff)) as cursor:
        await cursor.execute(query("staff_of"), {"sha256": session_sha256, "now": now})
        return await cursor.fetchone()


async def end_session(conn: Connection, session_sha256: bytes, now: datetime) -> None:
    """Sign out; a session that is unknown or ended already stays as it is."""
    await conn.execute(
        "UPDATE staff_session SET ended_at = %s WHERE session_sha256 = %s AND ended_at IS NULL",
        (now, session_sha256),
    )


async def _note(conn: Connection, staff: Staff, actor: str, action: str) -> None:
    await audit.record(
        conn,
        actor=actor,
        tenant=staff.tenant or "",
        action=action,
        subject=f"staff {staff.pass_id}",
        detail={"name": staff.name, "role": staff.role},
    )
