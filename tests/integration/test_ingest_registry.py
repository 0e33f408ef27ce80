"""The registry in memory follows the database, also when it is read for two reasons at once."""

import asyncio

import pytest

from ingest.registry import Registry
from storage import registry
from storage.database import Connection, open_pool

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

DEVICE = ("camden", "k7q2m9xd4t")


async def test_a_slow_reading_never_undoes_what_a_later_one_has_found(
    dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is read before a change and handed over after it; the gateway is read in between."""
    await registry.add_council(connection, gss="E-camden", tenant="camden", name="Camden")
    await registry.add_gateway(connection, tenant=DEVICE[0], device=DEVICE[1], label="Test")
    has_read, may_end = asyncio.Event(), asyncio.Event()
    read_gateways = registry.gateways

    async def slowly(conn: Connection, device: str | None = None) -> list[registry.GatewayRow]:
        found = await read_gateways(conn, device)
        if device is None:
            has_read.set()
            await may_end.wait()
        return found

    monkeypatch.setattr(registry, "gateways", slowly)
    async with (
        open_pool(dsn, max_size=2, application_name="test") as pool,
        asyncio.TaskGroup() as tasks,
    ):
        followed = Registry(dsn, pool)
        tasks.create_task(followed.refresh())
        await has_read.wait()
        await connection.execute("UPDATE gateway SET status = 'revoked'")
        of_one = tasks.create_task(followed.refresh(DEVICE[1]))
        await asyncio.wait([of_one], timeout=0.2)  # it may be held up, never overtaken
        may_end.set()
    assert followed.snapshot.devices[DEVICE].revoked
