"""A hostile broker operator: sits between gateways and the real broker, and may publish anything.

Gateways connect to `RogueBroker` as to the broker: it shows the broker's own certificate, takes
what they send, confirms it at once and passes it on to the real broker, or does not, or something
else. On the real broker it is a user who may read and write every topic (`bent_broker`). So it
can do whatever holding the broker's machine and keys allows, and nothing that needs a gateway's,
the centre's or a council's keys.

It speaks MQTT 3.1.1, as little of it as gateways need.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple, Self

import aiomqtt

from broker_config.embedded import Endpoint
from broker_config.files import BrokerKind
from command_line.bent_broker import bent
from device_protocol import topics
from device_protocol.errors import TopicError
from tests.integration.fix_brokers import City

NAME = "rogue"


class Passing(NamedTuple):
    """A message on its way through the broker."""

    topic: str
    payload: bytes
    retain: bool = False


Treatment = Callable[[Passing], Iterable[Passing]]
"""What becomes of a message: itself, nothing, something else, more than one."""


def honestly(message: Passing) -> Iterable[Passing]:
    """Pass it on as it is."""
    return (message,)


class RogueBroker:
    """One council's connection between its gateways and the real broker.

    upward, downward: what becomes of messages from gateways and to them.
    seen: everything that gateways have sent, and `told` what was on its way to them.
    endpoint: where gateways connect.
    """

    def __init__(self, city: City, tenant: str) -> None:
        self.upward: Treatment = honestly
        self.downward: Treatment = honestly
        self.seen: list[Passing] = []
        self.told: list[Passing] = []
        self.endpoint = Endpoint("localhost", 0, "3.1.1")
        self._city = city
        self._tenant = tenant
        self._retained: dict[str, Passing] = {}
        self._queue: asyncio.Queue[Passing] = asyncio.Queue()
        self._gateways: set[_Session] = set()
        self._upstreams: dict[str, aiomqtt.Client] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def between(cls, city: City, tenant: str) -> AsyncIterator[Self]:
        """Take over the city's broker for one council's gateways."""
        rogue = cls(city, tenant)
        directory = city.directory / "broker"
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(bent(city.broker.kind, directory, NAME))
            for reached in rogue.tenants():
                client = city.service_client(reached, NAME, identifier=f"{NAME}-{reached}")
                rogue._upstreams[reached] = await stack.enter_async_context(client)
            await rogue.upstream(tenant).subscribe(f"snaas/1/{tenant}/#", qos=1)
            server = await asyncio.start_server(
                rogue._serve, "127.0.0.1", 0, ssl=rogue._tls_context()
            )
            stack.callback(server.close)
            rogue.endpoint = Endpoint("localhost", server.sockets[0].getsockname()[1], "3.1.1")
            work = [
                asyncio.create_task(rogue._pass_on(), name="rogue passes on"),
                asyncio.create_task(rogue._listen(), name="rogue listens"),
            ]
            try:
                yield rogue
                assert not any(task.done() for task in work), work
            finally:
                rogue._hang_up()
                for task in work:
                    task.cancel()
                await asyncio.wait(work)

    def tenants(self) -> tuple[str, ...]:
        """Return the councils to connect for: each has an account of its own on NATS alone."""
        on_nats = self._city.broker.kind is BrokerKind.NATS
        return self._city.broker.network.tenants if on_nats else (self._tenant,)

    def upstream(self, tenant: str) -> aiomqtt.Client:
        """Return the connection to the real broker that reaches a council's topics."""
        return self._upstreams.get(tenant) or self._upstreams[self._tenant]

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish anything on any topic of the real broker, as if a gateway or centre had."""
        await self.upstream(topic.split("/")[2]).publish(topic, payload, qos=1, retain=retain)

    async def tell(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Deliver anything to the gateways that listen there; retained, also to later ones."""
        await self._deliver(Passing(topic, payload, retain))

    async def until_seen(self, kind: topics.Kind, count: int, *, within: float = 20) -> None:
        """Return once gateways have sent so many messages of a kind."""
        async with asyncio.timeout(within):
            while len(self.of_kind(kind)) < count:  # noqa: ASYNC110 - no event for each count
                await asyncio.sleep(0.01)

    def of_kind(self, kind: topics.Kind) -> list[Passing]:
        """Return what gateways have sent of one kind, in its order."""
        return [each for each in self.seen if topics.parse(each.topic).kind is kind]

    def _tls_context(self) -> ssl.SSLContext:
        certificates = self._city.authority.broker_certificates(self._city.broker.network.tenants)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server_certificate, certificates.server_key)
        context.load_verify_locations(cafile=certificates.council_roots[self._tenant])
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _pass_on(self) -> None:
        while True:
            message = await self._queue.get()
            await self.publish(message.topic, message.payload, retain=message.retain)

    async def _listen(self) -> None:
        async for message in self.upstream(self._tenant).messages:
            passing = Passing(message.topic.value, bytes(message.payload), message.retain)  # type: ignore[arg-type]
            if not _is_for_gateways(passing.topic):
                continue
            self.told.append(passing)
            for treated in self.downward(passing):
                await self._deliver(treated)

    async def _deliver(self, message: Passing) -> None:
        if topics.parse(message.topic).kind is not topics.Kind.ACKNOWLEDGEMENT:
            self._retained[message.topic] = message
        for session in list(self._gateways):
            if message.topic in session.topics:
                session.send(message)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(writer)
        self._gateways.add(session)
        try:
            while (packet := await _read_packet(reader)) is not None:
                self._answer(session, *packet)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._gateways.discard(session)
            writer.close()

    def _answer(self, session: "_Session", kind: int, flags: int, body: bytes) -> None:
        if kind == _CONNECT:
            session.write(_CONNACK, b"\x00\x00")
        elif kind == _PUBLISH:
            topic, rest = _take_text(body)
            if flags & 0x06:
                session.write(_PUBACK, rest[:2])
                rest = rest[2:]
            message = Passing(topic, rest, bool(flags & 0x01))
            self.seen.append(message)
            for treated in self.upward(message):
                self._queue.put_nowait(treated)
        elif kind == _SUBSCRIBE:
            wanted = list(_topics_of(body[2:]))
            session.topics.update(wanted)
            session.write(_SUBACK, body[:2] + b"\x01" * len(wanted))
            for topic in wanted:
                if topic in self._retained:
                    session.send(self._retained[topic])
        elif kind == _PINGREQ:
            session.write(_PINGRESP, b"")

    def _hang_up(self) -> None:
        for session in self._gateways:
            session.abort()


def _is_for_gateways(topic: str) -> bool:
    try:
        kind = topics.parse(topic).kind
    except TopicError:
        return False  # one of our own
    return kind not in (topics.Kind.ANNOUNCEMENT, topics.Kind.DATA)


_CONNECT, _CONNACK, _PUBLISH, _PUBACK = 0x10, 0x20, 0x30, 0x40
_SUBSCRIBE, _SUBACK, _PINGREQ, _PINGRESP = 0x80, 0x90, 0xC0, 0xD0


class _Session:
    """One gateway's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.topics: set[str] = set()
        self._writer = writer

    def write(self, kind: int, body: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(bytes((kind,)) + _length(len(body)) + body)

    def send(self, message: Passing) -> None:
        topic = message.topic.encode()
        body = len(topic).to_bytes(2, "big") + topic + message.payload
        self.write(_PUBLISH | message.retain, body)

    def abort(self) -> None:
        self._writer.transport.abort()


async def _read_packet(reader: asyncio.StreamReader) -> tuple[int, int, bytes] | None:
    """Return a packet's kind, flags and body (MQTT 3.1.1, section 2.2); None at the end."""
    first = await reader.read(1)
    if not first:
        return None
    length, shift = 0, 0
    while True:
        (digit,) = await reader.readexactly(1)
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            break
    return first[0] & 0xF0, first[0] & 0x0F, await reader.readexactly(length)


def _length(length: int) -> bytes:
    digits = bytearray()
    while True:
        length, digit = length >> 7, length & 0x7F
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(digits)


def _take_text(body: bytes) -> tuple[str, bytes]:
    end = 2 + int.from_bytes(body[:2], "big")
    return body[2:end].decode(), body[end:]


def _topics_of(body: bytes) -> Iterable[str]:
    while body:
        topic, body = _take_text(body)
        body = body[1:]  # the requested QoS
        yield topic
