"""Modbus devices that can be misused: TCP on loopback, or RTU on one end of a pair of ptys.

The protocol is pymodbus's server; memory and misbehaviour are ours. What has no value at an
address is refused with exception 2. Units that are missing say nothing on a serial line, and
are answered for by the gateway (exception 11) on TCP, as real ones are.
"""

import asyncio
import errno
import os
import tty
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.server.base import ModbusBaseServer
from pymodbus.simulator import DataType, SimData, SimDevice

Kind = Literal["holding", "input", "coil", "discrete"]
Misbehaviour = Literal["none", "silent", "garbled", "other_unit"]

_FUNCTIONS: dict[int, Kind] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


@dataclass
class ModbusDevices:
    """Memory of all units, what is asked of them, and how they misbehave.

    memory: words by unit, kind and address. asked: unit, kind, address and count of every
    request. refuse: exception code that every request gets. misbehaviour: what becomes of the
    answers. delays: so long the next answers take, one each.
    """

    memory: Mapping[int, Mapping[Kind, dict[int, int]]]
    asked: list[tuple[int, Kind, int, int]] = field(default_factory=list)
    refuse: ExcCodes | None = None
    misbehaviour: Misbehaviour = "none"
    delays: list[float] = field(default_factory=list)
    port: int = 0
    device: str = ""
    framer: FramerType = FramerType.RTU
    forgotten: bool = False

    def forget(self) -> None:
        """Say nothing until there is a new connection."""
        self.forgotten, self.misbehaviour = True, "silent"

    def connected(self, is_new: bool) -> None:  # noqa: FBT001  # pymodbus's form
        if is_new and self.forgotten:
            self.forgotten, self.misbehaviour = False, "none"

    async def async_getValues(  # noqa: N802  # the name by which pymodbus's server asks
        self, device_id: int, func_code: int, address: int, count: int
    ) -> list[int] | ExcCodes:
        kind = _FUNCTIONS[func_code]
        self.asked.append((device_id, kind, address, count))
        if self.delays:
            await asyncio.sleep(self.delays.pop(0))
        if self.refuse is not None:
            return self.refuse
        if device_id not in self.memory:
            raise NoSuchIdException
        words = self.memory[device_id].get(kind, {})
        wanted = range(address, address + count)
        if any(place not in words for place in wanted):
            return ExcCodes.ILLEGAL_ADDRESS
        return [words[place] for place in wanted]

    def device_ids(self) -> list[int]:
        return list(self.memory)

    def spoil(self, sending: bool, octets: bytes) -> bytes:  # noqa: FBT001  # pymodbus's form
        """Return what is really sent in place of an answer."""
        if not sending or self.misbehaviour == "none":
            return octets
        if self.misbehaviour == "silent":
            return b""
        if self.misbehaviour == "garbled":
            return octets[:-1] + bytes([octets[-1] ^ 0xFF])
        place = 6 if self.framer is FramerType.SOCKET else 0  # of the unit: after MBAP, or first
        return octets[:place] + bytes([octets[place] ^ 0x40]) + octets[place + 1 :]


@asynccontextmanager
async def modbus_tcp(
    devices: ModbusDevices, framer: FramerType = FramerType.SOCKET
) -> AsyncIterator[ModbusDevices]:
    """Serve on a free port of loopback, told in `devices.port`."""
    devices.framer = framer
    server = ModbusTcpServer(
        _placeholder(),
        framer=framer,
        address=("127.0.0.1", 0),
        trace_packet=devices.spoil,
        trace_connect=devices.connected,
    )
    async with _serving(server, devices):
        listening = cast("asyncio.Server", server.transport)
        devices.port = listening.sockets[0].getsockname()[1]
        yield devices


def modbus_rtu_over_tcp(devices: ModbusDevices) -> AbstractAsyncContextManager[ModbusDevices]:
    """Serve like a converter that only carries the bytes of a serial line."""
    return modbus_tcp(devices, FramerType.RTU)


@asynccontextmanager
async def modbus_rtu(devices: ModbusDevices) -> AsyncIterator[ModbusDevices]:
    """Serve on a serial line whose other end is told in `devices.device`."""
    with pty_pair() as (ours, theirs):
        devices.device = theirs
        server = ModbusSerialServer(
            _placeholder(),
            framer=FramerType.RTU,
            port=ours,
            trace_packet=devices.spoil,
            ignore_missing_devices=True,
        )
        async with _serving(server, devices):
            yield devices


@contextmanager
def pty_pair() -> Iterator[tuple[str, str]]:
    """Yield the names of two serial ports that are wired to each other."""
    loop = asyncio.get_running_loop()
    ends = [os.openpty(), os.openpty()]
    masters = [master for master, _ in ends]

    def carry(source: int, target: int) -> None:
        try:
            os.write(target, os.read(source, 4096))
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has the other end open at present
                raise

    try:
        for master, slave in ends:
            tty.setraw(slave)
            os.set_blocking(master, False)
        for source, target in (masters, masters[::-1]):
            loop.add_reader(source, carry, source, target)
        yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    finally:
        for master, slave in ends:
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)


@asynccontextmanager
async def _serving(server: ModbusBaseServer, devices: ModbusDevices) -> AsyncIterator[None]:
    server.context = cast("Any", devices)
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


def _placeholder() -> SimDevice:
    """Return what pymodbus's server wants to be made with; it is never asked."""
    return SimDevice(1, simdata=[SimData(0, values=0, datatype=DataType.REGISTERS)])
