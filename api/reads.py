"""Where pages, files and the open standards read from: the replica while it keeps up.

Whoever is signed in reads from the primary, so that a change is seen by who has made it, and
everything that writes or listens goes there anyway. A replica that is lost or too far behind is
left alone until it has caught up; reads go to the primary meanwhile. When it is the primary that is
lost, the replica goes on answering with what it has.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, NoReturn

from prometheus_client import Counter, Gauge

from storage.database import OUTAGES, Connection, Pool
from storage.replication import Lag, replayed, written

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5

_WAIT_SECONDS: Final = 4.0  # for a connection; then the page says that the database is away
_REPLICA_WAIT_SECONDS: Final = 1.0

_lag = Gauge("api_replica_lag_seconds", "How far the replica is behind; NaN while it is lost.")
_used = Gauge("api_replica_used", "1 while pages read from the replica.")
_reads = Counter("api_reads_total", "Reads begun, by where they went.", ["server"])


class Reads:
    """Lends connections for reading.

    replica: None where there is none. max_lag_seconds: further behind it is not read from.
    """

    def __init__(self, primary: Pool, replica: Pool | None, max_lag_seconds: float) -> None:
        self._primary = primary
        self._replica = replica
        self._max_lag_seconds = max_lag_seconds
        self._behind = Lag()
        self.uses_replica = False

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection; an outage (see `storage.database.OUTAGES`) if there is none soon."""
        return self.lend(self._primary, self._replica)

    @asynccontextmanager
    async def lend(self, primary: Pool, replica: Pool | None) -> AsyncIterator[Connection]:
        """Lend a connection of other pools to the same two servers."""
        pool, conn = primary, None
        if replica is not None and self.uses_replica:
            try:
                conn = await replica.getconn(timeout=_REPLICA_WAIT_SECONDS)
                pool = replica
            except OUTAGES as error:
                self._note(uses=False, why=str(error))
        _reads.labels("primary" if conn is None else "replica").inc()
        if conn is None:
            conn = await primary.getconn(timeout=_WAIT_SECONDS)
        try:
            if conn.autocommit:
                yield conn
            else:
                async with conn:  # ends its transaction
                    yield conn
        finally:
            await pool.putconn(conn)

    async def follow(self) -> NoReturn:
        """Watch how far the replica is behind, until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        if self._replica is None:
            return
        now = asyncio.get_running_loop().time()
        try:
            async with self._primary.connection(timeout=_REPLICA_WAIT_SECONDS) as conn:
                self._behind.wrote(now, await written(conn))
        except OUTAGES as error:
            log.debug("primary not asked", extra={"error": str(error)})
        try:
            async with self._replica.connection(timeout=_REPLICA_WAIT_SECONDS) as conn:
                position = await replayed(conn)
        except OUTAGES as error:
            _lag.set(float("nan"))
            self._note(uses=False, why=str(error).strip())
            return
        lag = self._behind.seconds(now, position)
        _lag.set(lag)
        enough = position > 0 and lag <= self._max_lag_seconds
        self._note(uses=enough, why=f"{lag:.1f} s behind" if position else "it is no replica")

    def _note(self, *, uses: bool, why: str) -> None:
        if uses != self.uses_replica:
            self.uses_replica = uses
            if uses:
                log.info("pages read from the replica")
            else:
                log.warning("pages read from the primary", extra={"replica": why})
        _used.set(uses)


@dataclass(frozen=True, slots=True)
class Readers:
    """Lends connections that read entities alone, from where `reads` would at the time."""

    reads: Reads
    primary: Pool
    replica: Pool | None

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection; an outage (see `storage.database.OUTAGES`) if there is none soon."""
        return self.reads.lend(self.primary, self.replica)
