"""Who reaches what on a running broker: every promise is kept by Mosquitto and by NATS alike.

Proof that something was not delivered needs no waiting: a later message that is delivered
arrives first.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from enrolment.authority import CredentialFiles, KeyKind
from enrolment.files import write_certificate, write_key
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


async def test_dishonest_council_authority_reaches_no_other_council(
    city: City, tmp_path: Path
) -> None:
    """Camden certifies Leeds' device name as its own; the topics are Leeds' all the same."""
    key = KeyKind.ED25519.generate()
    certificate = city.authority.issue_gateway("camden", FOREIGN, key.public_key())
    credential = CredentialFiles.named(tmp_path / "impostor")
    write_key(credential.key, key)
    write_certificate(credential.certificate, certificate)
    async with observer(city, "leeds") as watching, city.gateway_client(FOREIGN) as honest:
        with contextlib.suppress(aiomqtt.MqttError):
            endpoint = city.broker.council_endpoint("camden")
            async with city.client(endpoint, credential, FOREIGN) as impostor:
                await publish(impostor, "snaas/1/leeds/z9f4j2tv7p/d/main", b"forged")
        await publish(honest, own(city, FOREIGN, "d/main"), b"genuine")
        assert (await next_message(watching)).payload == b"genuine"


async def test_service_of_one_council_reads_no_other(city: City) -> None:
    async with (
        observer(city, "camden") as confined,
        city.gateway_client(MINE) as gateway,
        city.gateway_client(FOREIGN) as foreign,
        observer(city, "leeds") as watching,
    ):
        await try_subscribe(confined, "snaas/1/+/+/d/#")
        await publish(foreign, own(city, FOREIGN, "d/main"), b"of Leeds")
        assert (await next_message(watching)).payload == b"of Leeds"
        await publish(gateway, own(city, MINE, "d/main"), b"of Camden")
        assert (await next_message(confined)).payload == b"of Camden"


async def test_only_the_centre_speaks_to_gateways(city: City) -> None:
    async with city.gateway_client(MINE) as gateway, city.service_client("camden") as ingest:
        for topic in ("snaas/1/camden/r", own(city, MINE, "c"), own(city, MINE, "a/#")):
            await gateway.subscribe(topic, qos=1)
        for topic in ("snaas/1/camden/r", own(city, MINE, "c"), own(city, MINE, "a/main")):
            with contextlib.suppress(aiomqtt.MqttError):
                async with city.gateway_client(NEIGHBOUR) as attacker:
                    await publish(attacker, topic, b"forged", retain=True)
            await publish(ingest, topic, b"genuine")
            assert (await next_message(gateway)).payload == b"genuine"


async def test_borrowed_client_id_opens_no_session(city: City) -> None:
    """A session holds what came while its owner was away; another's certificate opens none."""
    async with city.gateway_client(NEIGHBOUR, clean=False) as owner:
        await owner.subscribe(own(city, NEIGHBOUR, "a/#"), qos=1)
    async with city.service_client("camden") as ingest:
        await publish(ingest, own(city, NEIGHBOUR, "a/main"), b"confidential")
        endpoint = city.broker.council_endpoint("camden")
        credential = city.gateways[MINE].credential
        async with city.client(endpoint, credential, NEIGHBOUR, clean=False) as thief:
            await thief.subscribe(own(city, MINE, "a/#"), qos=1)
            await publish(ingest, own(city, MINE, "a/main"), b"for me")
            assert (await next_message(thief)).payload == b"for me"
            with contextlib.suppress(aiomqtt.MqttError):
                await thief.unsubscribe(own(city, MINE, "a/#"))


@pytest.mark.parametrize("size", [65_536, 67_000])
async def test_largest_message_passes_and_a_larger_one_does_not(city: City, size: int) -> None:
    async with observer(city, "camden") as watching:
        with contextlib.suppress(aiomqtt.MqttError):
            async with city.gateway_client(MINE) as gateway:
                # A broker that closes the connection instead of answering is not waited for.
                await gateway.publish(own(city, MINE, "d/main"), bytes(size), qos=1, timeout=2)
        async with city.gateway_client(MINE) as gateway:
            await publish(gateway, own(city, MINE, "d/main"), b"after")
        arrived = await next_message(watching)
        assert len(bytes(arrived.payload)) == (size if size == 65_536 else len(b"after"))


async def test_announcement_is_kept_for_a_centre_that_comes_later(city: City) -> None:
    async with city.gateway_client(MINE) as gateway:
        await publish(gateway, own(city, MINE, "k/late"), b"first", retain=True)
        await publish(gateway, own(city, MINE, "k/late"), b"newest", retain=True)
    async with city.service_client("camden") as ingest:
        await ingest.subscribe("snaas/1/camden/+/k/late", qos=1)
        kept = await next_message(ingest)
        assert (kept.topic.value, kept.payload) == (own(city, MINE, "k/late"), b"newest")
        assert (kept.retain, kept.qos) == (True, 1)


async def test_key_set_is_kept_for_a_gateway_that_comes_later(city: City) -> None:
    async with city.service_client("camden") as ingest:
        await publish(ingest, "snaas/1/camden/r", b"key set", retain=True)
    async with city.gateway_client(MINE) as gateway:
        await gateway.subscribe("snaas/1/camden/r", qos=1)
        kept = await next_message(gateway)
        assert (kept.topic.value, kept.payload) == ("snaas/1/camden/r", b"key set")
        assert (kept.retain, kept.qos) == (True, 1)


async def test_message_is_kept_for_a_centre_that_is_away(city: City) -> None:
    def ingest(*, clean: bool = False) -> aiomqtt.Client:
        return city.service_client("camden", identifier="ingest-away", clean=clean)

    async with ingest() as client:
        await client.subscribe("snaas/1/camden/+/d/away", qos=1)
    async with city.gateway_client(MINE) as gateway:
        for number in range(3):
            await publish(gateway, own(city, MINE, "d/away"), b"%d" % number)
    async with ingest() as client:
        held = [bytes((await next_message(client)).payload) for _ in range(3)]
    assert held == [b"0", b"1", b"2"]
    async with ingest(clean=True):
        pass  # leaves no session behind for the tests that follow


async def test_thousands_of_messages_arrive_in_order(city: City) -> None:
    count = 2000
    async with (
        city.service_client("camden") as ingest,
        city.gateway_client(MINE) as gateway,
    ):
        await ingest.subscribe("snaas/1/camden/+/d/many", qos=1)
        topic = own(city, MINE, "d/many")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish_many(gateway, topic, count))
            received = [int(bytes((await next_message(ingest)).payload)) for _ in range(count)]
    assert received == list(range(count))


async def publish_many(gateway: aiomqtt.Client, topic: str, count: int) -> None:
    for number in range(count):
        await publish(gateway, topic, b"%d" % number)
