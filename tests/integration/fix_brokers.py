"""Real brokers for tests: a city of two councils with its own certificates, on both brokers.

`city` runs once a module on Mosquitto and once on NATS, shared by all who only publish and
subscribe. A test that kills, reloads or restarts asks for `own_city` and gets its own.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker_config.embedded import EmbeddedBroker, Endpoint, start_broker
from broker_config.files import BrokerKind
from broker_config.network import Council, Gateway, Network, Service
from enrolment.authority import Authority, CredentialFiles, GatewayFiles, KeyKind, enrol_locally
from enrolment.files import read_certificate
from enrolment.policy import RevokedEntry
from runtime.tls import client_context

COUNCILS = (
    Council(tenant="camden", gss="E09000007", name="Camden"),
    Council(tenant="leeds", gss="E08000035", name="Leeds"),
)
GATEWAYS = {  # both kinds of key, two gateways of one council and one of another
    Gateway("camden", "k7q2m9xd4t"): KeyKind.ED25519,
    Gateway("camden", "w3n8b5rc6h"): KeyKind.P256,
    Gateway("leeds", "z9f4j2tv7p"): KeyKind.ED25519,
}


@dataclasses.dataclass
class City:
    """A running broker, the authority behind it and the gateways it admits.

    directory: holds authority/, broker/ and gateways/<device>/.
    """

    broker: EmbeddedBroker
    authority: Authority
    directory: Path
    gateways: dict[str, GatewayFiles]

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._lists = itertools.count(2)

    def tenant_of(self, device: str) -> str:
        """Return the council a gateway was enrolled in."""
        return (self.directory / "gateways" / device / "tenant").read_text()

    def enrol(self, tenant: str, device: str, kind: KeyKind = KeyKind.ED25519) -> GatewayFiles:
        """Give a gateway its certificate; the broker learns of it by `reload` only."""
        files = enrol_locally(
            self.authority, tenant, device, self.directory / "gateways" / device, kind=kind
        )
        (self.directory / "gateways" / device / "tenant").write_text(tenant)
        self.gateways[device] = files
        return files

    def revocation_list(
        self, tenant: str, *devices: str, hold: bool = False, now: datetime | None = None
    ) -> dict[str, bytes]:
        """Return a council's next revocation list, naming these gateways' certificates.

        now: when it is issued; this moment if None.
        """
        moment = now or datetime.now(UTC)
        revoked = [
            RevokedEntry(
                read_certificate(self.gateways[device].credential.certificate).serial_number,
                moment,
                hold,
            )
            for device in devices
        ]
        der = self.authority.issue_revocation_list(
            tenant, number=next(self._lists), revoked=revoked, now=moment
        )
        return {tenant: der}

    def service(self, tenant: str, name: str = "ingest") -> CredentialFiles:
        """Return a service's certificate as the broker at hand wants it."""
        on_nats = self.broker.kind is BrokerKind.NATS
        return self.authority.service_client(name, tenant if on_nats else "")

    def gateway_client(self, device: str, *, clean: bool = True) -> aiomqtt.Client:
        """Return a client that connects as a gateway does."""
        endpoint = self.broker.council_endpoint(self.tenant_of(device))
        return self.client(endpoint, self.gateways[device].credential, device, clean=clean)

    def service_client(
        self, tenant: str, name: str = "ingest", *, identifier: str = "", clean: bool = True
    ) -> aiomqtt.Client:
        """Return a client that connects as a service does, under a client id of its own."""
        return self.client(
            self.broker.service_endpoint(tenant),
            self.service(tenant, name),
            identifier or f"{name}-{next(self._ids)}",
            clean=clean,
        )

    def client(
        self,
        endpoint: Endpoint,
        credential: CredentialFiles,
        identifier: str,
        *,
        clean: bool = True,
    ) -> aiomqtt.Client:
        """Return a client with any certificate and client id, e.g. somebody else's.

        clean: whether to begin without the session that `identifier` may have left behind,
        and to leave none.
        """
        context = client_context(
            ca_file=self.authority.service_root(),
            certificate_file=credential.certificate,
            key_file=credential.key,
        )
        if endpoint.mqtt_version != "5":
            return aiomqtt.Client(
                endpoint.host,
                endpoint.port,
                identifier=identifier,
                protocol=aiomqtt.ProtocolVersion.V311,
                clean_session=clean,
                tls_context=context,
            )
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean else 3600
        return aiomqtt.Client(
            endpoint.host,
            endpoint.port,
            identifier=identifier,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=clean,
            properties=properties,
            tls_context=context,
        )


@contextlib.contextmanager
def run_city(
    kind: str,
    directory: Path,
    gateways: Mapping[Gateway, KeyKind] = GATEWAYS,
    services: Sequence[str] = ("ingest",),
) -> Iterator[City]:
    """Run a broker and enrol its gateways for the length of the block.

    services: those that serve all councils; beside them each council has an observer.
    """
    authority = Authority(directory / "authority", "Test city")
    tenants = tuple(council.tenant for council in COUNCILS)
    network = Network(
        name="Test city",
        host="localhost",
        councils=COUNCILS,
        gateways=tuple(gateways),
        services=(
            *(Service(name, tenants) for name in services),
            *(Service(f"observer-{tenant}", (tenant,)) for tenant in tenants),
        ),
    )
    certificates = authority.broker_certificates(tenants)
    issued = datetime.now(UTC) - timedelta(seconds=1)  # of two lists, the later one is believed
    lists = {
        tenant: authority.issue_revocation_list(tenant, number=1, revoked=(), now=issued)
        for tenant in tenants
    }
    with start_broker(kind, network, directory / "broker", certificates, lists) as broker:
        city = City(broker, authority, directory, {})
        for gateway, key_kind in gateways.items():
            city.enrol(gateway.tenant, gateway.device, key_kind)
        yield city


@pytest.fixture(scope="session", params=["mosquitto", "nats"])
def broker_kind(request: pytest.FixtureRequest) -> str:
    """Each broker in turn; one that is missing fails, saying how to provision it."""
    return str(request.param)


@pytest.fixture(scope="module")
def city(broker_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city shared by a module's tests: publish and subscribe, but leave it running."""
    with run_city(broker_kind, tmp_path_factory.mktemp("city")) as running:
        yield running


@pytest.fixture(scope="module")
def broker(city: City) -> EmbeddedBroker:
    """The shared city's broker."""
    return city.broker


@pytest.fixture
def own_city(broker_kind: str, tmp_path: Path) -> Iterator[City]:
    """A city of the test's own, to kill, reload and restart."""
    with run_city(broker_kind, tmp_path) as running:
        yield running
