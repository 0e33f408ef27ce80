"""The attacker stands in the street: on the gateway's own network, on the air, or is a sensor."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.adapter import Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.input_settings import ListenerSettings
from edge_agent.inputs.listener import Post, port_of, posts
from edge_agent.inputs.mailboxes import Arrived, Mailboxes
from edge_agent.sources import Sources

NOW = datetime(2030, 3, 17, 20, 0, tzinfo=UTC)
REQUEST = b"POST /push HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
GOOD = REQUEST + b"Content-Length: 1\r\n\r\nx"


@asynccontextmanager
async def listening(directory: Path, take: Callable[[Post], None]) -> AsyncIterator[int]:
    """A gateway that is pushed to; the port."""
    async with Sources() as sources:
        clock = Clock(directory / "clock", source=lambda: ClockQuality.NETWORK)
        listener = ListenerSettings(port=0)
        surroundings = Surroundings(clock, directory, sources=sources, listener=listener)

        async def reading() -> None:
            async with aclosing(posts(surroundings, "/push")) as found:
                async for post in found:
                    take(post)
                    del post

        task = asyncio.create_task(reading())
        try:
            yield await port_of(surroundings)
        finally:
            task.cancel()
            await asyncio.wait([task])


async def push(port: int, request: bytes, address: str = "127.0.0.1") -> bytes:
    """Return the line of status that a request is answered with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        writer.write(request)
        return await reader.readline()
    finally:
        writer.close()


async def test_take_every_place_at_the_listener(tmp_path: Path) -> None:
    """As many connections as it lets one have, all of them begun and never ended."""
    async with listening(tmp_path, lambda post: post.accept()) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        for _, writer in opened:
            writer.write(REQUEST)
        assert b" 503 " in await push(port, GOOD)
        assert b" 200 " in await push(port, GOOD, "127.0.0.2")
        for _, writer in opened:
            writer.transport.abort()


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST + b"Content-Length: 99999999999999999999\r\n\r\n",
        REQUEST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        REQUEST + b"X: " + b"x" * 20_000,
        REQUEST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"8000\r\n" + bytes(0x8000) + b"\r\n") * 9,
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
)
async def test_push_what_is_no_reading(tmp_path: Path, request_: bytes) -> None:
    taken: list[Post] = []

    def take(post: Post) -> None:
        taken.append(post)
        post.accept()

    async with listening(tmp_path, take) as port:
        assert (await push(port, request_)).split()[1].startswith(b"4")
        assert b" 200 " in await push(port, GOOD)
    assert [post.body for post in taken] == [b"x"]


async def test_flood_the_local_broker() -> None:
    """One sensor publishes without end; another's messages are kept all the same."""
    acknowledged: list[int] = []

    class Connection:
        def acknowledge(self, mid: int) -> None:
            acknowledged.append(mid)

    boxes = Mailboxes(lambda: NOW)
    with boxes.reading("noisy/#"), boxes.reading("good") as good:
        for number in range(10_000):
            flood = Arrived(f"noisy/{number}", bytes(9_000), retained=False, again=False, mid=None)
            assert boxes.put(flood, Connection(), 20)
        for mid in range(1, 21):
            reading = Arrived("good", b"1", retained=False, again=False, mid=mid)
            assert boxes.put(reading, Connection(), 20)
        for _ in range(20):
            message = good.take()
            assert message is not None
            message.acknowledge()
    assert acknowledged == list(range(1, 21))
