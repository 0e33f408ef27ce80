"""The broker's operator floods ingest with what is large, many, unknown, or dear to check.

Each is stopped at ingest, by the code that the test names, and others are served meanwhile.
"""

import asyncio
from collections.abc import Iterable

import pytest

from device_protocol import cose, topics
from tests.attack.stage import TENANT, Stage
from tests.integration.region import DEVICE, OTHER, metric
from tests.simulators.gateway import Message
from tests.simulators.rogue_broker import RogueBroker
from tests.simulators.rogue_gateway import flipped, rewrapped_headers

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


async def test_flood_with_size(stage: Stage) -> None:
    """100: over the limit of its kind nothing is parsed, though the broker carries it."""
    async with stage.rogue() as (broker, victim):
        data = topics.data(TENANT, DEVICE, "main")
        announced = topics.announcement(TENANT, DEVICE, "main")
        async with stage.refuses("size", 40):
            for _ in range(20):
                await broker.publish(data, bytes(65_537))
                await broker.publish(announced, bytes(16_385))
        await stage.flows_on(victim)


async def test_flood_with_a_high_rate(stage: Stage) -> None:
    """401 a thousand times: reading pauses, nothing grows, and others are served meanwhile."""
    async with stage.rogue() as (broker, victim), stage.honest(OTHER) as neighbour:
        message = victim.report(1)
        flood = [flipped(message, -1 - n % 60) for n in range(1000)]
        async with stage.refuses("aead", 1000):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pour(broker, flood))
                await stage.stores(neighbour)
            assert metric("ingest_inbox_messages") < 1000
        await victim.publish(message)
        await stage.flows_on(victim)


async def test_flood_with_unknown_epochs(stage: Stage) -> None:
    """300: no more than 1 000 messages of a device wait for an announcement, none for long."""
    async with stage.rogue() as (broker, victim):
        message = victim.report(1)
        flood = [in_epoch(message, n.to_bytes(8, "big")) for n in range(1200)]
        async with stage.refuses("unknown-epoch", 1200):
            await pour(broker, flood)
            assert metric("ingest_parked_messages") <= 1000
            await stage.flows_on()
        assert metric("ingest_parked_messages") == 0
        await victim.publish(message)
        await stage.flows_on(victim)


def in_epoch(message: Message, epoch_id: bytes) -> Message:
    return rewrapped_headers(message, lambda headers: headers.update({cose.KID: epoch_id}))


async def test_flood_with_expensive_forgeries(stage: Stage) -> None:
    """402: announcements cost a signature check each, and other gateways do not wait for long."""
    async with stage.rogue() as (broker, victim), stage.honest(OTHER) as neighbour:
        announcement = victim.gateway.announcement()
        flood = [flipped(announcement, -1 - n % 60) for n in range(500)]
        async with stage.refuses("signature", 500), asyncio.TaskGroup() as tasks:
            tasks.create_task(pour(broker, flood))
            await stage.stores(neighbour, within=15)
        await stage.flows_on(victim)


async def pour(broker: RogueBroker, messages: Iterable[Message]) -> None:
    """Publish as fast as the real broker confirms, many at a time."""
    slots = asyncio.Semaphore(50)

    async def one(message: Message) -> None:
        async with slots:
            await broker.publish(message.topic, message.payload)

    async with asyncio.TaskGroup() as tasks:
        for message in messages:
            tasks.create_task(one(message))
