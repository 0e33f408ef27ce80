"""Who did what to the network: entries are added, never changed and never removed.

The database itself refuses to change them. Every function of `storage` that changes something
on a person's behalf writes its entry in the same transaction, so that there is never the one
without the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from storage.database import Connection, query


def gateway_actor(device: str) -> str:
    """Return the actor of what a gateway does on its own account."""
    return f"gateway {device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One act. tenant: "" for the whole network. subject: e.g. the device it was done to."""

    id: int
    at: datetime
    actor: str
    tenant: str
    action: str
    subject: str
    detail: Mapping[str, Any]


async def record(
    conn: Connection,
    *,
    actor: str,
    tenant: str,
    action: str,
    subject: str,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Add an entry, in the transaction of the act itself.

    actor: e.g. "operator anna", "staff 3 (Ben, camden)". action: thing and verb, e.g.
    "gateway.revoke". detail: whatever JSON can say, but never a secret.
    """
    await record_each(
        conn, actor=actor, tenant=tenant, action=action, about=[(subject, detail or {})]
    )


async def record_each(
    conn: Connection,
    *,
    actor: str,
    tenant: str,
    action: str,
    about: Sequence[tuple[str, Mapping[str, object]]],
) -> None:
    """Add one entry for each (subject, detail), all of the same act."""
    await conn.execute(
        query("record_audit_entries"),
        {
            "actor": actor,
            "tenant": tenant,
            "action": action,
            "subjects": [subject for subject, _ in about],
            "details": [Jsonb(dict(detail)) for _, detail in about],
        },
    )


async def entries(
    conn: Connection, *, tenant: str | None = None, subject: str | None = None, limit: int = 100
) -> list[AuditEntry]:
    """Return the newest entries, newest first: of one council, of one subject, or of all."""
    async with conn.cursor(row_factory=class_row(AuditEntry)) as cursor:
        await cursor.execute(
            query("audit_entries"), {"tenant": tenant, "subject": subject, "limit": limit}
        )
        return await cursor.fetchall()
