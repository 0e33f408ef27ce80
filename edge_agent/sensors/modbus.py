"""Devices on Modbus: energy meters, weather stations, pumps; RTU on a serial line, or TCP.

One sensor for each unit; units of one line or host take turns. What registers mean is in
`inputs.registers`, how a line is asked in `inputs.modbus_line`. This file polls: neighbouring
registers in one request, at even intervals. What one device refuses or garbles is a reading that
is missing; the sensor fails once nothing came of several rounds.
"""

import logging
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.adapter import (
    Adapter,
    AdapterError,
    Harvest,
    SensorSettings,
    Surroundings,
    table_contradictions,
)
from edge_agent.clock import Clock
from edge_agent.inputs.modbus_line import Line, ModbusError, Place, RefusedError, SilentError, line
from edge_agent.inputs.registers import Block, RegisterSettings, beyond, plan, results
from edge_agent.inputs.rhythm import Rhythm
from runtime.settings import KeyPath, setting

log = logging.getLogger(__name__)

_GREATEST_SERIAL_UNIT: Final = 247  # MODBUS over serial line V1.02, section 2.2; 0 is everybody


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusSettings(SensorSettings):
    """Reads the registers of one Modbus device (unit, slave)."""

    adapter: Literal["modbus"] = "modbus"
    device: str = setting(
        "Serial line it hangs on, e.g. /dev/serial/by-id/usb-…; or else `host`.", default=""
    )
    baud_rate: int = setting(
        "Speed of the serial line.", default=9600, minimum=300, maximum=1_000_000
    )
    parity: Literal["N", "E", "O"] = setting("Its parity: none, even or odd.", default="N")
    stop_bits: int = setting("Its stop bits.", default=1, minimum=1, maximum=2)
    host: str = setting("Name or address of a device or converter that speaks TCP.", default="")
    port: int = setting("Its TCP port.", default=502, minimum=1, maximum=65_535)
    rtu_over_tcp: bool = setting(
        "The converter at `host` only carries the bytes of a serial line.", default=False
    )
    unit_id: int = setting(
        "The device's number: 1 to 247; behind TCP often 1 or 255.", minimum=0, maximum=255
    )
    first_address: int = setting(
        "What the maker's table calls the first register: 0, or 1. Where it has 40001 for the "
        "first holding register, set 1 and leave the 4 away.",
        default=0,
        minimum=0,
        maximum=1,
    )
    largest_gap: int = setting(
        "So many registers that nobody wants are read along to save a request.",
        default=8,
        minimum=0,
        maximum=120,
    )
    interval_seconds: float = setting(
        "Time between two rounds.", default=60.0, minimum=0.1, maximum=86_400.0
    )
    timeout_seconds: float = setting(
        "How long an answer may take.", default=1.0, minimum=0.05, maximum=60.0
    )
    failed_rounds: int = setting(
        "Rounds in a row that brought nothing, after which the sensor has failed.",
        default=3,
        minimum=1,
        maximum=1000,
    )
    registers: Mapping[str, RegisterSettings] = setting("What each register becomes.")

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse what is on no line or on two, and registers that there cannot be."""
        if bool(self.device) == bool(self.host):
            yield ("device",), "must be given, or else `host`, and not both"
        if self.device and not 1 <= self.unit_id <= _GREATEST_SERIAL_UNIT:
            yield ("unit_id",), f"must be 1 to {_GREATEST_SERIAL_UNIT} on a serial line"
        yield from table_contradictions("registers", self.registers)
        for key, register in self.registers.items():
            if beyond(register, self.first_address):
                allowed = f"must be {self.first_address} to {self.first_address + 65_535}"
                yield ("registers", key, "address"), f"{allowed}, with all its registers"

    @property
    def place(self) -> Place:
        """The line it is on."""
        return Place(
            device=self.device,
            baud_rate=self.baud_rate,
            parity=self.parity,
            stop_bits=self.stop_bits,
            host=self.host,
            port=self.port,
            rtu_over_tcp=self.rtu_over_tcp,
            timeout_seconds=self.timeout_seconds,
        )


def datastreams(settings: ModbusSettings) -> tuple[Datastream, ...]:
    """Return what the registers become."""
    period = max(1, round(settings.interval_seconds))
    return tuple(register.datastream(period) for register in settings.registers.values())


async def harvests(
    settings: ModbusSettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield what each round brings, unless it brings nothing."""
    place = settings.place
    async with surroundings.sources.shared(("modbus", place), lambda: line(place)) as shared:
        device = _Device(settings, shared, surroundings.clock)
        rhythm = Rhythm(surroundings.clock, settings.interval_seconds)
        fruitless = 0
        while True:
            await rhythm.beat()
            readings = await device.round()
            if readings:
                fruitless = 0
                yield Harvest(readings)
                continue
            fruitless += 1
            if fruitless >= settings.failed_rounds and device.troubles:
                raise AdapterError(device.summary(fruitless))


class _Device:
    """One unit on a line: the requests that read it, and what is wrong with each at present."""

    def __init__(self, settings: ModbusSettings, shared: Line, clock: Clock) -> None:
        self.troubles: dict[str, str] = {}
        self._settings = settings
        self._line = shared
        self._clock = clock
        self._blocks = plan(
            settings.registers.values(),
            first_address=settings.first_address,
            largest_gap=settings.largest_gap,
        )

    async def round(self) -> tuple[Reading, ...]:
        """Ask for everything once; a device that says nothing is not asked for the rest."""
        readings: list[Reading] = []
        for block in self._blocks:
            try:
                words = await self._line.read(self._settings.unit_id, block)
            except SilentError as error:
                self._note(block, error)
                break
            except RefusedError as error:
                self._note(block, error)
                if error.illegal_address and len(block.registers) > 1:
                    self._take_apart(block)
                continue
            self.troubles.pop(str(block), None)
            readings.extend(self._readings(block, words))
        return tuple(readings)

    def summary(self, rounds: int) -> str:
        """Say what is wrong, for people."""
        where, reason = next(reversed(self.troubles.items()))
        return (
            f"unit {self._settings.unit_id} at {self._settings.place}: rounds that brought "
            f"nothing: {rounds}; {where}: {reason}"
        )

    def _readings(self, block: Block, words: tuple[int, ...]) -> Iterator[Reading]:
        now = self._clock.now()
        for register, result in results(block, words):
            if result is not None:
                yield Reading(
                    sensor=self._settings.urn,
                    name=register.name,
                    phenomenon_time=now,
                    result=result,
                    unit="" if isinstance(result, bool) else register.symbol,
                )

    def _take_apart(self, block: Block) -> None:
        """Ask for each register by itself from now on: one of them may be the one refused."""
        at = self._blocks.index(block)
        self._blocks = (*self._blocks[:at], *block.apart(), *self._blocks[at + 1 :])
        self.troubles.pop(str(block), None)

    def _note(self, block: Block, error: ModbusError) -> None:
        """Tell a trouble when it begins or changes, not at every round."""
        where, reason = str(block), str(error)
        if _kind(self.troubles.get(where, "")) != _kind(reason):
            log.warning(
                "registers not read",
                extra={"sensor": self._settings.urn, "registers": where, "error": reason},
            )
        self.troubles[where] = reason


def _kind(reason: str) -> str:
    """Return a reason without its figures."""
    return re.sub(r"\d+ bytes", "bytes", reason)


ADAPTER: Final = Adapter(ModbusSettings, datastreams, harvests)
