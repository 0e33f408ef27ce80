"""Who can read what: groups of recipients, and the rotation of their keys, with real brokers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_protocol import keys, topics
from device_protocol.keys import RecipientKey, SigningKey
from device_protocol.recipient_pem import encode_pem, generate
from enrolment.files import read_key
from storage import configurations
from storage.database import Connection, connect
from tests.integration.conftest import DatabaseServer
from tests.integration.fix_brokers import City
from tests.integration.region import (
    DEVICE,
    Region,
    begin,
    eventually,
    make_region,
    metric,
    minutes,
    now,
)
from tests.simulators.gateway import MqttGateway, SimulatedGateway, description, public, reading

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


@pytest.fixture
async def region(city: City, dsn: str, tmp_path: Path, connection: Connection) -> Region:
    (tmp_path / "region").mkdir()
    return await make_region(city, dsn, tmp_path / "region", connection)


@pytest.fixture
async def council(
    city: City, database_server: DatabaseServer, tmp_path: Path
) -> AsyncIterator[Region]:
    """The council's own centre: another database, another key, the same broker."""
    (tmp_path / "council").mkdir()
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        yield await make_region(city, dsn, tmp_path / "council", conn)
    await database_server.drop(dsn)


@contextlib.asynccontextmanager
async def gateway_for(
    city: City, group: str, *recipients: RecipientKey
) -> AsyncIterator[MqttGateway]:
    signer = SigningKey.from_private(read_key(city.gateways[DEVICE].credential.key))
    simulated = SimulatedGateway(
        "camden", DEVICE, [public(key) for key in recipients], signer=signer, group=group
    )
    async with MqttGateway.connected(simulated, city.gateway_client(DEVICE)) as connected:
        yield connected


def refused(reason: str) -> float:
    return metric("ingest_envelopes_total", outcome="refused", reason=reason)


def parked() -> float:
    return metric("ingest_parked_messages")


async def test_the_region_cannot_read_what_is_for_the_council_alone(
    region: Region, council: Region
) -> None:
    before = refused("not-recipient")
    async with gateway_for(region.city, "council", council.recipient) as gateway:
        announcement = gateway.gateway.announce(now(), counter=now())
        messages = (
            gateway.gateway.describe(description()),
            gateway.gateway.report([reading(1, time=minutes(0))]),
        )
        async with region.ingest():
            await gateway.publish(announcement)
            await eventually(lambda: refused("not-recipient") > before)
            for message in messages:
                await gateway.publish(message)
            await eventually(lambda: parked() == len(messages))
        for table in ("epoch", "signed_batch", "observation", "quarantine"):
            assert await region.count(table) == 0
        async with council.ingest():  # finds the announcement at the broker
            for message in messages:
                await gateway.publish(message)
            await gateway.acknowledged(2)
        assert await council.count("observation") == 1


async def test_a_connection_for_some_groups_hears_of_no_others(region: Region) -> None:
    settings = region.settings()
    only_main = tuple(replace(broker, groups=("main",)) for broker in settings.broker)
    async with region.ingest(), gateway_for(region.city, "council", region.recipient) as other:
        await begin(other)  # so that the broker's session serves every group
    before = refused("not-recipient")
    async with region.ingest(broker=only_main):
        async with gateway_for(region.city, "council", generate(keys.X25519)) as other:
            await other.publish(other.gateway.announce(now(), counter=now() + 1))
            await other.publish(other.gateway.report([reading(1, time=minutes(0))]))
        async with gateway_for(region.city, "main", region.recipient) as gateway:
            await begin(gateway)
            await gateway.publish(gateway.gateway.report([reading(2, time=minutes(1))]))
            await gateway.acknowledged(2)
    assert refused("not-recipient") == before
    assert parked() == 0


@dataclass
class Directory:
    """Recipient keys as the region keeps them."""

    path: Path

    def add(self, kind: str) -> RecipientKey:
        key = generate(kind)
        (self.path / f"{key.kid.hex()}.key").write_bytes(encode_pem(key))
        return key

    def destroy(self, key: RecipientKey) -> None:
        (self.path / f"{key.kid.hex()}.key").unlink()


async def test_keys_are_rotated_without_a_restart_and_without_losing_a_message(
    region: Region, tmp_path: Path
) -> None:
    directory = Directory(tmp_path / "recipients")
    directory.path.mkdir()
    old = directory.add(keys.X25519)
    async with (
        region.ingest(recipient_key_files=(), recipient_key_directory=directory.path),
        gateway_for(region.city, "main", old) as gateway,
    ):
        await begin(gateway)
        new = directory.add(keys.X25519)
        simulated = gateway.gateway
        await gateway.publish(simulated.report([reading(1, time=minutes(0))]))
        await gateway.acknowledged(2)
        # Nobody told ingest of the new key: that nothing is wrapped for the old one tells it.
        await gateway.publish(simulated.announce(now(), recipients=[public(new)]))
        await gateway.publish(simulated.report([reading(2, time=minutes(1))]))
        await gateway.acknowledged(1)
        directory.destroy(old)
        await region.conn.execute("SELECT pg_notify('kerbstone_registry', '')")
        before = refused("not-recipient")

        async def is_forgotten() -> bool:
            await gateway.publish(simulated.announce(now(), recipients=[public(old)]))
            with contextlib.suppress(TimeoutError):
                await eventually(lambda: refused("not-recipient") > before, within=1)
            return refused("not-recipient") > before

        while not await is_forgotten():
            pass
    assert await region.count("observation") == 2


async def test_suite_3_is_refused_until_it_is_allowed(region: Region, tmp_path: Path) -> None:
    directory = Directory(tmp_path / "recipients")
    directory.path.mkdir()
    hybrid = directory.add(keys.X_WING)
    told = {"recipient_key_files": (), "recipient_key_directory": directory.path}
    before = refused("algorithm")
    begun = metric("ingest_epochs_total", suite="3")
    async with gateway_for(region.city, "main", hybrid) as gateway:
        async with region.ingest(**told):
            await gateway.publish(gateway.gateway.announce(now(), counter=now()))
            await eventually(lambda: refused("algorithm") > before)
        async with region.ingest(**told, suites=(1, 2, 3)):  # finds it at the broker
            await gateway.publish(gateway.gateway.describe(description()))
            await gateway.publish(gateway.gateway.report([reading(1, time=minutes(0))]))
            await gateway.acknowledged(2)
    assert await region.count("observation") == 1
    assert metric("ingest_epochs_total", suite="3") == begun + 1


async def test_signed_configurations_wait_at_the_broker(region: Region) -> None:
    async def ask(message: bytes) -> None:
        version = await configurations.request_configuration(
            region.conn,
            device=DEVICE,
            settings={"uplink.batch_seconds": 5},
            actor="operator test",
            lifetime=timedelta(days=1),
        )
        await configurations.put_signed(
            region.conn,
            device=DEVICE,
            version=version,
            message=message,
            signed_at=datetime.now(UTC),
        )

    await ask(b"C1")
    topic = topics.configuration("camden", DEVICE)
    async with region.city.gateway_client(DEVICE) as client, asyncio.timeout(20):
        await client.subscribe(topic, qos=1)
        async with region.ingest():
            while bytes((await anext(client.messages)).payload) != b"C1":
                pass
            await ask(b"C2")
            assert bytes((await anext(client.messages)).payload) == b"C2"
    async with region.city.gateway_client(DEVICE) as late, asyncio.timeout(15):
        await late.subscribe(topic, qos=1)
        message = await anext(late.messages)
        assert (bytes(message.payload), message.retain) == (b"C2", True)
