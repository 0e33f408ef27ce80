"""What `kerbstone network init` and `nodes` are told; carrying it out is `setup` and `cluster`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from broker_config.files import BrokerKind
from broker_config.nodes import Node

BIND: Final = "0.0.0.0"  # noqa: S104 - gateways come from outside
SERVICE_PORT: Final = 8883
KEEPER_PORT: Final = 8882
ENROLMENT_PORT: Final = 8445


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """What a network is to be.

    directory: see `command_line.network.directory`.
    name: of the network; it stands in every service certificate and cannot change later.
    host: DNS name or address that gateways connect to. bind: address listened on.
    dsn: how to reach the database.
    service_port: listener of the central services, on NATS of everyone.
    keeper_port: on Mosquitto, the listener on loopback where live sessions are ended.
    readers_port: where everybody may subscribe to open data by MQTT, at a broker of its own; None:
        nowhere. api_url: how people reach the API, which stands in what is published.
    enrolment_port, enrolment_url: where gateways enrol; empty: https://<host>:<enrolment_port>.
    passphrase: encrypts the authority's keys; None leaves them unencrypted, for tests only.
    passphrase_file: where the enrolment service finds it when it starts; None: it comes as
        the systemd credential `authority-passphrase`.
    region_passphrase: encrypts the region root's key. region_root_key: directory that key is
        moved to; None: `authority/offline`.
    broker_data: the broker's own store. reload_command, pid_file: how the broker is told of
        changed files, one of the two; both None: as its Debian service. restart_command: how it
        is started anew when a council is added; None: as its Debian service, or, with one of
        those two, by hand.
    settings: more settings, by process: ingest, serve, analytics, enrolment.
    replace_settings: write host, ports and settings files anew although they are there;
        keys and certificates that are good always stay.
    actor: who does it, for the audit; empty: whoever sits at the terminal.
    """

    directory: Path
    name: str
    host: str
    dsn: str
    bind: str = BIND
    service_port: int = SERVICE_PORT
    keeper_port: int = KEEPER_PORT
    enrolment_port: int = ENROLMENT_PORT
    enrolment_url: str = ""
    readers_port: int | None = None
    api_url: str = ""
    broker: BrokerKind = BrokerKind.MOSQUITTO
    passphrase: bytes | None
    passphrase_file: Path | None = None
    region_passphrase: bytes | None
    region_root_key: Path | None = None
    broker_data: Path | None = None
    reload_command: tuple[str, ...] | None = None
    pid_file: Path | None = None
    restart_command: tuple[str, ...] | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    replace_settings: bool = False
    actor: str = ""

    @property
    def public_url(self) -> str:
        """Where gateways reach the enrolment service, without a slash at the end."""
        return self.enrolment_url or f"https://{self._bracketed}:{self.enrolment_port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How nodes are told of changed files, one of the two, and where they keep their own.

    `{node}`, `{host}` and `{directory}` stand for a node's name, host and directory of files.
    """

    reload_command: tuple[str, ...] = ()
    pid_file: str = ""
    data: str = ""

    def table(self, node: Node, directory: Path) -> dict[str, Any]:
        """Return a node's table in the enrolment service's settings."""

        def filled(text: str) -> str:
            for name, value in (
                ("{node}", node.name),
                ("{host}", node.host),
                ("{directory}", str(directory)),
            ):
                text = text.replace(name, value)
            return text

        table: dict[str, Any] = {"name": node.name}
        if self.data:
            table["data_directory"] = filled(self.data)
        if self.pid_file:
            table["pid_file"] = filled(self.pid_file)
        else:
            table["reload_command"] = [filled(word) for word in self.reload_command]
        return table
