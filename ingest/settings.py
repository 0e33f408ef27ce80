"""What ingest is told in its TOML file. Secrets are paths to files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from device_protocol.suites import DEFAULT as SUITES
from runtime.metrics import MetricsSettings
from runtime.settings import setting
from storage.settings import DatabaseSettings, KeyPath

MOST_WORKERS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One node of a NATS cluster."""

    host: str = setting("Name of the node as in its certificate.")
    port: int = setting("TCP port of its listener for MQTT.", minimum=1, maximum=65535)
    native_port: int = setting(
        "TCP port of its listener for NATS' own protocol.", minimum=1, maximum=65535
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """One connection to a broker, or to a cluster of them."""

    name: str = setting("Unique name, for logs and metrics.")
    receive: Literal["mqtt", "jetstream"] = setting(
        "How messages come: by MQTT, or out of a NATS cluster's stream.", default="mqtt"
    )
    node: tuple[NodeSettings, ...] = ()
    consumer: str = setting(
        "jetstream: the durable consumer, called as the service in the network description.",
        default="ingest",
        pattern=r"[a-z0-9][a-z0-9-]{0,31}",
    )
    host: str = setting("Name of the broker as in its certificate; not for a cluster.", default="")
    port: int = setting(
        "TCP port of its listener for services; not for a cluster.",
        default=0,
        minimum=0,
        maximum=65535,
    )
    mqtt_version: Literal["5", "3.1.1"] = setting("5 where the broker speaks it.", default="5")
    client_id: str = setting(
        "MQTT client id; the broker keeps the session of that name.", pattern=r".+"
    )
    ca_file: Path = setting("Root certificate of the region's services, PEM.", must_exist=True)
    certificate_file: Path = setting("This service's certificate, PEM.", must_exist=True)
    key_file: Path = setting("Its private key, PEM.", must_exist=True)
    tenant: str = setting("The council served; + is all.", default="+", pattern=r"\+|[a-z0-9-]+")
    groups: tuple[str, ...] = setting(
        "Groups of recipients served, e.g. main; by default all.",
        default=(),
        pattern=r"[a-z0-9][a-z0-9-]{0,15}",
    )
    keepalive_seconds: int = setting("MQTT keep alive.", default=60, minimum=5, maximum=240)
    session_expiry_seconds: int = setting(
        "How long the broker keeps our session while we are away (MQTT 5).",
        default=1_209_600,
        minimum=60,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Say what of one broker and of a cluster does not go together."""
        if self.receive == "mqtt":
            if not self.host:
                yield ("host",), "name the broker"
            if not self.port:
                yield ("port",), "must be the port of its listener, 1 to 65535"
            if self.node:
                yield ("node",), 'are a cluster\'s: set receive = "jetstream"'
            return
        if not self.node:
            yield ("node",), "describe the nodes of the cluster in [[broker.node]]"
        if self.host or self.port:
            yield ("host",), "a cluster is reached at its nodes: leave host and port out"
        if self.mqtt_version != "3.1.1":
            yield ("mqtt_version",), 'NATS speaks "3.1.1"'
        if self.tenant == "+":
            yield ("tenant",), "each council has a stream of its own: name the council"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareSettings(DatabaseSettings):
    """Councils with a database of their own."""

    name: str = setting("Unique name, for logs and client ids.", pattern=r"[a-z0-9][a-z0-9-]{0,31}")
    tenants: tuple[str, ...] = setting("The councils of this share.", pattern=r"[a-z0-9-]+")
    workers: int = setting(
        "Processes that share the work, each with gateways of its own.",
        default=1,
        minimum=1,
        maximum=MOST_WORKERS,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Say what does not fit together."""
        yield from DatabaseSettings.contradictions(self)
        if not self.tenants:
            yield ("tenants",), "name at least one council"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings(DatabaseSettings):
    """Everything ingest can be told."""

    service_key_file: Path = setting(
        "File of 32 bytes in hexadecimal; epoch keys are kept encrypted under it.", must_exist=True
    )
    recipient_key_files: tuple[Path, ...] = setting(
        "Private keys that gateways seal to: X25519, P-256 or X-Wing, PEM.",
        default=(),
        must_exist=True,
    )
    recipient_key_directory: Path | None = setting(
        "Directory of such keys, *.key and *.pem; it is read again when keys are rotated.",
        default=None,
        must_exist=True,
    )
    suites: tuple[int, ...] = setting(
        "Suites of the envelope that are accepted; 3 is experimental.",
        default=SUITES,
        minimum=1,
        maximum=3,
    )
    broker: tuple[BrokerSettings, ...]
    workers: int = setting(
        "Processes that share the work, each with gateways of its own.",
        default=1,
        minimum=1,
        maximum=MOST_WORKERS,
    )
    share: tuple[ShareSettings, ...] = ()
    inbox_max_messages: int = setting(
        "Messages held in memory before reading pauses.", default=2000, minimum=10
    )
    inbox_max_bytes: int = setting(
        "Bytes of them before reading pauses.", default=64 << 20, minimum=1 << 20
    )
    batch_max_messages: int = setting("Messages in one transaction.", default=1000, minimum=1)
    batch_max_wait_seconds: float = setting(
        "How long a message may wait for company.", default=0.2, minimum=0.0, maximum=5.0
    )
    earliest_year: int = setting(
        "Readings from before it are refused.", default=2000, minimum=1970, maximum=2100
    )
    metrics: MetricsSettings = MetricsSettings()

    def connection_of(self, tenant: str) -> str:
        """Return the name of a connection that serves a council; the first if none does."""
        serving = (broker.name for broker in self.broker if broker.tenant in ("+", tenant))
        return next(serving, self.broker[0].name)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Say what does not fit together."""
        if self.share:
            yield from self._contradictions_of_shares()
        else:
            yield from DatabaseSettings.contradictions(self)
        if not self.recipient_key_files and self.recipient_key_directory is None:
            yield ("recipient_key_files",), "name at least one key, or recipient_key_directory"
        if not self.suites:
            yield ("suites",), "name at least one"
        if not self.broker:
            yield ("broker",), "describe at least one connection"
        names = [broker.name for broker in self.broker]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield ("broker", index, "name"), "must be unique"

    def _contradictions_of_shares(self) -> Iterator[tuple[KeyPath, str]]:
        if self.dsn or self.dsn_file is not None:
            yield ("dsn",), "each [[share]] has its own: leave it out here"
        if self.workers > 1:
            yield ("workers",), "each [[share]] has its own: leave it out here"
        names: set[str] = set()
        places: set[tuple[str, Path | None]] = set()
        served: set[str] = set()
        for index, share in enumerate(self.share):
            if share.name in names:
                yield ("share", index, "name"), "must be unique"
            if (share.dsn, share.dsn_file) in places:
                yield ("share", index, "dsn"), "is another share's, too: make one share of both"
            for at, tenant in enumerate(share.tenants):
                if tenant in served:
                    yield ("share", index, "tenants", at), "is in another share, too"
            names.add(share.name)
            places.add((share.dsn, share.dsn_file))
            served.update(share.tenants)
        for index, broker in enumerate(self.broker):
            if broker.tenant != "+" and broker.tenant not in served:
                yield ("broker", index, "tenant"), "is in no share"
