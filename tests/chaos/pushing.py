"""Sensors at work: they push numbered readings over HTTP until told that these are on the disk.

A post that is not answered, or with 503, is pushed again as it is, for as long as patience lasts.
Each sensor has several connections, so that one that hangs does not silence it, and catches up with
its pace after an outage.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.numbered import Answer, Sensor

_CONNECTIONS: Final = 3
_ANSWER_SECONDS: Final = 6.0
_PATIENCE_SECONDS: Final = 15.0
_AGAIN_SECONDS: Final = 0.5
_OK: Final = 200


@dataclass(eq=False)
class Pushing:
    """All sensors. posts_per_second: of each. stopped: set it, and no new post is begun."""

    sensors: list[Sensor]
    posts_per_second: float
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _begun: float = 0.0

    async def run(self) -> None:
        """Push until `stopped`, and until every post begun has its answer or was given up."""
        self._begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for sensor in self.sensors:
                for _ in range(_CONNECTIONS):
                    tasks.create_task(self._push(sensor), name=f"sensor {sensor.number}")

    async def _push(self, sensor: Sensor) -> None:
        with contextlib.closing(_Line(sensor)) as line:
            while not self.stopped.is_set():
                due = (time.monotonic() - self._begun) * self.posts_per_second
                if len(sensor.posts) >= due:
                    await asyncio.sleep((len(sensor.posts) + 1 - due) / self.posts_per_second)
                    continue
                await _deliver(line, sensor, sensor.new_post(int(time.time() * 1000)))


async def push_each(sensors: list[Sensor], posts: int) -> None:
    """Let every sensor push so many posts more."""

    async def push(sensor: Sensor) -> None:
        with contextlib.closing(_Line(sensor)) as line:
            for _ in range(posts):
                await _deliver(line, sensor, sensor.new_post(int(time.time() * 1000)))

    async with asyncio.TaskGroup() as tasks:
        for sensor in sensors:
            tasks.create_task(push(sensor), name=f"sensor {sensor.number}")


async def _deliver(line: "_Line", sensor: Sensor, index: int) -> None:
    post = sensor.posts[index]
    gives_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < gives_up:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                status, reason = await line.exchange(sensor.body(index))
        except (OSError, EOFError, TimeoutError, ValueError):
            line.close()
        else:
            if status == _OK:
                post.answer = Answer.TOLD
                return
            if status < 500:
                post.answer, post.reason = Answer.REFUSED, f"{status} {reason}"
                return
        await asyncio.sleep(_AGAIN_SECONDS)


class _Line:
    """One connection of a sensor, opened when it is needed."""

    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def exchange(self, body: str) -> tuple[int, str]:
        """Push a body; return the answer's status and reason.

        Raises:
            OSError, EOFError, ValueError: the connection was lost, or speaks no HTTP.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._sensor.port)
        reader, writer = self._streams
        head = f"POST {self._sensor.path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}"
        writer.write(f"{head}\r\n\r\n{body}".encode())
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        reason = (await reader.readexactly(int(headers["content-length"]))).decode().strip()
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), reason
