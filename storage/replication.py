"""How far a streaming replica is behind its primary, in what the servers say of their logs.

Setting up replication is the operator's, or `storage.embedded`'s; who reads from a replica decides
for itself when it is too far behind. Nobody's clock is compared with another's: a replica that has
what the primary had written when it was last asked is up to then.
"""

from collections import deque

from storage.database import Connection


async def written(primary: Connection) -> int:
    """Return how many bytes the primary has written to its log since it was made.

    Raises:
        psycopg.OperationalError: it is a replica itself, or is lost.
    """
    return await _bytes(primary, "SELECT (pg_current_wal_lsn() - '0/0')::bigint")


async def replayed(replica: Connection) -> int:
    """Return how many of those bytes can be seen on the replica; 0 if it is none.

    Raises:
        psycopg.OperationalError: it is lost.
    """
    return await _bytes(
        replica, "SELECT (coalesce(pg_last_wal_replay_lsn(), '0/0') - '0/0')::bigint"
    )


async def _bytes(conn: Connection, statement: str) -> int:
    cursor = await conn.execute(statement.encode())
    [(found,)] = await cursor.fetchall()
    return int(found)


class Lag:
    """How long ago the primary wrote what the replica does not have yet."""

    def __init__(self) -> None:
        self._missing: deque[tuple[float, int]] = deque()

    def wrote(self, at: float, position: int) -> None:
        """Hear what the primary had written at `at`, seconds of any clock that only goes on."""
        if not self._missing or self._missing[-1][1] < position:
            self._missing.append((at, position))

    def seconds(self, now: float, position: int) -> float:
        """Return the lag of a replica that has replayed up to `position`."""
        while self._missing and self._missing[0][1] <= position:
            self._missing.popleft()
        return now - self._missing[0][0] if self._missing else 0.0
