"""The centre as an operator runs it: real processes beside a database and a broker, each killable.

The processes are started by the command line with settings files of this test's own; what they
serve at /metrics is read as Prometheus reads it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from command_line.toml_text import toml_text
from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from tests.integration.fix_brokers import City
from tests.integration.region import Region, make_region

CHECKOUT: Final = Path(__file__).parents[2]
STOP_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.1


class CentreProcesses:
    """A region with its database; `start` runs ingest, analytics or serve until `kill` or `stop`.

    ports: of /metrics, by process. page: address of the pages.
    """

    def __init__(
        self, region: Region, database: EmbeddedDatabase, ports: Sequence[int], directory: Path
    ) -> None:
        self.region = region
        self.database = database
        self.directory = directory
        self.ports = dict(zip(("ingest", "serve", "analytics"), ports, strict=False))
        self._page_port = ports[3]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self._page_port}"

    def start(self, *names: str, **ingest: object) -> None:
        """Start processes; `ingest`: more settings of it."""
        for name in names:
            config = self.directory / f"{name}.toml"
            config.write_text(
                toml_text(self._settings(name) | (ingest if name == "ingest" else {}))
            )
            log = (self.directory / f"{name}.log").open("ab")
            self._logs.append(log)
            action = [] if name == "serve" else ["run"]
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "command_line", name, *action, "--config", str(config)],
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
            )

    def _settings(self, name: str) -> dict[str, Any]:
        common = {"dsn": self.region.dsn, "metrics": {"port": self.ports[name]}}
        if name == "analytics":
            return {"refresh_seconds": 0.2} | common
        if name == "serve":
            return {"port": self._page_port} | common
        fields = ("name", "host", "port", "mqtt_version", "client_id", "tenant")
        files = ("ca_file", "certificate_file", "key_file")
        return {
            "service_key_file": str(self.region.directory / "service.key"),
            "recipient_key_files": [str(self.region.directory / "recipient.pem")],
            **common,
            "broker": [
                {each: getattr(broker, each) for each in fields}
                | {each: str(getattr(broker, each)) for each in files}
                for broker in self.region.settings().broker
            ],
        }

    def kill(self, name: str) -> None:
        """End a process without warning."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def end(self, name: str) -> None:
        """Stop a process as an operator does."""
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def child(self, name: str, *words: str) -> int:
        """Return the child of a process that was started with these words."""
        wanted = "\0".join(words)
        [found] = [
            pid
            for pid in _children(self.running[name].pid)
            if wanted in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        return found

    def stop(self) -> None:
        """Stop all that runs."""
        for name in list(self.running):
            self.end(name)
        for log in self._logs:
            log.close()

    def log_of(self, name: str) -> str:
        """Return the end of what a process has logged."""
        return (self.directory / f"{name}.log").read_text(errors="replace")[-3000:]

    async def metric(self, process: str, name: str, **labels: str) -> float | None:
        """Return a sample as the process serves it now; None without it, or without the process."""
        for sample, found, value in await self.samples(process):
            if sample == name and labels.items() <= found.items():
                return value
        return None

    async def samples(self, process: str) -> list[tuple[str, Mapping[str, str], float]]:
        """Return every sample a process serves; none where it does not answer."""
        try:
            text = await asyncio.to_thread(get, f"http://127.0.0.1:{self.ports[process]}/metrics")
        except OSError:
            return []
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    async def until_metric(
        self,
        process: str,
        name: str,
        holds: Callable[[float], bool],
        *,
        within: float = 30,
        **labels: str,
    ) -> float:
        """Return a metric's value once it holds."""
        value: float | None = None
        try:
            async with asyncio.timeout(within):
                while True:
                    value = await self.metric(process, name, **labels)
                    if value is not None and holds(value):
                        return value
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{name} is {value}\n{self.log_of(process)}") from None

    async def until_page_says(self, text: str, *, within: float = 40) -> None:
        """Return once the status page says something, be it that it cannot know."""
        said = ""
        try:
            async with asyncio.timeout(within):
                while text not in said:
                    with contextlib.suppress(OSError):
                        said = await asyncio.to_thread(get, f"{self.page}/status")
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not said:\n{said[:6000]}") from None

    def freeze_database(self, *, frozen: bool) -> None:
        """Stop every process of the database in its tracks, or let them go on."""
        for pid in (self.database.pid, *_children(self.database.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)


def get(url: str) -> str:
    """Return what an address answers, with whatever status."""
    request = urllib.request.Request(url, headers={"Accept": "text/html, text/plain"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                if int(stat.rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return found


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has in use."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@contextlib.asynccontextmanager
async def centre_processes(
    city: City, directory: Path, ports: Sequence[int]
) -> AsyncIterator[CentreProcesses]:
    """Make a region with a database of its own; nothing runs yet, and nothing does afterwards."""
    database = EmbeddedDatabase.start(directory / "database")
    centre: CentreProcesses | None = None
    try:
        await migrate(database.dsn)
        conn: Connection
        async with await connect(database.dsn, autocommit=True, application_name="test") as conn:
            region = await make_region(city, database.dsn, directory, conn)
        centre = CentreProcesses(region, database, ports, directory)
        yield centre
    finally:
        if centre is not None:
            centre.freeze_database(frozen=False)
            centre.stop()
            centre.database.stop()
        remove(directory / "database")
