"""Modbus devices on real sockets and serial lines: answers, refusals, silence and noise."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from pymodbus import FramerType
from pymodbus.constants import ExcCodes

from edge_agent.adapter import AdapterError, Harvest, Surroundings
from edge_agent.clock import Clock
from edge_agent.inputs.modbus_line import Place, SilentError, line
from edge_agent.inputs.registers import Block, RegisterSettings
from edge_agent.sensors.modbus import ModbusSettings, harvests
from edge_agent.sources import Sources
from tests.simulators.modbus_server import (
    ModbusDevices,
    modbus_rtu,
    modbus_rtu_over_tcp,
    modbus_tcp,
    pty_pair,
)

TIMEOUT = 0.2


def register(name: str, address: int, **changes: object) -> RegisterSettings:
    values: dict[str, object] = {
        "name": name,
        "title": name,
        "description": name,
        "observed_property": "supply_voltage",
        "unit": "V",
        "address": address,
        "scale": 0.1,
    }
    return RegisterSettings(**(values | changes))  # type: ignore[arg-type]


REGISTERS = {
    "voltage": register("voltage", 0),
    "energy": register("energy", 4, type="u32", unit="kWh", scale=0.001),
    "door": register("door", 7, kind="coil", type="bool", unit="bool", scale=1.0),
}


def memory() -> dict[int, dict[str, dict[int, int]]]:
    words = {0: 2304, 1: 0, 2: 0, 3: 0, 4: 1, 5: 2}
    return {unit: {"holding": dict(words), "coil": {7: 1}} for unit in (3, 4)}


@pytest.fixture
def devices() -> ModbusDevices:
    return ModbusDevices(memory())  # type: ignore[arg-type]


SERVERS = {"tcp": modbus_tcp, "rtu": modbus_rtu, "rtu-over-tcp": modbus_rtu_over_tcp}


@pytest.fixture(params=SERVERS)
async def served(
    request: pytest.FixtureRequest, devices: ModbusDevices
) -> AsyncIterator[ModbusDevices]:
    async with SERVERS[request.param](devices) as serving:
        yield serving


@pytest.fixture
async def surroundings(tmp_path: Path) -> AsyncIterator[Surroundings]:
    async with Sources() as sources:
        yield Surroundings(Clock(tmp_path / "clock"), tmp_path, sources)


def settings(
    served: ModbusDevices,
    unit: int = 3,
    registers: Mapping[str, RegisterSettings] | None = None,
    **changes: object,
) -> ModbusSettings:
    values: dict[str, object] = {
        "urn": f"urn:dev:example:meter-{unit}",
        "thing": "urn:dev:example:pillar",
        "name": "Meter",
        "description": "A meter.",
        "device": served.device,
        "host": "" if served.device else "127.0.0.1",
        "port": served.port or 502,
        "rtu_over_tcp": bool(served.port) and served.framer is FramerType.RTU,
        "unit_id": unit,
        "interval_seconds": 0.1,
        "timeout_seconds": TIMEOUT,
        "registers": MappingProxyType(dict(registers or REGISTERS)),
    }
    return ModbusSettings(**(values | changes))  # type: ignore[arg-type]


async def first(found: AsyncGenerator[Harvest, None]) -> dict[str, float | bool | str]:
    async with aclosing(found):
        harvest = await anext(found)
    return {reading.name: reading.result for reading in harvest.readings}


EXPECTED = {"voltage": 230.4, "energy": 65.538, "door": True}


async def test_registers_become_readings_and_neighbours_are_read_together(
    served: ModbusDevices, surroundings: Surroundings
) -> None:
    assert await first(harvests(settings(served), surroundings)) == EXPECTED
    assert served.asked == [(3, "coil", 7, 1), (3, "holding", 0, 6)]


async def test_two_units_of_one_line_take_turns_over_one_connection(
    served: ModbusDevices, surroundings: Surroundings
) -> None:
    opened = surroundings.sources._opened
    both = [harvests(settings(served, unit), surroundings) for unit in (3, 4)]
    found = await asyncio.gather(*(anext(each) for each in both))
    assert [len(harvest.readings) for harvest in found] == [3, 3]
    assert len(opened) == 1
    assert {unit for unit, *_ in served.asked} == {3, 4}
    for each in both:
        await each.aclose()
    assert not opened


async def test_what_lies_between_and_is_refused_is_not_asked_for_again(
    served: ModbusDevices, surroundings: Surroundings
) -> None:
    del served.memory[3]["holding"][2]
    found = harvests(settings(served), surroundings)
    async with aclosing(found):
        assert [reading.name for reading in (await anext(found)).readings] == ["door"]
        again = await anext(found)
    assert {reading.name: reading.result for reading in again.readings} == EXPECTED
    assert served.asked[-2:] == [(3, "holding", 0, 1), (3, "holding", 4, 2)]


async def test_a_refusal_fails_the_sensor_once_nothing_else_has_come_for_some_rounds(
    served: ModbusDevices, surroundings: Surroundings
) -> None:
    served.refuse = ExcCodes.DEVICE_FAILURE
    with pytest.raises(AdapterError) as failure:
        await first(harvests(settings(served, failed_rounds=2), surroundings))
    place = served.device or f"127.0.0.1:{served.port}"
    assert str(failure.value) == (
        f"unit 3 at {place}: rounds that brought nothing: 2; "
        "holding 0-5: exception 4 (device failure)"
    )
    assert len(served.asked) == 4


@pytest.mark.parametrize(
    ("misbehaviour", "reason"),
    [
        ("silent", r"no answer within 0\.2 s"),
        ("other_unit", r"\d+ bytes that are no answer to it \(wrong checksum or unit\)"),
    ],
)
async def test_silence_fails_the_sensor_after_some_rounds_and_says_why(
    served: ModbusDevices, surroundings: Surroundings, misbehaviour: str, reason: str
) -> None:
    served.misbehaviour = misbehaviour  # type: ignore[assignment]
    with pytest.raises(
        AdapterError, match=rf"unit 3 .* rounds that brought nothing: 2; coil 7: {reason}"
    ):
        await first(harvests(settings(served, failed_rounds=2), surroundings))
    assert served.asked == [(3, "coil", 7, 1)] * 2, "a silent device is not asked for the rest"


async def test_a_wrong_checksum_is_no_reading(
    devices: ModbusDevices, surroundings: Surroundings
) -> None:
    async with modbus_rtu(devices) as served:
        served.misbehaviour = "garbled"
        with pytest.raises(AdapterError, match="wrong checksum or unit"):
            await first(harvests(settings(served, failed_rounds=1), surroundings))
        served.misbehaviour = "none"
        assert await first(harvests(settings(served), surroundings)) == EXPECTED


async def test_one_dead_unit_does_not_keep_the_other_from_being_read(
    served: ModbusDevices, surroundings: Surroundings
) -> None:
    dead = harvests(settings(served, unit=9, failed_rounds=1), surroundings)
    alive = harvests(settings(served), surroundings)
    reason = "no answer within" if served.device else "exception 11"
    with pytest.raises(AdapterError, match=f"unit 9 .*{reason}"):
        await anext(dead)
    assert await first(alive) == EXPECTED


async def test_a_late_answer_is_not_taken_for_the_next(served: ModbusDevices) -> None:
    wanted = RegisterSettings(
        name="a", title="a", description="a", observed_property="a", unit="V", address=0
    )
    served.delays = [1.5 * TIMEOUT]
    configured = settings(served)
    async with line(configured.place) as opened:
        with pytest.raises(SilentError, match="no answer within"):
            await opened.read(3, Block("holding", 0, 1, (wanted,)))
        assert await opened.read(3, Block("holding", 5, 1, (wanted,))) == (2,)


async def test_a_connection_that_breaks_is_made_anew(
    devices: ModbusDevices, surroundings: Surroundings
) -> None:
    async with modbus_tcp(devices) as served:
        configured = settings(served, failed_rounds=100)
        found = harvests(configured, surroundings)
        await anext(found)
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{served.port}"):
        await anext(found)
    async with modbus_tcp(ModbusDevices(devices.memory)) as again:
        assert await first(harvests(replace(configured, port=again.port), surroundings)) == EXPECTED


@pytest.mark.parametrize("framer", [FramerType.SOCKET, FramerType.RTU])
async def test_a_connection_that_the_device_forgot_costs_no_reading(
    devices: ModbusDevices, surroundings: Surroundings, framer: FramerType
) -> None:
    async with (
        modbus_tcp(devices, framer) as served,
        aclosing(harvests(settings(served), surroundings)) as found,
    ):
        await anext(found)
        served.forget()
        assert len((await anext(found)).readings) == len(REGISTERS)
    assert not served.forgotten


async def test_a_serial_line_that_is_not_there_is_named() -> None:
    with pty_pair() as (gone, _):
        pass
    wanted = register("voltage", 0)
    async with line(Place(device=gone, timeout_seconds=TIMEOUT)) as opened:
        with pytest.raises(OSError, match=gone):
            await opened.read(3, Block("holding", 0, 1, (wanted,)))
