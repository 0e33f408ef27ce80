"""The demo as a newcomer and as somebody else's client see it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import frost_sta_client as fsc
import pytest

from command_line.demo.attack import USER, attack
from command_line.demo.backfill import backfilled
from command_line.demo.layout import Layout
from command_line.demo.london import LONDON
from command_line.demo.session import Options, Session, running
from command_line.network.directory import NetworkDirectory
from storage.embedded import remove

# The client calls a part of its own dependency that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:furl.pathstr:DeprecationWarning")

ROOT = Path(__file__).parents[2]
KERBSTONE = [sys.executable, "-P", "-m", "command_line"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    """The London demo, its past stored, its gateways live."""
    layout = Layout(tmp_path_factory.mktemp("demo"))
    async with running(LONDON, Options(layout=layout, broker="nats", port=0)) as session:
        await backfilled(session)
        yield session
    remove(layout.database)


async def test_an_attack_on_the_running_demo_gets_nothing_through(demo: Session) -> None:
    results = await attack(demo.options.layout, flood_messages=200)
    assert [result for result in results if not result.stopped] == []
    assert {"operator", "stolen gateway"} == {result.by for result in results}
    assert sum(result.readings_meanwhile for result in results) > 0
    network = NetworkDirectory(demo.options.layout.network)
    services = [file.name for file in (network.authority / "services").iterdir()]
    assert services
    assert not [name for name in services if name.startswith(USER)]


async def service(demo: Session) -> fsc.SensorThingsService:
    return await asyncio.to_thread(fsc.SensorThingsService, f"{demo.address}sensorthings/v1.1")


async def test_somebody_elses_client_lists_things_and_datastreams(demo: Session) -> None:
    client = await service(demo)

    def read() -> tuple[list[str], list[Any]]:
        query = client.datastreams().query().filter("ObservedProperty/properties/key eq 'no2'")
        datastreams = query.expand("Thing,Sensor,ObservedProperty").list()
        return [thing.name for thing in client.things().query().list()], list(datastreams)

    things, no2 = await asyncio.to_thread(read)
    assert {"Bloomsbury", "Marylebone Road", "Cromwell Road 2", "North Kensington"} <= set(things)
    assert len(no2) == 4
    assert {datastream.unit_of_measurement.symbol for datastream in no2} == {"ug/m3"}
    assert {datastream.thing.name for datastream in no2} <= set(things)
    assert {datastream.sensor.name for datastream in no2}


async def test_somebody_elses_client_reads_filtered_ordered_expanded_observations(
    demo: Session,
) -> None:
    client = await service(demo)
    ends = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    begins = ends - timedelta(days=1)
    wanted = (
        f"Datastream/Thing/name eq 'Bloomsbury' and phenomenonTime gt {begins:%Y-%m-%dT%H:%M:%SZ}"
        f" and phenomenonTime le {ends:%Y-%m-%dT%H:%M:%SZ} and result ge 0"
    )

    def read() -> list[Any]:
        query = client.observations().query().filter(wanted).orderby("phenomenonTime", "asc")
        return list(query.expand("Datastream").list())

    observations = await asyncio.to_thread(read)
    times = [observation.phenomenon_time for observation in observations]
    assert len(observations) > 100  # eight properties, twenty-four hours, few gaps
    assert times == sorted(times)
    assert all(observation.datastream.name for observation in observations)


async def test_every_page_and_the_metadata_say_that_it_is_a_replay(demo: Session) -> None:
    things = json.loads(await asyncio.to_thread(fetch, f"{demo.address}sensorthings/v1.1/Things"))
    replayed = [thing for thing in things["value"] if "replay" in thing.get("properties", {})]
    assert len(replayed) == 4
    for page in ("", f"sites/{replayed[0]['@iot.id']}", "about-data"):
        text = await asyncio.to_thread(fetch, f"{demo.address}{page}")
        assert b"Time-shifted replay" in text, page


async def test_live_values_go_on_arriving(demo: Session) -> None:
    latest = f"{demo.address}sensorthings/v1.1/Observations?$count=true&$top=0"
    before = json.loads(await asyncio.to_thread(fetch, latest))["@iot.count"]
    await asyncio.sleep(7)
    after = json.loads(await asyncio.to_thread(fetch, latest))["@iot.count"]
    assert after >= before + 20  # this computer alone sends three a second


async def test_status_tells_of_a_running_gateway_on_one_screen(demo: Session) -> None:
    command = [*KERBSTONE, "agent", "status", "--config", str(demo.agent_settings["bloomsbury"])]
    told = await asyncio.to_thread(
        subprocess.run, command, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0
    for fact in ("Connection", "connected since", "Spool", "Acknowledged", "Certificate", "Clock"):
        assert fact in told.stdout
    assert len(told.stdout.splitlines()) <= 24


async def test_a_port_in_use_is_said_and_a_second_demo_on_the_same_data_refused(
    demo: Session,
) -> None:
    command = [*KERBSTONE, "demo", "--headless-check", "--data-dir", str(demo.options.layout.root)]
    told = await asyncio.to_thread(
        subprocess.run, command, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert "a demo is running" in told.stderr


@pytest.mark.timeout(240)
def test_the_command_starts_serves_stops_on_ctrl_c_and_resumes(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    first = check(data)
    assert first["gateways"] == 5
    assert first["observations"] > 50_000
    second = check(data)
    assert second["observations"] >= first["observations"]
    command = [
        *KERBSTONE,
        "demo",
        "--data-dir",
        str(data),
        "--broker",
        "nats",
        "--plain",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as shown:
        assert shown.stderr is not None
        said = ""
        while "Ctrl-C" not in said:
            line = shown.stderr.readline()
            assert line, said
            said += line
        shown.send_signal(signal.SIGINT)
        assert shown.wait(60) in {0, 130}
    assert not (data / "processes").exists()
    remove(Layout(data).database)


def check(data: Path) -> dict[str, Any]:
    command = [*KERBSTONE, "demo", "--headless-check", "--data-dir", str(data)]
    command += ["--broker", "nats", "--plain", "--port", "0"]
    told = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - our own address
        return bytes(response.read())
