"""Where an agent is measured: a broker with one council and one gateway, made for the purpose."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker_config.embedded import EmbeddedBroker, start_broker
from broker_config.files import BrokerKind
from broker_config.network import Council, Gateway, Network, Service
from enrolment.authority import Authority, CredentialFiles

TENANT: Final = "camden"
DEVICE: Final = "bench0gateway"
GROUP: Final = "main"


@dataclass(frozen=True, slots=True)
class Place:
    """A running broker, who signs its certificates, and the centre's own credential."""

    broker: EmbeddedBroker
    authority: Authority
    service: CredentialFiles
    directory: Path


@contextmanager
def made_place(kind: BrokerKind) -> Iterator[Place]:
    """Start a broker in a directory of its own and give the place around it; both go at the end."""
    with tempfile.TemporaryDirectory(prefix="kerbstone-bench-") as made:
        directory = Path(made)
        authority = Authority(directory / "authority", "Bench")
        network = Network(
            name="Bench",
            host="localhost",
            councils=(Council(tenant=TENANT, gss="E09000007", name="Camden"),),
            gateways=(Gateway(TENANT, DEVICE),),
            services=(Service("ingest", (TENANT,)),),
        )
        certificates = authority.broker_certificates((TENANT,))
        with start_broker(kind, network, directory / "broker", certificates) as broker:
            service = authority.service_client("ingest", TENANT if kind is BrokerKind.NATS else "")
            yield Place(broker, authority, service, directory)
