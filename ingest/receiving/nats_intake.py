"""A council's messages from a NATS cluster: out of its stream by a durable consumer, with receipts.

NATS keeps what gateways publish in a stream of the council's account. Here it is taken from there
by NATS' own protocol, as much as the inbox has room for; what goes to gateways, messages A, R and
C, goes by MQTT as `intake` sends it, for what is published natively reaches a gateway with QoS 0
alone.

A message is acknowledged to NATS once the batch that holds it is in the database, or has refused
it. Nothing depends on that: a gateway keeps its readings until it has our own acknowledgement. But
so what a dead worker had in memory is delivered to the next after a while (`ACK_WAIT_SECONDS` in
`broker_config.stream`), and no gateway has to notice and send again; and it costs next to nothing,
for batches are settled in the order of the inbox. A message that is parked for its announcement,
or deferred to the next batch, is settled with the batch it was taken in.

The stream remembers no retained messages, so a worker that starts learns which epochs are open from
the database alone. That is enough: a message K stays in the stream, like any other, until the
batch that holds it is committed; and one that was refused, say for a key we did not have yet, is
published again by its gateway when no acknowledgement comes.

Stream and consumer are made before any gateway is let in, with the keeper's rights
(`broker_config.stream`), which this process has not.
"""

import asyncio
import itertools
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

import aiomqtt
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from ingest.metrics import CONSUMER_MISSING, PAUSES, STREAM_UP, STREAM_WAITING
from ingest.receiving.delivery import Delivery
from ingest.receiving.inbox import Inbox
from ingest.receiving.intake import Intake
from ingest.settings import BrokerSettings, NodeSettings
from runtime.backoff import FullJitter
from runtime.cancellation import stoppable
from runtime.tls import client_context

log = logging.getLogger(__name__)

STREAM: Final = "$MQTT_msgs"
SUBJECTS: Final = "$MQTT.msgs."

_OUTAGES: Final = (NatsError, OSError, TimeoutError)
_BACKOFF_SECONDS: Final = (0.25, 10.0)
_CONNECT_SECONDS: Final = 5
_ANSWER_SECONDS: Final = 5.0
_AT_ONCE: Final = 500  # messages asked for in one request; the next goes out at half of them
_MOST_UNASKED: Final = 4 * _AT_ONCE  # while the inbox is full: more than was ever asked for
_REQUEST_SECONDS: Final = 10
_HEARTBEAT_SECONDS: Final = 1
_SILENCE_SECONDS: Final = 2.5  # then whoever was asked is gone: a consumer's leader moves
_DEAF_AFTER: Final = 4  # requests in silence, and the connection itself is not trusted any more
_NANOSECONDS: Final = 1_000_000_000

_HEARTBEAT, _NO_MESSAGES, _TIMED_OUT, _CONFLICT = "100", "404", "408", "409"
_PENDING: Final = "Nats-Pending-Messages"


class StreamError(NatsError):
    """The stream cannot be read now; the message says what to do, if anything."""


def topic_of(subject: str) -> str:
    """Return the topic that NATS keeps under this subject of the stream."""
    levels = subject.removeprefix(SUBJECTS).replace("//", "\0")  # a dot within a level
    return levels.replace(".", "/").replace("\0", ".")


class NatsIntake(Intake):
    """One council on a cluster, read and answered for as long as `run` runs.

    Any node serves: each leg takes the next one when its own is lost.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        inbox: Inbox,
        greetings: Callable[[str], Mapping[str, bytes]],
        *further: Any,
    ) -> None:
        super().__init__(settings, inbox, greetings, *further)
        self._nodes: Iterator[NodeSettings] = itertools.cycle(settings.node)
        self._held: deque[tuple[int, str]] = deque()
        self._settled: deque[str] = deque()
        self._any_settled = asyncio.Event()
        self._heard = asyncio.Event()
        self._owed = 0
        self._unasked = 0
        self._trouble = ""
        self._reads = False

    def settle(self, position: int) -> None:
        """Acknowledge to NATS what came into the inbox up to this position."""
        while self._held and self._held[0][0] <= position:
            self._settled.append(self._held.popleft()[1])
        if self._settled:
            self._any_settled.set()

    async def run(self) -> NoReturn:
        """Read and answer until cancelled; what goes wrong is tried again after a while."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(super().run(), name=f"answer {self.name}")
            tasks.create_task(self._read_for_ever(), name=f"read {self.name}")
        raise AssertionError("neither ends")

    def _address(self) -> tuple[str, int]:
        node = next(self._nodes)
        return node.host, node.port

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        """Read nothing by MQTT; a session kept from before may still be subscribed."""
        prefix = f"snaas/1/{self._settings.tenant}/+"
        await client.unsubscribe(
            [f"{prefix}/{kind}/{group}" for group in ("+", *self._settings.groups) for kind in "kd"]
        )

    async def _follow(self, client: aiomqtt.Client) -> None:
        """Let gateways come and go: the consumer is of the whole council."""

    async def _read_for_ever(self) -> NoReturn:
        backoff = FullJitter(*_BACKOFF_SECONDS)
        failing = False
        while True:
            await self._inbox.room.wait()
            self._reads = False
            try:
                await stoppable(self._read(), name=f"stream {self.name}")
            except* _OUTAGES as errors:
                if self._reads or not failing:
                    [error, *_] = _leaves(errors)
                    log.warning(
                        "stream not read",
                        extra={
                            "connection": self.name,
                            "error": str(error) or type(error).__name__,
                        },
                    )
                failing = True
            finally:
                STREAM_UP.labels(self.name).set(0)
            if self._reads:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _read(self) -> None:
        """Read by one connection until it is lost."""
        connection = await self._connect()
        try:
            await self._check_consumer(connection)
            answers = connection.new_inbox()
            self._owed, self._unasked, self._trouble = 0, 0, ""
            await connection.subscribe(answers, cb=self._take_native)
            log.info("stream connected", extra={"connection": self.name})
            STREAM_UP.labels(self.name).set(1)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask(connection, answers), name=f"ask {self.name}")
                tasks.create_task(self._confirm(connection), name=f"confirm {self.name}")
        finally:
            await connection.close()

    async def _connect(self) -> Client:
        """Return a native connection; certificates are read anew, they get renewed."""
        settings = self._settings
        tls = await asyncio.to_thread(
            client_context,
            ca_file=settings.ca_file,
            certificate_file=settings.certificate_file,
            key_file=settings.key_file,
        )

        async def lost() -> None:
            self._trouble = "connection lost"
            self._heard.set()

        async def told(error: Exception) -> None:
            log.info("stream connection", extra={"connection": self.name, "error": str(error)})

        return await nats.connect(
            [f"tls://{node.host}:{node.native_port}" for node in settings.node],
            tls=tls,
            inbox_prefix=f"_INBOX.{settings.consumer}".encode(),
            allow_reconnect=False,  # a new connection reads the certificates anew
            connect_timeout=_CONNECT_SECONDS,
            ping_interval=20,
            closed_cb=lost,
            error_cb=told,
        )

    async def _check_consumer(self, connection: Client) -> None:
        """Raise if there is no consumer: what gateways publish is then confirmed and kept nowhere.

        Raises:
            StreamError: there is none.
        """
        consumer = self._settings.consumer
        missing = CONSUMER_MISSING.labels(self.name)
        try:
            await connection.jetstream(timeout=_ANSWER_SECONDS).consumer_info(STREAM, consumer)
        except NotFoundError as error:
            missing.set(1)
            raise StreamError(
                f"council {self._settings.tenant!r} has no consumer {consumer!r}: what its "
                "gateways publish is kept nowhere. Stop them and make it (broker_config.stream)"
            ) from error
        missing.set(0)

    async def _ask(self, connection: Client, answers: str) -> NoReturn:
        """Ask for messages while there is room, before the last ones asked for are here."""
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self._settings.consumer}"
        request = json.dumps(
            {
                "batch": _AT_ONCE,
                "expires": _REQUEST_SECONDS * _NANOSECONDS,
                "idle_heartbeat": _HEARTBEAT_SECONDS * _NANOSECONDS,
            }
        ).encode()
        silences = 0
        while True:
            if not self._inbox.room.is_set():
                PAUSES.labels(self.name).inc()
                await self._inbox.room.wait()
            if 2 * self._owed <= _AT_ONCE:
                await connection.publish(subject, request, reply=answers)
                self._owed += _AT_ONCE
            self._heard.clear()
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._heard.wait()
                silences = 0
            except TimeoutError:
                silences += 1
                self._owed = 0
            if self._trouble or silences == _DEAF_AFTER:
                raise StreamError(self._trouble or "the cluster says nothing")

    async def _confirm(self, connection: Client) -> NoReturn:
        """Acknowledge what is settled, also what came by an earlier connection."""
        while True:
            await self._any_settled.wait()
            while self._settled:
                await connection.publish(self._settled[0])
                self._settled.popleft()
            self._any_settled.clear()

    async def _take_native(self, message: Msg) -> None:
        self._heard.set()
        if not message.reply:
            self._take_status(message)
            return
        self._reads = True
        self._owed -= 1
        if self._is_flood():
            return
        topic = topic_of(message.subject)
        if not self._serves(topic):
            self._settled.append(message.reply)
            self._any_settled.set()
            return
        position = self._inbox.put(
            Delivery(self.name, topic, message.data, False, int(time.time()))  # noqa: FBT003
        )
        self._held.append((position, message.reply))
        STREAM_WAITING.labels(self.name).set(int(message.reply.rpartition(".")[2]))

    def _is_flood(self) -> bool:
        """Return whether a cluster sends on and on what nobody asks for: then it is left.

        What is not taken stays unacknowledged, and comes again from a cluster that works.
        """
        self._unasked = 0 if self._inbox.room.is_set() else self._unasked + 1
        if self._unasked <= _MOST_UNASKED:
            return False
        self._trouble = "the cluster sends more than was asked for"
        return True

    def _take_status(self, message: Msg) -> None:
        """Note how a request ended, or that it is still being served."""
        headers = message.headers or {}
        status = headers.get("Status", "")
        if status == _HEARTBEAT:
            self._reads = True
        elif status in {_TIMED_OUT, _NO_MESSAGES}:
            self._owed -= min(self._owed, int(headers.get(_PENDING, self._owed)))
        else:
            self._owed = 0
            said = headers.get("Description", "")
            if status != _CONFLICT or "Deleted" in said:
                self._trouble = f"{status} {said}"


def _leaves(errors: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Yield the errors of a group, which may hold groups."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
