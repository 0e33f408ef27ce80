"""A gateway's own key against the network: stolen, cloned, restored from an old disk, or mad.

The messages are signed by a registered key and pass the real broker, which cannot know better:
each row is stopped at ingest, but for messages over the broker's own limit. The honest gateway
with the same key, its neighbour and another council's gateway are served all the while.
"""

import asyncio
import contextlib

import aiomqtt
import pytest

from broker_config.broker_log import BrokerLog
from device_protocol import topics
from device_protocol.announcement import decode
from device_protocol.cose import decode_sign1
from tests.attack.stage import (
    TENANT,
    Stage,
    next_counter,
    next_time,
    on_nats,
    refused,
)
from tests.integration.region import DEVICE, LEEDS, OTHER, eventually, now
from tests.simulators.gateway import Message, new_recipient_key, public, reading
from tests.simulators.rogue_gateway import A128GCM, A128KW_DIRECT

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


def epoch_id(announcement: Message) -> bytes:
    return decode(decode_sign1(announcement.payload).payload).epoch_id


async def test_roll_an_epoch_back(stage: Stage) -> None:
    """301: a disk restored from last week announces with a counter that was used before."""
    async with stage.honest() as honest:
        old_disk = honest.gateway.clone()
        await honest.begin()
        async with stage.refuses("epoch-rollback"):
            await honest.publish(old_disk.announce(now(), counter=old_disk.counter - 1))
        assert honest.heard[-1].highest_counter == honest.gateway.counter
        await stage.flows_on(honest)


async def test_gateway_learns_that_its_counter_was_rolled_back(stage: Stage) -> None:
    """The refusal shows in the acknowledgement of the epoch that stands, as code and counter."""
    async with stage.honest() as honest:
        old_disk = honest.gateway.clone()
        async with stage.refuses("epoch-rollback"):
            await honest.publish(old_disk.announce(now(), counter=1))
        await stage.stores(honest)
        assert honest.heard[-1].last_refusal == 301
        assert honest.heard[-1].highest_counter > 1
        await stage.flows_on(honest)


async def test_reuse_an_epoch_id(stage: Stage) -> None:
    """302: under a higher counter too, an epoch id of this gateway counts once."""
    async with stage.honest() as honest:
        used = epoch_id(await honest.begin())
        again = honest.gateway.clone()
        async with stage.refuses("epoch-conflict"):
            await honest.publish(again.announce_again(now(), used, counter=next_counter()))
        await stage.flows_on(honest)


async def test_reuse_another_gateways_epoch_id(stage: Stage) -> None:
    """302, found by the database: an epoch id counts once in the whole region."""
    async with stage.honest() as honest, stage.honest(LEEDS) as elsewhere:
        used = epoch_id(await elsewhere.begin())
        thief = honest.gateway.clone()
        async with stage.refuses("epoch-conflict"):
            await honest.publish(thief.announce_again(now(), used, counter=next_counter()))
        await stage.stores(elsewhere)
        await honest.begin()
        await stage.flows_on(honest)


async def test_clone_the_disk(stage: Stage) -> None:
    """302: two machines of one identity announce under one counter; the first one's stands."""
    async with stage.honest() as honest:
        clone = honest.gateway.clone()
        await honest.begin()
        async with stage.refuses("epoch-conflict"):
            await honest.publish(clone.announce(now(), counter=honest.gateway.counter))
        await stage.flows_on(honest)


async def test_clone_the_memory(stage: Stage) -> None:
    """502: a snapshot of the whole machine uses a sequence number, and so a nonce, twice."""
    async with stage.honest() as honest:
        clone = honest.gateway.clone()
        await stage.stores(honest)
        time = next_time()
        other = clone.report([reading(66, sensor=honest.sensor, time=time)])
        async with stage.refuses("seq-conflict"):
            await honest.publish(other)
        assert await stage.stored_at(honest.sensor, time) == []
        await stage.flows_on(honest)


async def test_announce_weak_algorithms(stage: Stage) -> None:
    """400: also the gateway itself cannot choose a cipher or a key delivery that is not allowed."""
    async with stage.honest() as honest:
        rogue = honest.gateway.clone()
        async with stage.refuses("algorithm", 2):
            for weakness in (
                {"content_algorithm": A128GCM},
                {"delivered_by": A128KW_DIRECT},
            ):
                counter = next_counter()
                await honest.publish(rogue.announce_weakly(now(), counter=counter, **weakness))
        await stage.flows_on(honest)


async def test_announce_for_somebody_else(stage: Stage) -> None:
    """305: an epoch sealed for another recipient tells the centre nothing, and changes nothing."""
    async with stage.honest() as honest:
        rogue = honest.gateway.clone()
        foreign = [public(new_recipient_key())]
        async with stage.refuses("not-recipient"):
            await honest.publish(rogue.announce(now(), counter=next_counter(), recipients=foreign))
        await stage.flows_on(honest)


async def test_send_retained_data_as_a_gateway(stage: Stage) -> None:
    """105: a gateway that asks the broker to keep its data feeds no later subscriber."""
    async with stage.honest() as honest:
        message = honest.report(1)
        await honest.publish(message, retain=True)
        await honest.acknowledged()
        await stage.stop_ingest()
        async with stage.refuses("retained"):
            await stage.start_ingest()
        await honest.publish(message._replace(payload=b""), retain=True)
        await stage.flows_on(honest)


async def test_flood_with_messages_over_the_brokers_limit(stage: Stage) -> None:
    """Stopped at the broker, which ends the connection; ingest never sees one of them."""
    log = BrokerLog(stage.city.broker.kind, stage.city.directory / "broker" / "broker.log")
    mark = log.mark()
    before = refused("size")
    topic = topics.data(TENANT, DEVICE, "main")
    for _ in range(3):
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with stage.city.gateway_client(DEVICE) as client, asyncio.timeout(15):
                await client.publish(topic, bytes(200_000), qos=1, timeout=1)
    said = "maximum payload exceeded" if on_nats(stage.city) else "disconnected due to oversize"
    await eventually(lambda: log.said(mark).count(said) == 3)
    async with stage.honest() as honest:
        await stage.flows_on(honest)
    assert refused("size") == before


async def test_flood_with_genuine_rubbish(stage: Stage) -> None:
    """601, quarantined, but no more than 1 000 messages of a device in an hour are kept."""
    async with stage.honest(OTHER) as rogue:
        held = await stage.region.count("quarantine WHERE reason = 'payload'")
        rubbish = [rogue.gateway.seal(b"rubbish %d" % n) for n in range(1010)]
        async with (
            stage.refuses("payload", 1010, at=(TENANT, OTHER)),
            asyncio.TaskGroup() as tasks,
            stage.honest() as neighbour,
        ):
            for message in rubbish:
                tasks.create_task(rogue.publish(message))
            await stage.stores(neighbour)
        kept = await stage.region.count("quarantine WHERE reason = 'payload'")
        assert kept - held == 1000
        await stage.flows_on(rogue)
