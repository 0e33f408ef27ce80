"""The last word of each central process, for whoever looks without a monitoring system.

A process writes its own row every few seconds; what it cannot write any more shows by its age.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from storage.database import Connection, query

BEAT_SECONDS: Final = 5.0
STARTED: Final = datetime.now(UTC)
"""When this process began, near enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What one process, or one worker of it, last said.

    share: of the network, where one ingest serves several databases. workers: how many there are.
    at: by the database's clock. facts: what is worth telling, see `ingest.watch`.
    """

    process: str
    share: str = ""
    worker: int = 0
    workers: int = 1
    started_at: datetime
    at: datetime
    facts: Mapping[str, Any]


async def beat(
    conn: Connection,
    process: str,
    facts: Mapping[str, object],
    *,
    share: str = "",
    worker: int = 0,
    workers: int = 1,
) -> None:
    """Say that this process works; rows of workers that there no longer are go."""
    await conn.execute(
        query("beat"),
        {
            "process": process,
            "share": share,
            "worker": worker,
            "workers": workers,
            "started_at": STARTED,
            "facts": Jsonb(dict(facts)),
        },
    )


async def heartbeats(conn: Connection) -> list[Heartbeat]:
    """Return the last word of every process, by name."""
    async with conn.cursor(row_factory=class_row(Heartbeat)) as cursor:
        await cursor.execute(
            "SELECT process, share, worker, workers, started_at, at, facts FROM heartbeat"
            " ORDER BY process, share, worker"
        )
        return await cursor.fetchall()
