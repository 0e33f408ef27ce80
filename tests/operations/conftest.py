"""A real Prometheus, and a centre of real processes for it to watch."""

import asyncio
import contextlib
import json
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from command_line.testing.provision import find_prometheus
from tests.integration.fix_brokers import run_city
from tests.simulators.centre_processes import CentreProcesses, centre_processes

MONITORING: Final = Path(__file__).parents[2] / "deploy" / "monitoring"
_LOOK_SECONDS: Final = 0.2


class Prometheus:
    """A running server, asked over its HTTP interface."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer; a query that it refuses fails the test with its words."""
        url = f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[Any]:
        """Return the result of an instant query: a sample each."""
        return list(self.get("query", query=expression)["result"])

    async def until(self, holds: Callable[[], bool], *, within: float = 30) -> None:
        """Return once it holds."""
        async with asyncio.timeout(within):
            while not await asyncio.to_thread(_true, holds):  # noqa: ASYNC110 - asks a server
                await asyncio.sleep(_LOOK_SECONDS)


def _true(holds: Callable[[], bool]) -> bool:
    """Return whether it holds; not while the server starts."""
    try:
        return holds()
    except OSError:
        return False


@pytest.fixture(scope="session")
def prometheus_programs() -> Path:
    """Where `prometheus` and `promtool` are; missing ones fail, saying how to get them."""
    found = find_prometheus()
    assert found is not None, "no Prometheus: ./kerbstone test operations gets it"
    return found


@pytest.fixture
async def centre(
    tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> AsyncIterator[CentreProcesses]:
    """A centre of this test's own, of which nothing runs yet but broker and database.

    Ingest may have two workers: each has its certificate, from which Mosquitto takes the client id.
    """
    services = ("ingest", "ingest-w0", "ingest-w1")
    ports = [unused_tcp_port_factory() for _ in range(4)]
    with run_city("mosquitto", tmp_path, services=services) as city:
        for name in services:
            city.service("camden", name)
        async with centre_processes(city, tmp_path, ports) as made:
            yield made


@contextlib.asynccontextmanager
async def watching(
    programs: Path, directory: Path, port: int, targets: Mapping[str, int]
) -> AsyncIterator[Prometheus]:
    """Run Prometheus with the configuration of deploy/monitoring, but faster and on our ports.

    targets: for each address in it, the port that takes its place.
    """
    text = (MONITORING / "prometheus.yml").read_text()
    for address, real in targets.items():
        assert address in text
        text = text.replace(address, f"127.0.0.1:{real}")
    text = text.replace("alerts.yml", str(MONITORING / "alerts.yml")).replace("15s", "500ms")
    config = directory / "prometheus.yml"
    config.write_text(text)
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            programs / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'series'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            await process.wait()
