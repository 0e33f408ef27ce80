"""What a reader may see beyond what is open to everybody, for the length of a transaction.

The views `readable_datastream` and `readable_thing` ask for it; without a word they show what is
open. Who may see what is decided by whoever calls this.
"""

from collections.abc import Collection

from storage.database import Connection


async def let_read(conn: Connection, councils: Collection[int]) -> None:
    """Let the transaction that `conn` is in read the restricted datastreams of these councils.

    councils: their ids.
    """
    await conn.execute(
        "SELECT set_config('kerbstone.councils', %s, true)",
        ("{" + ",".join(str(council) for council in sorted(councils)) + "}",),
    )


async def councils_of(conn: Connection, tenant: str | None) -> frozenset[int]:
    """Return the ids of the councils that are somebody's: one, or every one where that is None."""
    cursor = await conn.execute(
        "SELECT id FROM council WHERE %(tenant)s::text IS NULL OR tenant = %(tenant)s",
        {"tenant": tenant},
    )
    return frozenset([row[0] for row in await cursor.fetchall()])
