"""The parts of a region of several: databases with their registry, brokers, ingest's settings."""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.load import LoadGateway
from broker_config.cluster import EmbeddedCluster, start_cluster
from broker_config.embedded import EmbeddedBroker, default_kind, start_broker
from broker_config.files import BrokerKind
from broker_config.network import KEEPER, Gateway, Network, Service
from broker_config.nodes import Node
from broker_config.stream import native_servers, prepare
from command_line.progress import say
from command_line.scale.plans import COUNCILS, GATEWAYS_EACH, Plan
from command_line.toml_text import toml_text
from device_protocol.keys import RecipientKey, VerifyingKey
from enrolment.authority import Authority, enrol_locally
from enrolment.files import read_certificate
from runtime.tls import client_context
from storage import registry
from storage.database import connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate

_INGEST: Final = "ingest"


@dataclass(slots=True)
class Parts:
    """Everything that runs, by what the plan asks for. databases: by share."""

    plan: Plan
    directory: Path
    stack: ExitStack
    databases: dict[str, EmbeddedDatabase] = field(default_factory=dict)
    replica: EmbeddedDatabase | None = None
    broker: EmbeddedBroker | None = None
    cluster: EmbeddedCluster | None = None
    recipient: str = ""

    @property
    def authority(self) -> Authority:
        """The region's certificate authority."""
        return Authority(self.directory / "authority", "Scale")

    @property
    def gateways(self) -> list[Gateway]:
        """All gateways, two for each council."""
        return [
            Gateway(council.tenant, f"{council.tenant}-{number}")
            for council in COUNCILS
            for number in range(GATEWAYS_EACH)
        ]

    def certificate_of(self, gateway: Gateway) -> Path:
        """Return the file of a gateway's certificate; its key lies beside it."""
        return self.directory / "gateways" / gateway.device / "gateway.pem"

    def make_keys(self) -> None:
        """Make what ingest opens envelopes with, and every gateway's certificate."""
        key = X25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.directory / "recipient.pem").write_bytes(pem)
        (self.directory / "service.key").write_text(secrets.token_hex(32), encoding="ascii")
        self.recipient = RecipientKey.from_private(key).cose_key.hex()
        authority = self.authority
        for gateway in self.gateways:
            enrol_locally(
                authority, gateway.tenant, gateway.device, self.certificate_of(gateway).parent
            )

    async def start_databases(self) -> None:
        """Start a database for each share, and the replica of the first."""
        for share, tenants in self.plan.shares.items():
            say(f"Starting the database of {share or 'all councils'} ({', '.join(tenants)})")
            database = await self._database(f"database-{share or 'all'}")
            self.databases[share] = database
            await migrate(database.dsn)
            await self._register(database.dsn, tenants)
        if self.plan.replica:
            share, primary = next(iter(self.databases.items()))
            say(f"Copying the database of {share} to a streaming replica")
            data = self.directory / "replica"
            self.stack.callback(remove, data)
            self.replica = await asyncio.to_thread(primary.start_replica, data)
            self.stack.callback(self.replica.stop)

    async def start_brokers(self) -> None:
        """Start the cluster, its streams first and then its gateways; or the one broker."""
        tenants = tuple(council.tenant for council in COUNCILS)
        network = Network(
            name="Scale",
            host="localhost",
            councils=COUNCILS,
            gateways=() if self.plan.nodes else tuple(self.gateways),
            services=tuple(Service(name, tenants) for name in self._services()),
            nodes=tuple(
                Node(name=f"n{number}", host="localhost")
                for number in range(1, self.plan.nodes + 1)
            ),
        )
        authority, at = self.authority, self.directory / "broker"
        if not self.plan.nodes:
            kind = default_kind().value
            say(f"Starting one broker ({kind})")
            held = authority.broker_certificates(tenants)
            self.broker = await asyncio.to_thread(start_broker, kind, network, at, held)
            self.stack.callback(self.broker.stop)
            return
        say(f"Starting a cluster of {self.plan.nodes} NATS nodes")
        self.cluster = await asyncio.to_thread(
            start_cluster,
            network,
            at,
            lambda node, host: authority.broker_certificates(tenants, [host], node=node),
        )
        self.stack.callback(self.cluster.stop)
        for tenant in tenants:
            credential = authority.service_client(KEEPER, tenant)
            context = client_context(
                ca_file=authority.service_root(),
                certificate_file=credential.certificate,
                key_file=credential.key,
            )
            await prepare(
                self.cluster.network, tenant, native_servers(self.cluster.network), context
            )
        say("Streams and consumers are there; letting the gateways in")
        network = self.cluster.network
        for gateway in self.gateways:
            network = network.with_gateway(gateway.tenant, gateway.device)
        await asyncio.to_thread(self.cluster.reload, network)

    def write_settings(self) -> Path:
        """Write ingest's settings, one file for all its processes; return it."""
        document: dict[str, Any] = {
            "service_key_file": self.directory / "service.key",
            "recipient_key_files": [self.directory / "recipient.pem"],
        }
        if list(self.databases) == [""]:
            document |= {"dsn": self.databases[""].dsn, "workers": self.plan.workers}
        else:
            document["share"] = [
                {"name": share, "tenants": list(self.plan.shares[share]), "dsn": database.dsn}
                for share, database in self.databases.items()
            ]
        document["broker"] = self._connections()
        path = self.directory / "ingest.toml"
        path.write_text(toml_text(document), encoding="utf-8")
        return path

    def load_gateways(self) -> tuple[LoadGateway, ...]:
        """Return the gateways as the load wants them, spread over the nodes."""
        found = []
        for number, gateway in enumerate(self.gateways):
            certificate = self.certificate_of(gateway)
            host, port = self._gateways_port(number, gateway.tenant)
            found.append(
                LoadGateway(
                    tenant=gateway.tenant,
                    device=gateway.device,
                    host=host,
                    port=port,
                    ca_file=str(self.authority.service_root()),
                    certificate_file=str(certificate),
                    key_file=str(certificate.with_suffix(".key")),
                )
            )
        return tuple(found)

    def _gateways_port(self, number: int, tenant: str) -> tuple[str, int]:
        if self.broker is not None:
            endpoint = self.broker.council_endpoint(tenant)
        else:
            nodes = list(self.cluster.nodes.values()) if self.cluster else []
            endpoint = nodes[number % len(nodes)].council_endpoint(tenant)
        return endpoint.host, endpoint.port

    def _services(self) -> list[str]:
        """Return the names that ingest's processes have towards the broker."""
        if self.plan.nodes or default_kind() is BrokerKind.NATS:
            return [_INGEST]
        if list(self.plan.shares) == [""]:
            return [_INGEST, *(f"{_INGEST}-w{number}" for number in range(self.plan.workers))]
        return [_INGEST, *(f"{_INGEST}-{share}" for share in self.plan.shares)]

    def _connections(self) -> list[dict[str, Any]]:
        authority = self.authority
        if self.broker is not None and self.broker.kind is BrokerKind.MOSQUITTO:
            for name in self._services():
                authority.service_client(name)
            endpoint = self.broker.service_endpoint(COUNCILS[0].tenant)
            place = {"host": endpoint.host, "port": endpoint.port}
            return [self._connection("+", place)]
        connections = []
        for council in COUNCILS:
            if self.cluster is not None:
                place = {
                    "receive": "jetstream",
                    "mqtt_version": "3.1.1",
                    "node": [
                        {"host": node.host, "port": node.mqtt_port, "native_port": node.native_port}
                        for node in self.cluster.network.nodes
                    ],
                }
            elif self.broker is not None:
                endpoint = self.broker.service_endpoint(council.tenant)
                place = {"host": endpoint.host, "port": endpoint.port, "mqtt_version": "3.1.1"}
            connections.append(self._connection(council.tenant, place))
        return connections

    def _connection(self, tenant: str, place: Mapping[str, Any]) -> dict[str, Any]:
        credential = self.authority.service_client(_INGEST, "" if tenant == "+" else tenant)
        return {
            "name": "region" if tenant == "+" else tenant,
            "tenant": tenant,
            "client_id": _INGEST if tenant == "+" else f"{_INGEST}-{tenant}",
            "ca_file": self.authority.service_root(),
            "certificate_file": credential.certificate,
            "key_file": credential.key,
            **place,
        }

    async def _database(self, name: str) -> EmbeddedDatabase:
        data = self.directory / name
        self.stack.callback(remove, data)
        database = await asyncio.to_thread(EmbeddedDatabase.start, data)
        self.stack.callback(database.stop)
        return database

    async def _register(self, dsn: str, tenants: tuple[str, ...]) -> None:
        async with await connect(dsn, autocommit=True, application_name="kerbstone scale") as conn:
            for council in COUNCILS:
                if council.tenant in tenants:
                    await registry.add_council(
                        conn, gss=council.gss, tenant=council.tenant, name=council.name
                    )
            for gateway in self.gateways:
                if gateway.tenant not in tenants:
                    continue
                certificate = read_certificate(self.certificate_of(gateway))
                await registry.add_gateway(conn, tenant=gateway.tenant, device=gateway.device)
                await registry.add_signing_key(
                    conn,
                    device=gateway.device,
                    key=VerifyingKey.from_public(certificate.public_key()),
                    valid_from=certificate.not_valid_before_utc,
                    valid_until=certificate.not_valid_after_utc,
                )


def written(path: Path, document: Mapping[str, Any]) -> Path:
    """Write a settings file and return it."""
    path.write_text(toml_text(dict(document)), encoding="utf-8")
    return path
