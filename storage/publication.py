"""How far the observations of open datastreams have been published to subscribers.

A row for each datastream says which was the newest that the broker has taken; what is newer is
due. Which observations those are is read by `storage.sensorthings`, as for everybody else.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row

from storage.database import Connection, query

_LOCK: Final = 0x4B65_7262_0022  # advisory lock key, ours within a database


@dataclass(frozen=True, slots=True)
class Due:
    """An open datastream with something to publish.

    published: time of the newest observation published; None: nothing has been. updated_at: when
    its newest observation was noted.
    """

    datastream_id: int
    published: datetime | None
    updated_at: datetime


async def take_turn(conn: Connection) -> None:
    """Wait until nobody else publishes, and hold that for as long as `conn`, autocommit, lives."""
    await conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))


async def begin(conn: Connection) -> None:
    """Regard what is stored as published, if nothing has ever been."""
    await conn.execute(query("begin_publication"))


async def due(conn: Connection, since: datetime) -> list[Due]:
    """Return what is due among the datastreams written since then, in the order of writing."""
    async with conn.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(query("due_publications"), {"since": since})
        return await cursor.fetchall()


async def note(conn: Connection, datastream_id: int, time: datetime) -> None:
    """Note that everything of a datastream up to `time` has been published."""
    await conn.execute(query("note_published"), {"datastream_id": datastream_id, "time": time})
