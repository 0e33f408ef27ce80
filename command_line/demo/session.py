"""A running city: servers, central processes and gateways, started in order, stopped in reverse.

The demo and the end-to-end tests share it. What is in the city is
`city`; what its files say is `provisioning`.
"""

import asyncio
import contextlib
import fcntl
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from broker_config.embedded import EmbeddedBroker, start_broker
from command_line.demo import provisioning
from command_line.demo.city import City
from command_line.demo.layout import Layout
from command_line.demo.processes import Children, end_leftovers
from command_line.progress import say
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate

READY_SECONDS: Final = 60.0


class DemoError(Exception):
    """The demo cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to start and on what.

    database: the URL of a server of one's own; else one is started.
    timescaledb: start that of the TimescaleDB prefix.
    broker: "mosquitto" or "nats". port: of the dashboard; in use, another is taken.
    """

    layout: Layout
    broker: str
    timescaledb: bool = False
    database: str | None = None
    port: int = 8400
    fresh: bool = False


@dataclass(slots=True)
class Session:
    """A city that runs.

    address: of the dashboard, ending in a slash. agent_settings: by the gateway's key.
    """

    city: City
    options: Options
    dsn: str
    database: EmbeddedDatabase | None
    broker: EmbeddedBroker
    children: Children
    address: str
    agent_settings: dict[str, Path]

    def restart_database(self) -> None:
        """Start the embedded database again on its files and port, after it was killed."""
        self.database = _start_database(self.options)

    def stop(self) -> None:
        """Stop everything, in reverse order."""
        say("Stopping")
        self.children.stop()
        self.broker.stop()
        if self.database is not None:
            self.database.stop()


@contextlib.asynccontextmanager
async def running(city: City, options: Options) -> AsyncIterator[Session]:
    """Start the city and stop it again, whatever happens.

    Raises:
        DemoError: the data directory is in use, or the API does not answer.
        EmbeddedDatabaseError, BrokerError: a server did not start.
    """
    layout = options.layout
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(layout))
        if options.fresh:
            _clear(layout)
        if leftovers := end_leftovers(layout.processes):
            say(f"Ended {leftovers} processes of an earlier run that was killed")
        database = None
        if options.database is None:
            say("Starting the database")
            database = await asyncio.to_thread(_start_database, options)
            stack.callback(database.stop)
        dsn = options.database or _dsn_of(database)
        await migrate(dsn)
        identities = provisioning.provision_identities(city, layout)
        await provisioning.register(identities, dsn)
        say(f"Starting the broker ({options.broker})")
        broker = _start_broker(options.broker, identities)
        stack.callback(broker.stop)
        children = Children(layout.processes)
        stack.callback(children.stop)
        port = _free_port(options.port)
        agents = _start_children(children, identities, broker, dsn, port)
        address = f"http://127.0.0.1:{port}/"
        await _answering(f"{address}healthz", children)
        session = Session(city, options, dsn, database, broker, children, address, agents)
        stack.callback(
            session.stop
        )  # first of all, and of the database that may have been started anew
        yield session


def _start_children(
    children: Children,
    identities: provisioning.Provisioned,
    broker: EmbeddedBroker,
    dsn: str,
    port: int,
) -> dict[str, Path]:
    layout = identities.layout
    centre = {
        "serve": (
            "serve",
            "--config",
            str(provisioning.write_serve_settings(identities, dsn, port)),
        ),
        "ingest": (
            "ingest",
            "run",
            "--config",
            str(provisioning.write_ingest_settings(identities, broker, dsn)),
        ),
        "analytics": (
            "analytics",
            "run",
            "--config",
            str(provisioning.write_analytics_settings(identities, dsn)),
        ),
    }
    agents = provisioning.write_agent_settings(identities, broker)
    say(f"Starting ingest, dashboard and {len(agents)} gateways")
    for name, words in centre.items():
        children.start(name, words, layout.log(name))
    for key, settings in agents.items():
        words = ("agent", "run", "--config", str(settings))
        children.start(f"gateway {key}", words, layout.log(f"gateway-{key}"))
    return agents


def _start_database(options: Options) -> EmbeddedDatabase:
    return EmbeddedDatabase.start(
        options.layout.database, timescaledb=options.timescaledb, progress=say
    )


def _start_broker(kind: str, identities: provisioning.Provisioned) -> EmbeddedBroker:
    network = identities.network()
    certificates = identities.authority.broker_certificates(network.tenants, [network.host])
    return start_broker(kind, network, identities.layout.broker, certificates)


def _dsn_of(database: EmbeddedDatabase | None) -> str:
    if database is None:
        raise DemoError("no database was given and none was started")
    return database.dsn


@contextlib.contextmanager
def _locked(layout: Layout) -> Iterator[IO[str]]:
    """Hold the data directory, so that two demos never share one."""
    layout.root.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"a demo is running in {layout.root}; stop it, or choose another --data-dir"
            ) from None
        yield lock


def _clear(layout: Layout) -> None:
    end_leftovers(layout.processes)
    remove(layout.database)
    for entry in layout.root.iterdir():
        if entry == layout.lock:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _free_port(wanted: int) -> int:
    """Return `wanted` if it is free on loopback, else another, and say so."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                chosen = int(probe.getsockname()[1])
                if wanted not in {0, chosen}:
                    say(f"Port {wanted} is in use; the dashboard is on {chosen}")
                return chosen
    raise DemoError("no free port on 127.0.0.1")


async def _answering(url: str, children: Children) -> None:
    """Wait until the API answers.

    Raises:
        DemoError: it did not in time; with the last lines of its log.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not await asyncio.to_thread(answers, url):
        if time.monotonic() > deadline or not children["serve"].running:
            tail = children["serve"].log_tail()
            raise DemoError(f"{url} does not answer; the API's log ends with:\n{tail}")
        await asyncio.sleep(0.1)


def answers(url: str) -> bool:
    """Return whether an HTTP GET of `url` gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
