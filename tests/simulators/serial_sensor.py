"""Serial sensors at a pseudo-terminal: an SDS011, a PMS5003 and a satellite receiver.

They speak as the makers' documents say, as fast as a test likes, and can be misused: made to send
garbage or halves of frames, fall silent, go deaf, or be unplugged and plugged in again. `port` is
a symbolic link, as udev makes them under /dev/serial/by-id.
"""

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import Callable
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any, Self


class SerialSensor:
    """A sensor that sends what `report` returns, every `period_seconds`, while it is plugged in.

    silent: it sends nothing. halves: of every other report it sends the first half only.
    garbage: sent before every report. received: all that came to it.
    """

    def __init__(self, port: Path, period_seconds: float = 0.02) -> None:
        self.port = port
        self.period_seconds = period_seconds
        self.silent = False
        self.halves = False
        self.garbage = b""
        self.received = bytearray()
        self.reports = 0
        self._master = self._slave = -1

    def report(self) -> bytes:
        """Return what it sends next."""
        raise NotImplementedError

    def answer(self, received: bytes) -> None:
        """Act on what came; most sensors do not listen."""

    async def __aenter__(self) -> Self:
        self.plug()
        self._task = asyncio.create_task(self._talk(), name="serial sensor")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self.unplug()

    def plug(self) -> None:
        """Appear at `port`. Its own hold on the far end spares it from ends between two users."""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._hear)

    def unplug(self) -> None:
        """Vanish, as a USB adaptor does: whoever has the port open gets a hang-up."""
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        self.port.unlink()
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def send(self, sent: bytes) -> None:
        """Send these bytes now; what nobody reads is lost, as on a wire."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, sent)

    def _hear(self) -> None:
        found = os.read(self._master, 4096)
        self.received += found
        self.answer(found)

    async def _talk(self) -> None:
        while True:
            if self._master >= 0 and not self.silent:
                report = self.report()
                self.reports += 1
                half = self.halves and self.reports % 2
                self.send(self.garbage + (report[: len(report) // 2] if half else report))
            await asyncio.sleep(self.period_seconds)


class Sds011(SerialSensor):
    """A Nova SDS011. results: PM2.5 and PM10. working: it reports; as it was told last.

    next_results: what it reports in turn, again and again. told: the commands it
    obeyed. deaf: commands are lost. slow_to_obey: so many are lost before one is answered.
    """

    def __init__(self, port: Path, **more: Any) -> None:
        super().__init__(port, **more)
        self.results = (12.3, 45.6)
        self.next_results: list[tuple[float, float]] = []
        self.told: list[str] = []
        self.working = True
        self.deaf = False
        self.slow_to_obey = 0

    def report(self) -> bytes:
        if not self.working:
            return b""
        if self.next_results:
            self.next_results.append(self.results)
            self.results = self.next_results.pop(0)
        body = b"".join(round(result * 10).to_bytes(2, "little") for result in self.results)
        return self._frame(0xC0, body)

    def answer(self, received: bytes) -> None:
        for command in received.split(b"\xab"):
            if self.deaf or not command.startswith(b"\xaa\xb4\x06\x01"):
                continue
            if self.slow_to_obey:
                self.slow_to_obey -= 1
                continue
            self.working = bool(command[4])
            self.told.append("work" if self.working else "sleep")
            self.send(self._frame(0xC5, bytes((6, 1, command[4], 0))))

    @staticmethod
    def _frame(kind: int, body: bytes) -> bytes:
        body += b"\xa1\x60"
        return bytes((0xAA, kind)) + body + bytes((sum(body) % 256, 0xAB))


class Pms5003(SerialSensor):
    """A Plantower PMS5003. masses: PM1, PM2.5, PM10. counts: particles in 0.1 litre by size."""

    masses = (3, 8, 11)
    counts = (600, 180, 40, 6, 2, 1)

    def report(self) -> bytes:
        values = (99, 99, 99, *self.masses, *self.counts, 0x9700)
        whole = b"BM" + (28).to_bytes(2, "big")
        whole += b"".join(value.to_bytes(2, "big") for value in values)
        return whole + sum(whole).to_bytes(2, "big")


class SatelliteReceiver(SerialSensor):
    """A receiver that sends RMC and GGA. fields: the text of each without `$` and checksum."""

    def __init__(self, port: Path, sentences: Callable[[], list[str]], **more: Any) -> None:
        super().__init__(port, **more)
        self.sentences = sentences

    def report(self) -> bytes:
        return b"".join(sentence(body) for body in self.sentences())


def sentence(body: str) -> bytes:
    """Return the NMEA 0183 sentence with that body: `$`, checksum and line end around it."""
    return f"${body}*{reduce(xor, body.encode()):02X}\r\n".encode()
