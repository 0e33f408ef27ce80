"""Numbers of ingest's workers: each held by one session of the server, as an advisory lock.

A lock lives as long as its connection, so whoever writes over the connection that holds it writes
as the only one of its number. Shared locks keep apart sets of workers of different sizes, which
would divide the gateways differently. When to wait and what to say is the caller's business.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from storage.database import Connection, query

_CLASS_BYTES = 4
_CLASS_BITS = 0x7FFF_FFFF  # of a signed integer


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the server, by its process id and start."""

    pid: int
    since: datetime
    address: str = ""


@dataclass(frozen=True, slots=True)
class BrokerSession:
    """A session that a broker keeps for a worker.

    ending: what its client id and certificate have after those of the settings. division: the rule
    by which gateways were divided when it was made.
    """

    connection: str
    client_id: str
    ending: str
    division: str


class WorkerTakenError(Exception):
    """A number is held by another session, `holder`; None: other numbers of workers are in force.

    others: those numbers.
    """

    def __init__(self, holder: Session | None, others: tuple[int, ...] = ()) -> None:
        self.holder = holder
        self.others = others
        super().__init__(
            f"sets of {list(others)} workers are running" if others else f"held by {holder}"
        )


async def take_worker(conn: Connection, *, scope: str, worker: int, workers: int) -> None:
    """Take a number for as long as `conn`, which is in autocommit mode, lives.

    Raises:
        WorkerTakenError: another session has it, or there are sets of another size.
    """
    numbers, counts = _class(f"{scope} number"), _class(f"{scope} count")
    keys = {
        "number_class": numbers,
        "count_class": counts,
        "worker": worker,
        "workers": workers,
    }
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(%s, 0)", (counts,))  # one at a time
        cursor = await conn.execute(query("other_numbers_of_workers"), keys)
        others = tuple(sorted(int(row[0]) for row in await cursor.fetchall()))
        if others:
            raise WorkerTakenError(None, others)
        cursor = await conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (numbers, worker))
        if await cursor.fetchone() != (True,):
            cursor = await conn.execute(query("worker_holder"), keys)
            row = await cursor.fetchone()
            raise WorkerTakenError(None if row is None else Session(*row))
        await conn.execute("SELECT pg_advisory_lock_shared(%s, %s)", (counts, workers))


async def begin_term(conn: Connection, *, scope: str, worker: int, workers: int) -> int:
    """Return the number of a new term; whoever had this worker's number before is superseded."""
    cursor = await conn.execute(
        query("begin_term"), {"scope": scope, "worker": worker, "workers": workers}
    )
    [(term,)] = await cursor.fetchall()
    return int(term)


async def running_term(conn: Connection, *, scope: str, worker: int) -> int:
    """Return the number of the newest term; 0 if there was none."""
    cursor = await conn.execute(
        "SELECT term FROM ingest_worker WHERE scope = %s AND worker = %s", (scope, worker)
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def own_session(conn: Connection) -> Session:
    """Return which session of the server this connection is."""
    cursor = await conn.execute(
        "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    [(pid, since)] = await cursor.fetchall()
    return Session(pid, since)


async def end_session(conn: Connection, session: Session) -> None:
    """End a session of our own that the server has not missed yet; nothing if it is gone."""
    await conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid = %s AND backend_start = %s",
        (session.pid, session.since),
    )


async def note_broker_session(conn: Connection, scope: str, session: BrokerSession) -> None:
    """Note a session that a broker keeps from now on."""
    await conn.execute(
        "INSERT INTO ingest_session (scope, connection, client_id, ending, division)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (scope, connection, client_id) DO UPDATE"
        " SET ending = excluded.ending, division = excluded.division",
        (scope, session.connection, session.client_id, session.ending, session.division),
    )


async def broker_sessions(conn: Connection, scope: str) -> list[BrokerSession]:
    """Return the sessions that brokers may keep."""
    cursor = await conn.execute(
        "SELECT connection, client_id, ending, division FROM ingest_session WHERE scope = %s"
        " ORDER BY connection, client_id",
        (scope,),
    )
    return [BrokerSession(*row) for row in await cursor.fetchall()]


async def forget_broker_session(conn: Connection, scope: str, session: BrokerSession) -> None:
    """Note that a broker keeps this session no more."""
    await conn.execute(
        "DELETE FROM ingest_session WHERE scope = %s AND connection = %s AND client_id = %s",
        (scope, session.connection, session.client_id),
    )


def _class(name: str) -> int:
    """Return the class of a family of advisory locks."""
    digest = hashlib.sha256(f"kerbstone ingest {name}".encode()).digest()[:_CLASS_BYTES]
    return int.from_bytes(digest, "big") & _CLASS_BITS
