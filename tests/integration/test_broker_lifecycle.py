"""A broker's life: changed while it runs, stopped, killed and brought back over its directory."""

import asyncio
import contextlib
import os
import socket
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from broker_config.embedded import BrokerError, start_broker
from broker_config.files import BrokerKind
from broker_config.network import Council, NetworkError
from tests.integration.fix_brokers import City

MINE, NEIGHBOUR, NEWCOMER = "k7q2m9xd4t", "w3n8b5rc6h", "n3wc0m3rgw"
SECONDS = 10


async def next_payload(client: aiomqtt.Client) -> bytes:
    async with asyncio.timeout(SECONDS):
        return bytes((await anext(client.messages)).payload)


async def send(client: aiomqtt.Client, topic: str, payload: bytes, **options: bool) -> None:
    await client.publish(topic, payload, qos=1, timeout=SECONDS, **options)


async def test_reload_admits_a_new_gateway_and_disturbs_nobody(own_city: City) -> None:
    own_city.enrol("camden", NEWCOMER)
    topic = f"snaas/1/camden/{NEWCOMER}/d/main"
    async with (
        own_city.service_client("camden") as ingest,
        own_city.gateway_client(MINE) as neighbour,
    ):
        await ingest.subscribe("snaas/1/camden/+/d/#", qos=1)
        await neighbour.subscribe(f"snaas/1/camden/{MINE}/a/#", qos=1)
        with contextlib.suppress(aiomqtt.MqttError):
            async with own_city.gateway_client(NEWCOMER) as early:
                await send(early, topic, b"before")

        own_city.broker.reload(own_city.broker.network.with_gateway("camden", NEWCOMER))

        async with own_city.gateway_client(NEWCOMER) as admitted:
            await send(admitted, topic, b"after")
        assert await next_payload(ingest) == b"after"
        await send(neighbour, f"snaas/1/camden/{MINE}/d/main", b"undisturbed")
        assert await next_payload(ingest) == b"undisturbed"
        await send(ingest, f"snaas/1/camden/{MINE}/a/main", b"answered")
        assert await next_payload(neighbour) == b"answered"


async def test_reload_silences_a_gateway_that_is_still_connected(own_city: City) -> None:
    topic = f"snaas/1/camden/{NEIGHBOUR}/d/main"
    async with (
        own_city.service_client("camden") as ingest,
        own_city.gateway_client(MINE) as honest,
    ):
        await ingest.subscribe("snaas/1/camden/+/d/#", qos=1)
        with contextlib.suppress(aiomqtt.MqttError):
            async with own_city.gateway_client(NEIGHBOUR) as revoked:
                await send(revoked, topic, b"before")
                assert await next_payload(ingest) == b"before"
                own_city.broker.reload(own_city.broker.network.without_gateway(NEIGHBOUR))
                await revoked.publish(topic, b"after", qos=1, timeout=1)
        with contextlib.suppress(aiomqtt.MqttError):
            async with own_city.gateway_client(NEIGHBOUR) as again:
                await send(again, topic, b"again")
        await send(honest, f"snaas/1/camden/{MINE}/d/main", b"honest")
        assert await next_payload(ingest) == b"honest"


async def test_reload_refuses_what_needs_a_restart(own_city: City) -> None:
    bristol = Council(tenant="bristol", gss="E06000023", name="Bristol")
    network = own_city.broker.network
    with pytest.raises(NetworkError, match="restart"):
        own_city.broker.reload(replace(network, councils=(*network.councils, bristol)))


async def test_restart_adds_a_council_and_keeps_every_port(own_city: City) -> None:
    before = own_city.broker.council_endpoint("camden")
    bristol = Council(tenant="bristol", gss="E06000023", name="Bristol")
    network = replace(
        own_city.broker.network,
        councils=(*own_city.broker.network.councils, bristol),
        services=tuple(
            replace(service, tenants=(*service.tenants, "bristol"))
            for service in own_city.broker.network.services
        ),
    ).with_gateway("bristol", NEWCOMER)
    own_city.enrol("bristol", NEWCOMER)

    own_city.broker.restart(
        network, own_city.authority.broker_certificates(network.tenants, ["localhost"])
    )

    assert own_city.broker.council_endpoint("camden") == before
    async with (
        own_city.service_client("bristol") as ingest,
        own_city.gateway_client(NEWCOMER) as gateway,
    ):
        await ingest.subscribe("snaas/1/bristol/+/d/#", qos=1)
        await send(gateway, f"snaas/1/bristol/{NEWCOMER}/d/main", b"from Bristol")
        assert await next_payload(ingest) == b"from Bristol"


async def test_orderly_restart_forgets_nothing(own_city: City) -> None:
    async with own_city.service_client("camden", identifier="ingest", clean=False) as ingest:
        await ingest.subscribe("snaas/1/camden/+/d/#", qos=1)
    async with own_city.gateway_client(MINE) as gateway:
        await send(gateway, f"snaas/1/camden/{MINE}/k/main", b"announcement", retain=True)
        await send(gateway, f"snaas/1/camden/{MINE}/d/main", b"while away")

    own_city.broker.restart()

    async with own_city.service_client("camden", identifier="ingest", clean=False) as ingest:
        assert await next_payload(ingest) == b"while away"
        await ingest.subscribe("snaas/1/camden/+/k/#", qos=1)
        assert await next_payload(ingest) == b"announcement"


async def test_killed_broker_comes_back_where_it_was(own_city: City) -> None:
    endpoint = own_city.broker.council_endpoint("camden")
    old_pid = own_city.broker.pid
    own_city.broker.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(old_pid, 0)
    with pytest.raises(BrokerError, match="not running"):
        _ = own_city.broker.pid

    own_city.broker.restart()

    assert own_city.broker.council_endpoint("camden") == endpoint
    async with (
        own_city.service_client("camden") as ingest,
        own_city.gateway_client(MINE) as gateway,
    ):
        await ingest.subscribe("snaas/1/camden/+/d/#", qos=1)
        await send(gateway, f"snaas/1/camden/{MINE}/d/main", b"alive")
        assert await next_payload(ingest) == b"alive"


def test_broker_left_behind_by_a_killed_run_is_replaced(own_city: City) -> None:
    """Two objects over one directory stand for two runs, the first of which never stopped."""
    certificates = own_city.authority.broker_certificates(own_city.broker.network.tenants)
    left_behind = own_city.broker.pid
    with start_broker(
        own_city.broker.kind,
        own_city.broker.network,
        own_city.directory / "broker",
        certificates,
    ) as successor:
        assert successor.pid != left_behind
        assert successor.council_endpoint("camden") == own_city.broker.council_endpoint("camden")
        own_city.broker.kill()
        socket.create_connection(("127.0.0.1", successor.network.service_port), SECONDS).close()


def test_failed_start_shows_the_brokers_own_words(own_city: City, tmp_path: Path) -> None:
    """The ports are those of a running broker, and they were asked for."""
    certificates = own_city.authority.broker_certificates(own_city.broker.network.tenants)
    with pytest.raises(BrokerError, match=r"(?is)ended by itself.*address already in use"):
        start_broker(
            own_city.broker.kind, own_city.broker.network, tmp_path / "second", certificates
        )


def test_only_the_owner_can_read_what_the_broker_is_told(own_city: City) -> None:
    configuration = own_city.directory / "broker" / "configuration"
    modes = {path.name: path.stat().st_mode & 0o007 for path in configuration.iterdir()}
    assert modes
    assert set(modes.values()) == {0}


def test_broker_speaks_the_version_it_promises(own_city: City) -> None:
    newest = "5" if own_city.broker.kind is BrokerKind.MOSQUITTO else "3.1.1"
    assert own_city.broker.council_endpoint("camden").mqtt_version == newest
