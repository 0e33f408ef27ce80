"""Messages from an MQTT broker near the gateway, acknowledged once their readings are on the disk.

One connection per broker, however many sensors read it: QoS 1, a lasting session under a fixed
client id, and no PUBACK until whoever took a message says so; what is not on our disk yet, the
broker keeps. MQTT 5 where it speaks it, else 3.1.1. What waits here is told in `mailboxes`;
what is made of messages, in `edge_agent.sensors`.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.adapter import Surroundings
from edge_agent.input_settings import LocalBrokerSettings
from edge_agent.inputs.mailboxes import (
    MOST_BYTES_OF_ONE,
    Arrived,
    Mailbox,
    Mailboxes,
    Message,
    subscription_number,
)
from edge_agent.sources import SourceError
from runtime.mqtt import MqttConnection, failures

__all__ = ["Message", "messages", "topic_filter_mistake"]

log = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS: Final = 30
_ANSWER_SECONDS: Final = 10.0
_CLOSING_SECONDS: Final = 5.0
_SESSION_SECONDS: Final = 30 * 86_400  # then the broker forgets a gateway that was taken away
_WINDOW: Final = 100  # unacknowledged messages we let the broker send, where it asks (MQTT 5)
_WINDOW_OF_OLD: Final = 20  # what Mosquitto sends at most where it does not
_MOST_TOPIC_BYTES: Final = 65_535
_NOT_THAT_VERSION: Final = (0x01, 0x84)  # of MQTT 3.1.1 and 5
_ONLY_IF_NEW: Final = 1  # retained messages, of a subscription


async def messages(
    surroundings: Surroundings, broker: str, topic_filter: str
) -> AsyncGenerator[Message, None]:
    """Yield what the local broker called `broker` sends for `topic_filter`.

    Each message is to be acknowledged once its readings are stored, or at once if there are
    none. One that is let go unacknowledged, as by an adapter that fails, comes again; after the
    fifth time it is given up. What comes while no connection is made, or while the adapter is
    started again, comes then. Every reader of a filter gets every message.

    Raises:
        SourceError, OSError: the broker cannot be reached, refuses us, or has gone.
    """
    settings = next(each for each in surroundings.local_brokers if each.name == broker)
    key = ("local broker", broker)
    boxes = surroundings.sources.kept.setdefault(key, Mailboxes(surroundings.clock.now))
    with boxes.reading(topic_filter) as box:
        opening = partial(_connected, settings, boxes, lasting=not surroundings.is_trial)
        async with surroundings.sources.shared(key, opening) as given:
            connection: _Connection = given
            await connection.want(topic_filter)
            while True:
                yield await connection.next_for(box)


def topic_filter_mistake(topic_filter: str) -> str | None:
    """Return why it is no topic filter (MQTT 5, section 4.7), as what must stand there."""
    try:
        aiomqtt.Wildcard(topic_filter)
    except ValueError:
        return "must be a topic filter, e.g. zigbee2mqtt/+ or station/#"
    if topic_filter.startswith("$share/"):
        return "must not be shared: others would take some of the messages"
    return None


@asynccontextmanager
async def _connected(
    settings: LocalBrokerSettings, boxes: Mailboxes, *, lasting: bool
) -> AsyncIterator["_Connection"]:
    """Hold a connection; at the end wait a little for what is on its way to the disk.

    lasting: whether the broker is to keep the session; else nothing is acknowledged to it.

    Raises:
        SourceError: it could not be made.
        OSError: a file of the settings cannot be read.
    """
    version = boxes.mqtt_version or aiomqtt.ProtocolVersion.V5
    try:
        try:
            connection = await _Connection(settings, boxes, version, lasting).__aenter__()
        except MqttConnectError as refusal:
            if version is not aiomqtt.ProtocolVersion.V5 or refusal.rc not in _NOT_THAT_VERSION:
                raise
            version = aiomqtt.ProtocolVersion.V311
            connection = await _Connection(settings, boxes, version, lasting).__aenter__()
        boxes.mqtt_version = version
    except (aiomqtt.MqttError, ValueError) as error:
        raise SourceError(_why_not(settings, error)) from error
    log.info("local broker connected", extra={"local_broker": settings.name})
    try:
        yield connection
        if lasting:
            await boxes.settled(_CLOSING_SECONDS, connection.ended)
    finally:
        await connection.close()


class _Connection(MqttConnection):
    """One connection, which acknowledges by itself nothing at all.

    ended: done, with the reason, when it is of no more use.
    """

    def __init__(
        self,
        settings: LocalBrokerSettings,
        boxes: Mailboxes,
        version: aiomqtt.ProtocolVersion,
        lasting: bool,  # noqa: FBT001  # no setting: the kind of session
    ) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._is_new = version is aiomqtt.ProtocolVersion.V5
        super().__init__(
            settings.host,
            settings.port,
            identifier=settings.client_id or "kerbstone",
            username=settings.username or None,
            password=_password(settings),
            tls_context=_tls(settings),
            protocol=version,
            clean_session=None if self._is_new else not lasting,
            clean_start=not lasting if self._is_new else MQTT_CLEAN_START_FIRST_ONLY,
            properties=_wishes(_SESSION_SECONDS if lasting else 0) if self._is_new else None,
            keepalive=_KEEP_ALIVE_SECONDS,
            timeout=_ANSWER_SECONDS,
        )
        self._client.manual_ack_set(True)  # noqa: FBT003  # paho's signature
        self._qos = 1 if lasting else 0
        self._name = settings.name
        self._boxes = boxes
        self._filters: set[str] = set()
        self._asking = asyncio.Lock()
        self._has_numbers = True

    async def close(self) -> None:
        """Disconnect, whatever state it is in; the session stays with the broker."""
        self._end("closed")
        try:
            await self.__aexit__(None, None, None)
        except aiomqtt.MqttError as error:
            extra = {"local_broker": self._name, "error": str(error)}
            log.info("local broker did not say goodbye", extra=extra)

    async def want(self, topic_filter: str) -> None:
        """Subscribe, unless this connection already has.

        Raises:
            SourceError: the broker refused, or has gone.
        """
        async with self._asking:
            if topic_filter not in self._filters:
                await self._ask_for(topic_filter)
                self._filters.add(topic_filter)

    async def next_for(self, box: Mailbox) -> Message:
        """Return the next message in `box`.

        Raises:
            SourceError: there is none, and the connection is gone.
        """
        while (message := box.take()) is None:
            filled = asyncio.ensure_future(box.filled.wait())
            try:
                await asyncio.wait(
                    (filled, self._disconnected, self.ended),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                filled.cancel()
            if self._disconnected.done():
                self._end("the connection is lost")
            if self.ended.done():
                raise SourceError(f"local broker {self._name}: {self.ended.result()}")
        return message

    def acknowledge(self, mid: int) -> None:
        """Send a PUBACK, if the connection still stands; else the broker will ask again."""
        if not self.ended.done() and not self._disconnected.done():
            self._client.ack(mid, 1)

    async def _ask_for(self, topic_filter: str) -> None:
        try:
            if self._is_new:
                properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]  # paho's
                if self._has_numbers:
                    properties.SubscriptionIdentifier = subscription_number(topic_filter)
                options = SubscribeOptions(qos=self._qos, retainHandling=_ONLY_IF_NEW)
                codes = await self.subscribe(topic_filter, options=options, properties=properties)
            else:
                codes = await self.subscribe(topic_filter, qos=self._qos)
        except aiomqtt.MqttError as error:
            raise SourceError(f"local broker {self._name}: {error}") from error
        if failures(codes):
            raise SourceError(f"local broker {self._name} refused topic {topic_filter}")

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    def _on_connect(
        self,
        client: Any,
        userdata: Any,
        flags: Any,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not flags.session_present and not reason_code.is_failure:
            self._boxes.forget_session()
        # MQTT 5, 3.2.2.3.12: 0 where the broker knows no Subscription Identifiers
        self._has_numbers = getattr(properties, "SubscriptionIdentifierAvailable", 1) == 1
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_message(self, _client: Any, _userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # against MQTT-3.3.2-1; it would stop up the broker's window
            if message.qos:
                self.acknowledge(message.mid)
            return
        numbers = getattr(message.properties, "SubscriptionIdentifier", ())
        arrived = Arrived(
            topic=topic,
            payload=bytes(message.payload),
            retained=message.retain,
            again=message.dup,
            mid=message.mid if message.qos else None,
            subscriptions=tuple(numbers) if isinstance(numbers, list) else (),
        )
        window = _WINDOW if self._is_new else _WINDOW_OF_OLD
        if not self._boxes.put(arrived, self, window):
            self._end("messages come faster than they can be stored")

    def _hung_up(self) -> None:
        self._end("the connection is lost")
        super()._hung_up()


def _wishes(session_seconds: int) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = session_seconds
    properties.ReceiveMaximum = _WINDOW
    properties.MaximumPacketSize = MOST_BYTES_OF_ONE + _MOST_TOPIC_BYTES
    return properties


def _why_not(settings: LocalBrokerSettings, error: Exception) -> str:
    """Return why there is no connection, and what to look at where that is known."""
    place = f"local broker {settings.name} ({settings.host}:{settings.port})"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return f"{place}: nothing listens there; does the broker run, and is that its port?"
        cause = cause.__cause__ or cause.__context__
    return f"{place}: {error}"


def _password(settings: LocalBrokerSettings) -> str | None:
    return settings.password_file.read_text().strip() if settings.password_file else None


class _Socket(ssl.SSLSocket):
    """A socket that is closed when its handshake fails; paho would only let go of it."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  # as it is
        """Shake hands."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _tls(settings: LocalBrokerSettings) -> ssl.SSLContext | None:
    if settings.ca_file is None:
        return None
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.sslsocket_class = _Socket
    return context
