"""What is still to be published to subscribers, and word that it has been.

While a publisher is known, whoever stores observations leaves a batch with the same transaction
(`storage.batches`): which they are, in one row. Batches are published in the order of writing and
then deleted, so that nothing depends on the times that observations have, nor on transactions
ending in the order in which they began. Of a batch that is partly published the number done is
kept. Observations themselves are read by `storage.sensorthings`, as for everybody else.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from standards_mapping.sensorthings.model import ObservationId
from storage.binary_copy import keys_of
from storage.database import Connection, query

_LOCK: Final = 0x4B65_7262_0022  # advisory lock key, ours within a database
_MOST: Final = 2000  # observations read at once, and the rest of a batch


@dataclass(frozen=True, slots=True)
class Due:
    """An observation to publish: the `number`-th, from 1, of a batch."""

    batch: int
    number: int
    key: ObservationId


async def take_turn(conn: Connection) -> None:
    """Wait until nobody else publishes, and hold that for as long as `conn`, autocommit, lives."""
    await conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))


async def begin(conn: Connection, catch_up: timedelta) -> None:
    """Have whatever is stored from now on left to be published, if it is not so already.

    catch_up: how long it stays, should nobody publish it.
    """
    await conn.execute(query("begin_publication"), {"catch_up": catch_up})


async def due(conn: Connection) -> list[Due]:
    """Return what is to be published next, in the order of writing; whole batches."""
    cursor = await conn.execute(query("due_publications"), {"most": _MOST}, binary=True)
    return [
        Due(batch, number, ObservationId(datastream_id, microseconds))
        for batch, done, observations in await cursor.fetchall()
        for number, (datastream_id, microseconds) in enumerate(keys_of(observations), done + 1)
    ]


async def note(conn: Connection, finished: Collection[int], last: Due) -> None:
    """Note that all is published up to `last`, and the batches `finished` entirely."""
    await conn.execute(
        query("note_published"),
        {"finished": list(finished), "batch": last.batch, "done": last.number},
    )


async def keep_on(conn: Connection) -> None:
    """Say that somebody publishes, and forget what was left too long ago."""
    async with conn.transaction():
        await conn.execute("UPDATE publication SET seen_at = now()")
        await forget_unpublished(conn)


async def forget_unpublished(conn: Connection) -> int:
    """Forget what waited longer than any publisher wants it; return how many batches."""
    return (await conn.execute(query("forget_unpublished"))).rowcount
