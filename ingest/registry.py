"""The registry as ingest sees it: a snapshot in memory that follows the database."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NoReturn

from device_protocol import topics
from ingest.snapshot import Snapshot
from runtime.backoff import FullJitter
from storage import configurations, registry
from storage.database import OUTAGES, Connection, Pool

log = logging.getLogger(__name__)

_BACKOFF_SECONDS: Final = (0.05, 2.0)


class Registry:
    """Who may speak and what is known of them. `snapshot` is replaced, never changed."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self._dsn = dsn
        self._pool = pool
        self.snapshot = Snapshot()

    def retained(self, tenant: str) -> dict[str, bytes]:
        """Return what gateways of a council, or with "+" of all, find at the broker, by topic.

        The newest message R of the council, and of each gateway the newest message C.
        """
        snapshot = self.snapshot
        key_sets = {
            topics.key_set(found): message
            for found, message in snapshot.key_sets.items()
            if tenant in ("+", found)
        }
        wanted = {
            topics.configuration(found, device): message
            for (found, device), message in snapshot.configurations.items()
            if tenant in ("+", found)
        }
        return key_sets | wanted

    async def refresh(self, device: str | None = None) -> None:
        """Read the registry again, or what it says of one device.

        Raises:
            psycopg.OperationalError: the database is away; the snapshot is as before.
        """
        async with self._pool.connection() as conn:
            fresh = await _load(conn, device)
        self.snapshot = fresh if device is None else self.snapshot.with_gateway(device, fresh)

    async def refresh_until_done(self, device: str | None = None) -> None:
        """Like `refresh`, but wait until the database answers."""
        backoff = FullJitter(*_BACKOFF_SECONDS)
        while True:
            try:
                return await self.refresh(device)
            except OUTAGES as error:
                log.warning("registry not read", extra={"error": str(error).strip()})
                await asyncio.sleep(backoff.next())

    async def follow(self, changed: Callable[[], None]) -> NoReturn:
        """Keep the snapshot up to date; `changed` is called after each change."""
        backoff = FullJitter(*_BACKOFF_SECONDS)
        while True:
            try:
                changes = registry.changes(self._dsn, application_name="kerbstone ingest registry")
                async with aclosing(changes) as devices:
                    async for device in devices:
                        await self.refresh(device or None)
                        changed()
                        backoff.reset()
            except OUTAGES as error:
                log.warning("registry not followed", extra={"error": str(error)})
            await asyncio.sleep(backoff.next())


async def _load(conn: Connection, device: str | None) -> Snapshot:
    return Snapshot.build(
        await registry.gateways(conn, device),
        await registry.streams(conn, device),
        await registry.newest_key_sets(conn),
        await configurations.newest_configurations(conn, device),
        await registry.tenants(conn),
    )
