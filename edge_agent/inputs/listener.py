"""Readings that sensors push by HTTP/1.1: answered with 200 once they are on the disk, not before.

One listener, however many sensors are pushed to; each tells the path it is pushed to. What a
body means is the sensor's business; how one connection is spoken with is told in
`conversation`.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address
from typing import Final

from edge_agent.adapter import Surroundings
from edge_agent.input_settings import ListenerSettings
from edge_agent.inputs.conversation import Answer, Conversation, Pushed
from edge_agent.sources import SourceError

__all__ = ["Post", "port_of", "posts"]

log = logging.getLogger(__name__)

_STORED_SECONDS: Final = 20.0
_CLOSING_SECONDS: Final = 5.0
_MOST_CONNECTIONS: Final = 32
_MOST_OF_ONE: Final = 16  # connections from one address, so that it cannot shut out the others
_MOST_WAITING: Final = 16  # for one sensor
_BUFFERED_BYTES: Final = 16 * 1024  # of one connection
_STORED: Final = Answer(200, "stored")
_LET_GO: Final = Answer(503, "not stored: send it again later")
_TOO_BUSY: Final = (
    b"HTTP/1.1 503 \r\nRetry-After: 60\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
_KEY: Final = "listener"


@dataclass(frozen=True, slots=True)
class Post:
    """What somebody pushed.

    path: without query. headers: by name in lower case.
    accept: to be called once its readings are stored; answers 200.
    refuse: to be called instead with a status and a reason, when it is of no use: 400 for what
        is not understood, 404 for a device that nobody knows.
    One that is let go without either is answered with 503, so that it is sent again.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    received: datetime
    accept: Callable[[], None]
    refuse: Callable[[int, str], None]


async def posts(surroundings: Surroundings, path: str) -> AsyncGenerator[Post]:
    """Yield what is pushed to `path`; every reader of a path gets every post.

    200 is answered when all of them have accepted it. After 20 s the answer is 503.

    Raises:
        SourceError: the settings name no listener, or a token that is none.
        OSError: the port cannot be had, or the token not be read.
    """
    async with _shared(surroundings) as listener:
        with listener.reading(path) as waiting:
            while True:
                yield (await listener.next_in(waiting)).post()


async def port_of(surroundings: Surroundings) -> int:
    """Return the port that is listened on, which with port 0 in the settings is any.

    Raises:
        SourceError, OSError: as `posts`.
    """
    async with _shared(surroundings) as listener:
        return listener.port


@asynccontextmanager
async def _shared(surroundings: Surroundings) -> AsyncIterator["_Listener"]:
    settings, now = surroundings.listener, surroundings.clock.now
    if settings is None:
        raise SourceError("what is pushed needs a [listener] in the settings")
    async with surroundings.sources.shared(_KEY, lambda: _listening(settings, now)) as given:
        yield given


@asynccontextmanager
async def _listening(
    settings: ListenerSettings, now: Callable[[], datetime]
) -> AsyncIterator["_Listener"]:
    """Listen; at the end give those who are being answered a little time."""
    token = settings.token_file.read_bytes().strip() if settings.token_file else None
    if token == b"":
        raise SourceError(f"{settings.token_file} holds no token")
    listener = _Listener(token, now)
    server = await asyncio.start_server(
        listener.connected, settings.host, settings.port, limit=_BUFFERED_BYTES
    )
    listener.port = server.sockets[0].getsockname()[1]
    async with asyncio.TaskGroup() as listener.tasks:
        try:
            log.info("listening", extra={"host": settings.host, "port": listener.port})
            yield listener
        finally:
            server.close()
            await listener.stop()


class _Exchange:
    """One request on its way to those who read its path, and the answer to it."""

    def __init__(self, pushed: Pushed, received: datetime, owed: int) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pushed = pushed
        self._received = received
        self._owed = owed

    def post(self) -> Post:
        """Return it as one of its readers is to see it."""
        ticket = _Ticket(self)
        return Post(
            path=self._pushed.path,
            headers=self._pushed.headers,
            body=self._pushed.body,
            received=self._received,
            accept=ticket.accept,
            refuse=ticket.refuse,
        )

    def accepted(self) -> None:
        self._owed -= 1
        if not self._owed:
            self.decide(_STORED)

    def decide(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class _Ticket:
    """One reader's hold on an exchange, which decides once, or is let go."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange: _Exchange | None = exchange
        self._loop = asyncio.get_running_loop()

    def accept(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.accepted()

    def refuse(self, status: int, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.decide(Answer(status, reason))

    def __del__(self) -> None:
        if self._exchange is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # the loop has closed since
                self._loop.call_soon_threadsafe(self._exchange.decide, _LET_GO)


class _Listener:
    """Who reads which path, and the connections there are.

    port: the one listened on. tasks: where connections live; None, none is taken.
    ended: done when nothing more will come.
    """

    def __init__(self, token: bytes | None, now: Callable[[], datetime]) -> None:
        self.port = 0
        self.tasks: asyncio.TaskGroup | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._token = token
        self._now = now
        self._paths: dict[str, list[asyncio.Queue[_Exchange]]] = {}
        self._connections: dict[asyncio.Task[None], Conversation] = {}
        self._addresses: dict[asyncio.Task[None], str] = {}  # whose those are

    @contextmanager
    def reading(self, path: str) -> Iterator[asyncio.Queue[_Exchange]]:
        """Give a queue of what is pushed to `path`; what is left in it at the end is let go."""
        waiting: asyncio.Queue[_Exchange] = asyncio.Queue(_MOST_WAITING)
        readers = self._paths.setdefault(path, [])
        readers.append(waiting)
        try:
            yield waiting
        finally:
            readers.remove(waiting)
            while not waiting.empty():
                waiting.get_nowait().decide(_LET_GO)

    async def next_in(self, waiting: asyncio.Queue[_Exchange]) -> _Exchange:
        """Return what comes next into a queue.

        Raises:
            SourceError: the listener has ended.
        """
        taking = asyncio.ensure_future(waiting.get())
        try:
            await asyncio.wait((taking, self.ended), return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                return taking.result()
        finally:
            taking.cancel()
        raise SourceError("the listener has ended")

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection, or turn it away."""
        address = _address_of(writer)
        if self.tasks is None or not self._has_room(address):
            writer.write(_TOO_BUSY)
            writer.close()
            return
        conversation = Conversation(reader, writer, self._token, self._paths, self._hand_over)
        task = self.tasks.create_task(conversation.run(), name="listener connection")
        self._connections[task] = conversation
        self._addresses[task] = address
        task.add_done_callback(self._forget)

    def _has_room(self, address: str) -> bool:
        of_one = sum(each == address for each in self._addresses.values())
        return len(self._connections) < _MOST_CONNECTIONS and of_one < _MOST_OF_ONE

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._connections[task], self._addresses[task]

    async def stop(self) -> None:
        """Let those who wait for an answer have it, and end."""
        self.tasks = None
        self.ended.set_result(None)
        for task, conversation in self._connections.items():
            if not conversation.is_waiting_for_answer:
                task.cancel()
        if self._connections:
            await asyncio.wait(tuple(self._connections), timeout=_CLOSING_SECONDS)
        for task in self._connections:
            task.cancel()

    async def _hand_over(self, pushed: Pushed) -> Answer:
        """Give a request to all who read its path; return what they make of it."""
        readers = self._paths[pushed.path]
        if not readers or any(reader.full() for reader in readers):
            return Answer(503, "the sensor is not read at present: send it again later")
        exchange = _Exchange(pushed, self._now(), len(readers))
        for reader in readers:
            reader.put_nowait(exchange)
        answer = exchange.answer
        del exchange
        try:
            async with asyncio.timeout(_STORED_SECONDS):
                return await answer
        except TimeoutError:
            return Answer(503, "not stored yet: send it again later")


def _address_of(writer: asyncio.StreamWriter) -> str:
    """Return whose connection it is; of IPv6 the half that one subscriber has to himself."""
    peer = writer.get_extra_info("peername")
    address = str(peer[0]) if peer else ""
    if ":" not in address or address.startswith("::ffff:"):
        return address
    return IPv6Address(address.partition("%")[0]).exploded[:19]
