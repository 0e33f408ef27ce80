"""An agent process that is measured from outside, as the kernel sees it."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.edge.centre import Centre
from bench.edge.place import DEVICE, TENANT, Place
from bench.errors import BenchError
from bench.machine import cpu_seconds
from enrolment.authority import enrol_locally

_PATIENCE_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.02
_ROOT: Final = Path(__file__).parents[2]

_AGENT: Final = """
import asyncio, pathlib, sys
from edge_agent.agent import run
from edge_agent.settings import AgentSettings
from runtime.settings import load
from runtime.signals import run_until_stopped
settings = load(AgentSettings, pathlib.Path(sys.argv[1]))
sys.exit(asyncio.run(run_until_stopped(run(settings))))
"""

_SETTINGS: Final = """
tenant = "{tenant}"
device = "{device}"
state_directory = "{state}"
[broker]
host = "{endpoint.host}"
port = {endpoint.port}
mqtt_version = "{endpoint.mqtt_version}"
ca_file = "{files.service_root}"
certificate_file = "{files.credential.certificate}"
key_file = "{files.credential.key}"
[trust]
council_root_file = "{files.council_root}"
{further}
[[thing]]
urn = "urn:dev:bench:computer"
name = "This computer"
description = "What the measurement runs on."
longitude = -0.1
latitude = 51.5
place_name = "Here"
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """A process at one moment; `spooled` as it last said."""

    at: float
    readings: int
    spooled: int
    resident_bytes: int
    resident_peak_bytes: int
    written_bytes: int
    cpu_seconds: float


class MeasuredAgent:
    """A running agent and its centre, which answers only once `begin_centre` was called."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        state: Path,
        centre: Centre,
        begun: float,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.centre = centre
        self._process = process
        self._state = state
        self._begun = begun
        self._tasks = tasks
        self._answering: list[asyncio.Task[Any]] = []

    @property
    def seconds_to_first_message(self) -> float:
        """From the start of the process to its first readings at the centre."""
        return self.centre.first_message_at - self._begun

    def begin_centre(self) -> None:
        """Let the centre say for whom to seal, and acknowledge."""
        self._answering = [
            self._tasks.create_task(work, name="centre") for work in self.centre.work()
        ]

    def end_centre(self) -> None:
        """Stop it."""
        for task in self._answering:
            task.cancel()

    async def seconds_to_run(self) -> float:
        """Return how long after its start the agent ran, which it says by its first status.

        Raises:
            BenchError: it does not run.
        """
        await self.until((self._state / "status.json").exists)
        return time.monotonic() - self._begun

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()` is true.

        Raises:
            BenchError: it is not, after five minutes or the agent's end.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline or self._process.returncode is not None:
                raise BenchError(f"the agent delivered {self.centre.messages} messages")
            await asyncio.sleep(_POLL_SECONDS)

    def figures(self) -> Figures:
        """Ask the kernel about the process, and the agent about its readings.

        Raises:
            BenchError: the agent has ended.
        """
        try:
            status = _table(Path(f"/proc/{self._process.pid}/status"))
            disk = _table(Path(f"/proc/{self._process.pid}/io"))
            facts = json.loads((self._state / "status.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise BenchError(f"the agent has ended: {error}") from error
        return Figures(
            at=time.monotonic(),
            readings=facts["readings"],
            spooled=facts["spool"]["readings"],
            resident_bytes=int(status["VmRSS"].split()[0]) * 1024,
            resident_peak_bytes=int(status["VmHWM"].split()[0]) * 1024,
            written_bytes=int(disk["write_bytes"]),
            cpu_seconds=cpu_seconds(self._process.pid) or 0.0,
        )


@asynccontextmanager
async def measured_agent(
    place: Place, sensors: str, further: str = "", *, answered: bool = True
) -> AsyncIterator[MeasuredAgent]:
    """Run an agent process and a centre for it, and stop both.

    sensors, further: TOML of its [[sensor]] tables, and of tables that come before the things.
    answered: whether the centre answers from the beginning.
    """
    files = enrol_locally(place.authority, TENANT, DEVICE, place.directory / "gateway")
    settings = _SETTINGS.format(
        tenant=TENANT,
        device=DEVICE,
        state="gateway/state",
        endpoint=place.broker.council_endpoint(TENANT),
        files=files,
        further=further,
    )
    path = place.directory / "agent.toml"
    path.write_text(settings + sensors, encoding="utf-8")
    try:
        async with asyncio.TaskGroup() as tasks:
            begun = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _AGENT,
                str(path),
                cwd=_ROOT,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
            state = place.directory / "gateway" / "state"
            agent = MeasuredAgent(process, state, Centre(place, files), begun, tasks)
            if answered:
                agent.begin_centre()
            try:
                yield agent
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()
                agent.end_centre()
    except ExceptionGroup as failures:
        raise _first(failures) from failures


def _first(failures: ExceptionGroup[Exception]) -> Exception:
    failure: Exception = failures
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def _table(path: Path) -> dict[str, str]:
    """Return a file of /proc with a name, a colon and a value on each line."""
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: value.strip() for name, _, value in lines}
