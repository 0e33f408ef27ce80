"""The least of MQTT 3.1.1 that lets gateways load a broker, far cheaper than what it measures.

Over mutual TLS, QoS 1, with a window of unconfirmed publications. It is no client for anything
but a measurement: it trusts the broker's packets and gives up on the first surprise.
"""

import asyncio
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

_CONNECT: Final = 0x10
_CONNACK: Final = 0x20
_PUBLISH_QOS_1: Final = 0x32
_PUBLISH: Final = 0x30
_PUBACK: Final = 0x40
_SUBSCRIBE: Final = 0x82
_SUBACK: Final = 0x90
_RETAIN: Final = 0x01
_CLEAN_SESSION: Final = 0x02
_KEEP_ALIVE_SECONDS: Final = 120  # no ping is sent: nobody is silent for longer
_AT_ONCE: Final = 16  # publications given to the socket together


class LoadError(Exception):
    """The broker did something else than confirm what it was sent."""


class LoadConnection:
    """One gateway's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._packet_ids = count(1)

    @classmethod
    async def open(
        cls, host: str, port: int, client_id: str, context: ssl.SSLContext
    ) -> "LoadConnection":
        """Connect with a clean session.

        Raises:
            OSError: no connection.
            LoadError: the broker refuses the client.
        """
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        connection = cls(reader, writer)
        variable = (
            _text("MQTT") + bytes((4, _CLEAN_SESSION)) + struct.pack(">H", _KEEP_ALIVE_SECONDS)
        )
        try:
            writer.write(_packet(_CONNECT, variable + _text(client_id)))
            kind, body = await connection._packet()
        except BaseException:
            writer.close()
            raise
        if kind != _CONNACK or body[1]:
            writer.close()
            raise LoadError(f"connection of {client_id} refused: {body.hex()}")
        return connection

    async def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 1.

        Raises:
            LoadError: refused.
        """
        body = struct.pack(">H", next(self._packet_ids)) + _text(topic) + b"\x01"
        self._writer.write(_packet(_SUBSCRIBE, body))
        kind, answer = await self._packet()
        if kind != _SUBACK or answer[2] > 1:
            raise LoadError(f"subscription to {topic} refused")

    async def publish(
        self, messages: Sequence[tuple[str, bytes]], *, window: int = 100, retain: bool = False
    ) -> None:
        """Publish in order and return when the broker has confirmed all.

        Never more than `window` are unconfirmed. What is delivered meanwhile is dropped.
        """
        head = _PUBLISH_QOS_1 | (_RETAIN if retain else 0)
        unconfirmed = sent = 0
        while sent < len(messages) or unconfirmed:
            room = min(window - unconfirmed, _AT_ONCE, len(messages) - sent)
            if room:
                batch = messages[sent : sent + room]
                self._writer.write(b"".join(self._publication(head, *found) for found in batch))
                sent += room
                unconfirmed += room
            if unconfirmed == window or sent == len(messages):
                kind, _ = await self._packet()
                unconfirmed -= kind == _PUBACK

    async def publish_on_schedule(
        self, messages: Sequence[tuple[str, bytes]], moments: Sequence[float]
    ) -> None:
        """Publish each message at its moment (the event loop's time), whatever is confirmed.

        Nothing is read here: `listen` must run beside it.
        """
        clock = asyncio.get_running_loop().time
        for message, moment in zip(messages, moments, strict=True):
            early = moment - clock()
            if early > 0:
                await asyncio.sleep(early)
            self._writer.write(self._publication(_PUBLISH_QOS_1, *message))

    async def listen(self, heard: Callable[[bytes], bool]) -> None:
        """Hand on the payload of every delivered message, until `heard` returns True."""
        while not heard(await self.delivered()):
            pass

    async def delivered(self) -> bytes:
        """Return the payload of the next message the broker delivers."""
        while True:
            kind, body = await self._packet()
            if kind & 0xF0 == _PUBLISH:
                (length,) = struct.unpack_from(">H", body)
                at = 2 + length
                if kind & 0x06:  # QoS 1: confirm
                    self._writer.write(_packet(_PUBACK, body[at : at + 2]))
                    at += 2
                return body[at:]

    async def close(self) -> None:
        """Leave without ceremony, also while the broker goes on talking."""
        self._writer.close()
        with suppress(OSError):  # what came after our goodbye; TLS calls it an error
            await self._writer.wait_closed()

    def _publication(self, head: int, topic: str, payload: bytes) -> bytes:
        packet_id = next(self._packet_ids) % 65_535 + 1
        return _packet(head, _text(topic) + struct.pack(">H", packet_id) + payload)

    async def _packet(self) -> tuple[int, bytes]:
        kind = (await self._reader.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await self._reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - no continuation bit (MQTT 3.1.1, section 2.2.3)
                return kind, await self._reader.readexactly(length)


def _packet(kind: int, body: bytes) -> bytes:
    head = bytearray((kind,))
    length = len(body)
    while length >= 0x80:  # noqa: PLR2004 - as above
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded
