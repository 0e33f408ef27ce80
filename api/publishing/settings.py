"""What the publishing process, and the readers' broker that it publishes to, are told."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from broker_config.files import BrokerKind
from broker_config.readers import SECRET_BYTES, ReadersBroker
from runtime.metrics import MetricsSettings
from runtime.settings import setting
from storage.settings import DatabaseSettings, KeyPath

CONNECTIONS: Final = 1000
PORT: Final = 8893


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadersBrokerSettings:
    """The broker where everybody may subscribe; `kerbstone publish broker` writes its files."""

    kind: Literal["mosquitto", "nats"] = setting("Which broker it is.", default="mosquitto")
    host: str = setting(
        "The name by which the publisher connects; the server's certificate must be for it."
    )
    port: int = setting("Where it listens.", default=PORT, minimum=1, maximum=65535)
    bind: str = setting("Address it listens on.", default="0.0.0.0")  # noqa: S104 - for everybody
    connections: int = setting(
        "How many may be connected at once.", default=CONNECTIONS, minimum=2, maximum=100_000
    )
    secret_file: Path = setting(
        f"Holds what the publisher shows: {SECRET_BYTES} or more letters and digits.",
        must_exist=True,
    )
    ca_file: Path = setting(
        "Roots (PEM) by which the publisher recognises the broker.", must_exist=True
    )
    certificate_file: Path = setting("Of the broker, with what leads to its root (PEM).")
    key_file: Path = setting("Of the broker (PEM).")
    data_directory: Path = setting(
        "The broker's own store.", default=Path("/var/lib/kerbstone-readers")
    )
    run_as: str = setting(
        "The user that the broker is when it reads its files.", default="mosquitto"
    )

    def secret(self) -> str:
        """Return what the publisher shows.

        Raises:
            OSError: the file cannot be read.
        """
        return self.secret_file.read_text(encoding="utf-8").strip()

    def described(self, configuration: Path) -> tuple[BrokerKind, ReadersBroker]:
        """Return the broker whose files go to a directory.

        Raises:
            NetworkError: a value that no broker takes.
            OSError: the secret cannot be read.
        """
        return BrokerKind(self.kind), ReadersBroker(
            bind=self.bind,
            port=self.port,
            connections=self.connections,
            secret=self.secret(),
            configuration=configuration.absolute(),
            data=self.data_directory.absolute(),
            certificate=self.certificate_file,
            key=self.key_file,
            run_as=self.run_as,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings(DatabaseSettings):
    """Settings of `kerbstone publish`."""

    base_url: str = setting(
        "How people reach the API, as in the settings of serve: links begin with it.",
        pattern=r"https?://[^\s/]+",
    )
    catch_up_seconds: int = setting(
        "After a pause, what was stored at most that long ago is still published.",
        default=3600,
        minimum=60,
        maximum=604_800,
    )
    broker: ReadersBrokerSettings
    metrics: MetricsSettings = MetricsSettings()

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse what the database settings refuse."""
        yield from DatabaseSettings.contradictions(self)
