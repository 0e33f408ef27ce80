"""One Modbus line or host, asked by several sensors in turn, by pymodbus.

What an answer means is in `registers`. pymodbus neither repeats nor reconnects here: a repeated
request on a serial line could be given the late answer to the one before, which says nothing of
what it answers. Instead a line that was silent is left in peace until nothing late can come.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

import serial
from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from edge_agent.inputs.registers import Block

# What it logs on its own of every silence is told, once, by whoever reads the line.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

_SHORTEST_GAP: Final = 1.75e-3
_GAP_BAUD_RATE: Final = 19_200
_ILLEGAL_ADDRESS: Final = 2
_EXCEPTIONS: Final = {  # Modbus Application Protocol Specification V1.1b3, section 7
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}


class ModbusError(Exception):
    """A request brought no result; the message says why."""


class RefusedError(ModbusError):
    """The device answered that it cannot.

    illegal_address: because some register that was asked for does not exist.
    """

    def __init__(self, code: int) -> None:
        meaning = _EXCEPTIONS.get(code, "a code that the specification does not know")
        super().__init__(f"exception {code} ({meaning})")
        self.illegal_address = code == _ILLEGAL_ADDRESS


class SilentError(ModbusError):
    """Nothing that can be understood came back in time."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line is, and how it is spoken to; sensors of the same place share it.

    device: of a serial line, else "". host, port, rtu_over_tcp: of a network. timeout_seconds:
    how long an answer may take.
    """

    device: str = ""
    baud_rate: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: int = 1
    host: str = ""
    port: int = 502
    rtu_over_tcp: bool = False
    timeout_seconds: float = 1.0

    def __str__(self) -> str:
        """Say it as people do."""
        return self.device or f"{self.host}:{self.port}"

    @property
    def gap_seconds(self) -> float:
        """How long a serial line must rest between frames; 0 on a network.

        3.5 characters of 11 bits, and above 19200 bit/s 1.75 ms: MODBUS over Serial Line V1.02,
        section 2.5.1.1.
        """
        if not self.device:
            return 0.0
        return _SHORTEST_GAP if self.baud_rate > _GAP_BAUD_RATE else 3.5 * 11 / self.baud_rate


class Line:
    """A line on which one request is under way at a time."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._turn = asyncio.Lock()
        self._heard = 0
        self._client = _client(place, self._listen)

    async def read(self, unit: int, block: Block) -> tuple[int, ...]:
        """Return the words, or bits, of a block.

        Raises:
            RefusedError: the device says that it cannot.
            SilentError: it says nothing that can be understood.
            OSError: there is no connection; the message says to what.
        """
        async with self._turn:
            is_new = await self._connect()
            try:
                answer = await self._ask(unit, block)
            except SilentError:
                if is_new or self._place.device:
                    raise
                # A device may have forgotten a connection that was idle, without a word.
                await self._connect()
                answer = await self._ask(unit, block)
        if isinstance(answer, ExceptionResponse):
            raise RefusedError(answer.exception_code)
        words = answer.registers or [int(bit) for bit in answer.bits]
        if len(words) < block.count:
            raise SilentError(f"an answer of {len(words)} where {block.count} were asked for")
        return tuple(words[: block.count])

    def close(self) -> None:
        """Give the line back."""
        self._client.close()

    async def _ask(self, unit: int, block: Block) -> ModbusPDU:
        ask = {
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
        }[block.kind]
        self._heard = 0
        await asyncio.sleep(self._place.gap_seconds)
        try:
            return await ask(block.first, count=block.count, device_id=unit)
        except ModbusException as error:
            reason = self._silence()
            await self._quieten()
            raise SilentError(reason) from error

    async def _connect(self) -> bool:
        """See that there is a connection; tell whether it is new."""
        if self._client.connected:
            return False
        if not await self._client.connect():
            await self._tell_why_not()
        return True

    async def _tell_why_not(self) -> None:
        """Fail like the operating system does: pymodbus only says that there is no connection."""
        try:
            if self._place.device:
                serial.Serial(self._place.device, exclusive=True).close()
            else:
                async with asyncio.timeout(self._place.timeout_seconds):
                    _, writer = await asyncio.open_connection(self._place.host, self._place.port)
                writer.close()
                await writer.wait_closed()
        except TimeoutError as error:
            raise ConnectionError(f"{self._place} does not answer") from error
        except ConnectionRefusedError as error:
            reason = "nothing listens there; is the device on, and is that its port?"
            raise ConnectionError(f"{self._place}: {reason}") from error
        except OSError as error:
            raise ConnectionError(f"{self._place}: {error.strerror or error}") from error
        raise ConnectionError(f"{self._place} cannot be connected to")

    async def _quieten(self) -> None:
        """Let pass what still comes late, so that nobody takes it for his answer."""
        if self._place.device or self._place.rtu_over_tcp:
            await asyncio.sleep(self._place.timeout_seconds)
        if not self._place.device:
            self._client.close()  # the next request has a connection without the late answer

    def _silence(self) -> str:
        if self._heard:
            return f"{self._heard} bytes that are no answer to it (wrong checksum or unit)"
        return f"no answer within {self._place.timeout_seconds:g} s"

    def _listen(self, sending: bool, octets: bytes) -> bytes:  # noqa: FBT001  # pymodbus's form
        """Count what comes in, to tell noise from silence."""
        if not sending:
            self._heard = max(self._heard, len(octets))
        return octets


@asynccontextmanager
async def line(place: Place) -> AsyncIterator[Line]:
    """Open a line; it connects when it is first asked."""
    opened = Line(place)
    try:
        yield opened
    finally:
        opened.close()


def _client(place: Place, listen: Callable[[bool, bytes], bytes]) -> ModbusBaseClient:
    if place.device:
        return AsyncModbusSerialClient(
            place.device,
            baudrate=place.baud_rate,
            parity=place.parity,
            stopbits=place.stop_bits,
            timeout=place.timeout_seconds,
            retries=0,
            reconnect_delay=0,
            trace_packet=listen,
        )
    return AsyncModbusTcpClient(
        place.host,
        port=place.port,
        framer=FramerType.RTU if place.rtu_over_tcp else FramerType.SOCKET,
        timeout=place.timeout_seconds,
        retries=0,
        reconnect_delay=0,
        trace_packet=listen,
    )
