"""The real agent as a gateway of a city: its settings, its status, its readings at a centre."""

import asyncio
import contextlib
import csv
import sys
import textwrap
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from device_protocol import cbor, cose
from device_protocol.keys import RecipientKey
from edge_agent.health.status import Status, read_status
from edge_agent.settings import AgentSettings
from runtime.settings import load
from tests.integration.fix_brokers import City
from tests.simulators.centre import Centre, Heard, registered

ROOT = Path(__file__).parents[2]
DEVICE = "k7q2m9xd4t"
P256_DEVICE = "w3n8b5rc6h"
SENSOR = "urn:dev:example:analyser"
HOURS = 24 * 30
COLUMNS = ("no2", "pm10")
GAP = range(100, 150)


def write_recording(path: Path) -> None:
    """Write a month of hours: no2 counts them but for a gap, pm10 is no2 and a half."""
    begin = datetime(2009, 11, 1, tzinfo=UTC)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("date", *COLUMNS))
        for hour in range(HOURS):
            time = (begin + timedelta(hours=hour)).isoformat()
            table.writerow((time, "" if hour in GAP else hour, hour + 0.5))


TOML = """
tenant = "camden"
device = "{device}"
state_directory = "state"
[broker]
host = "{host}"
port = {port}
mqtt_version = "{mqtt_version}"
ca_file = "{files.service_root}"
certificate_file = "{files.credential.certificate}"
key_file = "{files.credential.key}"
[trust]
council_root_file = "{files.council_root}"
[spool]
commit_seconds = 0.1
[uplink]
batch_readings = 50
batch_seconds = 0.2
reannounce_seconds = 1.0
retry_seconds = 0.5
{uplink}
[status]
interval_seconds = 0.1
[metrics]
port = {metrics_port}
[[thing]]
urn = "urn:dev:example:site"
name = "Site"
description = "A site."
longitude = -0.125889
latitude = 51.52229
place_name = "Bloomsbury"
[[sensor]]
adapter = "replay"
urn = "urn:dev:example:analyser"
thing = "urn:dev:example:site"
name = "Analyser"
description = "An analyser."
file = "recording.csv"
recorded = "2009"
source = "Nobody"
licence = "None"
live_interval_seconds = 3600
"""
COLUMN = """
[sensor.columns.{name}]
name = "{name}"
title = "{name}"
description = "{name}"
observed_property = "{name}"
unit = "ug/m3"
"""
HOST = """
[[sensor]]
adapter = "host"
urn = "urn:dev:example:computer"
thing = "urn:dev:example:site"
name = "Computer"
description = "A computer."
interval_seconds = 0.1
"""


class Gateway:
    """One gateway in a city: its settings file, and what its agent says of itself."""

    def __init__(self, city: City, directory: Path, device: str = DEVICE) -> None:
        self.device = device
        self.directory = directory
        self.files = city.gateways[device]
        self._endpoint = city.broker.council_endpoint("camden")
        write_recording(directory / "recording.csv")
        self.configure()

    def configure(self, *, sensors: str = "", metrics_port: int = 0, **uplink: float) -> None:
        """Write the settings file; `sensors` is further TOML."""
        text = TOML.format(
            device=self.device,
            host=self._endpoint.host,
            port=self._endpoint.port,
            mqtt_version=self._endpoint.mqtt_version,
            files=self.files,
            metrics_port=metrics_port,
            uplink="\n".join(f"{name} = {value}" for name, value in uplink.items()),
        )
        columns = "".join(COLUMN.format(name=name) for name in COLUMNS)
        self.path.write_text(text + columns + sensors)

    @property
    def path(self) -> Path:
        return self.directory / "agent.toml"

    @property
    def settings(self) -> AgentSettings:
        return load(AgentSettings, self.path)

    def status(self) -> Status:
        return read_status(self.settings)

    def facts(self) -> dict[str, Any]:
        return self.status().facts or {}

    async def until_facts(
        self, hold: Callable[[dict[str, Any]], bool], seconds: float = 20.0
    ) -> None:
        """Wait until the status file exists and its facts are as wanted."""
        async with asyncio.timeout(seconds):
            while not (facts := self.facts()) or not hold(facts):  # noqa: ASYNC110  # a file
                await asyncio.sleep(0.05)

    def expected(self, now: datetime) -> tuple[dict[int, float], dict[int, float]]:
        """Return what no2 and pm10 must hold by time, at a first start at `now`."""
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        first = today - timedelta(days=HOURS // 24 - 1)
        times = {
            hour: int((first + timedelta(hours=hour)).timestamp()) * 1_000_000
            for hour in range(HOURS)
            if first + timedelta(hours=hour) <= now
        }
        return (
            {time: float(hour) for hour, time in times.items() if hour not in GAP},
            {time: hour + 0.5 for hour, time in times.items()},
        )


@pytest.fixture
async def tasks() -> AsyncIterator["Tasks"]:
    running = Tasks()
    yield running
    await running.stop_all()


class Tasks:
    """What runs beside a test; a task that failed fails the test."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def stop(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        while not task.done():  # aiomqtt may swallow a cancellation of the simulated centre
            task.cancel()
            await asyncio.wait([task], timeout=1)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)

    async def stop_all(self) -> None:
        for task in list(self._tasks):
            await self.stop(task)


def centre_of(city: City, device: str = DEVICE, recipient: RecipientKey | None = None) -> Centre:
    return Centre(
        lambda: city.service_client("camden"),
        authority=city.authority,
        tenant="camden",
        devices=[registered("camden", device, city.gateways[device])],
        recipient=recipient,
    )


def results(heard: Heard) -> tuple[dict[int, object], dict[int, object]]:
    """Return the backfilled results by time: those stamped on the hour."""
    no2, pm10 = (
        {
            time: result
            for time, result in heard.results(f"{SENSOR}:{name}").items()
            if time % 3_600_000_000 == 0
        }
        for name in COLUMNS
    )
    return no2, pm10


def bytes_by_seq(heard: Heard) -> dict[tuple[bytes, bytes], set[bytes]]:
    """Return the distinct messages that came for each epoch and sequence number."""
    found = defaultdict(set)
    for _, message in heard.messages:
        headers: Any = cbor.decode(cose.decode_encrypt0(message).protected)
        found[headers[cose.KID], headers[cose.PARTIAL_IV]].add(message)
    return found


AGENT = """
    import asyncio, pathlib, sys
    from edge_agent.agent import run
    from edge_agent.settings import AgentSettings
    from runtime.settings import load
    from runtime.signals import run_until_stopped

    settings = load(AgentSettings, pathlib.Path(sys.argv[1]))
    sys.exit(asyncio.run(run_until_stopped(run(settings))))
"""


@contextlib.asynccontextmanager
async def process(gateway: Gateway) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the agent as a process of its own, killed at the end if it still runs."""
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(AGENT), str(gateway.path), cwd=ROOT
    )
    try:
        yield agent
    finally:
        if agent.returncode is None:
            agent.kill()
            await agent.wait()
