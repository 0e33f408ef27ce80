"""A serial port as asynchronous bytes: opened exclusively, 8 data bits, no parity, 1 stop bit.

What the bytes mean is the business of whoever reads them. A port
that cannot be opened or vanishes (USB unplugged) is a `SerialLineError` which says what to do.
pyserial opens the port and sets it up; the event loop reads it.
"""

import asyncio
import errno
import os
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import serial

from edge_agent.sources import SourceError

MOST_WAITING_BYTES: Final = 65_536
_READ_BYTES: Final = 4096
_BLOCKING_SECONDS: Final = 0.0  # both ways: nothing ever waits in a system call
_PROCESSES: Final = Path("/proc")

_REMEDIES: Final = {
    errno.EACCES: "permission denied; add the agent's user to the group dialout",
    errno.EPERM: "permission denied; add the agent's user to the group dialout",
    errno.ENOENT: "no such port; is it plugged in? ls /dev/serial/by-id shows those there are",
    errno.ENXIO: "the port has no device; is it plugged in?",
    errno.ENODEV: "the port has no device; is it plugged in?",
    errno.ENOTTY: "not a serial port",
    errno.EIO: "the port does not answer; unplug it and plug it in again",
}
_IN_USE: Final = frozenset({errno.EBUSY, errno.EWOULDBLOCK})


class SerialLineError(SourceError):
    """The port cannot be opened, or is gone; the message names it and the remedy."""


class SerialLine:
    """An open serial port; made by `open_line`.

    What nobody reads is kept up to `MOST_WAITING_BYTES`, then the oldest is dropped: of a sensor
    the newest counts. dropped_bytes: how many were.
    """

    def __init__(self, port: Path, device: serial.Serial) -> None:
        self.port = port
        self.dropped_bytes = 0
        self._descriptor: int = device.fileno()
        self._waiting = bytearray()
        self._something = asyncio.Event()
        self._broken: SerialLineError | None = None
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    async def read(self) -> bytes:
        """Return what has come since the last call, at least one byte; waits for it.

        Cancelled while it waits, it loses nothing.

        Raises:
            SerialLineError: the port is gone, and all that came before has been returned.
        """
        await self._something.wait()
        if not self._waiting and self._broken is not None:
            raise self._broken
        found = bytes(self._waiting)
        self._waiting.clear()
        if self._broken is None:
            self._something.clear()
        return found

    async def read_for(self, seconds: float) -> bytes:
        """Return what `read` does, or nothing if nothing comes for so long.

        Raises:
            SerialLineError: as `read`.
        """
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await self.read()
        except TimeoutError:
            return b""

    def write(self, command: bytes) -> None:
        """Send a short command; the kernel holds it until the line has taken it.

        Raises:
            SerialLineError: the port is gone, or takes no more.
        """
        try:
            taken = os.write(self._descriptor, command)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            raise self._gone(error) from error
        if taken < len(command):
            raise SerialLineError(f"{self.port}: the port takes no more; is the sensor connected?")

    def close(self) -> None:
        """Stop reading."""
        asyncio.get_running_loop().remove_reader(self._descriptor)

    def _readable(self) -> None:
        """Take what the kernel has. Nothing at the end of a readable line means a hang-up."""
        try:
            found = os.read(self._descriptor, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(self._gone(error))
            return
        if not found:
            self._end(self._gone(None))
            return
        self._waiting += found
        if (excess := len(self._waiting) - MOST_WAITING_BYTES) > 0:
            del self._waiting[:excess]
            self.dropped_bytes += excess
        self._something.set()

    def _end(self, reason: SerialLineError) -> None:
        self._broken = reason
        self._something.set()
        self.close()

    def _gone(self, error: OSError | None) -> SerialLineError:
        cause = f" ({error.strerror})" if error is not None else ""
        return SerialLineError(f"{self.port}: the port is gone{cause}; is it still plugged in?")


@asynccontextmanager
async def open_line(port: Path, baud: int) -> AsyncIterator[SerialLine]:
    """Open a serial port at `baud` bits a second; nobody else may use it meanwhile.

    Opening does not wait for a carrier, so that it is done on the event loop.

    Raises:
        SerialLineError: it cannot be opened, or set to that speed.
    """
    device = _opened(port, baud)
    try:
        line = SerialLine(port, device)
        try:
            yield line
        finally:
            line.close()
            _forget_output(device)
    finally:
        device.close()


def _opened(port: Path, baud: int) -> serial.Serial:
    try:
        return serial.Serial(
            str(port),
            baud,
            timeout=_BLOCKING_SECONDS,
            write_timeout=_BLOCKING_SECONDS,
            exclusive=True,
            inter_byte_timeout=0,  # so that a read of nothing means a hang-up (VMIN is then 1)
        )
    except (OSError, termios.error, ValueError, OverflowError) as error:
        number = _number_of(error) or _number_of(error.__context__)
        if number in _IN_USE:
            reason = f"in use by {_user_of(port)}; stop that, or name another port"
        else:
            reason = _REMEDIES.get(number, str(error))
        raise SerialLineError(f"{port}: {reason}") from error


def _number_of(error: BaseException | None) -> int:
    """Return the number of a system's error, 0 if it has none; termios.error is no OSError."""
    number = error.args[0] if error is not None and error.args else 0
    return number if isinstance(number, int) else 0


def _user_of(port: Path) -> str:
    """Return which program holds the port open, as far as this user may see."""
    target = port.resolve()
    for process in _PROCESSES.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(opened.readlink() == target for opened in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue  # ended meanwhile, or not ours to see
    return "another sensor of this gateway or another program"


def _forget_output(device: serial.Serial) -> None:
    """Drop what was not sent: closing a port that is stuck would wait for it."""
    with suppress(OSError, termios.error):  # it may be gone already
        device.reset_output_buffer()
