"""The registry as ingest sees it: a snapshot in memory that follows the database.

A worker that owns a part of the gateways sees that part alone.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NoReturn

from device_protocol import topics
from ingest.admission.snapshot import DeviceKey, Snapshot
from ingest.workers.ownership import Ownership
from runtime.backoff import FullJitter
from storage import configurations, registry
from storage.database import OUTAGES, Connection, Pool

log = logging.getLogger(__name__)

_BACKOFF_SECONDS: Final = (0.05, 2.0)


class Registry:
    """Who may speak and what is known of them. `snapshot` is replaced, never changed."""

    def __init__(self, dsn: str, pool: Pool, ownership: Ownership | None = None) -> None:
        self._dsn = dsn
        self._pool = pool
        self._ownership = ownership or Ownership()
        self._reading = asyncio.Lock()
        self.snapshot = Snapshot()

    @property
    def gateway_ids(self) -> list[int]:
        """The ids of the gateways that are ours."""
        return [gateway.id for gateway in self.snapshot.gateways.values()]

    def owns(self, device: DeviceKey) -> bool:
        """Return whether a gateway is ours, registered or not."""
        return self._ownership.owns(device)

    def owns_device(self, device: str) -> bool:
        """Return whether a registered gateway is ours."""
        return any(name == device for _, name in self.snapshot.devices)

    def places(self, tenant: str) -> list[DeviceKey]:
        """Return, of a council or "+", the gateways that are ours; "+" in place of any name."""
        snapshot, ownership = self.snapshot, self._ownership
        if ownership.divides_councils:
            return [device for device in snapshot.devices if tenant in ("+", device[0])]
        councils = snapshot.tenants if ownership.tenants is None else ownership.tenants
        return [
            (council, "+")
            for council in sorted(councils)
            if tenant in ("+", council) and ownership.serves(council)
        ]

    def retained(self, tenant: str) -> dict[str, bytes]:
        """Return what gateways of a council, or with "+" of all, find at the broker, by topic.

        The newest message R of the council, and of each gateway the newest message C.
        """
        snapshot = self.snapshot
        key_sets = {
            topics.key_set(found): message
            for found, message in snapshot.key_sets.items()
            if tenant in ("+", found) and self._ownership.answers_for(found)
        }
        wanted = {
            topics.configuration(found, device): message
            for (found, device), message in snapshot.configurations.items()
            if tenant in ("+", found)
        }
        return key_sets | wanted

    async def refresh(self, device: str | None = None) -> None:
        """Read the registry again, or what it says of one device.

        One reading at a time: of two, the one that began earlier may end later, and would put an
        older state in place of a newer one.

        Raises:
            psycopg.OperationalError: the database is away; the snapshot is as before.
        """
        async with self._reading:
            async with self._pool.connection() as conn:
                fresh = await _load(conn, device, self._ownership)
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


async def _load(conn: Connection, device: str | None, ownership: Ownership) -> Snapshot:
    gateways = await registry.gateways(conn, device)
    ours = [row for row in gateways if ownership.owns((row.tenant, row.device))]
    ids = {row.id for row in ours}
    return Snapshot.build(
        ours,
        [row for row in await registry.streams(conn, device) if row.gateway_id in ids],
        await registry.newest_key_sets(conn),
        {
            key: message
            for key, message in (await configurations.newest_configurations(conn, device)).items()
            if ownership.owns(key)
        },
        await registry.tenants(conn),
    )
