"""Where ingest is measured: database, broker, eight gateways of two councils, and ingest itself.

Everything is made for the purpose and ends with its block.
"""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.errors import BenchError
from bench.load import LoadGateway
from broker_config.embedded import EmbeddedBroker, start_broker
from broker_config.files import BrokerKind
from broker_config.network import Council, Gateway, Network, Service
from device_protocol.keys import RecipientKey, VerifyingKey
from enrolment.authority import Authority, enrol_locally
from enrolment.files import read_certificate
from storage import registry
from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate

GATEWAYS: Final = 8

_SERVICES: Final = ("ingest", *(f"ingest-w{number}" for number in range(8)))
_COUNCILS: Final = (
    Council(tenant="camden", gss="E09000007", name="Camden"),
    Council(tenant="westminster", gss="E09000033", name="Westminster"),
)
_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Place:
    """A database server, a broker, its authority and gateways, and the keys of ingest."""

    database: EmbeddedDatabase
    broker: EmbeddedBroker
    authority: Authority
    directory: Path
    recipient: RecipientKey

    def certificate_of(self, device: str) -> Path:
        """Return the file of a gateway's certificate; its key lies beside it."""
        return self.directory / device / "gateway.pem"

    def load_gateways(self) -> tuple[LoadGateway, ...]:
        """Return the gateways as the load needs them."""
        found = []
        for gateway in self.broker.network.gateways:
            endpoint = self.broker.council_endpoint(gateway.tenant)
            certificate = self.certificate_of(gateway.device)
            found.append(
                LoadGateway(
                    tenant=gateway.tenant,
                    device=gateway.device,
                    host=endpoint.host,
                    port=endpoint.port,
                    ca_file=str(self.authority.service_root()),
                    certificate_file=str(certificate),
                    key_file=str(certificate.with_suffix(".key")),
                )
            )
        return tuple(found)


@contextmanager
def made_place(kind: BrokerKind, edition: str, directory: Path) -> Iterator[Place]:
    """Start a database of this edition ("plain" or "timescaledb") and a broker."""
    with ExitStack() as opened:
        data = directory / "database"
        database = opened.enter_context(
            EmbeddedDatabase.start(data, timescaledb=edition == "timescaledb")
        )
        opened.callback(remove, data)
        opened.callback(database.stop)
        authority = Authority(directory / "authority", "Bench")
        tenants = tuple(council.tenant for council in _COUNCILS)
        gateways = tuple(
            Gateway(tenant=tenants[number % len(tenants)], device=f"bench-gateway-{number}")
            for number in range(GATEWAYS)
        )
        for gateway in gateways:
            enrol_locally(authority, gateway.tenant, gateway.device, directory / gateway.device)
        key = X25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / "recipient.pem").write_bytes(pem)
        (directory / "service.key").write_text(secrets.token_hex(32), encoding="ascii")
        network = Network(
            name="Bench",
            host="localhost",
            councils=_COUNCILS,
            gateways=gateways,
            services=tuple(Service(name=name, tenants=tenants) for name in _services(kind)),
        )
        certificates = authority.broker_certificates(tenants)
        broker = opened.enter_context(
            start_broker(kind.value, network, directory / "broker", certificates)
        )
        yield Place(database, broker, authority, directory, RecipientKey.from_private(key))


async def prepare_database(place: Place) -> None:
    """Make the schema and register councils and gateways."""
    dsn = place.database.dsn
    await migrate(dsn)
    async with await connect(dsn, autocommit=True, application_name="kerbstone bench") as conn:
        network = place.broker.network
        for council in network.councils:
            await registry.add_council(
                conn, gss=council.gss, tenant=council.tenant, name=council.name
            )
        for gateway in network.gateways:
            certificate = read_certificate(place.certificate_of(gateway.device))
            await registry.add_gateway(conn, tenant=gateway.tenant, device=gateway.device)
            await registry.add_signing_key(
                conn,
                device=gateway.device,
                key=VerifyingKey.from_public(certificate.public_key()),
                valid_from=certificate.not_valid_before_utc,
                valid_until=certificate.not_valid_after_utc,
            )


def _services(kind: BrokerKind) -> tuple[str, ...]:
    """Return who takes readings: where client ids are free, one certificate is enough."""
    return _SERVICES[:1] if kind is BrokerKind.NATS else _SERVICES


def write_settings(place: Place, *, workers: int = 1) -> Path:
    """Write ingest's settings file and return it."""
    on_nats = place.broker.kind is BrokerKind.NATS
    lines = [
        f"dsn = {json.dumps(place.database.dsn)}",
        'service_key_file = "service.key"',
        'recipient_key_files = ["recipient.pem"]',
    ]
    if workers > 1:
        lines.append(f"workers = {workers}")
    if workers > 1 and not on_nats:  # Mosquitto takes client ids from certificates
        for name in _SERVICES[1 : workers + 1]:
            place.authority.service_client(name)
    for tenant in place.broker.network.tenants if on_nats else ("+",):
        served = tenant if on_nats else place.broker.network.tenants[0]
        endpoint = place.broker.service_endpoint(served)
        credential = place.authority.service_client("ingest", tenant if on_nats else "")
        lines += [
            "[[broker]]",
            f'name = "bench {tenant}"',
            f'host = "{endpoint.host}"',
            f"port = {endpoint.port}",
            f'mqtt_version = "{endpoint.mqtt_version}"',
            f'client_id = "ingest-{served}"',
            f"ca_file = {json.dumps(str(place.authority.service_root()))}",
            f"certificate_file = {json.dumps(str(credential.certificate))}",
            f"key_file = {json.dumps(str(credential.key))}",
            f'tenant = "{tenant}"',
        ]
    path = place.directory / "ingest.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@contextmanager
def spawned(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of our modules as a process of its own for the length of the block."""
    with subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def ended(process: subprocess.Popen[str]) -> int | None:
    """Return how a process ended, None while it runs; its CPU time can still be asked for."""
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return None if found is None else found.si_status


async def said(process: subprocess.Popen[str]) -> str:
    """Return the next line a process prints.

    Raises:
        BenchError: it ended instead.
    """
    output = process.stdout
    line = "" if output is None else await asyncio.to_thread(output.readline)
    if not line:
        raise BenchError("the load ended too early")
    return line.strip()


async def check_count(conn: Connection, expected: int) -> None:
    """Make sure that so many observations are stored.

    Raises:
        BenchError: more or fewer are.
    """
    cursor = await conn.execute("SELECT count(*) FROM observation")
    found = await cursor.fetchone()
    if found != (expected,):
        raise BenchError(f"{found} rows are stored, {expected} were sent")
