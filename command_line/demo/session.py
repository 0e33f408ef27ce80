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
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from broker_config.embedded import EmbeddedBroker
from broker_config.files import BrokerKind
from broker_config.readers_broker import EmbeddedReadersBroker
from command_line.demo import provisioning
from command_line.demo.city import City
from command_line.demo.layout import Layout
from command_line.demo.ports import choose
from command_line.demo.processes import Children, end_leftovers
from command_line.network.directory import NetworkDirectory
from command_line.progress import say
from storage.embedded import EmbeddedDatabase, remove

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
    network: NetworkDirectory
    database: EmbeddedDatabase | None
    broker: EmbeddedBroker
    readers: EmbeddedReadersBroker
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
        self.readers.stop()
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
        if (layout.root / "authority").exists():
            raise DemoError(
                f"{layout.root} was made by an earlier version, in which gateways did not enrol "
                "by themselves; start with --fresh, which forgets it, or choose another --data-dir"
            )
        if leftovers := end_leftovers(layout.processes):
            say(f"Ended {leftovers} processes of an earlier run that was killed")
        database = None
        if options.database is None:
            say("Starting the database")
            database = await asyncio.to_thread(_start_database, options)
            stack.callback(database.stop)
        dsn = options.database or _dsn_of(database)
        ports = choose(layout.ports, dashboard=options.port, councils=len(city.councils))
        if options.port not in {0, ports.dashboard}:
            say(f"Port {options.port} is in use; the dashboard is on {ports.dashboard}")
        kind = BrokerKind(options.broker)
        founded = await provisioning.found(city, layout, kind=kind, dsn=dsn, ports=ports)
        say(f"Starting the broker ({options.broker})")
        broker = await provisioning.start_embedded_broker(founded, kind)
        stack.callback(broker.stop)
        readers = await asyncio.to_thread(provisioning.start_readers_broker, founded)
        stack.callback(readers.stop)
        children = Children(layout.processes)
        stack.callback(children.stop)
        address = f"http://{provisioning.LOOPBACK}:{ports.dashboard}/"
        agents = await _start_children(children, founded, broker, address)
        session = Session(
            city=city,
            options=options,
            dsn=dsn,
            network=founded.directory,
            database=database,
            broker=broker,
            readers=readers,
            children=children,
            address=address,
            agent_settings=agents,
        )
        stack.callback(
            session.stop
        )  # first of all, and of the database that may have been started anew
        yield session


async def _start_children(
    children: Children,
    founded: provisioning.Founded,
    broker: EmbeddedBroker,
    address: str,
) -> dict[str, Path]:
    """Start the centre, let the gateways enrol and start them; return their settings files."""
    layout, directory = founded.layout, founded.directory
    centre = {
        "enrolment": ("enrolment", "run", "--config", str(directory.enrolment_settings)),
        "serve": ("serve", "--config", str(directory.serve_settings)),
        "ingest": ("ingest", "run", "--config", str(directory.ingest_settings)),
        "analytics": ("analytics", "run", "--config", str(directory.analytics_settings)),
        "publish": ("publish", "run", "--config", str(directory.publish_settings)),
    }
    say("Starting enrolment, ingest and dashboard")
    for name, words in centre.items():
        children.start(name, words, layout.log(name))
    if founded.invitations:
        await _until(lambda: _listens(founded.ports.enrolment), "enrolment", children)
        say(f"Enrolling {len(founded.invitations)} gateways")
        await provisioning.enrol_gateways(founded)
    agents = provisioning.write_agent_settings(founded, broker)
    say(f"Starting {len(agents)} gateways")
    for key, settings in agents.items():
        words = ("agent", "run", "--config", str(settings))
        children.start(f"gateway {key}", words, layout.log(f"gateway-{key}"))
    await _until(lambda: _listens(founded.ports.enrolment), "enrolment", children)
    await _until(lambda: answers(f"{address}healthz"), "serve", children)
    return agents


def _start_database(options: Options) -> EmbeddedDatabase:
    return EmbeddedDatabase.start(
        options.layout.database, timescaledb=options.timescaledb, progress=say
    )


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


async def _until(holds: Callable[[], bool], name: str, children: Children) -> None:
    """Wait until a central process serves.

    Raises:
        DemoError: it did not in time; with the last lines of its log.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not await asyncio.to_thread(holds):
        if time.monotonic() > deadline or not children[name].running:
            tail = children[name].log_tail()
            raise DemoError(f"{name} does not answer; its log ends with:\n{tail}")
        await asyncio.sleep(0.1)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((provisioning.LOOPBACK, port), timeout=5).close()
    except OSError:
        return False
    return True


def answers(url: str) -> bool:
    """Return whether an HTTP GET of `url` gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
