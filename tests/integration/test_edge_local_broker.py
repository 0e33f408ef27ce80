"""A real Mosquitto beside the gateway: what is not on the disk stays with it, and comes once."""

import asyncio
import contextlib
import signal
import ssl
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import aiomqtt
import pytest

from edge_agent.adapter import Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.input_settings import LocalBrokerSettings
from edge_agent.inputs.fields import FieldSettings
from edge_agent.inputs.local_broker import Message, messages
from edge_agent.sensors.mqtt_json import MqttJsonSettings, harvests
from edge_agent.sources import SourceError, Sources
from enrolment.authority import Authority
from tests.simulators.local_mosquitto import LocalMosquitto, local_mosquitto
from tests.simulators.local_nats import local_nats

TOPIC = "zigbee2mqtt/yard"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalMosquitto]:
    with local_mosquitto(tmp_path / "mosquitto") as running:
        yield running


@pytest.fixture
def local(broker: LocalMosquitto) -> LocalBrokerSettings:
    return LocalBrokerSettings(name="yard", port=broker.port, client_id="kerbstone-test")


@asynccontextmanager
async def gateway(directory: Path, *brokers: LocalBrokerSettings) -> AsyncIterator[Surroundings]:
    """What an agent's adapters are given, from start to stop."""
    async with Sources() as sources:
        clock = Clock(directory / "clock", source=lambda: ClockQuality.NETWORK)
        yield Surroundings(clock, directory, sources=sources, local_brokers=brokers)


class Broker(Protocol):
    """What a publisher must know of a broker."""

    port: int
    password: str
    credential: tuple[Path, Path] | None


async def publish(broker: Broker, *payloads: str, retain: bool = False) -> None:
    user = "gateway" if broker.password else None
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=user,
        password=broker.password or None,
        tls_context=_careless() if broker.credential else None,
    ) as client:
        for payload in payloads:
            await client.publish(TOPIC, payload, qos=1, retain=retain)


def _careless() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Reader:
    """A task that reads a filter and keeps what comes, but for greetings.

    acknowledges: whether at once.
    """

    def __init__(self, surroundings: Surroundings, topic_filter: str = "zigbee2mqtt/+") -> None:
        self.messages: list[Message] = []
        self.greeted = asyncio.Event()
        self.acknowledges = True
        self._changed = asyncio.Event()
        self._source = messages(surroundings, "yard", topic_filter)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with aclosing(self._source) as found:
            async for message in found:
                if message.payload == b"hello":
                    message.acknowledge()
                    self.greeted.set()
                    continue
                self.messages.append(message)
                if self.acknowledges:
                    message.acknowledge()
                self._changed.set()

    async def payloads(self, count: int) -> list[bytes]:
        """Return what came, once so many messages have, or the reading has failed."""
        while len(self.messages) < count:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            await asyncio.wait((changed, self.task), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if self.task.done():
                self.task.result()
        return [message.payload for message in self.messages]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def subscribed(*readers: Reader, broker: Broker) -> None:
    """Return when a message has reached each reader."""
    for reader in readers:
        while not reader.greeted.is_set():
            await publish(broker, "hello")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.greeted.wait()


async def test_sensors_with_overlapping_filters_each_get_every_message_once(
    broker: LocalMosquitto, local: LocalBrokerSettings, tmp_path: Path
) -> None:
    async with gateway(tmp_path, local) as surroundings:
        filters = (TOPIC, "zigbee2mqtt/+", "zigbee2mqtt/#", "+/yard", TOPIC)
        readers = [Reader(surroundings, each) for each in filters]
        await subscribed(*readers, broker=broker)
        await publish(broker, *(str(number) for number in range(10)))
        for reader in readers:
            assert await reader.payloads(10) == [str(number).encode() for number in range(10)]
        await asyncio.gather(*(reader.stop() for reader in readers))


KILLED = """
import asyncio, sys
from pathlib import Path
from edge_agent.clock import Clock
from edge_agent.inputs.local_broker import messages
from edge_agent.input_settings import LocalBrokerSettings
from edge_agent.sources import Sources
from edge_agent.adapter import Surroundings

async def main():
    local = LocalBrokerSettings(name="yard", port=int(sys.argv[1]), client_id="kerbstone-test")
    async with Sources() as sources:
        surroundings = Surroundings(
            Clock(Path(sys.argv[2])), Path("."), sources=sources, local_brokers=(local,)
        )
        held = []
        async for message in messages(surroundings, "yard", "zigbee2mqtt/+"):
            held.append(message)
            print(message.payload.decode(), flush=True)

asyncio.run(main())
"""


async def test_an_agent_killed_before_it_stored_a_message_gets_it_again(
    broker: LocalMosquitto, local: LocalBrokerSettings, tmp_path: Path
) -> None:
    agent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(KILLED),
        str(broker.port),
        str(tmp_path / "clock"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert agent.stdout is not None
        received = b""
        while not received:
            await publish(broker, "first")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    received = await agent.stdout.readline()
        assert received == b"first\n"
    finally:
        agent.send_signal(signal.SIGKILL)
        await agent.wait()
    await publish(broker, "while it was down")
    async with gateway(tmp_path, local) as surroundings:
        reader = Reader(surroundings)
        while b"while it was down" not in (
            found := await reader.payloads(len(reader.messages) + 1)
        ):
            pass
        assert found[0] == b"first"
        await reader.stop()
    async with gateway(tmp_path, local) as surroundings:
        reader = Reader(surroundings)
        await publish(broker, "after")
        assert await reader.payloads(1) == [b"after"], "what was acknowledged does not come again"
        await reader.stop()


async def test_an_agent_that_stops_waits_for_what_is_on_its_way_to_the_disk(
    broker: LocalMosquitto, local: LocalBrokerSettings, tmp_path: Path
) -> None:
    async with gateway(tmp_path, local) as surroundings:
        reader = Reader(surroundings)
        await subscribed(reader, broker=broker)
        reader.acknowledges = False
        await publish(broker, "stored while stopping")
        await reader.payloads(1)
        await reader.stop()
        asyncio.get_running_loop().call_soon(reader.messages[0].acknowledge)
    async with gateway(tmp_path, local) as surroundings:
        reader = Reader(surroundings)
        await publish(broker, "next")
        assert await reader.payloads(1) == [b"next"]
        await reader.stop()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_broker_that_restarts_fails_its_readers_and_nothing_is_lost_or_doubled(
    broker: LocalMosquitto, local: LocalBrokerSettings, tmp_path: Path, how: signal.Signals
) -> None:
    async with gateway(tmp_path, local) as surroundings:
        reader = Reader(surroundings)
        await subscribed(reader, broker=broker)
        reader.acknowledges = False
        await publish(broker, "before")
        await reader.payloads(1)
        broker.stop(how)
        with pytest.raises(SourceError, match="local broker yard"):
            await reader.payloads(2)
        with pytest.raises(SourceError, match="nothing listens there; does the broker run"):
            await Reader(surroundings).payloads(1)
        broker.start()
        again = Reader(surroundings)
        await subscribed(again, broker=broker)
        reader.messages[0].acknowledge()  # stored meanwhile: its copy must not come
        await publish(broker, "after")
        assert await again.payloads(1) == [b"after"]
        await again.stop()
    async with gateway(tmp_path, local) as surroundings:
        last = Reader(surroundings)
        await publish(broker, "end")
        assert await last.payloads(1) == [b"end"]
        await last.stop()


async def test_more_messages_than_the_window_arrive_as_they_are_acknowledged(
    broker: LocalMosquitto, local: LocalBrokerSettings, tmp_path: Path
) -> None:
    async with gateway(tmp_path, local) as surroundings:
        reader = Reader(surroundings)
        await subscribed(reader, broker=broker)
        await publish(broker, *(str(number) for number in range(400)))
        assert await reader.payloads(400) == [str(number).encode() for number in range(400)]
        await reader.stop()


async def test_a_broker_that_asks_for_a_password_gets_the_one_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("right\n")
    (tmp_path / "wrong").write_text("wrong\n")
    with local_mosquitto(tmp_path / "mosquitto", password="right") as broker:
        local = LocalBrokerSettings(
            name="yard",
            port=broker.port,
            client_id="kerbstone-test",
            username="gateway",
            password_file=tmp_path / "password",
        )
        for file, admitted in (("password", True), ("wrong", False)):
            settings = replace(local, password_file=tmp_path / file)
            async with gateway(tmp_path, settings) as surroundings:
                reader = Reader(surroundings)
                if admitted:
                    await subscribed(reader, broker=broker)
                else:
                    with pytest.raises(SourceError, match="local broker yard"):
                        await reader.payloads(1)
                await reader.stop()


async def test_a_broker_that_speaks_tls_is_trusted_by_the_file_in_the_settings(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path / "authority", "Test")
    credential = authority.broker_server(["localhost"])
    files = (credential.certificate, credential.key)
    with local_mosquitto(tmp_path / "mosquitto", credential=files) as broker:
        local = LocalBrokerSettings(
            name="yard",
            host="localhost",
            port=broker.port,
            client_id="kerbstone-test",
            ca_file=authority.service_root(),
        )
        async with gateway(tmp_path, local) as surroundings:
            reader = Reader(surroundings)
            await subscribed(reader, broker=broker)
            await reader.stop()
        other = Authority(tmp_path / "other", "Other").service_root()
        async with gateway(tmp_path, replace(local, ca_file=other)) as surroundings:
            with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
                await Reader(surroundings).payloads(1)


@dataclass
class OldBroker:
    """NATS as the publisher sees it."""

    port: int
    password: str = ""
    credential: None = None


async def test_a_broker_of_mqtt_3_1_1_is_read_as_well_and_its_copies_count_once(
    tmp_path: Path,
) -> None:
    with local_nats(tmp_path / "nats") as port:
        broker = OldBroker(port)
        local = LocalBrokerSettings(name="yard", port=port, client_id="kerbstone-test")
        numbers = [str(number) for number in range(10)]
        async with gateway(tmp_path, local) as surroundings:
            readers = [Reader(surroundings, each) for each in (TOPIC, "zigbee2mqtt/#", TOPIC)]
            await subscribed(*readers, broker=broker)
            await publish(broker, *numbers)
            for reader in readers:
                assert await reader.payloads(10) == [each.encode() for each in numbers]
            await asyncio.gather(*(reader.stop() for reader in readers))
        await publish(broker, "while it was down")
        async with gateway(tmp_path, local) as surroundings:
            readers = [Reader(surroundings, each) for each in (TOPIC, "zigbee2mqtt/#")]
            for reader in readers:
                assert await reader.payloads(1) == [b"while it was down"]
            await asyncio.gather(*(reader.stop() for reader in readers))


def sensor(**changes: Any) -> MqttJsonSettings:
    values: dict[str, Any] = {
        "urn": "urn:dev:example:yard",
        "thing": "urn:dev:example:lamp-1",
        "name": "Yard",
        "description": "A thermometer.",
        "local_broker": "yard",
        "topic": TOPIC,
        "fields": MappingProxyType(
            {
                "temperature": FieldSettings(
                    name="temperature",
                    title="Temperature",
                    description="Of the air.",
                    observed_property="air_temperature",
                    unit="Cel",
                    path="temperature",
                )
            }
        ),
    }
    return MqttJsonSettings(**(values | changes))


async def test_a_zigbee_sensor_is_read_and_its_retained_message_left_out(
    broker: LocalMosquitto, local: LocalBrokerSettings, tmp_path: Path
) -> None:
    await publish(broker, '{"temperature": 1.5}', retain=True)
    async with (
        gateway(tmp_path, local) as surroundings,
        aclosing(harvests(sensor(), surroundings)) as found,
    ):
        taking = asyncio.ensure_future(anext(found))
        while not taking.done():
            await publish(
                broker,
                '{"temperature": null, "linkquality": 120}',
                '{"temperature": "not yet"}',
                "online",
                "",
                "rubbish",
                '{"temperature": 21.5, "battery": 97}',
            )
            await asyncio.wait([taking], timeout=0.2)
        harvest = taking.result()
        assert [(each.name, each.result) for each in harvest.readings] == [("temperature", 21.5)]
        assert harvest.stored is not None
        harvest.stored()


async def test_a_retained_message_that_tells_its_time_is_used_once(
    broker: LocalMosquitto, local: LocalBrokerSettings, tmp_path: Path
) -> None:
    settings = sensor(retained="use", time_path="at", time_form="iso8601")
    body = '{"temperature": %s, "at": "2026-01-0%d 00:00:00Z"}'
    await publish(broker, body % (1.5, 1), retain=True)
    async with (
        gateway(tmp_path, local) as surroundings,
        aclosing(harvests(settings, surroundings)) as found,
    ):
        harvest = await anext(found)
        assert [each.result for each in harvest.readings] == [1.5]
        assert harvest.readings[0].phenomenon_time.day == 1
        assert harvest.stored is not None
        harvest.stored()
        await publish(broker, body % (2.5, 2))
        harvest = await anext(found)
        assert [each.result for each in harvest.readings] == [2.5]
        assert harvest.stored is not None
        harvest.stored()
