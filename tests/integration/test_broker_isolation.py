"""Who reaches what on a running broker: every promise is kept by Mosquitto and by NATS alike.

Proof that something was not delivered needs no waiting: a later message that is delivered
arrives first.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiomqtt
import pytest

from tests.integration.fix_brokers import City

MINE, NEIGHBOUR, FOREIGN = "k7q2m9xd4t", "w3n8b5rc6h", "z9f4j2tv7p"
SECONDS = 10


def own(city: City, device: str, rest: str) -> str:
    return f"snaas/1/{city.tenant_of(device)}/{device}/{rest}"


async def next_message(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(SECONDS):
        return await anext(client.messages)


@contextlib.asynccontextmanager
async def observer(city: City, tenant: str) -> AsyncIterator[aiomqtt.Client]:
    """A service that reads everything it may of one council."""
    async with city.service_client(tenant, f"observer-{tenant}") as client:
        for kind in ("k", "d"):
            await client.subscribe(f"snaas/1/{tenant}/+/{kind}/#", qos=1)
        yield client


async def publish(client: aiomqtt.Client, topic: str, payload: bytes, **options: bool) -> None:
    """Publish with QoS 1 and wait for the broker's answer, whichever it is."""
    await client.publish(topic, payload, qos=1, timeout=SECONDS, **options)


async def try_subscribe(client: aiomqtt.Client, topic: str) -> None:
    """Subscribe with QoS 1; a broker may refuse, or grant and never deliver."""
    await client.subscribe(topic, qos=1, timeout=SECONDS)


@pytest.mark.parametrize("device", [MINE, NEIGHBOUR, FOREIGN])
async def test_gateway_reaches_the_centre_and_is_answered(city: City, device: str) -> None:
    tenant = city.tenant_of(device)
    async with (
        city.service_client(tenant) as ingest,
        city.gateway_client(device) as gateway,
    ):
        await ingest.subscribe(f"snaas/1/{tenant}/+/d/#", qos=1)
        await gateway.subscribe(own(city, device, "a/#"), qos=1)
        await publish(gateway, own(city, device, "d/main"), b"reading")
        arrived = await next_message(ingest)
        assert (arrived.topic.value, arrived.payload) == (own(city, device, "d/main"), b"reading")
        assert arrived.qos == 1
        await publish(ingest, own(city, device, "a/main"), b"acknowledged")
        answer = await next_message(gateway)
        assert (answer.topic.value, answer.payload) == (
            own(city, device, "a/main"),
            b"acknowledged",
        )


@pytest.mark.parametrize(
    ("attacker", "victim"), [(MINE, FOREIGN), (MINE, NEIGHBOUR)], ids=["council", "gateway"]
)
@pytest.mark.parametrize("kind", ["k", "d"])
async def test_nobody_speaks_for_another(city: City, attacker: str, victim: str, kind: str) -> None:
    async with (
        observer(city, city.tenant_of(victim)) as watching,
        city.gateway_client(victim) as honest,
    ):
        async with city.gateway_client(attacker) as client:
            with contextlib.suppress(aiomqtt.MqttError):
                await publish(client, own(city, victim, f"{kind}/main"), b"forged")
        await publish(honest, own(city, victim, "d/main"), b"genuine")
        assert (await next_message(watching)).payload == b"genuine"


@pytest.mark.parametrize(
    "topic",
    [
        "snaas/1/leeds/z9f4j2tv7p/d/#",
        "snaas/1/camden/w3n8b5rc6h/k/#",
        "snaas/1/camden/w3n8b5rc6h/d/#",
        "snaas/1/camden/w3n8b5rc6h/a/#",
        "snaas/1/camden/+/d/#",
        "snaas/1/+/+/d/#",
        "#",
        "$SYS/#",
        "$MQTT/sub/#",
        "$MQTT/msgs/#",
    ],
)
async def test_nobody_listens_to_another(city: City, topic: str) -> None:
    async with contextlib.AsyncExitStack() as clients:
        watching = {
            tenant: await clients.enter_async_context(observer(city, tenant))
            for tenant in ("camden", "leeds")
        }
        ingest = await clients.enter_async_context(city.service_client("camden"))
        curious = await clients.enter_async_context(city.gateway_client(MINE))
        await try_subscribe(curious, topic)
        await curious.subscribe(own(city, MINE, "a/#"), qos=1)
        for victim in (NEIGHBOUR, FOREIGN):
            async with city.gateway_client(victim) as honest:
                await publish(honest, own(city, victim, "d/main"), b"confidential")
            arrived = await next_message(watching[city.tenant_of(victim)])
            assert arrived.payload == b"confidential"
        await publish(ingest, own(city, NEIGHBOUR, "a/main"), b"confidential")
        await publish(ingest, own(city, MINE, "a/main"), b"for me")
        assert (await next_message(curious)).payload == b"for me"
