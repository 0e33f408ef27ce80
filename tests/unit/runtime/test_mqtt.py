import asyncio
from contextlib import suppress

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from runtime.mqtt import MqttConnection, failures

CONNACK = bytes((0x20, 2, 0, 0))
HUGE = bytes((0x30, 0xFF, 0xFF, 0xFF, 0x7F))  # PUBLISH, 256 MB are to follow
EXACTLY_ONCE = bytes((0x34, 6, 0, 1)) + b"t" + bytes((0, 1)) + b"x"  # PUBLISH with QoS 2


@pytest.mark.parametrize("sends", [HUGE + bytes(1000), EXACTLY_ONCE])
async def test_a_broker_that_would_fill_the_memory_is_left(sends: bytes) -> None:
    connected = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(CONNACK)
        await connected.wait()
        writer.write(sends)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        version = aiomqtt.ProtocolVersion.V311
        client = MqttConnection("127.0.0.1", port, protocol=version, timeout=5.0)
        with suppress(aiomqtt.MqttError):  # of saying goodbye to who has been left
            async with client:
                connected.set()
                async with asyncio.timeout(5.0):
                    await asyncio.wait([client._disconnected])
                assert isinstance(client._disconnected.exception(), aiomqtt.MqttError)


async def test_a_cancellation_that_comes_with_the_answer_is_not_swallowed() -> None:
    client = MqttConnection("localhost")
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(client._wait_for(answer, 10))
    await asyncio.sleep(0)
    answer.set_result(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_answer_that_does_not_come_is_an_outage() -> None:
    client = MqttConnection("localhost")
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with pytest.raises(aiomqtt.MqttError, match="in time"):
        await client._wait_for(answer, 0.01)
    answer = asyncio.get_running_loop().create_future()
    answer.set_result(7)
    assert await client._wait_for(answer, None) == 7


def test_refusals_are_told_from_what_is_granted_in_both_versions_of_mqtt() -> None:
    not_authorized = ReasonCode(PacketTypes.SUBACK, identifier=0x87)
    granted = ReasonCode(PacketTypes.SUBACK, identifier=1)
    assert failures([granted, not_authorized]) == [0x87]
    assert failures([0, 1, 2, 0x80]) == [0x80]
    assert failures([0, 1, 2]) == []
