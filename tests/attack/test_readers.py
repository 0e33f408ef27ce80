"""A stranger at the readers' broker, where nobody is asked for a certificate.

Whatever it tries, the publisher and an honest reader go on; proof that something was not delivered
is that what came later arrives first.
"""

import asyncio
import contextlib
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

import aiomqtt
import pytest

from api.publishing.publisher import send
from broker_config.readers import MARK, MAX_MESSAGE_BYTES, PUBLISHER, READER
from runtime.mqtt import MqttConnection
from tests.integration.fix_brokers import City
from tests.integration.readers import CONNECTIONS, Readers, run_readers

OPEN = "v1.1/Datastreams(1)/Observations"
OTHER = "v1.1/Datastreams(2)/Observations"
SECONDS = 10
CONNECT = b"\x10\x14\x00\x04MQTT\x04\x02\x00\x3c"  # then come length and client id
LET_IN = b"\x20\x02\x00\x00"


@pytest.fixture(scope="module")
def readers(city: City, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    directory = tmp_path_factory.mktemp("readers")
    with run_readers(city.broker.kind, directory, city.authority) as running:
        yield running


@contextlib.asynccontextmanager
async def honest(readers: Readers) -> AsyncIterator[tuple[aiomqtt.Client, aiomqtt.Client]]:
    """Connect the publisher, and a reader of everything that is open."""
    async with readers.publisher() as publisher, readers.client() as reader:
        await reader.subscribe("v1.1/#", qos=0, timeout=SECONDS)
        yield publisher, reader


async def heard(client: aiomqtt.Client) -> tuple[str, bytes]:
    async with asyncio.timeout(SECONDS):
        message = await anext(client.messages)
    return str(message.topic), bytes(message.payload)


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("topic", [OPEN, "snaas/1/camden/k7q2m9xd4t/d/main", "$SYS/broker"])
async def test_publish_to_readers_as_a_stranger(
    readers: Readers, topic: str, *, retain: bool
) -> None:
    async with honest(readers) as (publisher, reader):
        with contextlib.suppress(aiomqtt.MqttError):  # it may be put out, or simply not be heard
            async with readers.client(will=aiomqtt.Will(OPEN, b"forged", 0, retain)) as stranger:
                await stranger.publish(topic, b"forged", qos=1, retain=retain, timeout=SECONDS)
                raise aiomqtt.MqttError("leave, so that the will is carried out")
        await publisher.publish(OPEN, b"genuine", qos=1, timeout=SECONDS)
        assert await heard(reader) == (OPEN, b"genuine")
        async with readers.client() as late:  # nothing of it was kept either
            await late.subscribe("v1.1/#", qos=0, timeout=SECONDS)
            await publisher.publish(OPEN, b"later", qos=1, timeout=SECONDS)
            assert await heard(late) == (OPEN, b"later")


@pytest.mark.parametrize("password", [None, "", "guessed"])
@pytest.mark.parametrize(
    "name", [PUBLISHER, READER, "ingest", "k7q2m9xd4t.camden", "CN=k7q2m9xd4t,O=camden"]
)
async def test_come_as_the_publisher_by_name(
    readers: Readers, name: str, password: str | None
) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with readers.client(username=name, password=password):
            pass
    async with honest(readers) as (publisher, reader):
        await publisher.publish(OPEN, b"genuine", qos=1, timeout=SECONDS)
        assert await heard(reader) == (OPEN, b"genuine")


@pytest.mark.parametrize(
    "topic",
    [
        "snaas/#",
        "snaas/1/camden/+/d/#",
        "$SYS/#",
        "$MQTT/#",
        "$JS/#",
        "_INBOX/#",
        "#",
        "+/#",
        "+/1/camden/+/d/#",
        "$share/crowd/#",
        "$share/crowd/snaas/#",
        MARK,
        "+",
    ],
)
async def test_listen_beyond_open_data(readers: Readers, topic: str) -> None:
    async with honest(readers) as (publisher, _), readers.client() as stranger:
        with contextlib.suppress(aiomqtt.MqttError):  # refused, or granted and never delivered
            await stranger.subscribe(topic, qos=0, timeout=SECONDS)
        await stranger.subscribe(OTHER, qos=0, timeout=SECONDS)
        await publisher.publish("snaas/1/camden/k7q2m9xd4t/d/main", b"sealed", qos=1)
        await publisher.publish(OTHER, b"open", qos=1, timeout=SECONDS)
        assert await heard(stranger) == (OTHER, b"open")


async def test_come_to_the_councils_broker_without_a_certificate(
    city: City, readers: Readers
) -> None:
    endpoints = {
        city.broker.service_endpoint("camden").port,
        city.broker.council_endpoint("camden").port,
    }
    assert readers.broker.broker.port not in endpoints
    for port in endpoints:
        with pytest.raises((aiomqtt.MqttError, ssl.SSLError)):
            async with MqttConnection(
                "localhost",
                port,
                protocol=aiomqtt.ProtocolVersion.V311,
                tls_context=ssl.create_default_context(cafile=str(readers.root)),
            ):
                pass


async def test_take_every_connection_of_readers(readers: Readers) -> None:
    """Strangers fill the broker up to its bound; beyond it nobody comes in until one leaves."""
    async with honest(readers) as (publisher, reader):
        for _ in range(CONNECTIONS):  # who has left again does not count
            async with stranger_at(readers) as answer:
                assert answer == LET_IN
        async with contextlib.AsyncExitStack() as crowd:
            answer = LET_IN
            admitted = 0
            while answer == LET_IN and admitted < 3 * CONNECTIONS:
                answer = await crowd.enter_async_context(stranger_at(readers))
                admitted += answer == LET_IN
            assert admitted < 2 * CONNECTIONS
            await publisher.publish(OPEN, b"still there", qos=1, timeout=SECONDS)
            assert await heard(reader) == (OPEN, b"still there")
        async with asyncio.timeout(SECONDS):
            while answer != LET_IN:
                async with stranger_at(readers) as answer:
                    pass


@contextlib.asynccontextmanager
async def stranger_at(readers: Readers) -> AsyncIterator[bytes]:
    """Connect one more stranger; yield what the broker says, nothing if it hangs up."""
    context = ssl.create_default_context(cafile=str(readers.root))
    answer = b""
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(SECONDS):
                taken, sent = await asyncio.open_connection(
                    "localhost", readers.broker.broker.port, ssl=context
                )
                stack.callback(sent.transport.abort)
                name = secrets.token_hex(4).encode()
                sent.write(CONNECT + bytes((0, len(name))) + name)
                answer = await taken.read(len(LET_IN))
        yield answer


async def test_send_readers_broker_a_huge_message(readers: Readers) -> None:
    async with honest(readers) as (publisher, reader):
        async with contextlib.AsyncExitStack() as stack:
            stranger = await stack.enter_async_context(readers.client())
            with contextlib.suppress(aiomqtt.MqttError):  # it is put out before all is sent
                await stranger.publish(OPEN, bytes(4 * MAX_MESSAGE_BYTES), qos=0, timeout=1)
            with pytest.raises(aiomqtt.MqttError):
                await heard(stranger)
            stack.pop_all()
        await publisher.publish(OPEN, b"genuine", qos=1, timeout=SECONDS)
        assert await heard(reader) == (OPEN, b"genuine")


async def test_stay_away_and_have_messages_kept(readers: Readers) -> None:
    """A stranger leaves a session behind, to have the broker keep what it never comes for."""
    async with readers.client(identifier="absent", clean=False) as stranger:
        await stranger.subscribe("v1.1/#", qos=1, timeout=SECONDS)  # one broker refuses at once
    async with honest(readers) as (publisher, reader):
        await send(publisher, [(OPEN, str(number).encode()) for number in range(200)])
        assert [(await heard(reader))[1] for _ in range(200)] == [
            str(number).encode() for number in range(200)
        ]
        async with readers.client(identifier="absent", clean=False) as stranger:
            await stranger.subscribe(OTHER, qos=0, timeout=SECONDS)
            await send(publisher, [(OTHER, b"now")])
            assert await heard(stranger) == (OTHER, b"now")


async def test_have_observations_sent_to_one_of_many(readers: Readers) -> None:
    """A shared subscription takes messages from nobody but those who joined it themselves."""
    async with honest(readers) as (publisher, reader), readers.client() as stranger:
        with contextlib.suppress(aiomqtt.MqttError):  # one broker knows none, and says so
            await stranger.subscribe(f"$share/crowd/{OPEN}", qos=0, timeout=SECONDS)
        bodies = [str(number).encode() for number in range(20)]
        await send(publisher, [(OPEN, body) for body in bodies])
        assert [(await heard(reader))[1] for _ in bodies] == bodies


async def test_subscribe_thousands_of_times(readers: Readers) -> None:
    async with honest(readers) as (publisher, reader), contextlib.AsyncExitStack() as stack:
        stranger = await stack.enter_async_context(readers.client())
        with contextlib.suppress(aiomqtt.MqttError):  # one broker refuses, or puts it out
            for first in range(0, 3000, 100):
                many = [(f"v1.1/Datastreams({n})/+", 0) for n in range(first, first + 100)]
                await stranger.subscribe(many, timeout=SECONDS)
        await publisher.publish(OPEN, b"genuine", qos=1, timeout=SECONDS)
        assert await heard(reader) == (OPEN, b"genuine")
        stack.pop_all()


async def test_read_as_slowly_as_can_be(readers: Readers) -> None:
    """Whoever takes nothing of what was sent holds up nobody, nor is it kept without end."""
    context = ssl.create_default_context(cafile=str(readers.root))
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(raw.connect, ("127.0.0.1", readers.broker.broker.port))
    with context.wrap_socket(raw, server_hostname="localhost") as slow:
        slow.settimeout(SECONDS)
        name = secrets.token_hex(4).encode()
        await asyncio.to_thread(slow.sendall, CONNECT + bytes((0, len(name))) + name)
        assert await asyncio.to_thread(slow.recv, len(LET_IN)) == LET_IN
        everything = b"v1.1/#"
        body = b"\x00\x01" + bytes((0, len(everything))) + everything + b"\x00"
        await asyncio.to_thread(slow.sendall, b"\x82" + bytes((len(body),)) + body)
        assert (await asyncio.to_thread(slow.recv, 5))[0] == 0x90, "subscribed"
        async with honest(readers) as (publisher, reader):
            filler = bytes(32_000)
            for page in range(25):  # 8 MB, of which the slow one takes nothing
                bodies = [f"{page}-{number}".encode() for number in range(10)]
                await send(publisher, [(OPEN, body + filler) for body in bodies])
                told = [(await heard(reader))[1] for _ in bodies]
                assert [one[: -len(filler)] for one in told] == bodies


async def test_take_over_the_session_of_a_reader(readers: Readers) -> None:
    """Its client id is all that a stranger needs to end a reader's session; it gets nothing by it,
    and the publisher's id cannot be guessed."""
    async with readers.publisher() as publisher:
        async with contextlib.AsyncExitStack() as stack:
            victim = await stack.enter_async_context(readers.client(identifier="victim"))
            await victim.subscribe("v1.1/#", qos=0, timeout=SECONDS)
            thief = await stack.enter_async_context(readers.client(identifier="victim"))
            with pytest.raises(aiomqtt.MqttError):
                await heard(victim)
            await thief.subscribe(OTHER, qos=0, timeout=SECONDS)
            await send(publisher, [(OPEN, b"what it did not ask for"), (OTHER, b"its own")])
            assert await heard(thief) == (OTHER, b"its own")
            stack.pop_all()
        for guess in (PUBLISHER, "publish", "kerbstone"):
            async with readers.client(identifier=guess), readers.client() as reader:
                await reader.subscribe(OPEN, qos=0, timeout=SECONDS)
                await publisher.publish(OPEN, b"still there", qos=1, timeout=SECONDS)
                assert await heard(reader) == (OPEN, b"still there")


@pytest.mark.parametrize("topic", ["v1.1/#", "v1.1/+/Observations", OPEN])
async def test_wait_for_what_is_kept(readers: Readers, topic: str) -> None:
    """Nothing is retained: who subscribes later is told nothing of what was open before."""
    async with readers.publisher() as publisher, readers.client() as late:
        await send(publisher, [(OPEN, b"before it was restricted")])
        await late.subscribe(topic, qos=0, timeout=SECONDS)
        await send(publisher, [(OPEN, b"later")])
        assert await heard(late) == (OPEN, b"later")


@pytest.mark.parametrize("password", ["kbs_" + "a" * 43, "kbs_"])
async def test_show_an_api_key_to_read_more(readers: Readers, password: str) -> None:
    """No key counts here, so that there is none whose end would have to be noticed."""
    for name in ("key", "camden"):
        with pytest.raises(aiomqtt.MqttError):
            async with readers.client(username=name, password=password):
                pass
