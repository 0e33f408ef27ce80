"""A broker of readers for tests, its certificate from a test city's authority, and who connects."""

import contextlib
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiomqtt

from api.publishing.settings import ReadersBrokerSettings
from broker_config.files import BrokerKind
from broker_config.free_ports import free_ports
from broker_config.readers import PUBLISHER, ReadersBroker
from broker_config.readers_broker import EmbeddedReadersBroker
from enrolment.authority import Authority
from runtime.mqtt import MqttConnection

CONNECTIONS = 20


@dataclass(frozen=True)
class Readers:
    """A broker of readers that runs. root: what its certificate leads to."""

    broker: EmbeddedReadersBroker
    root: Path
    secret_file: Path

    @property
    def settings(self) -> ReadersBrokerSettings:
        """What a publisher is told of it."""
        described = self.broker.broker
        return ReadersBrokerSettings(
            kind=self.broker.kind.value,
            host="localhost",
            port=described.port,
            bind=described.bind,
            secret_file=self.secret_file,
            ca_file=self.root,
            certificate_file=described.certificate,
            key_file=described.key,
        )

    def client(
        self,
        *,
        username: str | None = None,
        password: str | None = None,
        identifier: str | None = None,
        will: aiomqtt.Will | None = None,
        clean: bool = True,
    ) -> MqttConnection:
        """Return a client that shows no certificate; a reader, if it gives no name either.

        clean: whether the broker is to forget it when it goes.
        """
        return MqttConnection(
            "localhost",
            self.broker.broker.port,
            username=username,
            password=password,
            identifier=identifier,
            will=will,
            clean_session=clean,
            protocol=aiomqtt.ProtocolVersion.V311,
            tls_context=ssl.create_default_context(cafile=str(self.root)),
        )

    def publisher(self) -> MqttConnection:
        """Return a client with the publisher's secret."""
        return self.client(username=PUBLISHER, password=self.broker.broker.secret)


@contextlib.contextmanager
def run_readers(kind: BrokerKind, directory: Path, authority: Authority) -> Iterator[Readers]:
    """Run a broker of readers in a directory for the length of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    server = authority.broker_server(["localhost"])
    secret_file = directory / "publisher.secret"
    secret_file.write_text(secrets.token_hex(32))
    described = ReadersBroker(
        bind="127.0.0.1",
        port=free_ports(1)[0],
        connections=CONNECTIONS,
        secret=secret_file.read_text(),
        configuration=directory / "configuration",
        data=directory / "data",
        certificate=server.certificate,
        key=server.key,
    )
    with EmbeddedReadersBroker(kind, described) as broker:
        yield Readers(broker, authority.service_root(), secret_file)
