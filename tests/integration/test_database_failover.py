"""A streaming replica takes the place of a database that dies under ingest.

The dsn names both servers and asks for the one that takes writes. The last message is caught in
the worst place: the primary has it, the replica does not, and the primary is never seen again.
"""

import asyncio
from pathlib import Path
from typing import Final, LiteralString

import pytest
from psycopg.conninfo import make_conninfo

from storage.database import connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from tests.integration.fix_brokers import City
from tests.integration.region import Region, begin, make_region, minutes
from tests.simulators.gateway import Message, MqttGateway, reading

FOLLOWERS: Final = "SELECT count(*) FROM pg_stat_replication"


@pytest.fixture
def broker_kind() -> str:
    """What happens behind ingest does not depend on what is before it."""
    return "mosquitto"


async def tell(dsn: str, *statements: LiteralString) -> None:
    async with await connect(dsn, autocommit=True, application_name="test") as conn:
        for statement in statements:
            await conn.execute(statement)


async def number(dsn: str, question: LiteralString) -> int:
    async with await connect(dsn, autocommit=True, application_name="test") as conn:
        [(found,)] = await (await conn.execute(question)).fetchall()
    return int(found)


async def cut_off(primary: EmbeddedDatabase, replica: EmbeddedDatabase) -> None:
    """Return when nothing reaches the replica any more."""
    await tell(replica.dsn, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    async with asyncio.timeout(20):
        while await number(primary.dsn, FOLLOWERS):  # noqa: ASYNC110 - asks a server
            await asyncio.sleep(0.05)


async def last_message(
    region: Region, gateway: MqttGateway, primary: EmbeddedDatabase, *, synchronous: bool
) -> Message:
    """Publish one that the primary alone has; it is acknowledged unless commits wait for both."""
    message = gateway.gateway.report([reading(2, time=minutes(1))])
    await gateway.publish(message)
    if synchronous:
        async with asyncio.timeout(20):
            waiting: LiteralString = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                " AND application_name = 'kerbstone ingest store'"
            )
            while not await number(primary.dsn, waiting):  # noqa: ASYNC110 - asks a server
                await asyncio.sleep(0.05)
        await gateway.no_acknowledgement(1)
    else:
        await gateway.acknowledged(3)
        assert await region.count("observation") == 2
    return message


async def resend(gateway: MqttGateway, *messages: Message, covers: int) -> None:
    """Send until all are acknowledged, as gateways do."""
    async with asyncio.timeout(60):
        while True:
            for message in messages:
                await gateway.publish(message)
            try:
                await gateway.acknowledged(covers, within_seconds=2)
            except TimeoutError:
                continue
            return


@pytest.mark.timeout(170)  # a busy machine promotes slowly
@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
async def test_ingest_goes_on_with_the_promoted_replica(
    own_city: City, tmp_path: Path, *, synchronous: bool
) -> None:
    """What was not acknowledged is stored when it comes again, once.

    Of an asynchronous replica that is all there is to promise: the last message was acknowledged
    and is gone with the primary. A gateway that has it still gets it stored.
    """
    primary = await asyncio.to_thread(EmbeddedDatabase.start, tmp_path / "primary")
    replica = None
    try:
        await migrate(primary.dsn)
        replica = await asyncio.to_thread(primary.start_replica, tmp_path / "replica")
        if synchronous:
            await tell(
                primary.dsn,
                "ALTER SYSTEM SET synchronous_standby_names = '*'",
                "SELECT pg_reload_conf()",
            )
        either = make_conninfo(
            primary.dsn,
            host="127.0.0.1,127.0.0.1",
            port=f"{primary.port},{replica.port}",
            target_session_attrs="read-write",
        )
        async with await connect(primary.dsn, autocommit=True, application_name="test") as conn:
            region = await make_region(own_city, either, tmp_path, conn)
            async with region.ingest(), region.gateway() as gateway:
                await begin(gateway)
                await gateway.publish(gateway.gateway.report([reading(1, time=minutes(0))]))
                await gateway.acknowledged(2)
                await cut_off(primary, replica)
                message = await last_message(region, gateway, primary, synchronous=synchronous)
                await asyncio.to_thread(primary.kill)
                assert await number(replica.dsn, "SELECT pg_promote()::int"), "it is promoted"
                later = gateway.gateway.report([reading(3, time=minutes(2))])
                await resend(gateway, message, later, covers=4)
        assert await number(replica.dsn, "SELECT count(*) FROM observation") == 3
        assert await number(replica.dsn, "SELECT count(*) FROM signed_batch") == 4
    finally:
        if replica is not None:
            replica.stop()
        primary.stop()
        for name in ("primary", "replica"):
            remove(tmp_path / name)
