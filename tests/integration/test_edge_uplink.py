"""The real agent against real brokers and a centre that can be misused.

Whatever happens on the way, every reading arrives, and the spool empties only then.
"""

import asyncio
import contextlib
import csv
import gc
import re
import signal
import socket
import ssl
import sys
import textwrap
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from broker_config.files import BrokerKind
from device_protocol import cbor, cose
from device_protocol.keys import RecipientKey
from edge_agent.agent import run
from edge_agent.delivery.connection import Connection
from edge_agent.delivery.key_sets import KeySets
from edge_agent.health.status import AlreadyRunningError, Status, read_status
from edge_agent.settings import AgentSettings
from runtime.settings import load
from tests.integration.fix_brokers import City
from tests.simulators.centre import Centre, Heard, key_set_of, registered

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


@pytest.fixture
def gateway(own_city: City, tmp_path: Path) -> Gateway:
    return Gateway(own_city, tmp_path)


@pytest.fixture
def centre(own_city: City) -> Centre:
    return centre_of(own_city)


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


async def test_every_reading_arrives_and_then_the_spool_is_empty(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    tasks.start(centre.run())
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    expected = gateway.expected(begun)
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]))
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] == 0)
    assert results(centre.heard) == expected
    assert centre.heard.refusals == []
    assert centre.heard.opened[0].content_format == 60
    assert [thing.urn for thing in centre.heard.descriptions[0].things] == [
        "urn:dev:example:site",
        f"urn:dev:kerbstone:{DEVICE}:health",
    ]
    names = {record.name for record in centre.heard.records}
    assert f"urn:dev:kerbstone:{DEVICE}:health:spool_readings" in names


async def test_a_gateway_with_a_p256_key_uses_suite_2(
    own_city: City, tasks: Tasks, tmp_path: Path
) -> None:
    recipient = RecipientKey.from_private(ec.generate_private_key(ec.SECP256R1()))
    centre = centre_of(own_city, P256_DEVICE, recipient)
    gateway = Gateway(own_city, tmp_path, P256_DEVICE)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: bool(heard.records))
    assert centre.heard.announcements[0].epoch.content_algorithm == 3


async def test_withheld_acknowledgements_stop_the_flow_at_the_window_and_repeat_the_same_bytes(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(window_messages=4)
    tasks.start(centre.run())
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.opened) >= 2)  # the description is through
    centre.withheld = True
    await centre.until(lambda heard: heard.repeated >= 8)
    outstanding = (
        gateway.facts()["messages"]["sealed"] - gateway.facts()["messages"]["acknowledged"]
    )
    assert outstanding == 4
    assert gateway.facts()["spool"]["readings"] >= 150
    assert all(len(messages) == 1 for messages in bytes_by_seq(centre.heard).values())
    assert len(centre.heard.announcements) == 1
    centre.withheld = False
    expected = gateway.expected(begun)
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]))
    assert results(centre.heard) == expected
    assert all(len(messages) == 1 for messages in bytes_by_seq(centre.heard).values())
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] == 0)


async def test_a_broker_killed_and_restarted_costs_no_reading(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(window_messages=3)
    tasks.start(centre.run())
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    for heard_before in (5, 12):
        await centre.until(lambda heard, n=heard_before: len(heard.opened) >= n)
        await asyncio.to_thread(own_city.broker.kill)
        await gateway.until_facts(lambda facts: not facts["connected"])
        await asyncio.to_thread(own_city.broker.restart)
    expected = gateway.expected(begun)
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]), 60)
    assert results(centre.heard) == expected
    assert all(len(messages) == 1 for messages in bytes_by_seq(centre.heard).values())
    assert len(centre.heard.announcements) == 1, "an outage is no reason for a new epoch"
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] == 0)


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


async def test_an_agent_killed_at_any_moment_loses_no_reading(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(window_messages=3)
    tasks.start(centre.run())
    begun = datetime.now(UTC)
    for life, messages in enumerate((1, 3, 4)):
        before = len(centre.heard.opened)
        async with process(gateway) as agent:
            await centre.until(
                lambda heard, life=life, least=before + messages: (
                    len(heard.announcements) > life and len(heard.opened) >= least
                )
            )
            centre.withheld = life == 1
            agent.send_signal(signal.SIGKILL)
            await agent.wait()
        assert not gateway.status().running
        centre.withheld = False
    async with process(gateway) as agent:
        expected = gateway.expected(begun)
        await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]), 60)
        await gateway.until_facts(lambda facts: facts["spool"]["readings"] == 0)
        assert results(centre.heard) == expected
        agent.terminate()
        assert await agent.wait() == 0
    counters = [each.epoch.counter for each in centre.heard.announcements]
    assert counters == [1, 2, 3, 4]
    assert all(len(messages) == 1 for messages in bytes_by_seq(centre.heard).values())
    status = gateway.status()
    assert "DOES NOT RUN" in status.render()
    assert "the agent was stopped" in status.render()


async def test_without_a_key_set_readings_wait(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    await gateway.until_facts(
        lambda facts: facts["waiting_for"] == "no key set has come from the council yet"
    )
    await gateway.until_facts(lambda facts: facts["connected"])
    expected = gateway.expected(begun)
    count = len(expected[0]) + len(expected[1])
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] >= count)
    assert gateway.facts()["messages"] == {}
    tasks.start(centre.run())
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]))
    assert results(centre.heard) == expected


async def test_a_key_set_that_got_lost_on_the_way_is_asked_for_again(
    gateway: Gateway, centre: Centre, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = KeySets.offer
    lost = iter([True, True])
    monkeypatch.setattr(
        KeySets,
        "offer",
        lambda self, message: False if next(lost, False) else offer(self, message),
    )
    monkeypatch.setattr("edge_agent.delivery.uplink._ASK_AGAIN_SECONDS", 0.1)
    tasks.start(centre.run())
    await centre.connected.wait()
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: bool(heard.opened))


async def test_an_agent_stops_at_any_moment(gateway: Gateway, centre: Centre, tasks: Tasks) -> None:
    tasks.start(centre.run())
    await centre.connected.wait()
    for moment in range(30):
        agent = tasks.start(run(gateway.settings))
        await asyncio.sleep(moment * 0.004)
        agent.cancel()
        await asyncio.wait([agent], timeout=15)
        assert agent.cancelled()
        tasks.forget(agent)


async def test_with_nobody_there_nothing_counts_as_delivered(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    running = tasks.start(centre.run())
    await centre.connected.wait()
    await tasks.stop(running)  # the key set stays, retained; nobody subscribes any more
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["epoch_counter"] == 1)
    if own_city.broker.kind is BrokerKind.MOSQUITTO:  # reason code 0x10 exists in MQTT 5 only
        await gateway.until_facts(lambda facts: "not_delivered" in facts["messages"])
    expected = gateway.expected(begun)
    centre = centre_of(own_city, recipient=centre.recipient)
    tasks.start(centre.run())
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]))
    assert results(centre.heard) == expected


async def test_a_new_key_set_means_a_new_epoch_and_an_old_one_is_refused(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(sensors=HOST)
    tasks.start(centre.run())
    agent = tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.opened) > 1)
    second = key_set_of(own_city.authority, "camden", {"main": centre.recipient}, version=2)
    first = centre.key_set
    await centre.publish_key_set(second)
    await centre.until(lambda heard: len(heard.announcements) == 2)
    assert [each.key_set_version for each in centre.heard.announcements] == [1, 2]
    assert centre.heard.announcements[1].previous is not None
    await tasks.stop(agent)
    await centre.publish_key_set(first)
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.announcements) == 3)
    assert centre.heard.announcements[2].key_set_version == 2


async def test_a_key_set_of_another_council_is_not_followed(
    own_city: City,
    gateway: Gateway,
    centre: Centre,
    tasks: Tasks,
    caplog: pytest.LogCaptureFixture,
) -> None:
    centre.key_set = key_set_of(own_city.authority, "leeds", {"main": centre.recipient})
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])
    await centre.connected.wait()
    await asyncio.sleep(0.5)
    refused = sum("key set refused" in record.message for record in caplog.records)
    assert refused <= 2, "a refused key set is not asked for again and again"
    assert gateway.facts()["key_set_version"] is None
    assert centre.heard.announcements == []


async def test_a_higher_counter_at_the_centre_raises_the_alarm(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    centre.highest_counter = 99
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.announcements) == 2)
    assert centre.heard.announcements[1].epoch.counter == 100
    await gateway.until_facts(lambda facts: facts["rolled_back"])
    assert "ALARM" in gateway.status().render()


async def test_a_replaced_certificate_is_taken_up_with_a_new_epoch(
    own_city: City,
    gateway: Gateway,
    centre: Centre,
    tasks: Tasks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_agent.delivery.uplink._WATCH_SECONDS", 0.1)
    gateway.configure(sensors=HOST)
    before = registered("camden", DEVICE, gateway.files)
    tasks.start(run(gateway.settings))
    first = tasks.start(centre.run())
    await centre.until(lambda heard: len(heard.opened) > 1)
    own_city.enrol("camden", DEVICE)
    await gateway.until_facts(lambda facts: facts["epoch_counter"] == 2)
    await tasks.stop(first)
    after = registered("camden", DEVICE, gateway.files)
    assert before.signers.keys() != after.signers.keys()
    again = centre_of(own_city, recipient=centre.recipient)
    tasks.start(again.run())
    await again.until(lambda heard: len(heard.opened) > 1)
    assert again.heard.announcements[-1].signer_kid in after.signers


async def test_silence_is_broken_by_empty_messages(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(heartbeat_seconds=1.0)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: [each.payload for each in heard.opened].count(b"\x80") >= 2)
    assert centre.heard.refusals == []


async def test_a_sensor_that_fails_is_reported_and_the_others_go_on(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(sensors=HOST)
    (gateway.directory / "recording.csv").write_text("time,value\n")
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.results("urn:dev:example:computer:cpu_load")) > 3)
    assert "FAILS" in gateway.status().render()
    assert "no column 'date'" in gateway.status().render()
    write_recording(gateway.directory / "recording.csv")
    await centre.until(lambda heard: bool(heard.results(f"{SENSOR}:no2")))
    await gateway.until_facts(lambda facts: facts["adapters"][SENSOR]["running"])
    assert "FAILS" not in gateway.status().render()


async def test_what_the_broker_does_not_allow_is_not_delivered_but_reported(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.path.write_text(gateway.path.read_text().replace('"camden"', '"leeds"'))
    gateway.settings.state_directory.mkdir()
    key_set = key_set_of(
        own_city.authority, "leeds", {"main": centre.recipient}, signed_by="camden"
    )
    (gateway.settings.state_directory / "key_set.cbor").write_bytes(key_set)
    tasks.start(run(gateway.settings))
    if own_city.broker.kind is BrokerKind.MOSQUITTO:  # tells by reason code 0x87
        await gateway.until_facts(lambda facts: facts["messages"].get("not_delivered", 0) > 1)
    else:  # refuses the subscription
        await gateway.until_facts(lambda facts: "refused" in facts["connection_error"])
        assert "NOT CONNECTED" in gateway.status().render()
    assert gateway.facts()["spool"]["readings"] > 0
    assert gateway.facts()["readings_acknowledged"] == 0


async def test_no_message_is_sent_before_its_announcement_has_its_puback(
    gateway: Gateway, centre: Centre, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    deliver = Connection.deliver

    async def slowly(self: Connection, topic: str, message: bytes, *, retain: bool = False) -> bool:
        kind = topic.split("/")[4]
        order.append(f"{kind} sent")
        answer = await deliver(self, topic, message, retain=retain)
        await asyncio.sleep(0.2 if kind == "k" else 0)
        order.append(f"{kind} answered")
        return answer

    monkeypatch.setattr(Connection, "deliver", slowly)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.opened) > 3)
    assert order[:3] == ["k sent", "k answered", "d sent"]


async def test_a_broker_that_accepts_and_drops_every_connection_is_not_stormed(
    own_city: City, gateway: Gateway, tasks: Tasks
) -> None:
    connections = 0
    is_version_5 = gateway.settings.broker.mqtt_version == "5"
    accepted = bytes.fromhex("2003000000" if is_version_5 else "20020000")  # CONNACK
    server_files = own_city.authority.broker_server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_files.certificate, server_files.key)

    async def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(accepted)
        writer.close()

    async with await asyncio.start_server(drop, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        gateway.path.write_text(
            re.sub(r"(host = .*\n)port = \d+", rf"\1port = {port}", gateway.path.read_text())
            .replace(gateway.settings.broker.host, "127.0.0.1")
            .replace("retry_seconds = 0.5", "retry_seconds = 60")
        )
        agent = tasks.start(run(gateway.settings))
        await gateway.until_facts(lambda facts: facts["connection_error"] != "")
        await asyncio.sleep(3)
        assert not agent.done()
        assert 1 <= connections < 12
        assert gateway.facts()["spool"]["readings"] > 0
        await tasks.stop(agent)


async def test_a_revoked_gateway_is_told_why_it_is_not_let_in(
    own_city: City, gateway: Gateway, tasks: Tasks
) -> None:
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])
    broker = own_city.broker
    await asyncio.to_thread(
        broker.reload,
        broker.network.without_gateway(DEVICE),
        own_city.revocation_list("camden", DEVICE),
    )
    on_mosquitto = broker.kind is BrokerKind.MOSQUITTO
    reason = "this gateway's certificate is revoked" if on_mosquitto else "Not authorized"
    await gateway.until_facts(lambda facts: reason in facts["connection_error"])
    assert reason in gateway.status().render()


async def test_a_second_agent_on_the_same_state_is_refused(gateway: Gateway, tasks: Tasks) -> None:
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])
    with pytest.raises(AlreadyRunningError):
        await run(gateway.settings)
    assert "the agent runs" in gateway.status().render()


async def test_an_agent_that_stops_leaves_no_complaint_behind(
    gateway: Gateway, centre: Centre, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()  # what tests before this one left behind is theirs
    caplog.clear()
    agent = tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])
    await tasks.stop(agent)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_who_has_just_started_it_sees_it_connect(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    often, seldom = (f"[status]\ninterval_seconds = {seconds}" for seconds in ("0.1", "60"))
    gateway.path.write_text(gateway.path.read_text().replace(often, seldom))
    assert gateway.settings.status.interval_seconds == 60
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])


async def test_metrics_tell_of_the_spool_and_the_messages(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gateway.configure(metrics_port=port)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.opened) > 3)

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read(), "utf-8")

    text = await asyncio.to_thread(read)
    for name in (
        "edge_spool_readings ",
        "edge_spool_bytes ",
        "edge_readings_total ",
        'edge_messages_total{outcome="sealed"} ',
        "edge_certificate_expiry_timestamp_seconds ",
    ):
        assert f"\n{name}" in text, name
