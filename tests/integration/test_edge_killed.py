"""An agent that is killed again and again loses nothing that it has answered for.

Sensors push by HTTP and publish to a broker beside the gateway; a centre acknowledges what comes.
What may come twice is said exactly: a push that was sent again because no answer came, and
messages that the local broker could not be told were stored.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import pytest

from broker_config.free_ports import free_ports
from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import DEVICE, Gateway, Tasks, centre_of, process
from tests.integration.test_edge_agent_power_cut import push
from tests.simulators.centre import Centre
from tests.simulators.local_mosquitto import LocalMosquitto, local_mosquitto

KILLS = 10
PUSHED, PUBLISHED = "urn:dev:example:pushed", "urn:dev:example:published"
INPUTS = """
[listener]
port = {listener}
[[local_broker]]
name = "yard"
port = {broker}
"""
SENSOR = """
[[sensor]]
adapter = "{adapter}"
urn = "{urn}"
thing = "urn:dev:example:site"
name = "Counter"
description = "A counter."
{where}
[sensor.fields.value]
name = "value"
title = "Value"
description = "A number."
observed_property = "people_count"
unit = "count"
path = "value"
"""


@pytest.fixture
def broker_kind() -> str:
    """One broker: nothing here is about brokers."""
    return "mosquitto"


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[LocalMosquitto]:
    with local_mosquitto(tmp_path / "yard") as broker:
        yield broker


class Sensors:
    """What brings numbers to a gateway until it is stopped.

    answered: numbers whose push was answered with 200. repeated: those that were pushed again.
    published: numbers that the local broker has taken.
    """

    def __init__(self, port: int, yard: LocalMosquitto) -> None:
        self.answered: set[int] = set()
        self.repeated: set[int] = set()
        self.published: set[int] = set()
        self.is_stopped = False
        self._port = port
        self._yard = yard

    async def push(self) -> None:
        number = 0
        while not self.is_stopped:
            number += 1
            while await self._status_of(number) != 200:
                self.repeated.add(number)
                await asyncio.sleep(0.02)
            self.answered.add(number)

    async def _status_of(self, number: int) -> int:
        try:
            return await push(self._port, "pushed", number)
        except (OSError, IndexError):  # killed before it had answered
            return 0

    async def publish(self) -> None:
        async with aiomqtt.Client("127.0.0.1", self._yard.port) as client:
            number = 0
            while not self.is_stopped:
                number += 1
                await client.publish("yard/count", json.dumps({"value": number}), qos=1)
                self.published.add(number)
                await asyncio.sleep(0.01)


def arrived(centre: Centre, urn: str) -> Counter[int]:
    """Return how many readings there are of each number; a resend is the same reading."""
    return Counter(int(float(str(each))) for each in centre.heard.results(f"{urn}:value").values())


async def test_what_was_answered_for_arrives_however_often_the_agent_is_killed(
    own_city: City,
    tmp_path: Path,
    tasks: Tasks,
    yard: LocalMosquitto,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gateway, centre = Gateway(own_city, tmp_path), centre_of(own_city, DEVICE)
    (port,) = free_ports(1)
    gateway.configure()
    text = gateway.path.read_text()
    gateway.path.write_text(
        text[: text.index("[[sensor]]")]
        + INPUTS.format(listener=port, broker=yard.port)
        + SENSOR.format(adapter="http_push", urn=PUSHED, where='push_path = "/pushed"')
        + SENSOR.format(
            adapter="mqtt_json",
            urn=PUBLISHED,
            where='local_broker = "yard"\ntopic = "yard/count"',
        )
    )
    tasks.start(centre.run())
    async with process(gateway):  # the local broker gets to know the agent
        await gateway.until_facts(lambda facts: PUBLISHED in facts["adapters"])
        await until_read(gateway, yard)
    sensors = Sensors(port, yard)
    sending = [tasks.start(sensors.push()), tasks.start(sensors.publish())]
    chosen = random.Random(10)  # noqa: S311  # no secret
    for _ in range(KILLS):
        before = len(sensors.answered)
        async with process(gateway), asyncio.timeout(20):
            while len(sensors.answered) < before + 3:  # noqa: ASYNC110  # they tell nobody
                await asyncio.sleep(0.01)
            await asyncio.sleep(chosen.random() * 0.5)
    sensors.is_stopped = True
    async with process(gateway):
        await asyncio.wait(sending)
        await centre.until(
            lambda _: (
                set(arrived(centre, PUSHED)) >= sensors.answered
                and set(arrived(centre, PUBLISHED)) >= sensors.published
            ),
            30,
        )
    pushed, published = arrived(centre, PUSHED), arrived(centre, PUBLISHED)
    twice = {number for number, count in pushed.items() if count > 1}
    assert twice <= sensors.repeated, "only what was pushed again for want of an answer"
    doubled = sum(count - 1 for count in published.values()) - published[0] + 1
    assert doubled < len(sensors.published) // 4
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{KILLS} kills: {len(sensors.answered)} pushes answered, none lost, "
            f"{len(twice)} twice of {len(sensors.repeated)} sent again; "
            f"{len(sensors.published)} messages, none lost, {doubled} twice"
        )


async def until_read(gateway: Gateway, yard: LocalMosquitto) -> None:
    """Publish zeros until one is read."""
    async with aiomqtt.Client("127.0.0.1", yard.port) as client, asyncio.timeout(20):
        while not gateway.facts()["adapters"][PUBLISHED]["readings"]:
            await client.publish("yard/count", json.dumps({"value": 0}), qos=1)
            await asyncio.sleep(0.05)
