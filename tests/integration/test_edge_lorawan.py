"""LoRaWAN over a real broker and by real posts: nothing is acknowledged before it is stored."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edge_agent.adapter import Harvest, Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.input_settings import ListenerSettings, LocalBrokerSettings
from edge_agent.inputs import local_broker
from edge_agent.inputs.listener import port_of
from edge_agent.sensors.lorawan import LorawanSettings, harvests
from edge_agent.sources import Sources
from tests.simulators.local_mosquitto import LocalMosquitto, local_mosquitto

NOISE, BAY, STRANGER = "24e124136b502217", "70b3d57050001a2b", "a84041ffff1834f2"
NOISE_FRAME, BAY_FRAME = "017564055b053f02da016a02", "95"
TOPIC = "application/7/device/+/event/up"

MQTT = LorawanSettings(
    urn="urn:dev:example:noise",
    thing="urn:dev:example:lamp",
    name="Noise",
    description="A sound level meter.",
    device_eui=NOISE,
    decoder=Path("milesight-ws302"),
    server="chirpstack",
    local_broker="near",
    topic=TOPIC,
)
PUSH = replace(MQTT, local_broker="", topic="", push_path="/lorawan", server="the-things-stack")


def bay(settings: LorawanSettings) -> LorawanSettings:
    table = Path("nwave-g4-nps-sm")
    return replace(settings, urn="urn:dev:example:bay", device_eui=BAY.upper(), decoder=table)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalMosquitto]:
    with local_mosquitto(tmp_path / "mosquitto") as running:
        yield running


@asynccontextmanager
async def gateway(directory: Path, broker: LocalMosquitto | None) -> AsyncIterator[Surroundings]:
    """What an agent's adapters are given, from start to stop."""
    near = () if broker is None else (LocalBrokerSettings(name="near", port=broker.port),)
    async with Sources() as sources:
        yield Surroundings(
            Clock(directory / "clock", source=lambda: ClockQuality.NETWORK),
            directory,
            sources=sources,
            local_brokers=near,
            listener=ListenerSettings(port=0),
        )


def chirpstack(device: str, f_cnt: int, frame: str, f_port: int = 85) -> str:
    return json.dumps(
        {
            "deviceInfo": {"devEui": device, "deviceName": "a device"},
            "time": f"2026-02-03T04:05:{f_cnt:02}.123456789+00:00",
            "fCnt": f_cnt,
            "fPort": f_port,
            "data": base64.b64encode(bytes.fromhex(frame)).decode(),
            "rxInfo": [{"gatewayId": "0016c001ff10a235", "rssi": -97, "snr": 5.2}],
        }
    )


def things_stack(device: str, f_cnt: int, frame: str, f_port: int = 85) -> dict[str, Any]:
    return {
        "end_device_ids": {"device_id": "a-device", "dev_eui": device.upper()},
        "received_at": f"2026-02-03T04:05:{f_cnt:02}.2Z",
        "uplink_message": {
            "f_cnt": f_cnt,
            "f_port": f_port,
            "frm_payload": base64.b64encode(bytes.fromhex(frame)).decode(),
            "received_at": f"2026-02-03T04:05:{f_cnt:02}.1Z",
        },
    }


async def publish(
    broker: LocalMosquitto, device: str, *payloads: str, retain: bool = False
) -> None:
    topic = f"application/7/device/{device}/event/up"
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        for payload in payloads:
            await client.publish(topic, payload, qos=1, retain=retain)


async def post(port: int, body: object) -> int:
    """Post a body and return the status it is answered with."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /lorawan HTTP/1.1\r\nHost: here\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    status = int((await reader.readline()).split()[1])
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return status


def results(harvest: Harvest) -> dict[str, object]:
    return {reading.name: reading.result for reading in harvest.readings}


def take(harvest: Harvest) -> dict[str, object]:
    """Do as if its readings were on the disk now."""
    assert harvest.stored is not None
    harvest.stored()
    return results(harvest)


LEVELS = {"laf": 57.5, "laeq": 47.4, "lamax": 61.8}


async def test_sensors_of_one_topic_share_a_subscription_and_each_gets_its_own(
    tmp_path: Path, broker: LocalMosquitto
) -> None:
    timeless = json.loads(chirpstack(BAY, 0, "94", f_port=1)) | {"time": None}
    await publish(broker, BAY, json.dumps(timeless), retain=True)  # of who knows when
    await publish(broker, NOISE, chirpstack(NOISE, 0, NOISE_FRAME), retain=True)
    async with gateway(tmp_path, broker) as surroundings:
        noise, parking = harvests(MQTT, surroundings), harvests(bay(MQTT), surroundings)
        async with aclosing(noise), aclosing(parking):
            parked = asyncio.create_task(anext(parking))
            take(await anext(noise))  # what the broker has kept: so we are subscribed
            await publish(broker, BAY, chirpstack(BAY, 1, BAY_FRAME, f_port=1))
            assert take(await parked) == {"occupied": True}
            surroundings.sources.unclaimed[STRANGER] = 1  # known, so that nobody waits for it
            await publish(broker, STRANGER, chirpstack(STRANGER, 1, "00"), "not JSON", "{}")
            await publish(broker, NOISE, chirpstack(NOISE, 1, NOISE_FRAME))
            harvest = await anext(noise)
            assert take(harvest) == LEVELS
            (stamp,) = {reading.phenomenon_time for reading in harvest.readings}
            assert stamp.isoformat() == "2026-02-03T04:05:01.123456+00:00"
            assert surroundings.sources.unclaimed == {STRANGER: 2}


async def test_what_was_not_stored_comes_again_and_what_was_does_not(
    tmp_path: Path, broker: LocalMosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_broker, "_CLOSING_SECONDS", 0.05)
    await publish(broker, NOISE, chirpstack(NOISE, 0, NOISE_FRAME), retain=True)
    async with (
        gateway(tmp_path, broker) as surroundings,
        aclosing(harvests(MQTT, surroundings)) as found,
    ):
        take(await anext(found))  # what the broker has kept: so we are subscribed
        await publish(broker, NOISE, *(chirpstack(NOISE, n, NOISE_FRAME) for n in (1, 2)))
        assert take(await anext(found)) == LEVELS
        assert results(await anext(found)) == LEVELS  # and the power fails
    await publish(broker, NOISE, chirpstack(NOISE, 3, NOISE_FRAME))
    async with (
        gateway(tmp_path, broker) as surroundings,
        aclosing(harvests(MQTT, surroundings)) as found,
    ):
        stamps = []
        for _ in range(2):
            harvest = await anext(found)
            stamps.append(harvest.readings[0].phenomenon_time.second)
            take(harvest)
        assert stamps == [2, 3]


async def test_a_post_is_answered_once_it_is_stored(tmp_path: Path) -> None:
    async with (
        gateway(tmp_path, None) as surroundings,
        listening(surroundings, PUSH) as (port, new),
    ):
        answer = asyncio.create_task(post(port, things_stack(NOISE, 1, NOISE_FRAME)))
        harvest = await new()
        assert results(harvest) == LEVELS
        assert harvest.at_once
        done, _ = await asyncio.wait([answer], timeout=0.2)
        assert not done
        take(harvest)
        assert await answer == 200


async def test_a_post_delivered_again_is_answered_too_and_makes_no_reading(tmp_path: Path) -> None:
    async with (
        gateway(tmp_path, None) as surroundings,
        listening(surroundings, PUSH) as (port, new),
    ):
        answers = [
            asyncio.create_task(post(port, things_stack(NOISE, 1, NOISE_FRAME))) for _ in range(2)
        ]
        assert [take(await new()) for _ in answers] == [LEVELS, {}]
        assert await asyncio.gather(*answers) == [200, 200]


async def test_what_is_no_uplink_of_ours_is_answered_so_that_it_does_not_come_again(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, None) as surroundings, listening(surroundings, PUSH) as (port, _):
        ids = {"end_device_ids": {"device_id": "a-device", "dev_eui": NOISE}}
        assert await post(port, {**ids, "join_accept": {}}) == 200
        assert await post(port, {**things_stack(NOISE, 1, NOISE_FRAME), "simulated": True}) == 200
        assert await post(port, b"{") == 400
        assert await post(port, {"cmd": "rx"}) == 400
        surroundings.sources.unclaimed[STRANGER] = 1  # known as such, so that nobody waits for it
        assert await post(port, things_stack(STRANGER, 1, "00")) == 200
        assert surroundings.sources.unclaimed == {STRANGER: 2}


@asynccontextmanager
async def listening(
    surroundings: Surroundings, settings: LorawanSettings
) -> AsyncIterator[tuple[int, Any]]:
    """Run a sensor that is posted to; give its port, and what returns its next harvest."""
    arrived: asyncio.Queue[Harvest] = asyncio.Queue()

    async def read(found: AsyncGenerator[Harvest, None]) -> None:
        async with aclosing(found):
            async for harvest in found:
                arrived.put_nowait(harvest)

    task = asyncio.create_task(read(harvests(settings, surroundings)))
    port = await port_of(surroundings)
    try:
        yield port, arrived.get
    finally:
        task.cancel()
        await asyncio.wait([task])
