"""A cluster of three under load, its nodes and ingest killed one after the other: nothing is lost.

Gateways publish sealed readings all the while, to whichever node is there; ingest is a process of
its own, as in a region. What a node confirmed is never sent again here (`dogged_gateway`): it must
be in the database in the end, once.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker_config import nats
from command_line.toml_text import toml_text
from device_protocol.keys import RecipientKey, SigningKey
from enrolment.files import read_key
from runtime.tls import client_context
from storage import registry
from storage.database import Connection
from tests.integration.nats_clusters import ClusterCity, running_cluster
from tests.integration.region import eventually, now
from tests.integration.test_nats_contract import native
from tests.simulators.dogged_gateway import DoggedGateway, long_ago, longest_gap
from tests.simulators.gateway import SimulatedGateway, public

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

ROOT = Path(__file__).parents[2]
SETTLED_SECONDS = 60


@dataclass
class Worker:
    """An ingest process that can be killed and replaced."""

    settings: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ("ingest", "run", "--config", str(self.settings))
        with self.settings.with_name("ingest.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "command_line", *words],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )

    def end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[ClusterCity]:
    async with running_cluster(tmp_path) as running:
        yield running


@pytest.fixture
def recipient(tmp_path: Path) -> RecipientKey:
    key = X25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "recipient.pem").write_bytes(pem)
    (tmp_path / "service.key").write_text(secrets.token_hex(32))
    return RecipientKey.from_private(key)


@pytest.fixture
def worker(
    city: ClusterCity, recipient: RecipientKey, dsn: str, tmp_path: Path
) -> Iterator[Worker]:
    """The one worker of this database, not yet started."""
    assert recipient
    settings = tmp_path / "ingest.toml"
    settings.write_text(toml_text(ingest_settings(city, dsn, tmp_path)))
    running = Worker(settings)
    yield running
    running.end(signal.SIGTERM)


def ingest_settings(city: ClusterCity, dsn: str, directory: Path) -> dict[str, object]:
    return {
        "dsn": dsn,
        "service_key_file": directory / "service.key",
        "recipient_key_files": [directory / "recipient.pem"],
        "broker": [
            {
                "name": tenant,
                "receive": "jetstream",
                "mqtt_version": "3.1.1",
                "client_id": f"ingest-{tenant}",
                "ca_file": city.authority.service_root(),
                "certificate_file": city.service(tenant).certificate,
                "key_file": city.service(tenant).key,
                "tenant": tenant,
                "node": [
                    {"host": node.host, "port": node.mqtt_port, "native_port": node.native_port}
                    for node in city.network.nodes
                ],
            }
            for tenant in city.network.tenants
        ],
    }


@pytest.fixture
async def gateways(
    city: ClusterCity, recipient: RecipientKey, connection: Connection
) -> list[DoggedGateway]:
    """Registered gateways of two councils."""
    for council in city.network.councils:
        await registry.add_council(
            connection, gss=council.gss, tenant=council.tenant, name=council.name
        )
    found = []
    for device, files in city.gateways.items():
        tenant = city.tenant_of(device)
        simulated = SimulatedGateway(
            tenant,
            device,
            [public(recipient)],
            signer=SigningKey.from_private(read_key(files.credential.key)),
        )
        await registry.add_gateway(connection, tenant=tenant, device=device, label="")
        await registry.add_signing_key(
            connection,
            device=device,
            key=simulated.verifying_key,
            valid_from=datetime.now(UTC) - timedelta(hours=1),
            valid_until=datetime.now(UTC) + timedelta(days=7),
        )
        simulated.announce(now(), counter=now())
        context = client_context(
            ca_file=city.authority.service_root(),
            certificate_file=files.credential.certificate,
            key_file=files.credential.key,
        )
        nodes = [(node.host, node.mqtt_port) for node in city.network.nodes]
        found.append(DoggedGateway(simulated, nodes, context, long_ago()))
    return found


async def leader(city: ClusterCity, tenant: str) -> str:
    """Return the node that leads a council's stream."""
    async with native(city, "keeper", tenant) as keeper:
        info = await keeper.jetstream().stream_info(nats.STREAM)
    assert info.cluster is not None
    return str(info.cluster.leader)


async def flows_again(gateways: list[DoggedGateway]) -> None:
    """Return once what is published from now on is confirmed by a node and by the centre."""
    for each in gateways:
        await heard(each, each.confirmed + 1)


async def heard(gateway: DoggedGateway, messages: int) -> None:
    """Return once the centre has acknowledged so many."""
    await eventually(lambda: gateway.covered >= messages, within=SETTLED_SECONDS)


@contextlib.asynccontextmanager
async def loaded(gateways: list[DoggedGateway]) -> AsyncIterator[None]:
    """Let every gateway publish for the length of the block; then wait for the last answer."""
    async with asyncio.TaskGroup() as tasks:
        hearing = [tasks.create_task(each.hear()) for each in gateways]
        publishing = [tasks.create_task(each.publish()) for each in gateways]
        yield
        for each in gateways:
            each.stopped.set()
        await asyncio.gather(*publishing)
        try:
            for each in gateways:
                await each.announce()
                await heard(each, each.confirmed)
        finally:
            for task in hearing:
                task.cancel()


async def stored(connection: Connection, gateway: DoggedGateway) -> tuple[int, int, int]:
    """Return how many readings of a gateway there are, how many different ones, and the last."""
    cursor = await connection.execute(
        "SELECT count(*), count(DISTINCT value), coalesce(max(value), -1)::bigint"
        " FROM observation o JOIN datastream d ON d.id = o.datastream_id"
        " JOIN sensor s ON s.id = d.sensor_id"
        " WHERE s.urn = %s",
        (gateway.sensor,),
    )
    [(count, distinct, last)] = await cursor.fetchall()
    return int(count), int(distinct), int(last)


async def test_leader_follower_and_workers_are_killed_and_nothing_is_lost_or_doubled(
    city: ClusterCity,
    worker: Worker,
    gateways: list[DoggedGateway],
    connection: Connection,
    record_property: Callable[[str, object], None],
) -> None:
    worker.start()
    async with loaded(gateways):
        await flows_again(gateways)
        first = await leader(city, "camden")
        city.cluster.nodes[first].kill()
        await flows_again(gateways)
        worker.end(signal.SIGKILL)
        city.cluster.nodes[first].restart()
        worker.start()
        await flows_again(gateways)
        second = await leader(city, "camden")
        follower = next(name for name in city.cluster.nodes if name not in {first, second})
        city.cluster.nodes[follower].kill()
        worker.end(signal.SIGKILL)
        worker.start()
        await flows_again(gateways)
        city.cluster.nodes[follower].restart()
        await flows_again(gateways)
    for gateway in gateways:
        count, distinct, last = await stored(connection, gateway)
        assert count == distinct == last + 1
        assert count >= gateway.numbers
        record_property(f"{gateway.simulated.device} readings", count)
        record_property(f"{gateway.simulated.device} gap", longest_gap(gateway.moments))
