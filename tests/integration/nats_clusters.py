"""A NATS cluster of three nodes for tests, with its councils' streams and gateways let in.

Made as a region's operator makes it: nodes without gateways, then what ingest reads from, then
the gateways.
"""

import contextlib
import dataclasses
import itertools
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt

from broker_config.cluster import EmbeddedCluster, start_cluster
from broker_config.embedded import EmbeddedBroker
from broker_config.network import KEEPER, Council, Network, Service
from broker_config.nodes import Node
from broker_config.stream import Prepared, native_servers, prepare
from enrolment.authority import Authority, CredentialFiles, GatewayFiles, KeyKind, enrol_locally
from runtime.tls import client_context
from tests.integration.fix_brokers import COUNCILS, GATEWAYS

STORE_BYTES = 64 << 20


@dataclasses.dataclass
class ClusterCity:
    """A running cluster, the authority behind it and the gateways it admits."""

    cluster: EmbeddedCluster
    authority: Authority
    directory: Path
    gateways: dict[str, GatewayFiles] = dataclasses.field(default_factory=dict)
    tenants: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)

    @property
    def network(self) -> Network:
        """The description that runs."""
        return self.cluster.network

    def tenant_of(self, device: str) -> str:
        """Return the council a gateway was enrolled in."""
        return self.tenants[device]

    async def prepare(
        self, tenant: str, network: Network | None = None, *, change: bool = True
    ) -> Prepared:
        """Make a council's stream and consumers, as the network that runs or another has them."""
        return await prepare(
            network or self.network,
            tenant,
            native_servers(self.network),
            self.keeper_context(tenant),
            change=change,
        )

    def keeper_context(self, tenant: str) -> ssl.SSLContext:
        """Return what the keeper comes to a council with."""
        credential = self.authority.service_client(KEEPER, tenant)
        return client_context(
            ca_file=self.authority.service_root(),
            certificate_file=credential.certificate,
            key_file=credential.key,
        )

    def admit(self, tenant: str, device: str, kind: KeyKind = KeyKind.ED25519) -> None:
        """Enrol a gateway and let it in on every node."""
        self.gateways[device] = enrol_locally(
            self.authority, tenant, device, self.directory / "gateways" / device, kind=kind
        )
        self.tenants[device] = tenant
        self.cluster.reload(self.network.with_gateway(tenant, device))

    def service(self, tenant: str, name: str = "ingest") -> CredentialFiles:
        """Return a service's certificate for one council."""
        return self.authority.service_client(name, tenant)

    def client(
        self, node: EmbeddedBroker, tenant: str, credential: CredentialFiles, identifier: str = ""
    ) -> aiomqtt.Client:
        """Return an MQTT client of one node."""
        endpoint = node.service_endpoint(tenant)
        return aiomqtt.Client(
            endpoint.host,
            endpoint.port,
            identifier=identifier or f"client-{next(self._ids)}",
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            tls_context=client_context(
                ca_file=self.authority.service_root(),
                certificate_file=credential.certificate,
                key_file=credential.key,
            ),
        )

    def gateway_client(self, device: str, node: str = "n1") -> aiomqtt.Client:
        """Return a client that connects as a gateway does."""
        credential = self.gateways[device].credential
        return self.client(self.cluster.nodes[node], self.tenants[device], credential, device)


@contextlib.asynccontextmanager
async def running_cluster(
    directory: Path,
    *,
    councils: tuple[Council, ...] = COUNCILS,
    services: tuple[str, ...] = ("ingest",),
    store_bytes: int = STORE_BYTES,
    forgotten: str = "",
) -> AsyncIterator[ClusterCity]:
    """Run a cluster whose streams are ready and whose gateways are let in.

    forgotten: a council for which nothing is made, as an operator may forget to.
    """
    authority = Authority(directory / "authority", "Test city")
    tenants = tuple(council.tenant for council in councils)
    network = Network(
        name="Test city",
        host="localhost",
        councils=councils,
        services=tuple(Service(name, tenants) for name in services),
        nodes=tuple(Node(name=f"n{number}", host="localhost") for number in (1, 2, 3)),
        council_store_bytes=store_bytes,
    )
    with start_cluster(
        network,
        directory / "nodes",
        lambda node, host: authority.broker_certificates(tenants, [host], node=node),
    ) as cluster:
        city = ClusterCity(cluster, authority, directory)
        for tenant in tenants:
            if tenant != forgotten:
                await city.prepare(tenant)
        for gateway, kind in GATEWAYS.items():
            if gateway.tenant in tenants:
                city.admit(gateway.tenant, gateway.device, kind)
        yield city
