"""A worker's claim to its number: held by the connection that writes, or nothing is written.

Two processes that own the same gateways would each have half of what came, and answer for the
whole. So the number is locked in the database by the very session that writes batches; it goes
with that session, and must be taken again by the next before anything is written.

Whether anyone else had it in between shows in its term, which begins anew whenever another process
takes the number: then what is remembered here of epochs is out of date, and the process ends. Its
supervisor starts it again with what is stored; no gateway has been told of what it had in memory.
"""

import asyncio
import logging
from typing import Final

from runtime.backoff import FullJitter
from storage import ingest_workers
from storage.database import Connection
from storage.ingest_workers import Session, WorkerTakenError

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 90.0
"""The server misses a machine that lost its power after a minute; a rival stays longer."""

_BACKOFF_SECONDS: Final = (0.05, 1.0)


class ClaimError(Exception):
    """This process may not write: another one runs in its place, or did."""


class Claim:
    """One worker's number.

    scope: what the numbers divide, so that sets of workers for different things do not meet.
    worker, workers: this number, and how many there are.
    """

    def __init__(
        self,
        *,
        scope: str = "",
        worker: int = 0,
        workers: int = 1,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.scope = scope
        self._worker = worker
        self._workers = workers
        self._patience_seconds = patience_seconds
        self._term = 0
        self._session: Session | None = None

    async def take(self, conn: Connection) -> None:
        """Hold the number by this new connection, which waits for whoever is about to go.

        Raises:
            ClaimError: another process holds the number and does not go, or held it meanwhile.
            psycopg.OperationalError: the connection was lost.
        """
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._wait(conn)
        except TimeoutError:
            raise ClaimError(
                f"{self._name} is already running on this database: stop one of the two"
            ) from None
        if not self._term:
            self._term = await ingest_workers.begin_term(
                conn, scope=self.scope, worker=self._worker, workers=self._workers
            )
        elif self._term != await ingest_workers.running_term(
            conn, scope=self.scope, worker=self._worker
        ):
            raise ClaimError(f"{self._name} was run by another process meanwhile: start again")
        self._session = await ingest_workers.own_session(conn)

    async def _wait(self, conn: Connection) -> None:
        backoff = FullJitter(*_BACKOFF_SECONDS)
        waiting = False
        while True:
            try:
                await ingest_workers.take_worker(
                    conn, scope=self.scope, worker=self._worker, workers=self._workers
                )
            except WorkerTakenError as taken:
                if _same(taken.holder, self._session):
                    await ingest_workers.end_session(conn, taken.holder)  # type: ignore[arg-type]
                elif not waiting:
                    waiting = True
                    log.warning("another ingest runs in this place", extra=self._facts(taken))
                await asyncio.sleep(backoff.next())
            else:
                return

    def _facts(self, taken: WorkerTakenError) -> dict[str, object]:
        facts: dict[str, object] = {
            "wanted": self._name,
            "remedy": "stop one of the two; this one waits and then ends",
            "gives_up_after_seconds": self._patience_seconds,
        }
        if taken.others:
            facts["running"] = [f"sets of {count} workers" for count in taken.others]
        elif taken.holder is not None:
            facts["running"] = f"since {taken.holder.since:%F %T} UTC from {taken.holder.address}"
        return facts

    @property
    def _name(self) -> str:
        return f"worker {self._worker} of {self._workers}"


def _same(holder: Session | None, ours: Session | None) -> bool:
    """Return whether the holder is our own last session, which the server has not missed yet."""
    return (
        holder is not None
        and ours is not None
        and (holder.pid, holder.since) == (ours.pid, ours.since)
    )
