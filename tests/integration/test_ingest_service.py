"""The whole ingest process between a real broker, either kind, and a real database."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn, TypeAlias

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_protocol import topics
from device_protocol.key_set import KeySet, Recipient
from device_protocol.keys import SigningKey
from ingest.registry import Registry
from storage import certificates, registry
from storage.database import Connection, connect
from tests.integration.enrolled import certificate
from tests.integration.fix_brokers import City
from tests.integration.region import (
    DEVICE,
    LEEDS,
    OTHER,
    Region,
    begin,
    eventually,
    make_region,
    metric,
    minutes,
    now,
    pauses_of,
)
from tests.simulators.gateway import description, public, reading, series

Learning: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


@pytest.fixture
async def region(city: City, dsn: str, tmp_path: Path, connection: Connection) -> Region:
    return await make_region(city, dsn, tmp_path, connection)


async def test_readings_are_in_the_database_when_the_gateway_hears_of_them(region: Region) -> None:
    async with region.ingest(), region.gateway() as gateway:
        await begin(gateway)
        await gateway.publish(gateway.gateway.report(series([1, 2, 3], start=minutes(0))))
        answer = await gateway.acknowledged(2)
        assert await region.count("observation") == 3
        assert answer.highest_counter == gateway.gateway.counter
        assert abs(answer.time - now()) < 5


async def test_nothing_is_acknowledged_before_commit(region: Region, dsn: str) -> None:
    async with region.ingest(), region.gateway() as gateway:
        await begin(gateway)
        async with await connect(dsn, application_name="test") as blocker:
            await blocker.execute("LOCK TABLE observation IN ACCESS EXCLUSIVE MODE")
            await gateway.publish(gateway.gateway.report([reading(1, time=minutes(0))]))
            await gateway.no_acknowledgement(1.0)
        await gateway.acknowledged(2)
        assert await region.count("observation") == 1


async def test_gateway_that_missed_its_acknowledgement_is_told_again(region: Region) -> None:
    async with region.ingest():
        async with region.gateway() as gateway:
            await begin(gateway)
            message = gateway.gateway.report([reading(1, time=minutes(0))])
            await gateway.publish(message)
            await gateway.acknowledged(2)
            await gateway.publish(message)
            await gateway.acknowledged(2)
            await gateway.publish(gateway.gateway.announcement())
            await gateway.acknowledged(2)
        assert await region.count("signed_batch") == 2


async def test_restart_takes_up_where_it_stopped(region: Region) -> None:
    async with region.gateway() as gateway:
        async with region.ingest():
            await begin(gateway)
            await gateway.publish(gateway.gateway.report([reading(1, time=minutes(0))]))
            await gateway.acknowledged(2)
        message = gateway.gateway.report([reading(2, time=minutes(1))])
        await gateway.publish(message)  # kept by the broker for our session
        async with region.ingest():
            await gateway.acknowledged(3)
            await gateway.publish(message)
            await gateway.acknowledged(3)
        assert await region.count("observation") == 2
        assert await region.count("signed_batch") == 3


async def test_councils_and_both_kinds_of_key_are_served(region: Region) -> None:
    async with region.ingest():
        for device in (DEVICE, OTHER, LEEDS):
            async with region.gateway(device) as gateway:
                simulated = gateway.gateway
                await gateway.publish(simulated.announce(now(), counter=now()))
                await gateway.publish(
                    simulated.describe(
                        description(thing=f"urn:dev:{device}", sensor=f"urn:dev:{device}:air")
                    )
                )
                await gateway.acknowledged(1)
                sensor = f"urn:dev:{device}:air"
                await gateway.publish(
                    simulated.report([reading(1, sensor=sensor, time=minutes(0))])
                )
                await gateway.acknowledged(2)
    assert await region.count("observation") == 3


@pytest.fixture
def learning(region: Region, monkeypatch: pytest.MonkeyPatch) -> Learning:
    """Tell when ingest, in this process, goes by what has changed in the registry.

    A batch goes by what was known when it began: the one under way is waited for.
    """
    reads = 0
    follow = Registry.follow

    async def counted(self: Registry, changed: Callable[[], None]) -> NoReturn:
        def count() -> None:
            nonlocal reads
            changed()
            reads += 1

        await follow(self, count)

    @contextlib.asynccontextmanager
    async def learnt() -> AsyncIterator[None]:
        await eventually(lambda: reads > 0)  # it has begun to listen
        before = reads
        yield
        await eventually(lambda: reads > before)
        await asyncio.sleep(region.settings().batch_max_wait_seconds)

    monkeypatch.setattr(Registry, "follow", counted)
    return learnt


async def test_suspended_or_revoked_gateway_is_refused_once_ingest_hears_of_it(
    region: Region, learning: Learning
) -> None:
    def refused() -> float:
        return metric("ingest_envelopes_total", outcome="quarantined", reason="revoked")

    async def become(status: registry.Status) -> None:
        async with learning():
            await registry.set_gateway_status(
                region.conn, device=DEVICE, status=status, actor="operator test"
            )

    async with region.ingest(), region.gateway() as gateway:
        await begin(gateway)
        before = refused()
        await become("suspended")
        await gateway.publish(gateway.gateway.report([reading(1, time=minutes(0))]))
        await eventually(lambda: refused() == before + 1)
        assert await region.count("observation") == 0
        assert await region.count("quarantine WHERE reason = 'revoked'") == 1
        await become("active")
        stored = metric("ingest_readings_total", outcome="stored", reason="")
        await gateway.publish(gateway.gateway.report([reading(1, time=minutes(0))]))
        await eventually(
            lambda: metric("ingest_readings_total", outcome="stored", reason="") == stored + 1
        )
        await become("revoked")
        await gateway.publish(gateway.gateway.report([reading(2, time=minutes(1))]))
        await eventually(lambda: refused() == before + 2)
        assert await region.count("observation") == 1


async def test_key_left_behind_by_enrolling_anew_is_refused(
    region: Region, learning: Learning
) -> None:
    """What it signed is kept in quarantine; the gateway sends it again, signed by its new key."""

    def refused() -> float:
        return metric("ingest_envelopes_total", outcome="quarantined", reason="signer-time")

    async def certify(issued_by: str) -> SigningKey:
        key = Ed25519PrivateKey.generate()
        async with learning():
            await certificates.add_certificate(
                region.conn,
                device=DEVICE,
                certificate=certificate(DEVICE, key=key),
                issued_by=issued_by,
            )
        return SigningKey.from_private(key)

    async with region.ingest(), region.gateway() as gateway:
        simulated = gateway.gateway
        await begin(gateway)
        before = refused()
        await certify("simplereenroll")
        await gateway.publish(simulated.report([reading(1, time=minutes(0))]))
        await gateway.acknowledged(2)
        assert await region.count("observation") == 1  # a renewal leaves it as it was

        signer = await certify("simpleenroll")
        await gateway.publish(simulated.report([reading(2, time=minutes(1))]))
        await gateway.publish(simulated.announce(now(), counter=now() + 1))
        await eventually(lambda: refused() == before + 2)
        assert await region.count("observation") == 1
        assert await region.count("quarantine WHERE reason = 'signer-time'") == 2

        simulated.signer = signer
        await gateway.publish(simulated.announce(now(), counter=now() + 2))
        await gateway.publish(simulated.report([reading(2, time=minutes(1))]))
        await gateway.acknowledged(1)
        assert await region.count("observation") == 2


async def test_gateway_enrolled_while_running_is_admitted(
    region: Region, learning: Learning
) -> None:
    await region.conn.execute("DELETE FROM signing_key")
    async with region.ingest(), region.gateway() as gateway:
        async with learning():
            await registry.add_signing_key(
                region.conn,
                device=DEVICE,
                key=gateway.gateway.verifying_key,
                valid_from=datetime.now(UTC) - timedelta(hours=1),
                valid_until=datetime.now(UTC) + timedelta(days=7),
            )
        await begin(gateway)


async def test_readings_that_overtook_their_description_are_stored_with_it(
    region: Region,
) -> None:
    async with region.ingest(), region.gateway() as gateway:
        simulated = gateway.gateway
        await gateway.publish(simulated.announce(now(), counter=now()))
        described = simulated.describe(description())
        await gateway.publish(simulated.report(series([1, 2], start=minutes(0))))
        await gateway.publish(described)
        await gateway.acknowledged(2)
        assert await region.count("observation") == 2


async def test_refusals_show_in_metrics_database_and_security_log(
    region: Region, caplog: pytest.LogCaptureFixture
) -> None:
    async with region.ingest(), region.gateway() as gateway:
        await begin(gateway)
        before = metric("ingest_envelopes_total", outcome="refused", reason="aead")
        message = gateway.gateway.report([reading(1, time=minutes(0))])
        forged = message._replace(payload=message.payload[:-1] + bytes((message.payload[-1] ^ 1,)))
        await gateway.publish(forged)
        await gateway.publish(gateway.gateway.report([reading(1, name="no3", time=minutes(0))]))
        await gateway.publish(message)
        await gateway.acknowledged(3)
        assert metric("ingest_envelopes_total", outcome="refused", reason="aead") == before + 1
        assert metric("ingest_readings_total", outcome="quarantined", reason="unknown-datastream")
        await asyncio.sleep(1.5)
        assert await region.count("refusal WHERE reason IN ('aead', 'unknown-datastream')") == 2
    logged = [vars(record) for record in caplog.records if record.name == "security"]
    [facts] = [found for found in logged if found["code"] == 401]
    assert (facts["topic"], facts["size_bytes"]) == (forged.topic, len(forged.payload))
    assert len(facts["sha256"]) == 64
    assert forged.payload.hex() not in str(facts)


async def test_latest_values_are_announced_to_listeners(region: Region, dsn: str) -> None:
    async with (
        region.ingest(),
        region.gateway() as gateway,
        await connect(dsn, autocommit=True, application_name="test") as listener,
    ):
        await begin(gateway)
        await listener.execute("LISTEN kerbstone")
        await gateway.publish(gateway.gateway.report(series([1, 2], start=minutes(0))))
        notification = await anext(listener.notifies(timeout=10))
        newest = datetime.fromisoformat(json.loads(notification.payload)["latest"])
        rows = await region.conn.execute("SELECT time, value, updated_at FROM latest")
        assert [row[1:] for row in await rows.fetchall()] == [(2.0, newest)]
        seen = await region.conn.execute("SELECT now() - last_message_at FROM gateway_seen")
        [(ago,)] = await seen.fetchall()
        assert ago < timedelta(seconds=10)


async def test_key_sets_are_published_at_the_start_and_on_change(region: Region) -> None:
    async def add(version: int) -> None:
        entry = Recipient(public(region.recipient), "region", 0, now() + 3600)
        key_set = KeySet(version, now(), now() + 60, now() + 120, (1, 2), {"main": (entry,)})
        await registry.add_key_set(
            region.conn, tenant="camden", key_set=key_set, message=f"R{version}".encode()
        )

    await add(1)
    async with region.city.gateway_client(DEVICE) as client:
        await client.subscribe(topics.key_set("camden"), qos=1)
        async with region.ingest(), asyncio.timeout(15):
            heard = [bytes((await anext(client.messages)).payload)]
            while heard[-1] != b"R1":
                heard.append(bytes((await anext(client.messages)).payload))
            await add(2)
            assert bytes((await anext(client.messages)).payload) == b"R2"
    async with region.city.gateway_client(DEVICE) as late, asyncio.timeout(15):
        await late.subscribe(topics.key_set("camden"), qos=1)
        message = await anext(late.messages)
        assert (bytes(message.payload), message.retain) == (b"R2", True)


async def test_full_inbox_pauses_reading_and_loses_nothing(region: Region, dsn: str) -> None:
    async with region.ingest(inbox_max_messages=20, batch_max_messages=10):
        async with region.gateway() as gateway:
            await begin(gateway)
            pauses = pauses_of(region)
            async with await connect(dsn, application_name="test") as blocker:
                await blocker.execute("LOCK TABLE observation IN ACCESS EXCLUSIVE MODE")
                for count in range(200):
                    await gateway.publish(
                        gateway.gateway.report([reading(count, time=minutes(count - 300))])
                    )
                await eventually(lambda: pauses_of(region) > pauses)
                await asyncio.sleep(0.3)
                held = metric("ingest_inbox_messages")
                assert held <= 20 + 60, "the limit, and what a socket read may bring at once"
            answer = await gateway.acknowledged(201, within_seconds=30)
            assert answer.contiguous_seq == 201
        assert await region.count("observation") == 200
