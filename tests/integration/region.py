"""A city with its registry and a running ingest, for tests of the whole process."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import REGISTRY

from broker_config.files import BrokerKind
from device_protocol.keys import RecipientKey, SigningKey
from enrolment.files import read_key
from ingest.service import run
from ingest.settings import BrokerSettings, IngestSettings
from storage import registry
from storage.database import Connection
from tests.integration.fix_brokers import City
from tests.simulators.gateway import MqttGateway, SimulatedGateway, description, public

DEVICE = "k7q2m9xd4t"
OTHER = "w3n8b5rc6h"
LEEDS = "z9f4j2tv7p"


@dataclass
class Region:
    """A city with its registry and ingest's keys; `ingest` runs it, over and over."""

    city: City
    dsn: str
    directory: Path
    conn: Connection
    recipient: RecipientKey

    def settings(self, **changed: object) -> IngestSettings:
        on_nats = self.city.broker.kind is BrokerKind.NATS
        tenants = self.city.broker.network.tenants if on_nats else ("+",)
        settings = IngestSettings(
            dsn=self.dsn,
            service_key_file=self.directory / "service.key",
            recipient_key_files=(self.directory / "recipient.pem",),
            broker=tuple(self._connection(tenant) for tenant in tenants),
        )
        return replace(settings, **changed)  # type: ignore[arg-type]

    def _connection(self, tenant: str) -> BrokerSettings:
        first = self.city.broker.network.tenants[0] if tenant == "+" else tenant
        endpoint = self.city.broker.service_endpoint(first)
        credential = self.city.service(first)
        return BrokerSettings(
            name=f"city {tenant}",
            host=endpoint.host,
            port=endpoint.port,
            mqtt_version=endpoint.mqtt_version,  # type: ignore[arg-type]
            client_id=f"ingest-{self.directory.name}-{first}",
            ca_file=self.city.authority.service_root(),
            certificate_file=credential.certificate,
            key_file=credential.key,
            tenant=tenant,
        )

    @contextlib.asynccontextmanager
    async def ingest(self, **changed: object) -> AsyncIterator[None]:
        """Run ingest for the length of the block, connected before it begins."""
        settings = self.settings(**changed)
        task = asyncio.create_task(run(settings))
        try:
            for broker in settings.broker:
                await eventually(
                    lambda name=broker.name: (
                        metric(  # type: ignore[misc]
                            "ingest_broker_connected", connection=name
                        )
                        == 1
                    ),
                    task,
                )
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def simulated(self, device: str = DEVICE) -> SimulatedGateway:
        """Return a registered gateway that seals with its own key."""
        return SimulatedGateway(
            self.city.tenant_of(device),
            device,
            [public(self.recipient)],
            signer=SigningKey.from_private(read_key(self.city.gateways[device].credential.key)),
        )

    @contextlib.asynccontextmanager
    async def gateway(self, device: str = DEVICE) -> AsyncIterator[MqttGateway]:
        """Connect a registered gateway under its own certificate."""
        simulated = self.simulated(device)
        client = self.city.gateway_client(device)
        async with MqttGateway.connected(simulated, client) as connected:
            yield connected

    async def count(self, table: str) -> int:
        [(found,)] = await (await self.conn.execute(f"SELECT count(*) FROM {table}")).fetchall()  # type: ignore[arg-type]  # noqa: S608
        return int(found)


async def eventually(
    holds: Callable[[], bool], task: asyncio.Task[None] | None = None, *, within: float = 20
) -> None:
    """Return once it holds; fail when it never does or `task` ends before."""
    async with asyncio.timeout(within):
        while not holds():
            if task is not None and task.done():
                await task
            await asyncio.sleep(0.01)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def now() -> int:
    return int(time.time())


def minutes(count: int) -> datetime:
    """A time of recent hours, another for every count."""
    return datetime.fromtimestamp(now() - 7200, UTC) + timedelta(minutes=count)


async def make_region(city: City, dsn: str, directory: Path, conn: Connection) -> Region:
    key = X25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "recipient.pem").write_bytes(pem)
    (directory / "service.key").write_text(secrets.token_hex(32))
    for council in city.broker.network.councils:
        await registry.add_council(conn, gss=council.gss, tenant=council.tenant, name=council.name)
    for device, files in city.gateways.items():
        await registry.add_gateway(conn, tenant=city.tenant_of(device), device=device, label="")
        signer = SigningKey.from_private(read_key(files.credential.key))
        await registry.add_signing_key(
            conn,
            device=device,
            key=SimulatedGateway("x", "x", [], signer=signer).verifying_key,
            valid_from=datetime.now(UTC) - timedelta(hours=1),
            valid_until=datetime.now(UTC) + timedelta(days=7),
        )
    return Region(city, dsn, directory, conn, RecipientKey.from_private(key))


async def begin(gateway: MqttGateway) -> None:
    """Announce and describe; return when both are acknowledged."""
    await gateway.publish(gateway.gateway.announce(now(), counter=now()))
    await gateway.publish(gateway.gateway.describe(description()))
    await gateway.acknowledged(1)


def pauses_of(region: Region) -> float:
    return sum(
        metric("ingest_pauses_total", connection=broker.name) for broker in region.settings().broker
    )


def up(region: Region) -> list[float]:
    return [
        metric("ingest_broker_connected", connection=broker.name)
        for broker in region.settings().broker
    ]
