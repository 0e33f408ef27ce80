"""A broker that breaks MQTT itself, against the connection that ingest reads it by."""

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import aiomqtt
import pytest

from ingest.receiving.packets import Publication
from ingest.receiving.stream import PublicationStream
from runtime.mqtt import MOST_PACKET_BYTES

CONNACK = bytes((0x20, 2, 0, 0))
PINGREQ, PINGRESP = bytes((0xC0, 0)), bytes((0xD0, 0))
GOOD = bytes((0x32, 6, 0, 1)) + b"t" + bytes((0, 1)) + b"x"  # PUBLISH with QoS 1
LEFT_WITHIN = 60.0  # seconds; it takes one where nothing else runs
PIECE_BYTES = 1 << 14

Broker = Callable[[socket.socket], Awaitable[None]]


@contextlib.asynccontextmanager
async def reading(
    broker: Broker, *, room: float = math.inf
) -> AsyncIterator[tuple[PublicationStream, list[Publication]]]:
    """Connect to a broker that does, after CONNACK, what it is told; also yield what is taken."""
    taken: list[Publication] = []
    connected = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def serve() -> None:
        accepted, _ = await loop.sock_accept(listener)
        with accepted, contextlib.suppress(ConnectionError):
            await loop.sock_recv(accepted, 100)
            await loop.sock_sendall(accepted, CONNACK)
            await connected.wait()
            await broker(accepted)
            while await loop.sock_recv(accepted, 1 << 16):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        serving = asyncio.create_task(serve())
        client = PublicationStream(
            "127.0.0.1",
            listener.getsockname()[1],
            protocol=aiomqtt.ProtocolVersion.V311,
            timeout=5.0,
            take=taken.append,
            may_read=lambda: len(taken) < room,
        )
        try:
            with contextlib.suppress(aiomqtt.MqttError):  # of saying goodbye to who has been left
                async with client:
                    connected.set()
                    yield client, taken
        finally:
            serving.cancel()
            await asyncio.wait([serving])


async def left(client: PublicationStream) -> None:
    """Return once the connection is given up."""
    async with asyncio.timeout(LEFT_WITHIN):
        await asyncio.wait([client._disconnected])


async def until(taken: Sequence[Publication], count: int) -> None:
    """Return once so many publications have been taken."""
    async with asyncio.timeout(LEFT_WITHIN):
        while len(taken) < count:  # noqa: ASYNC110 - no event for each count
            await asyncio.sleep(0.01)


def sends(data: bytes, *, pieces: int = 1 << 30) -> Broker:
    """Return a broker that sends this, in pieces of so many bytes."""

    async def broker(accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), pieces):
            await asyncio.get_running_loop().sock_sendall(accepted, data[start : start + pieces])
            await asyncio.sleep(0)

    return broker


@pytest.mark.parametrize(
    "malformed",
    [
        bytes((0x30, 0xFF, 0xFF, 0xFF, 0x7F)),  # 256 MB are to follow
        bytes((0xD0, 0xFF, 0xFF, 0xFF, 0xFF)),  # a length of five bytes
        bytes((0x32, 4, 0, 9)) + b"to",  # a topic longer than the packet
        bytes((0x32, 3, 0, 1)) + b"t",  # no packet id
        bytes((0x34, 6, 0, 1)) + b"t" + bytes((0, 1)) + b"x",  # QoS 2
        bytes((0x36, 6, 0, 1)) + b"t" + bytes((0, 1)) + b"x",  # QoS 3
        bytes((0x00, 0)),  # no type of packet
        bytes((0xF0, 0)),  # AUTH, which MQTT 3.1.1 has not
        bytes((0x40, 0)),  # PUBACK of nothing
        bytes((0x90, 1, 0)),  # SUBACK cut short
    ],
    ids=lambda malformed: malformed[:2].hex(),
)
async def test_break_the_form_of_packets(malformed: bytes) -> None:
    async with reading(sends(GOOD + malformed + GOOD * 10)) as (client, taken):
        await left(client)
    assert len(taken) <= 11
    assert all(publication.payload == b"x" for publication in taken)


async def test_trickle_a_large_packet() -> None:
    """What comes byte by byte costs as much as what comes at once, not its square."""
    count = MOST_PACKET_BYTES - 5
    packet = bytes((0x30,)) + _length(count) + b"\x00\x01t" + bytes(count - 3)
    began = time.process_time()
    async with reading(sends(packet + GOOD, pieces=64)) as (_, taken):
        await until(taken, 2)
    assert [len(each.payload) for each in taken] == [count - 3, 1]
    assert time.process_time() - began < LEFT_WITHIN / 2


async def test_flood_with_empty_packets() -> None:
    """Other tasks get their turn while paho works off packets of two bytes."""
    longest, is_over = 0.0, asyncio.Event()

    async def tick() -> None:
        nonlocal longest
        while not is_over.is_set():
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    async with reading(sends(PINGRESP * (1 << 17) + GOOD)) as (_, taken):
        ticking = asyncio.create_task(tick())
        await until(taken, 1)
        is_over.set()
        await ticking
    assert longest < 1.0


@pytest.mark.parametrize("packet", [GOOD, PINGREQ], ids=["publications", "pings"])
async def test_send_and_never_listen(packet: bytes) -> None:
    """A broker that reads no confirmation is left before its confirmations fill the memory."""

    async def broker(accepted: socket.socket) -> None:
        while True:
            await asyncio.get_running_loop().sock_sendall(accepted, packet * 4096)

    async with reading(broker) as (client, _):
        await left(client)
        unsent = sum(each["to_process"] for each in client._client._out_packet)
    assert unsent < 4 << 20


async def test_flood_while_reading_pauses() -> None:
    """What is sent to a full inbox stays with who sends it."""
    room, sent = 1000, 0

    async def broker(accepted: socket.socket) -> None:
        nonlocal sent
        while True:
            await asyncio.get_running_loop().sock_sendall(accepted, GOOD * 4096)
            sent += 4096

    async with reading(broker, room=room) as (client, taken):
        await until(taken, room)
        client.pause()
        before = -1
        while sent != before:  # until nothing more fits into the sockets
            before = sent
            await asyncio.sleep(0.2)
        assert sent > room
        assert len(taken) <= room + PIECE_BYTES // len(GOOD) + 1


def _length(number: int) -> bytes:
    """Return a length as MQTT writes it (section 2.2.3)."""
    digits = bytearray()
    while True:
        number, digit = number >> 7, number & 0x7F
        digits.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(digits)
