"""What the enrolment service is told in its TOML file. Secrets are paths to files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from runtime.metrics import MetricsSettings
from runtime.settings import setting
from storage.settings import DatabaseSettings, KeyPath

PASSPHRASE_CREDENTIAL: Final = "authority-passphrase"  # noqa: S105 - its name
"""Name of the systemd credential that holds the passphrase where no file is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerNodeSettings:
    """How one node of a NATS cluster is told that its files have changed.

    They are written to `configuration_directory`, below the node's name. A node on another machine
    is told by a command that copies them to the same place there and has it reload.
    """

    name: str = setting("Name of the node, as in the network description.")
    data_directory: Path | None = setting(
        "Directory it keeps its own files in, where that is not `data_directory` of [broker].",
        default=None,
    )
    pid_file: Path | None = setting(
        "File with its process id, which is sent SIGHUP to reload; for a node on this machine.",
        default=None,
    )
    reload_command: tuple[str, ...] = setting(
        "Instead: a command that brings it its files and makes it reload, word by word.",
        default=(),
    )
    log_file: Path | None = setting(
        "The file it logs to, if it can be read here: a reload it refuses is then noticed.",
        default=None,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse both ways to reload, and none."""
        if bool(self.reload_command) == (self.pid_file is not None):
            yield ("pid_file",), "give either pid_file or reload_command"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFilesSettings:
    """The broker whose files the service keeps up to date."""

    kind: Literal["mosquitto", "nats"] = setting("Which broker it is.", default="mosquitto")
    configuration_directory: Path = setting("Directory its files are written to.")
    data_directory: Path = setting("Directory the broker keeps its own files in.")
    run_as: str = setting("User that Mosquitto becomes.", default="mosquitto")
    pid_file: Path | None = setting(
        "File with the broker's process id, which is sent SIGHUP to reload.", default=None
    )
    reload_command: tuple[str, ...] = setting(
        "Instead: a command that makes the broker reload, word by word. Neither is used for a "
        "cluster: there each node has its own.",
        default=(),
    )
    restart_command: tuple[str, ...] = setting(
        "A command that restarts the broker when a council is added, which Mosquitto cannot take "
        "otherwise; without it that is left to you, and said in the log.",
        default=(),
    )
    log_file: Path | None = setting(
        "The file the broker logs to, if any: a reload it refuses is then noticed.", default=None
    )
    node: tuple[BrokerNodeSettings, ...] = ()

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse both ways to reload, and none; of a cluster each node says its own."""
        if self.node and self.kind != "nats":
            yield ("node",), 'are a cluster\'s: set kind = "nats"'
        names = [node.name for node in self.node]
        for number, name in enumerate(names):
            if name in names[:number]:
                yield ("node", number, "name"), "stands twice"
        if self.node:
            return
        if bool(self.reload_command) == (self.pid_file is not None):
            yield ("pid_file",), "give either pid_file or reload_command"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessLimits:
    """How many wrong tokens are answered before addresses are made to wait."""

    per_address: int = setting(
        "Wrong tokens from one address within the window.", default=10, minimum=1
    )
    overall: int = setting("Wrong tokens from everybody within it.", default=1000, minimum=1)
    window_seconds: int = setting("Length of the window.", default=600, minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentSettings(DatabaseSettings):
    """Everything the enrolment service is told."""

    host: str = setting("Address to listen on.", default="0.0.0.0")  # noqa: S104 - gateways are outside
    port: int = setting("TCP port; 0 takes a free one.", default=8445, minimum=0, maximum=65535)
    public_url: str = setting(
        "How gateways reach it, without a path; its certificate names this host.",
        pattern=r"https://[^\s/]+",
    )
    authority_directory: Path = setting("The certificate authority's directory.", must_exist=True)
    passphrase_file: Path | None = setting(
        "File with the passphrase of the authority's keys. Without it the systemd credential "
        f"{PASSPHRASE_CREDENTIAL} is used; without either the keys must be unencrypted, which is "
        "for trials.",
        default=None,
        must_exist=True,
    )
    network_file: Path = setting("The network description.", must_exist=True)
    gateway_lifetime_seconds: int = setting(
        "How long a gateway's certificate lives; it is renewed at two thirds of that.",
        default=604_800,
        minimum=30,
    )
    guesses: GuessLimits = GuessLimits()
    broker: BrokerFilesSettings | None = None
    metrics: MetricsSettings = MetricsSettings()
