"""The MQTT leg: the only place in the agent that knows MQTT and aiomqtt.

Carries out what the sealer decides: announces, publishes, sends again, and hands back what the
centre acknowledges. A PUBACK only paces; deletion waits for the centre's own acknowledgement.
Nothing is queued in the MQTT library: at most `_PUBLISHES_AT_ONCE` messages are on their way to
the broker at a time. Runs over MQTT 5 and 3.1.1.
"""

import asyncio
import logging
import sqlite3
import ssl
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS, MQTT_LOG_ERR
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device_protocol import topics
from device_protocol.errors import RejectionError
from edge_agent.clock import Clock
from edge_agent.credentials.keystore import Identity, Keystore, NoIdentityError
from edge_agent.credentials.tls import check_peer
from edge_agent.delivery.key_sets import KeySets, NoRecipientsError, content_algorithm
from edge_agent.delivery.next_message import NextMessage
from edge_agent.delivery.sealer import Outgoing, Sealer
from edge_agent.health.facts import Facts
from edge_agent.remote_settings import RemoteSettings
from edge_agent.settings import AgentSettings, BrokerSettings
from edge_agent.spool.group_commit import GroupCommit
from runtime.backoff import FullJitter
from runtime.cancellation import stoppable

log = logging.getLogger(__name__)

T = TypeVar("T")

_PUBLISHES_AT_ONCE: Final = 16  # below the Receive Maximum of 20 that Mosquitto grants
_MOST_QUEUED_ACKNOWLEDGEMENTS: Final = 256  # the newest of them says it all; the rest may drop
_PUBACK_SECONDS: Final = 30.0
_KEEP_ALIVE_SECONDS: Final = 30  # also bounds how long a silent broker can hold up a stop
_FINISH_SECONDS: Final = 10.0
_WATCH_SECONDS: Final = 30.0
_ASK_AGAIN_SECONDS: Final = 10.0
_STEADY_SECONDS: Final = 60.0
_FIRST_RETRY_SECONDS: Final = 1.0
_NO_MATCHING_SUBSCRIBERS: Final = 0x10
_FIRST_FAILURE_CODE: Final = 0x80
_CERTIFICATE_ALERTS: Final = {  # of the broker (RFC 8446, section 6.2), as OpenSSL names them
    "ALERT_CERTIFICATE_REVOKED": "is revoked",
    "ALERT_CERTIFICATE_EXPIRED": "has ended",
    "ALERT_CERTIFICATE_UNKNOWN": "is not acceptable",
    "ALERT_BAD_CERTIFICATE": "is not acceptable",
    "ALERT_UNKNOWN_CA": "is of an authority that it does not know",
}


class CertificateReplacedError(Exception):
    """The certificate's files have changed: connect again under the new one."""


OUTAGES: Final = (
    OSError,
    aiomqtt.MqttError,
    sqlite3.OperationalError,
    NoIdentityError,
    CertificateReplacedError,
)


class Connection(aiomqtt.Client):
    """One connection to the broker, which also tells how the broker answered a publish.

    aiomqtt drops the reason code of a PUBACK; private names of it are used to get at it.
    """

    def __init__(self, settings: BrokerSettings, identity: Identity, device: str) -> None:
        is_version_5 = settings.mqtt_version == "5"
        version = aiomqtt.ProtocolVersion.V5 if is_version_5 else aiomqtt.ProtocolVersion.V311
        super().__init__(
            settings.host,
            settings.port,
            identifier=device,
            protocol=version,
            clean_session=None if is_version_5 else True,  # MQTT 5 starts clean by itself
            keepalive=_KEEP_ALIVE_SECONDS,
            max_queued_incoming_messages=_MOST_QUEUED_ACKNOWLEDGEMENTS,
            max_inflight_messages=_PUBLISHES_AT_ONCE + 1,
            tls_context=identity.tls,
        )
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._is_connecting = False
        self._socket_trouble = ""
        self._client.on_log = self._on_log

    async def __aenter__(self) -> Self:
        """Connect; a connection that fails half-way leaves no socket behind.

        Raises:
            aiomqtt.MqttError: it failed.
        """
        self._is_connecting = True
        try:
            return await super().__aenter__()
        except BaseException:
            self._is_connecting = False  # before the line below: this is no hanging up
            self._client.disconnect()
            raise
        finally:
            self._is_connecting = False

    def check_server(self, clock: Clock) -> None:
        """Return if the broker's certificate may be of now, where TLS could not tell.

        Raises:
            OSError: it cannot, or the connection is gone.
        """
        peer = self._client.socket()
        if not isinstance(peer, ssl.SSLSocket):
            raise ConnectionError("the connection is gone")
        check_peer(peer, clock)

    async def __aexit__(self, *exception: Any) -> None:  # noqa: PYI036  # aiomqtt's signature
        """Disconnect.

        Raises:
            aiomqtt.MqttError: the broker did not answer in time.
        """
        await super().__aexit__(*exception)
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()  # seen: whoever had to know has already failed by it

    def trouble(self, error: BaseException) -> str:
        """Return in words why the connection came to `error`; aiomqtt's own are vague."""
        for alert, meaning in _CERTIFICATE_ALERTS.items():
            if alert in self._socket_trouble:
                return f"the broker says that this gateway's certificate {meaning}"
        return self._socket_trouble or str(error.__cause__ or error) or type(error).__name__

    async def deliver(self, topic: str, message: bytes, *, retain: bool = False) -> bool:
        """Publish with QoS 1; return whether the broker says that somebody will receive it.

        Over MQTT 3.1.1 brokers always say so.

        Raises:
            aiomqtt.MqttError, TimeoutError: the connection has failed.
        """
        sent = self._client.publish(topic, message, qos=1, retain=retain)
        if sent.rc != MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(sent.rc, "could not publish")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[sent.mid] = answer
        try:
            async with asyncio.timeout(_PUBACK_SECONDS):
                code = await answer
        finally:
            del self._answers[sent.mid]
        return code != _NO_MATCHING_SUBSCRIBERS and code < _FIRST_FAILURE_CODE

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109
        """Wait as aiomqtt does, but without `asyncio.wait_for`.

        That of Python 3.11 swallows a cancellation when what it waits for comes just then.
        """
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                return await fut
        except TimeoutError as error:
            raise aiomqtt.MqttError("the broker did not answer in time") from error

    def _on_log(self, _client: Any, _userdata: Any, level: int, text: str) -> None:
        """Take note of what the socket says: a refusal of TLS 1.3 comes after the handshake."""
        if level == MQTT_LOG_ERR:
            self._socket_trouble = text.removeprefix("failed to receive on socket: ")

    def _on_disconnect(self, *arguments: Any) -> None:
        """End the wait for CONNACK at once; aiomqtt would go on waiting. Called by any thread."""
        super()._on_disconnect(*arguments)
        self._loop.call_soon_threadsafe(self._give_up_connecting)

    def _give_up_connecting(self) -> None:
        if self._is_connecting and not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the broker has hung up"))

    def _on_publish(
        self,
        client: Any,
        userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reason_code.value)
        super()._on_publish(client, userdata, mid, reason_code, properties)


class Uplink:
    """Sends what the spool holds, for as long as the agent runs."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        keystore: Keystore,
        key_sets: KeySets,
        remote: RemoteSettings,
        sealer: Sealer,
        spool: GroupCommit,
        clock: Clock,
        facts: Facts,
    ) -> None:
        place = (settings.tenant, settings.device, settings.group)
        self._announcements = topics.announcement(*place)
        self._data = topics.data(*place)
        self._acknowledgements = topics.acknowledgement(*place)
        self._key_set_topic = topics.key_set(settings.tenant)
        self._configurations = topics.configuration(settings.tenant, settings.device)
        self._settings = settings
        self._keystore = keystore
        self._key_sets = key_sets
        self._remote = remote
        self._sealer = sealer
        self._spool = spool
        self._clock = clock
        self._facts = facts
        self._identity: Identity | None = None
        self._connection: Connection | None = None
        self._reconnects = FullJitter(_FIRST_RETRY_SECONDS, settings.uplink.retry_seconds)
        self._refusals = FullJitter(_FIRST_RETRY_SECONDS, settings.uplink.retry_seconds)
        self._is_refused = False
        self._is_announced = False  # over the present connection
        self._subscribed_at = 0.0
        self._slots = asyncio.Semaphore(_PUBLISHES_AT_ONCE)
        self._epoch_changes = asyncio.Lock()
        self._wake = asyncio.Event()
        self._look_at_certificate = asyncio.Event()
        self._next = NextMessage(sealer, spool, clock, settings.uplink)
        spool.on_commit = self._wake.set

    def certificate_replaced(self) -> None:
        """Look at the certificate's files now, rather than within half a minute."""
        self._look_at_certificate.set()

    async def run(self) -> None:
        """Connect, send and receive; connect again after every outage, until cancelled."""
        while True:
            connected_at = self._clock.monotonic()
            is_lost = False
            try:
                await stoppable(self._hold_connection(), name="connection")
            except* CertificateReplacedError as wanted:
                self._note_connection(connected=False, error=self._words(wanted))
            except* OUTAGES as outage:
                is_lost = self._facts.connected
                self._note_connection(connected=False, error=self._words(outage))
            self._next.blocked()
            if self._clock.monotonic() - connected_at > _STEADY_SECONDS:
                self._reconnects.reset()
            if is_lost:  # perhaps with a whole region's: come back one after another
                self._reconnects.widen(self._settings.uplink.first_retry_seconds)
            await asyncio.sleep(self._reconnects.next())

    async def _hold_connection(self) -> None:
        self._connection = None
        stamp = self._keystore.stamp()
        identity = await asyncio.to_thread(self._keystore.load)
        self._use(identity)
        connection = Connection(self._settings.broker, identity, self._settings.device)
        self._connection = connection
        async with connection:
            connection.check_server(self._clock)
            await self._subscribe(connection)
            self._note_connection(connected=True)
            self._spool.connected()
            self._slots = asyncio.Semaphore(_PUBLISHES_AT_ONCE)
            self._is_announced = False
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._receive(connection), name="receive")
                tasks.create_task(self._send(connection, identity, tasks), name="send")
                tasks.create_task(self._watch_certificate(stamp), name="watch certificate")

    def _use(self, identity: Identity) -> None:
        before = self._identity
        if before and (before.signer.kid, before.not_after) != (
            identity.signer.kid,
            identity.not_after,
        ):
            self._sealer.end("certificate")
        self._identity = identity
        self._clock.raise_floor(identity.not_before)
        self._facts.certificate_not_after = identity.not_after

    async def _subscribe(self, connection: Connection) -> None:
        wanted = (self._acknowledgements, self._key_set_topic, self._configurations)
        codes = await connection.subscribe([(topic, 1) for topic in wanted])
        for code in codes:
            if (code.value if isinstance(code, ReasonCode) else code) >= _FIRST_FAILURE_CODE:
                raise aiomqtt.MqttError("the broker refused the subscription")
        self._subscribed_at = self._clock.monotonic()

    async def _watch_certificate(self, stamp: tuple[int, ...]) -> None:
        """Raise when the certificate's files have changed and are usable."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_SECONDS):
                    await self._look_at_certificate.wait()
            self._look_at_certificate.clear()
            if self._keystore.stamp() == stamp:
                continue
            try:
                await asyncio.to_thread(self._keystore.load)
            except NoIdentityError as problem:
                log.warning("new certificate unusable", extra={"problem": str(problem)})
            else:
                raise CertificateReplacedError("certificate replaced")

    async def _receive(self, connection: Connection) -> None:
        async for message in connection.messages:
            content = bytes(message.payload) if isinstance(message.payload, bytes) else b""
            if message.topic.value == self._acknowledgements:
                async with self._epoch_changes:
                    self._acknowledge(content)
            elif message.topic.value == self._configurations:
                self._remote.offer(content)
                continue
            elif await asyncio.to_thread(self._key_sets.offer, content):
                self._sealer.end("key set")
            else:
                continue
            self._wake.set()

    def _acknowledge(self, message: bytes) -> None:
        try:
            progress = self._sealer.acknowledge(message)
        except RejectionError as refusal:
            self._facts.count("acknowledgement_refused")
            log.info("acknowledgement refused", extra={"reason": refusal.reason})
            return
        self._reconnects.reset()
        self._refusals.reset()
        self._spool.release(progress.released)
        if progress.messages:
            self._remote.acknowledged()
        said = progress.acknowledgement
        self._facts.last_acknowledgement_at = self._clock.unix()
        self._facts.count("acknowledged", progress.messages)
        self._facts.readings_acknowledged += progress.readings
        self._facts.rolled_back = self._sealer.rolled_back
        if said.last_refusal not in (0, self._facts.last_refusal):
            log.warning("the centre refused a message", extra={"code": said.last_refusal})
        self._facts.last_refusal = said.last_refusal

    async def _send(
        self, connection: Connection, identity: Identity, tasks: asyncio.TaskGroup
    ) -> None:
        await self._send_again(connection, tasks)
        while True:
            self._wake.clear()
            if self._sealer.ended() is not None:
                await self._change_epoch(connection, identity)
            elif self._is_refused:
                self._next.blocked()
                await asyncio.sleep(self._refusals.next())
                await self._send_again(connection, tasks)
            elif self._sealer.repetition_due():
                await self._send_again(connection, tasks)
                self._sealer.repeated()
            elif (outgoing := await self._next.seal()) is not None:
                self._facts.count("sealed")
                await self._publish(connection, outgoing, tasks)
            else:
                await self._pause(self._next.seconds_until_due())

    async def _send_again(self, connection: Connection, tasks: asyncio.TaskGroup) -> None:
        """Announce the present epoch again and send all that is outstanding, unchanged.

        Also when it is to end: the less will have to be sealed again.
        """
        self._is_refused = False
        if self._sealer.repeatable:
            await self._announce(connection)
            for outgoing in list(self._sealer.outstanding.values()):
                self._facts.count("repeated")
                await self._publish(connection, outgoing, tasks)

    async def _change_epoch(self, connection: Connection, identity: Identity) -> None:
        """Begin and announce a new epoch, or wait a while for somebody to seal for."""
        try:
            recipients = self._key_sets.recipients(self._settings.group, identity.signer)
        except NoRecipientsError as problem:
            if self._facts.waiting_for != str(problem):
                log.warning("readings wait in the spool", extra={"problem": str(problem)})
            self._facts.waiting_for = str(problem)
            self._next.blocked()
            await self._pause(_ASK_AGAIN_SECONDS)
            if self._clock.monotonic() - self._subscribed_at >= _ASK_AGAIN_SECONDS:
                await self._subscribe(connection)  # brings what is retained once more
            return
        self._facts.waiting_for = ""
        if self._is_announced:
            await self._let_finish()
        key_set = self._key_sets.current
        async with self._epoch_changes:
            await asyncio.to_thread(
                self._sealer.begin,
                signer=identity.signer,
                recipients=recipients,
                key_set_version=key_set.version if key_set else 0,
                content_algorithm=content_algorithm(identity.signer),
            )
        self._facts.epoch_counter = self._sealer.counter
        self._spool.oldest_unsent = float("-inf")
        await self._announce(connection)

    async def _let_finish(self) -> None:
        """Give the centre some time to acknowledge the old epoch: less to seal again."""
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                while self._sealer.outstanding:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            log.info("epoch left early", extra={"outstanding": len(self._sealer.outstanding)})

    async def _announce(self, connection: Connection) -> None:
        """Publish message K until the broker has taken it for somebody."""
        while not await connection.deliver(
            self._announcements, self._sealer.announcement, retain=True
        ):
            self._facts.count("not_delivered")
            await asyncio.sleep(self._refusals.next())
        self._is_announced = True

    async def _publish(
        self, connection: Connection, outgoing: Outgoing, tasks: asyncio.TaskGroup
    ) -> None:
        """Send one message without waiting for its PUBACK, unless many others lack theirs."""
        slots = self._slots
        await slots.acquire()

        async def confirm() -> None:
            try:
                if not await connection.deliver(self._data, outgoing.message):
                    self._facts.count("not_delivered")
                    self._is_refused = True
                    self._wake.set()
            finally:
                slots.release()

        tasks.create_task(confirm(), name=f"publish {outgoing.seq}")

    async def _pause(self, seconds: float) -> None:
        """Wait until something changes, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _note_connection(self, *, connected: bool, error: str = "") -> None:
        facts = self._facts
        if connected != facts.connected or not facts.connection_since:
            facts.connected, facts.connection_since = connected, self._clock.unix()
            log.info("connected" if connected else "disconnected", extra={"error": error})
        facts.connection_error = error

    def _words(self, outage: BaseExceptionGroup[BaseException]) -> str:
        """Return what went wrong, the first cause if there are several."""
        cause: BaseException = outage
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if self._connection is not None and isinstance(cause, aiomqtt.MqttError):
            return self._connection.trouble(cause)
        return str(cause) or type(cause).__name__
