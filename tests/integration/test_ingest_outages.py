"""Ingest while its database or its broker is away: it waits, comes back and loses nothing."""

import asyncio
from pathlib import Path

import pytest

from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from tests.integration.fix_brokers import City
from tests.integration.region import DEVICE, begin, eventually, make_region, metric, minutes, up
from tests.simulators.gateway import MqttGateway, reading


@pytest.mark.parametrize("database_server", ["plain"], indirect=True)
async def test_broker_killed_and_restarted(
    own_city: City, dsn: str, tmp_path: Path, connection: Connection
) -> None:
    region = await make_region(own_city, dsn, tmp_path, connection)
    async with region.ingest():
        async with region.gateway() as gateway:
            await begin(gateway)
        simulated = gateway.gateway
        own_city.broker.kill()
        await eventually(lambda: sum(up(region)) == 0)
        await asyncio.to_thread(own_city.broker.start)
        await eventually(lambda: all(up(region)))
        client = own_city.gateway_client(DEVICE)
        async with MqttGateway.connected(simulated, client) as again:
            await again.publish(simulated.announcement())
            await again.publish(simulated.report([reading(1, time=minutes(0))]))
            await again.acknowledged(2)
    assert await region.count("observation") == 1


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_database_stopped_and_restarted(city: City, tmp_path: Path, how: str) -> None:
    directory = tmp_path / "database"
    database = EmbeddedDatabase.start(directory)
    try:
        await migrate(database.dsn)
        async with await connect(database.dsn, autocommit=True, application_name="test") as conn:
            region = await make_region(city, database.dsn, tmp_path, conn)
        async with region.ingest(), region.gateway() as gateway:
            await begin(gateway)
            await gateway.publish(gateway.gateway.report([reading(1, time=minutes(0))]))
            await gateway.acknowledged(2)
            getattr(database, how)()
            for count in range(1, 4):
                await gateway.publish(gateway.gateway.report([reading(1, time=minutes(count))]))
            await gateway.no_acknowledgement(1.0)
            assert metric("ingest_database_up") == 0
            database = await asyncio.to_thread(
                EmbeddedDatabase.start, directory, port=database.port
            )
            await gateway.acknowledged(5, within_seconds=30)
            assert metric("ingest_database_up") == 1
        async with await connect(database.dsn, autocommit=True, application_name="test") as conn:
            region.conn = conn
            assert await region.count("observation") == 4
            assert await region.count("signed_batch") == 5
    finally:
        database.stop()
        remove(directory)
