"""The network that tests bend, over real sockets: straight, cut, late, swallowing and slow."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import pytest

from tests.simulators.bent_network import Bend, BentNetwork, Link, Weather

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that says again what it hears."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def link(echo: int) -> Iterator[Link]:
    with BentNetwork() as network:
        yield network.link("echo", echo)


Connect = Callable[[], Awaitable[Streams]]


@pytest.fixture
async def connect(link: Link) -> AsyncIterator[Connect]:
    """Connects over the link; what was opened is closed at the end."""
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", link.port)
        opened.append(streams[1])
        return streams

    yield connect
    for writer in opened:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def exchange(streams: Streams, said: bytes = b"hello") -> bytes:
    streams[1].write(said)
    return await streams[0].readexactly(len(said))


async def test_a_straight_link_passes_everything_both_ways_and_the_end(
    connect: Connect,
) -> None:
    streams = await connect()
    data = bytes(range(256)) * 4096
    assert await exchange(streams, data) == data
    streams[1].write_eof()
    assert await streams[0].read() == b""


async def test_a_cut_link_resets_connections_and_takes_none_until_it_is_mended(
    link: Link, connect: Connect
) -> None:
    old = await connect()
    assert await exchange(old) == b"hello"
    link.bend(Weather(Bend.CUT))
    with pytest.raises((OSError, EOFError)):
        await exchange(old)
    new = await connect()
    with pytest.raises((OSError, EOFError)):
        await exchange(new)
    link.mend()
    assert await exchange(await connect()) == b"hello"


async def test_a_late_link_brings_all_bytes_late(link: Link, connect: Connect) -> None:
    streams = await connect()
    link.bend(Weather(Bend.DELAYED, delay_seconds=0.2))
    begun = time.monotonic()
    assert await exchange(streams) == b"hello"
    assert time.monotonic() - begun >= 0.4


async def test_a_swallowing_link_loses_bytes_while_connections_stay_and_resets_them_when_mended(
    link: Link, connect: Connect
) -> None:
    used, idle = await connect(), await connect()
    assert await exchange(used) == await exchange(idle) == b"hello"
    link.bend(Weather(Bend.SWALLOWED))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await exchange(used)
    fresh = await connect()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await exchange(fresh)
    link.mend()
    for streams in (used, fresh):
        with pytest.raises((OSError, EOFError)):
            await streams[0].readexactly(1)
    assert await exchange(idle) == b"hello"


async def test_a_slow_link_keeps_its_pace(link: Link, connect: Connect) -> None:
    streams = await connect()
    link.bend(Weather(Bend.SLOW, bytes_per_second=10_000))
    begun = time.monotonic()
    assert await exchange(streams, bytes(4_000)) == bytes(4_000)
    assert time.monotonic() - begun >= 0.3


async def test_a_link_to_a_server_that_is_away_ends_connections(
    link: Link, connect: Connect
) -> None:
    link.target = 0
    with pytest.raises((OSError, EOFError)):
        await exchange(await connect())
