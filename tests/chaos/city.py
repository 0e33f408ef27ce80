"""The whole city under test, for real: broker, database, central processes, gateways, links.

What a city is made of comes from the demo's own steps (`command_line.demo.provisioning`). Here
every way to broker and database leads over a link that can be bent, the database and one gateway's
spool lie on small disks where mounting is allowed, and one gateway's clock can be set.
"""

import asyncio
import contextlib
import socket
import time
import tomllib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import make_conninfo

from broker_config.embedded import EmbeddedBroker
from broker_config.files import BrokerKind
from broker_config.free_ports import free_ports
from command_line.demo import provisioning
from command_line.demo.city import City, DemoCouncil, DemoGateway
from command_line.demo.layout import Layout
from command_line.demo.ports import Ports, choose
from command_line.network import workers
from command_line.progress import say
from command_line.toml_text import toml_text
from storage.embedded import EmbeddedDatabase
from tests.chaos.disks import SmallDisk
from tests.chaos.numbered import FIELDS, Sensor, field_name
from tests.chaos.processes import Supervised
from tests.simulators.bent_network import BentNetwork

COUNCILS: Final = (
    DemoCouncil(tenant="camden", gss="E09000007", name="Camden"),
    DemoCouncil(tenant="westminster", gss="E09000033", name="Westminster"),
)
SENSORS_EACH: Final = 2
_DATABASE_DISK_BYTES: Final = 4 << 30  # a bound: what is not written takes no memory
_SPOOL_DISK_BYTES: Final = 256 << 20
_READY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to start. faketime: the library that sets one gateway's clock; None: it keeps ours."""

    root: Path
    gateways: int
    workers: int
    broker: BrokerKind
    timescaledb: bool
    small_disks: bool
    faketime: Path | None


@dataclass(slots=True)
class Running:
    """A city that runs.

    ingest_settings, agent_settings: their files, the latter by the gateway's number.
    processes: by name: "ingest", "analytics", "enrolment", "gateway 0". dsn: straight to the
    database. disks: by the target of a fault. spools: the file of each gateway.
    """

    options: Options
    network: BentNetwork
    database: EmbeddedDatabase
    broker: EmbeddedBroker
    dsn: str
    sensors: list[Sensor]
    ingest_settings: Path
    processes: dict[str, Supervised] = field(default_factory=dict)
    disks: dict[str, SmallDisk] = field(default_factory=dict)
    agent_settings: dict[int, Path] = field(default_factory=dict)

    @property
    def clock_file(self) -> Path:
        """Holds by how many seconds the clock of gateway 0 is off."""
        return clock_file(self.options.root)

    def start_database(self) -> None:
        """Start the database again on its files and port.

        Raises:
            EmbeddedDatabaseError: it did not start.
        """
        self.database.stop()  # harmless when it has ended, and lets go of its directory
        self.database = _start_database(self.options, self.database.port)


def clock_file(root: Path) -> Path:
    """Return the file that says how far the clock of gateway 0 is off."""
    return root / "clock"


@contextlib.asynccontextmanager
async def running(options: Options) -> AsyncIterator[Running]:
    """Start everything; stop it again in reverse order, whatever happens."""
    layout = Layout(options.root)
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(BentNetwork())
        disks = _mount(stack, options, layout)
        say("Starting the database")
        database = await asyncio.to_thread(_start_database, options, None)
        stack.callback(database.stop)
        ports = choose(layout.ports, dashboard=0, councils=len(COUNCILS))
        sensors, gateways = _gateways(options, network, ports)
        city = City(name="Chaos", councils=COUNCILS, gateways=gateways)
        link = network.link("database", database.port)
        founded = await provisioning.found(
            city,
            layout,
            kind=options.broker,
            dsn=make_conninfo(database.dsn, port=link.port),
            ports=ports,
        )
        _lead_ingest_over_a_link(founded, network, options)
        if options.workers > 1:
            passphrase = layout.passphrase.read_bytes()
            await workers.provide(founded.directory, options.workers, passphrase=passphrase)
        say(f"Starting the broker ({options.broker.value})")
        broker = await provisioning.start_embedded_broker(founded, options.broker)
        stack.callback(broker.stop)
        run = Running(
            options,
            network,
            database,
            broker,
            database.dsn,
            sensors,
            founded.directory.ingest_settings,
            disks=disks,
        )
        stack.callback(_stop_all, run)
        await _start_processes(run, founded)
        yield run


def _stop_all(run: Running) -> None:
    """Stop every process and the servers that may have been started anew."""
    for process in reversed(run.processes.values()):
        process.stop()
    run.broker.stop()
    run.database.stop()


def _mount(stack: contextlib.ExitStack, options: Options, layout: Layout) -> dict[str, SmallDisk]:
    if not options.small_disks:
        return {}
    last = options.gateways - 1
    disks = {
        "database": SmallDisk(layout.database, _DATABASE_DISK_BYTES),
        f"gateway {last}": SmallDisk(
            layout.gateway(f"gateway-{last}") / "state", _SPOOL_DISK_BYTES
        ),
    }
    for disk in disks.values():
        disk.mount()
        stack.callback(disk.unmount)
    return disks


def _start_database(options: Options, port: int | None) -> EmbeddedDatabase:
    return EmbeddedDatabase.start(
        Layout(options.root).database, timescaledb=options.timescaledb, port=port, progress=say
    )


def _gateways(
    options: Options, network: BentNetwork, ports: Ports
) -> tuple[list[Sensor], tuple[DemoGateway, ...]]:
    """Return the sensors, and the gateways they push to, each behind a link of its own."""
    sensors: list[Sensor] = []
    gateways = []
    for number in range(options.gateways):
        council = number % len(COUNCILS)
        on_its_own = options.broker is BrokerKind.MOSQUITTO
        target = ports.councils[council] if on_its_own else ports.service
        link = network.link(f"gateway {number}", target)
        [port] = free_ports(1)
        own = [Sensor(number * SENSORS_EACH + each, number, port) for each in range(SENSORS_EACH)]
        sensors += own
        gateways.append(_gateway(number, COUNCILS[council].tenant, own, link.port, port))
    return sensors, tuple(gateways)


def _gateway(
    number: int, tenant: str, sensors: list[Sensor], broker_port: int, port: int
) -> DemoGateway:
    thing = {
        "urn": f"urn:dev:kerbstone:site:gateway-{number}",
        "name": f"Gateway {number}",
        "description": "Readings that are their own number.",
        "longitude": -0.1 - number / 100,
        "latitude": 51.5,
        "place_name": "Test bench",
    }
    return DemoGateway(
        key=f"gateway-{number}",
        name=f"Gateway {number}",
        tenant=tenant,
        things=(thing,),
        sensors=tuple(_sensor_table(sensor, thing["urn"]) for sensor in sensors),
        # Waits are shorter than in the field, so that a short run sees many of them.
        overrides={
            "broker": {"port": broker_port},
            "listener": {"port": port},
            "spool": {"commit_seconds": 0.2, "commit_readings": 1000},
            "uplink": {
                "batch_seconds": 0.5,
                "reannounce_seconds": 2.0,
                "first_retry_seconds": 0.5,
                "retry_seconds": 2.0,
                "drain_readings_per_second": 0.0,
            },
            "status": {"interval_seconds": 1.0},
            "health": {"interval_seconds": 30.0},
        },
        suite=1 + number % 2,
    )


def _sensor_table(sensor: Sensor, thing: object) -> dict[str, Any]:
    return {
        "adapter": "http_push",
        "urn": sensor.urn,
        "thing": thing,
        "name": f"Counter {sensor.number}",
        "description": "Counts.",
        "push_path": sensor.path,
        "time_path": "t",
        "time_form": "unix_milliseconds",
        "fields": {
            field_name(place): {
                "path": f"v[{place}]",
                "name": field_name(place),
                "title": f"Number {place}",
                "description": "The reading's own number.",
                "observed_property": "visibility",
                "unit": "m",
            }
            for place in range(FIELDS)
        },
    }


def _lead_ingest_over_a_link(
    founded: provisioning.Founded, network: BentNetwork, options: Options
) -> None:
    """Let ingest reach its broker over a link, and have its workers."""
    path = founded.directory.ingest_settings
    document = tomllib.loads(path.read_text())
    link = network.link("ingest", document["broker"][0]["port"])
    for connection in document["broker"]:
        connection["port"] = link.port
    if options.workers > 1:
        document["workers"] = options.workers
    path.write_text(toml_text(document))


async def _start_processes(run: Running, founded: provisioning.Founded) -> None:
    directory, layout = founded.directory, founded.layout
    centre = {
        "enrolment": ("enrolment", "run", "--config", str(directory.enrolment_settings)),
        "ingest": ("ingest", "run", "--config", str(directory.ingest_settings)),
        "analytics": ("analytics", "run", "--config", str(directory.analytics_settings)),
    }
    say("Starting enrolment, ingest and analytics")
    for name, words in centre.items():
        run.processes[name] = Supervised(name, words, layout.log(name))
        run.processes[name].start()
    await _until(lambda: _listens(founded.ports.enrolment), run.processes["enrolment"])
    say(f"Enrolling {len(founded.invitations)} gateways")
    await provisioning.enrol_gateways(founded)
    settings = provisioning.write_agent_settings(founded, run.broker)
    say(f"Starting {len(settings)} gateways")
    for number, file in enumerate(settings.values()):
        name = f"gateway {number}"
        run.agent_settings[number] = file
        run.processes[name] = Supervised(
            name,
            ("agent", "run", "--config", str(file)),
            layout.log(f"gateway-{number}"),
            _clock_environment(run) if number == 0 else {},
        )
        run.processes[name].start()
    for sensor in run.sensors:
        name = f"gateway {sensor.gateway}"
        await _until(lambda port=sensor.port: _listens(port), run.processes[name])  # type: ignore[misc]


def _clock_environment(run: Running) -> dict[str, str]:
    """Return what sets a process's clock: the wall clock alone, OpenSSL's sight of it included."""
    if run.options.faketime is None:
        return {}
    run.clock_file.write_text("+0\n")
    return {
        "LD_PRELOAD": str(run.options.faketime),
        "FAKETIME_TIMESTAMP_FILE": str(run.clock_file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # with it, threads that wait for each other spin
    }


async def _until(holds: Callable[[], bool], process: Supervised) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not await asyncio.to_thread(holds):
        if time.monotonic() > deadline or not process.running:
            said = "\n".join(process.log.read_text(errors="replace").splitlines()[-12:])
            raise RuntimeError(f"{process.name} does not answer; {process.log} ends with:\n{said}")
        await asyncio.sleep(0.1)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
