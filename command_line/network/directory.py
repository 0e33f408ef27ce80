"""A network's directory: what lies where, and its description `network.toml`.

    network.toml            the network description of `broker_config.network`, without gateways
    authority/              certificate authority (`enrolment.authority`)
    authority/offline/      the region root's key, until somebody moves it away
    broker/                 the broker's rendered files
    centre/database.url     how to reach the database; every settings file points here
    centre/service.key      epoch keys are kept encrypted under it
    centre/recipients/      private keys that gateways seal to
    centre/publisher.secret what the publisher shows the readers' broker, if there is one
    centre/*.toml           settings of ingest, serve, analytics, enrolment and publish

Making all this is `command_line.network.setup`. Gateways stand in the database only.
"""

import contextlib
import fcntl
import os
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from broker_config import network as description
from broker_config.network import STORE_BYTES, Council, Network, NetworkError, Service
from broker_config.nodes import Node, node_rows
from runtime.atomic_files import write_atomically
from storage.database import Connection, connect

DEFAULT_DIRECTORY: Final = Path("/etc/kerbstone/network")
VARIABLE: Final = "KERBSTONE_NETWORK"
INGEST: Final = "ingest"

PUBLIC: Final = 0o644
PRIVATE: Final = 0o600


class NetworkDirectoryError(Exception):
    """The directory holds no network, or a damaged one; the message says what to do."""


def default_directory() -> Path:
    """Return $KERBSTONE_NETWORK, else /etc/kerbstone/network."""
    return Path(os.environ.get(VARIABLE) or DEFAULT_DIRECTORY)


@dataclass(frozen=True, slots=True)
class NetworkDirectory:
    """One network's directory; nothing is read until asked for."""

    root: Path

    @property
    def network_file(self) -> Path:
        """The network description, without gateways."""
        return self.root / "network.toml"

    @property
    def authority(self) -> Path:
        """The certificate authority's own directory."""
        return self.root / "authority"

    @property
    def region_root(self) -> Path:
        """The region root's certificate, which everyone may have."""
        return self.authority / "region-root.pem"

    @property
    def broker(self) -> Path:
        """The broker's rendered files."""
        return self.root / "broker"

    @property
    def centre(self) -> Path:
        """Keys and settings of the central processes."""
        return self.root / "centre"

    @property
    def recipients(self) -> Path:
        """Private keys that gateways seal to, one file each; ingest reads them all."""
        return self.centre / "recipients"

    @property
    def service_key(self) -> Path:
        """What epoch keys are kept encrypted under."""
        return self.centre / "service.key"

    @property
    def database_file(self) -> Path:
        """Holds how to reach the database; all settings files point here."""
        return self.centre / "database.url"

    @property
    def ingest_settings(self) -> Path:
        """Settings of `kerbstone ingest run`."""
        return self.centre / "ingest.toml"

    @property
    def serve_settings(self) -> Path:
        """Settings of `kerbstone serve`."""
        return self.centre / "serve.toml"

    @property
    def analytics_settings(self) -> Path:
        """Settings of `kerbstone analytics run`."""
        return self.centre / "analytics.toml"

    @property
    def enrolment_settings(self) -> Path:
        """Settings of `kerbstone enrolment run`."""
        return self.centre / "enrolment.toml"

    @property
    def publish_settings(self) -> Path:
        """Settings of `kerbstone publish`, if everybody may subscribe to open data."""
        return self.centre / "publish.toml"

    @property
    def publisher_secret(self) -> Path:
        """What the publisher shows the readers' broker."""
        return self.centre / "publisher.secret"

    def exists(self) -> bool:
        """Return whether a network has been made here."""
        return self.network_file.exists()

    def dsn(self) -> str:
        """Return how to reach the database.

        Raises:
            NetworkDirectoryError: no network has been made here, or its file is not readable.
        """
        self.check()
        try:
            return self.database_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise NetworkDirectoryError(
                f"{self.database_file} cannot be read: {error.strerror}; run `kerbstone network "
                "init` again, or run this as the user who did"
            ) from error

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Connect to the database, autocommit: wrap what belongs together in a transaction.

        Raises:
            NetworkDirectoryError: as `dsn`.
            psycopg.OperationalError: the server cannot be reached or refuses us.
        """
        conn = await connect(self.dsn(), autocommit=True, application_name="kerbstone network")
        async with conn:
            yield conn

    def check(self) -> None:
        """Return if a network has been made here.

        Raises:
            NetworkDirectoryError: it has not.
        """
        if not self.exists():
            raise NetworkDirectoryError(
                f"{self.root} holds no network; make one with `kerbstone network init`, or name "
                f"another with --directory or ${VARIABLE}"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory while its files change; whoever comes second waits."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """`network.toml` as values. Unlike a `Network` it may have no council yet."""

    name: str
    host: str
    bind: str
    service_port: int
    keeper_port: int
    councils: tuple[Council, ...] = ()
    services: tuple[str, ...] = (INGEST,)
    nodes: tuple[Node, ...] = ()
    council_store_bytes: int = STORE_BYTES

    def __post_init__(self) -> None:
        # A council that stands in for the first one, so that the rest is checked all the same.
        self._network(self.councils or (_NOBODY,))

    def network(self) -> Network:
        """Return it as a broker needs it, with ingest, still without gateways.

        Raises:
            NetworkDirectoryError: there is no council yet.
        """
        if not self.councils:
            raise NetworkDirectoryError(
                f"network {self.name!r} has no council yet; add one with "
                "`kerbstone network council add`"
            )
        return self._network(self.councils)

    def council(self, tenant: str) -> Council | None:
        """Return the council of this short name."""
        return next((each for each in self.councils if each.tenant == tenant), None)

    def with_council(self, council: Council) -> "Description":
        """Return the description with this council added, or in the place of its namesake.

        Raises:
            NetworkError: a bad name, code or port, or one that another council has.
        """
        if self.council(council.tenant) is None:
            return replace(self, councils=(*self.councils, council))
        kept = (council if each.tenant == council.tenant else each for each in self.councils)
        return replace(self, councils=tuple(kept))

    def _network(self, councils: tuple[Council, ...]) -> Network:
        tenants = tuple(council.tenant for council in councils)
        return Network(
            name=self.name,
            host=self.host,
            bind=self.bind,
            service_port=self.service_port,
            keeper_port=self.keeper_port,
            councils=councils,
            services=tuple(Service(name, tenants) for name in self.services),
            nodes=self.nodes,
            council_store_bytes=self.council_store_bytes,
        )


_NOBODY: Final = Council(tenant="nobody", gss="X00000000", name="Nobody")


def read_description(directory: NetworkDirectory) -> Description:
    """Read `network.toml`.

    Raises:
        NetworkDirectoryError: no network has been made here.
        NetworkError: the file is damaged; every mistake is named.
    """
    directory.check()
    text = directory.network_file.read_text(encoding="utf-8")
    document = _document(directory.network_file, text)
    if document.get("council"):
        network = description.load(directory.network_file)
        return Description(
            name=network.name,
            host=network.host,
            bind=network.bind,
            service_port=network.service_port,
            keeper_port=network.keeper_port,
            councils=network.councils,
            services=tuple(service.name for service in network.services),
            nodes=network.nodes,
            council_store_bytes=network.council_store_bytes,
        )
    keys = ("name", "host", "bind", "service_port", "keeper_port")
    if missing := [key for key in keys if key not in document]:
        raise NetworkError(f"{directory.network_file}: {', '.join(missing)} missing")
    return Description(
        **{key: document[key] for key in keys},
        nodes=description.read_nodes(document),
        council_store_bytes=document.get("council_store_bytes", STORE_BYTES),
    )


def write_description(directory: NetworkDirectory, described: Description) -> None:
    """Write `network.toml`, whole or not at all."""
    if described.councils:
        text = description.dump(described.network())
    else:
        head = replace(described, councils=(_NOBODY,)).network()
        above = description.dump(head).partition("\n[[")[0].rstrip("\n")
        text = "\n".join((above, *node_rows(described.nodes))) + "\n"
    note = (
        "# Councils are added by `kerbstone network council add`, gateways stand in the database.\n"
    )
    write_atomically(directory.network_file, (note + text).encode(), PUBLIC)


def _document(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NetworkError(f"{file}: not TOML: {error}") from error
