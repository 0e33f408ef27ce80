"""The ONS codes that councils have and had, and changing one when boundaries change.

A council keeps its short name, its gateways and all that they measured; the code says for whom its
data is published. What was published under an old code is found by it.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from psycopg.rows import class_row

from storage import audit, registry
from storage.database import Connection, query


class CouncilCodeError(ValueError):
    """A code cannot become a council's; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilCode:
    """A code of a council. valid_until: the last day of it; None: it is the code now.

    valid_from: None: since before it was known here. replaced_by: the next code; empty for the
    one now.
    """

    tenant: str
    gss: str
    name: str
    valid_from: date | None
    valid_until: date | None
    replaced_by: str


async def council_codes(conn: Connection) -> list[CouncilCode]:
    """Return every code of every council, by council, oldest first."""
    async with conn.cursor(row_factory=class_row(CouncilCode)) as cursor:
        await cursor.execute(query("council_codes"))
        return await cursor.fetchall()


async def change_code(
    conn: Connection, *, tenant: str, gss: str, name: str, since: date, actor: str
) -> None:
    """Give a council another code and name from a day on.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        CouncilCodeError: a council has or had that code, or its present one is younger than that.
    """
    async with conn.transaction():
        council_id = await registry.find_council(conn, tenant)
        cursor = await conn.execute(
            "SELECT gss, name, code_since FROM council WHERE id = %s FOR UPDATE", (council_id,)
        )
        [(old, old_name, valid_from)] = await cursor.fetchall()
        if valid_from is not None and since <= valid_from:
            raise CouncilCodeError(
                f"{tenant} has had {old} since {valid_from}; {gss} can begin on a later day only"
            )
        changed = await conn.execute(
            query("change_council_code"),
            {
                "council_id": council_id,
                "old": old,
                "old_name": old_name,
                "valid_from": valid_from,
                "valid_until": since - timedelta(days=1),
                "gss": gss,
                "name": name,
                "since": since,
            },
        )
        if not changed.rowcount:
            raise CouncilCodeError(
                f"{gss} is or was the code of a council of this network already; see `kerbstone "
                "network council codes`"
            )
        await audit.record(
            conn,
            actor=actor,
            tenant=tenant,
            action="council.code",
            subject=tenant,
            detail={"from": old, "to": gss, "name": name, "since": since.isoformat()},
        )
        await registry.announce(conn, "")
