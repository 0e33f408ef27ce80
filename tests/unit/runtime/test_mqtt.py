import asyncio

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from runtime.mqtt import MqttConnection, failures


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
