"""What Kerbstone relies on in NATS and no document of NATS' promises, on a cluster of three.

The stream in which NATS keeps what comes by MQTT is a name of its own. Whoever changes the pinned
version learns here, not in a region, whether stream, subjects, retention and PUBACK still are what
`broker_config.stream` and `ingest.receiving.nats_intake` take them for.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import nats as client
import pytest
from nats.aio.client import Client

from broker_config import nats
from broker_config import network as description
from broker_config.errors import BrokerError
from broker_config.free_ports import free_ports
from broker_config.network import PID_FILE
from broker_config.stream import OtherSettingsError, Step, native_servers, reach
from enrolment.authority import CredentialFiles
from enrolment.broker_upkeep import BrokerUpkeep
from enrolment.settings import BrokerFilesSettings, BrokerNodeSettings
from ingest.receiving.inbox import Inbox
from ingest.receiving.nats_intake import NatsIntake
from ingest.settings import BrokerSettings, NodeSettings
from runtime.tls import client_context
from storage.registry import GatewayRow
from tests.integration.nats_clusters import STORE_BYTES, ClusterCity, running_cluster
from tests.integration.region import eventually, metric

MINE, PEER = "k7q2m9xd4t", "w3n8b5rc6h"
TOPIC = f"snaas/1/camden/{MINE}/d/main"
SECONDS = 10


@pytest.fixture(scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClusterCity]:
    async with running_cluster(
        tmp_path_factory.mktemp("cluster"), services=("ingest", "observer")
    ) as running:
        yield running


@contextlib.asynccontextmanager
async def native(city: ClusterCity, service: str, tenant: str = "camden") -> AsyncIterator[Client]:
    """A native connection of a service."""
    credential = city.service(tenant, service)
    connection = await connect(city, credential, service)
    try:
        yield connection
    finally:
        await connection.close()


async def connect(city: ClusterCity, credential: CredentialFiles, service: str) -> Client:
    async def heard(_error: Exception) -> None:
        """Refusals arrive here as well as at who asked."""

    return await client.connect(
        native_servers(city.network),
        tls=client_context(
            ca_file=city.authority.service_root(),
            certificate_file=credential.certificate,
            key_file=credential.key,
        ),
        inbox_prefix=nats.inbox_prefix(service).encode(),
        allow_reconnect=False,
        connect_timeout=5,
        error_cb=heard,
    )


async def state(keeper: Client) -> Any:
    return await keeper.jetstream().stream_info(nats.STREAM)


async def until_empty(keeper: Client) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            if not (await state(keeper)).state.messages:
                return
            await asyncio.sleep(0.01)


async def publish(
    gateway: aiomqtt.Client, payload: bytes, topic: str = TOPIC, *, seconds: float = SECONDS
) -> None:
    await gateway.publish(topic, payload, qos=1, timeout=seconds)


async def take(connection: Client, service: str, most: int) -> list[Any]:
    """Take messages from a service's consumer and acknowledge them."""
    pull = await connection.jetstream().pull_subscribe_bind(stream=nats.STREAM, consumer=service)
    taken = await pull.fetch(most, timeout=SECONDS)
    for message in taken:
        await message.ack_sync(timeout=SECONDS)
    await pull.unsubscribe()
    return list(taken)


async def test_stream_is_the_one_nats_uses_and_keeps_its_bounds(city: ClusterCity) -> None:
    async with native(city, "keeper") as keeper, city.gateway_client(MINE):
        config = (await state(keeper)).config
    assert config.subjects == ["$MQTT.msgs.>"]
    assert (config.retention, config.storage, config.num_replicas) == ("interest", "file", 3)
    assert (config.max_bytes, config.discard) == (STORE_BYTES, "new")


async def test_topic_is_the_subject_and_both_readers_get_the_message(city: ClusterCity) -> None:
    async with (
        native(city, "ingest") as ingest,
        native(city, "observer") as observer,
        native(city, "keeper") as keeper,
        city.gateway_client(MINE) as gateway,
    ):
        await publish(gateway, b"sealed")
        [first] = await take(ingest, "ingest", 1)
        assert (first.subject, first.data) == (
            f"$MQTT.msgs.snaas.1.camden.{MINE}.d.main",
            b"sealed",
        )
        assert (await state(keeper)).state.messages == 1  # observer has not taken it
        [second] = await take(observer, "observer", 1)
        assert second.data == b"sealed"
        await until_empty(keeper)


async def test_message_nobody_is_interested_in_is_confirmed_and_kept_nowhere(
    city: ClusterCity,
) -> None:
    """Why a council's consumers are made before its first gateway is let in."""
    async with native(city, "keeper") as keeper, city.gateway_client(MINE) as gateway:
        before = (await state(keeper)).state
        await publish(gateway, b"lost", f"snaas/1/camden/{MINE}/d/main/deeper")
        after = (await state(keeper)).state
    assert after.messages == before.messages


async def test_preparing_again_changes_nothing(city: ClusterCity) -> None:
    async with native(city, "keeper") as keeper:
        before = await keeper.jetstream().consumer_info(nats.STREAM, "ingest")
        await city.prepare("camden")
        after = await keeper.jetstream().consumer_info(nats.STREAM, "ingest")
    assert (before.created, before.config) == (after.created, after.config)


async def test_other_settings_are_named_and_changed_only_if_wanted(city: ClusterCity) -> None:
    smaller = replace(city.network, council_store_bytes=STORE_BYTES // 2)
    with pytest.raises(OtherSettingsError, match=rf"camden.*max_bytes = {STORE_BYTES}, described"):
        await city.prepare("camden", smaller, change=False)
    changed = await city.prepare("camden", smaller)
    assert (changed.stream, changed.consumers["ingest"]) == (Step.CHANGED, Step.FOUND)
    assert (await city.prepare("camden")).stream is Step.CHANGED
    found = await city.prepare("camden", change=False)
    assert {found.stream, *found.consumers.values()} == {Step.FOUND}


async def test_node_that_is_away_is_named(city: ClusterCity) -> None:
    context = city.keeper_context("camden")
    [first, *_] = city.network.nodes
    await reach(first, context)
    [unused] = free_ports(1)
    with pytest.raises(BrokerError, match=f"node 'n1' .* at localhost:{unused}.*export-broker"):
        await reach(replace(first, native_port=unused), context)


async def test_full_stream_refuses_instead_of_forgetting(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A message is confirmed if and only if it is kept: a gateway keeps all others."""
    directory = tmp_path_factory.mktemp("small")
    async with running_cluster(directory, store_bytes=1 << 20) as city:
        confirmed = 0
        with contextlib.suppress(aiomqtt.MqttError):
            async with city.gateway_client(MINE) as gateway:
                while confirmed < 1000:
                    await publish(gateway, bytes(65_000), seconds=1)
                    confirmed += 1
        async with native(city, "keeper") as keeper:
            assert (await state(keeper)).state.messages == confirmed
        assert 10 < confirmed < 20


async def test_consumer_that_was_forgotten_is_told_of_until_it_is_made(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("forgotten")
    async with running_cluster(directory, forgotten="leeds") as city:
        credential = city.service("leeds")
        settings = BrokerSettings(
            name="forgotten",
            client_id="ingest",
            ca_file=city.authority.service_root(),
            certificate_file=credential.certificate,
            key_file=credential.key,
            tenant="leeds",
            receive="jetstream",
            mqtt_version="3.1.1",
            node=tuple(
                NodeSettings(host=node.host, port=node.mqtt_port, native_port=node.native_port)
                for node in city.network.nodes
            ),
        )
        intake = NatsIntake(settings, Inbox(10, 1 << 20), lambda _tenant: {})
        reading = asyncio.create_task(intake.run())
        try:
            await eventually(
                lambda: metric("ingest_consumer_missing", connection="forgotten") == 1, reading
            )
            await city.prepare("leeds")
            await eventually(
                lambda: metric("ingest_stream_connected", connection="forgotten") == 1, reading
            )
            assert metric("ingest_consumer_missing", connection="forgotten") == 0
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading


async def test_native_listener_lets_in_no_gateway(city: ClusterCity) -> None:
    with pytest.raises((OSError, client.errors.Error)):
        await connect(city, city.gateways[MINE].credential, "ingest")


async def test_service_cannot_do_what_the_keeper_does(city: ClusterCity) -> None:
    async with native(city, "ingest") as ingest:
        for asked in (
            lambda: ingest.jetstream(timeout=0.5).delete_consumer(nats.STREAM, "observer"),
            lambda: ingest.jetstream(timeout=0.5).purge_stream(nats.STREAM),
            lambda: ingest.jetstream(timeout=0.5).consumer_info(nats.STREAM, "observer"),
        ):
            with pytest.raises(client.errors.Error):
                await asked()


async def test_service_of_one_council_sees_nothing_of_another(city: ClusterCity) -> None:
    async with native(city, "ingest", "leeds") as leeds, city.gateway_client(MINE) as gateway:
        await publish(gateway, b"of Camden")
        pull = await leeds.jetstream().pull_subscribe_bind(stream=nats.STREAM, consumer="ingest")
        with pytest.raises(client.errors.TimeoutError):
            await pull.fetch(1, timeout=0.5)


async def test_certificate_of_a_service_opens_no_route(city: ClusterCity) -> None:
    """It leads to the service root as the nodes' do; whoever came in by it would be a node."""
    node = CredentialFiles.named(city.directory / "authority" / "nodes" / "n1")
    assert "cluster name" in await why_no_route(city, node)  # known, but of another cluster
    assert "Authentication Failure" in await why_no_route(city, city.service("camden"))
    assert "certificate signed by unknown authority" in await why_no_route(
        city, city.gateways[MINE].credential
    )


async def why_no_route(city: ClusterCity, credential: CredentialFiles) -> str:
    """Come as a node of another cluster; return what the first node says of it."""
    log = city.cluster.nodes["n1"].log
    said = log.stat().st_size
    context = client_context(
        ca_file=city.authority.service_root(),
        certificate_file=credential.certificate,
        key_file=credential.key,
    )
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(
            "localhost", city.network.nodes[0].route_port, ssl=context
        )
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            writer.write(b'CONNECT {"cluster": "elsewhere"}\r\n')
            await reader.read()
        writer.close()
    await eventually(lambda: "Router connection closed" in log.read_text()[said:])
    return log.read_text()[said:]


async def test_revoked_gateway_is_refused_by_every_node_and_a_node_that_cannot_be_told_delays_none(
    city: ClusterCity, tmp_path: Path
) -> None:
    network_file = tmp_path / "network.toml"
    network_file.write_text(description.dump(replace(city.network, gateways=())))
    settings = kept(city, tmp_path)
    upkeep = BrokerUpkeep(city.authority, network_file, settings)
    first, second, third = settings.node
    lost = replace(settings, node=(first, replace(second, pid_file=tmp_path / "none"), third))
    lists = dict.fromkeys(city.network.tenants, b"")  # NATS reads none
    admitted = [row(city, device) for device in city.gateways]
    without = [each for each in admitted if each.device != PEER]
    await upkeep.tell(admitted, lists)
    for name in city.cluster.nodes:
        await let_in(city, PEER, name)
    with pytest.raises(BrokerError, match=r"^node n2: .*does not run"):
        await BrokerUpkeep(city.authority, network_file, lost).tell(without, lists)
    for name in ("n1", "n3"):
        await let_in(city, MINE, name)
        await refused(city, PEER, name)
    await upkeep.tell(without, lists)
    await let_in(city, MINE, "n2")
    await refused(city, PEER, "n2")
    await upkeep.tell(admitted, lists)
    await let_in(city, PEER, "n2")


def kept(city: ClusterCity, directory: Path) -> BrokerFilesSettings:
    """How the enrolment service is told of the nodes; it finds their files by their names."""
    nodes = []
    for name, node in city.cluster.nodes.items():
        (directory / name).symlink_to(node.paths.configuration)
        data = node.paths.data
        nodes.append(
            BrokerNodeSettings(
                name=name, data_directory=data, pid_file=data / PID_FILE, log_file=node.log
            )
        )
    return BrokerFilesSettings(
        kind="nats", configuration_directory=directory, data_directory=directory, node=tuple(nodes)
    )


def row(city: ClusterCity, device: str) -> GatewayRow:
    """Return a gateway as the registry has it."""
    return GatewayRow(
        id=1,
        council_id=1,
        tenant=city.tenant_of(device),
        device=device,
        status="active",
        keys=(),
        description_sha256=b"",
    )


async def let_in(city: ClusterCity, device: str, node: str) -> None:
    """Return once a node, which may just have started, lets a gateway in."""
    async with asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with city.gateway_client(device, node):
                    return


async def refused(city: ClusterCity, device: str, node: str) -> None:
    """Return once a node lets a gateway in no more: a reload takes effect within moments."""
    async with asyncio.timeout(SECONDS):
        try:
            while True:
                async with city.gateway_client(device, node):
                    """Still let in."""
        except aiomqtt.MqttError:
            return
