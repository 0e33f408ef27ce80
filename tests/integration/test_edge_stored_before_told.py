"""Whoever brings a reading is told once it is in the spool: a broker by PUBACK, a client by 200."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import AsyncMock, patch

import aiomqtt
import pytest

from device_protocol.reading import Reading
from edge_agent.adapter import SensorSettings, Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.collection import collect
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.input_settings import ListenerSettings, LocalBrokerSettings
from edge_agent.inputs import listener
from edge_agent.inputs.fields import FieldSettings
from edge_agent.inputs.listener import port_of
from edge_agent.sensors.http_push import HttpPushSettings
from edge_agent.sensors.mqtt_json import MqttJsonSettings
from edge_agent.settings import SpoolSettings
from edge_agent.sources import Sources
from edge_agent.spool import group_commit
from edge_agent.spool.group_commit import GroupCommit, open_spool
from edge_agent.spool.store import Priority, Span, Spool
from tests.simulators.local_mosquitto import LocalMosquitto, local_mosquitto

URN = "urn:dev:example:air"
ALL = [Span(Priority.NORMAL, 1, 1000)]
LATE = SpoolSettings(commit_seconds=60.0, commit_readings=10_000)
COMMON: dict[str, Any] = {
    "urn": URN,
    "thing": "urn:dev:example:lamp-1",
    "name": "Air",
    "description": "A thermometer.",
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


@dataclass
class Gateway:
    """One sensor, its inputs and the spool of a running agent. put: the spool's, noting calls."""

    spool: GroupCommit
    surroundings: Surroundings
    facts: Facts
    put: AsyncMock

    async def taken(self, result: float) -> None:
        """Return when a reading of this result is in the spool or on its way there."""
        while result not in self._results():  # noqa: ASYNC110  # a mock tells nobody
            await asyncio.sleep(0.01)

    def _results(self) -> set[float | str | bool]:
        return {each.result for call in self.put.call_args_list for each in call.args[0]}


@asynccontextmanager
async def gateway(
    directory: Path, sensor: SensorSettings, *, spooling: bool = True, **inputs: Any
) -> AsyncIterator[Gateway]:
    """Run what an agent runs between its inputs and its spool; stop it as an agent is stopped."""
    clock = Clock(directory / "clock", source=lambda: ClockQuality.NETWORK)
    facts = Facts(started_at=clock.unix())
    facts.adapters = {sensor.urn: AdapterFacts(sensor.adapter)}
    ready: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        path = directory / "spool.sqlite"
        async with (
            open_spool(path, LATE, clock=clock, gap_record=gap) as spool,
            Sources() as sources,
        ):
            surroundings = Surroundings(clock, directory, sources=sources, **inputs)
            with patch.object(spool, "put", wraps=spool.put) as put:
                async with asyncio.TaskGroup() as tasks:
                    if spooling:
                        tasks.create_task(spool.run())
                    tasks.create_task(collect(sensor, surroundings, spool, facts))
                    ready.set_result(Gateway(spool, surroundings, facts, put))

    running = asyncio.create_task(run())
    await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
    try:
        yield ready.result()
    finally:
        running.cancel()
        await asyncio.wait([running])


def gap(dropped: int) -> Reading:
    return Reading(
        sensor=URN,
        name="spool_dropped",
        phenomenon_time=datetime(2030, 3, 17, tzinfo=UTC),
        result=float(dropped),
        unit="count",
    )


async def publish(broker: LocalMosquitto, *results: float) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        for result in results:
            await client.publish("yard/air", json.dumps({"temperature": result}), qos=1)


async def post(port: int, body: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /air HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


async def test_an_agent_that_is_stopped_and_started_has_each_message_once(tmp_path: Path) -> None:
    sensor = MqttJsonSettings(local_broker="yard", topic="yard/air", **COMMON)
    with local_mosquitto(tmp_path / "mosquitto") as broker:
        local = LocalBrokerSettings(name="yard", port=broker.port, client_id="kerbstone-test")
        async with gateway(tmp_path, sensor, local_brokers=(local,)) as first:
            while not first.facts.readings:
                await publish(broker, 0.0)
            await publish(broker, 1.0, 2.0, 3.0)
            await first.taken(3.0)
        await publish(broker, 4.0)
        async with gateway(tmp_path, sensor, local_brokers=(local,)) as second:
            await publish(broker, 5.0)
            await second.taken(5.0)
        async with gateway(tmp_path, sensor, local_brokers=(local,)) as third:
            await publish(broker, 6.0)
            await third.taken(6.0)
    with Spool(tmp_path / "spool.sqlite", quota_bytes=LATE.quota_bytes, gap_record=gap) as spool:
        found = [each.reading.result for each in spool.read(ALL, 1000)]
    greetings = found.count(0.0)
    assert found == [0.0] * greetings + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


async def test_a_client_that_hears_200_has_its_reading_in_the_spool(tmp_path: Path) -> None:
    sensor = HttpPushSettings(push_path="/air", **COMMON)
    async with gateway(tmp_path, sensor, listener=ListenerSettings(port=0)) as running:
        port = await port_of(running.surroundings)
        for number in (1, 2, 3):
            assert await post(port, b'{"temperature": 21.5}') == 200
            assert (await running.spool.depth()).readings == number
        assert await post(port, b'{"temperature": null}') == 200
        assert await post(port, b"rubbish") == 400
        assert (await running.spool.depth()).readings == 3


async def test_while_the_disk_takes_nothing_a_client_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_STORED_SECONDS", 0.1)
    sensor = HttpPushSettings(push_path="/air", **COMMON)
    listening = ListenerSettings(port=0)
    async with gateway(tmp_path, sensor, spooling=False, listener=listening) as running:
        port = await port_of(running.surroundings)
        assert await post(port, b'{"temperature": 21.5}') == 503


async def test_while_the_disk_is_full_nothing_is_taken_that_somebody_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_STORED_SECONDS", 0.05)
    monkeypatch.setattr(group_commit, "_RETRY_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(group_commit, "_LOOK_SECONDS", 0.02)
    sensor = HttpPushSettings(push_path="/air", **COMMON)
    is_full, write = True, Spool.write

    def written(spool: Spool, *arguments: Any) -> None:
        if is_full:
            raise sqlite3.OperationalError(sqlite3.SQLITE_FULL)
        write(spool, *arguments)

    monkeypatch.setattr(Spool, "write", written)
    monkeypatch.setattr(group_commit, "is_damage", lambda _: False)
    async with gateway(tmp_path, sensor, listener=ListenerSettings(port=0)) as running:
        port = await port_of(running.surroundings)
        for _ in range(5):
            assert await post(port, b'{"temperature": 21.5}') == 503
        assert running.facts.readings == 1, "the first, by which the failure was noticed"
        is_full = False
        while await post(port, b'{"temperature": 21.5}') != 200:  # noqa: ASYNC110  # told by 200
            await asyncio.sleep(0.01)
