"""A network between two programs that can be bent: TCP connections cut, held up, swallowed, slowed.

Each link listens on loopback and passes bytes on to one target; what they mean (TLS, PostgreSQL) is
none of its business. All links live in one thread with an event loop of its own, so that a caller
that waits for something holds nothing up.

A swallowed connection stays open at both ends while its bytes are lost, as behind a router that has
forgotten it; when the link is mended it is reset, for the stream has a hole.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, Self

LOOPBACK: Final = "127.0.0.1"
_CHUNK_BYTES: Final = 64 * 1024
_START_SECONDS: Final = 10.0


class Bend(Enum):
    """What is done to a link.

    STRAIGHT: nothing. CUT: every connection is reset, none is taken.
    DELAYED: bytes arrive late. SWALLOWED: bytes of old and new connections never arrive.
    SLOW: so many bytes a second, all connections of one direction together.
    """

    STRAIGHT = "straight"
    CUT = "cut"
    DELAYED = "delayed"
    SWALLOWED = "swallowed"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Weather:
    """How a link is at present. delay_seconds: one way. bytes_per_second: each way."""

    bend: Bend = Bend.STRAIGHT
    delay_seconds: float = 0.0
    bytes_per_second: float = 0.0


@dataclass(eq=False, slots=True)
class _Pair:
    """One connection and its other half. holed: some of its bytes were lost."""

    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    holed: bool = False

    def reset(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        for task in self.tasks:
            task.cancel()


class Link:
    """One listening port and where it leads. Made by `BentNetwork.link`.

    port: to connect to. target: the port that is led to; 0: nowhere yet, which refuses.
    """

    def __init__(self, network: "BentNetwork", name: str) -> None:
        self.name = name
        self.port = 0
        self.target = 0
        self._network = network
        self._weather = Weather()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    @property
    def weather(self) -> Weather:
        """How the link is at present."""
        return self._weather

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._pairs)

    def bend(self, weather: Weather) -> None:
        """Change the weather at once, for connections old and new."""
        self._network.run(self._bend(weather))

    def mend(self) -> None:
        """Let everything through again; connections with a hole in them are reset."""
        self.bend(Weather())

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for pair in tuple(self._pairs):
            pair.reset()
            for writer in pair.writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _bend(self, weather: Weather) -> None:
        self._weather = replace(weather)
        for pair in tuple(self._pairs):
            if weather.bend is Bend.CUT or (pair.holed and weather.bend is not Bend.SWALLOWED):
                pair.reset()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = _Pair(writers=[writer])
        self._pairs.add(pair)
        try:
            await self._serve(pair, reader, writer)
        finally:
            self._pairs.discard(pair)
            for each in pair.writers:
                each.transport.abort()

    async def _serve(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._weather.bend is Bend.CUT or not self.target:
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            return
        pair.writers.append(far_writer)
        pair.tasks = [
            asyncio.create_task(self._carry(pair, reader, far_writer)),
            asyncio.create_task(self._carry(pair, far_reader, writer)),
        ]
        await asyncio.wait(pair.tasks)

    async def _carry(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on what comes until the end; then tell the other side of the end."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                weather = self._weather
                if weather.bend is Bend.SWALLOWED:
                    pair.holed = True
                    continue
                if weather.bend is Bend.DELAYED:
                    await asyncio.sleep(weather.delay_seconds)
                elif weather.bend is Bend.SLOW:
                    await self._trickle(data, writer)
                    continue
                writer.write(data)
                await writer.drain()
        if self._weather.bend is not Bend.SWALLOWED:
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()

    async def _trickle(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Write at the pace of the link for as long as it is slow."""
        at = 0
        while at < len(data):
            slow = self._weather.bend is Bend.SLOW
            step = max(1, int(self._weather.bytes_per_second / 10)) if slow else len(data)
            writer.write(data[at : at + step])
            await writer.drain()
            at += step
            if slow:
                await asyncio.sleep(0.1)


class BentNetwork:
    """All links, and the thread they live in; a context manager."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="bent network", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def link(self, name: str, target: int = 0) -> Link:
        """Open a link to a port on loopback; 0 for one that is given its `target` later."""
        link = Link(self, name)
        self.run(link.open())
        link.target = target
        self.links[name] = link
        return link

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the thread and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _close(self) -> None:
        for link in self.links.values():
            await link.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
