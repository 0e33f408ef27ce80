"""Connections to brokers: messages in, acknowledgements out, and what councils have signed.

The only MQTT here; what aiomqtt lacks is told in `runtime.mqtt`.

aiomqtt keeps the session and its timers. Messages do not go through its queue, which costs more
than the rest of the way (a task for every message) and drops what does not fit: `stream` hands
them over as it reads. When the inbox is full the socket is no longer read, so that the broker has
to wait or queue, and nothing is lost in between.

The broker is told "received" as soon as a message is read. That proves nothing to a gateway: it
deletes readings only on our own acknowledgement, sent once they are in the database.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.metrics import ACKNOWLEDGEMENTS, BROKER_UP, PAUSES, UNREADABLE
from ingest.receiving.delivery import Delivery
from ingest.receiving.inbox import Inbox
from ingest.receiving.packets import Publication as Incoming
from ingest.receiving.stream import PublicationStream
from ingest.receiving.subscriptions import Duties, Subscriptions
from ingest.settings import BrokerSettings
from runtime.backoff import FullJitter
from runtime.cancellation import stoppable
from runtime.tls import client_context

log = logging.getLogger(__name__)

OUTAGES: Final = (aiomqtt.MqttError, OSError)
_TIMEOUT_SECONDS: Final = 30.0
_BACKOFF_SECONDS: Final = (0.5, 30.0)
_AT_ONCE: Final = 8  # publications that wait for the broker's PUBACK together


@dataclass(frozen=True, slots=True)
class Publication:
    """A message on its way to a broker, QoS 1."""

    topic: str
    message: bytes
    retained: bool = False


class Intake:
    """One broker connection, kept up for as long as `run` runs.

    greetings: what is published, retained, whenever the connection is made: messages R and C of
        a council, by topic. duties: what of its council is ours; None: all.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        inbox: Inbox,
        greetings: Callable[[str], Mapping[str, bytes]],
        duties: Duties | None = None,
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._greetings = greetings
        self._outgoing: dict[Hashable, Publication] = {}
        self._wake = asyncio.Event()
        self._greeted: dict[str, bytes] = {}
        self._subscriptions = Subscriptions(settings, duties)
        self._is_up = False
        BROKER_UP.labels(self.name).set(0)  # before the first attempt: an alert is to see it

    @property
    def name(self) -> str:
        """The name of this connection in deliveries, logs and metrics."""
        return self._settings.name

    @property
    def outgoing(self) -> int:
        """How many messages wait to be sent."""
        return len(self._outgoing)

    def acknowledge(self, supersedes: Hashable, topic: str, message: bytes) -> None:
        """Send a message A as soon as may be; it replaces an unsent one of the same key."""
        self._publish(("acknowledgement", supersedes), Publication(topic, message))
        ACKNOWLEDGEMENTS.inc()

    def settle(self, position: int) -> None:
        """Hear that everything up to this position of the inbox is committed or refused.

        By MQTT the broker was told when it was read; a stream is told now.
        """

    def greet(self) -> None:
        """Bring the broker up to what the registry says.

        Publish, retained, what this connection has not carried yet; subscribe to new gateways.
        """
        self._subscriptions.changed()
        for topic, message in self._greetings(self._settings.tenant).items():
            if self._greeted.get(topic) != message:
                self._greeted[topic] = message
                self._publish(("retained", topic), Publication(topic, message, retained=True))

    def _publish(self, key: Hashable, publication: Publication) -> None:
        self._outgoing[key] = publication
        self._wake.set()

    async def run(self) -> NoReturn:
        """Stay connected until cancelled; what goes wrong is tried again after a while."""
        backoff = FullJitter(*_BACKOFF_SECONDS)
        up = BROKER_UP.labels(self.name)
        failing = False
        while True:
            await self._inbox.room.wait()
            self._is_up = False
            try:
                await stoppable(self._hold_connection(), name=f"connection {self.name}")
            except* OUTAGES as errors:
                if self._is_up or not failing:
                    log.warning(
                        "broker connection lost",
                        extra={"connection": self.name, "error": _first(errors)},
                    )
                failing = True
            finally:
                up.set(0)
            if self._is_up:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _hold_connection(self) -> None:
        async with await self._client() as client:
            await self._session(client)

    async def _client(self) -> PublicationStream:
        """Return a client for one connection; certificates are read anew, they get renewed."""
        settings = self._settings
        tls = await asyncio.to_thread(
            client_context,
            ca_file=settings.ca_file,
            certificate_file=settings.certificate_file,
            key_file=settings.key_file,
        )
        host, port = self._address()
        return PublicationStream(
            host,
            port,
            identifier=settings.client_id,
            tls_context=tls,
            keepalive=settings.keepalive_seconds,
            timeout=_TIMEOUT_SECONDS,
            take=self._take,
            may_read=self._inbox.room.is_set,
            **_session_options(settings),
        )

    def _address(self) -> tuple[str, int]:
        """Return where to connect this time."""
        return self._settings.host, self._settings.port

    def _take(self, incoming: Incoming) -> None:
        try:
            topic = incoming.topic.decode()
        except UnicodeDecodeError:
            UNREADABLE.inc()
            return
        if not self._serves(topic):
            return
        self._inbox.put(
            Delivery(self.name, topic, incoming.payload, incoming.retained, int(time.time()))
        )

    def _serves(self, topic: str) -> bool:
        return self._subscriptions.serves(topic)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        await self._subscriptions.begin(client)

    async def _session(self, client: PublicationStream) -> None:
        """Serve one connection until it is lost."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pace(client), name=f"pace {self.name}")
            tasks.create_task(self._watch(client), name=f"watch {self.name}")
            await self._subscribe(client)
            log.info("broker connected", extra={"connection": self.name})
            self._is_up = True
            BROKER_UP.labels(self.name).set(1)
            self._greeted.clear()
            self.greet()
            tasks.create_task(self._send(client), name=f"send {self.name}")
            tasks.create_task(self._follow(client), name=f"subscribe {self.name}")

    async def _follow(self, client: aiomqtt.Client) -> None:
        await self._subscriptions.follow(client)

    async def _watch(self, client: aiomqtt.Client) -> None:
        """Raise once the connection is lost."""
        async for _ in client.messages:
            raise RuntimeError("a message went to aiomqtt's queue")

    async def _pace(self, client: PublicationStream) -> NoReturn:
        """Stop reading while the inbox is full."""
        while True:
            await self._inbox.full.wait()
            client.pause()
            PAUSES.labels(self.name).inc()
            await self._inbox.room.wait()
            client.resume()

    async def _send(self, client: aiomqtt.Client) -> NoReturn:
        """Publish what waits, oldest first; what the broker has not confirmed stays waiting."""
        while True:
            await self._wake.wait()
            await self._inbox.room.wait()  # else no PUBACK would be read
            keys = list(self._outgoing)[:_AT_ONCE]
            async with asyncio.TaskGroup() as publications:
                for key in keys:
                    publications.create_task(self._send_one(client, key), name=f"publish {key}")
            if not self._outgoing:
                self._wake.clear()

    async def _send_one(self, client: aiomqtt.Client, key: Hashable) -> None:
        publication = self._outgoing[key]
        await client.publish(
            publication.topic, publication.message, qos=1, retain=publication.retained
        )
        if self._outgoing.get(key) is publication:
            del self._outgoing[key]


def _first(errors: BaseExceptionGroup[BaseException]) -> str:
    """Return the first error of a group, which may hold groups, in words."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def _session_options(settings: BrokerSettings) -> dict[str, Any]:
    """Ask the broker to keep our session, as either protocol version says it."""
    if settings.mqtt_version == "3.1.1":
        return {"protocol": aiomqtt.ProtocolVersion.V311, "clean_session": False}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = settings.session_expiry_seconds
    return {
        "protocol": aiomqtt.ProtocolVersion.V5,
        "clean_start": False,
        "properties": properties,
    }
