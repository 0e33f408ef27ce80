"""The way to the centre: what the sealer decides, carried out over MQTT.

Announces, publishes, sends again, and hands back what the centre acknowledges. A PUBACK only
paces; deletion waits for the centre's own acknowledgement. Nothing is queued in the MQTT library:
at most `PUBLISHES_AT_ONCE` messages are on their way to the broker at a time. How the broker is
spoken to is told in `edge_agent.delivery.connection`.
"""

import asyncio
import logging
import sqlite3
from contextlib import suppress
from typing import Final

import aiomqtt

from device_protocol import topics
from device_protocol.errors import RejectionError
from edge_agent.clock import Clock
from edge_agent.credentials.keystore import Identity, Keystore, NoIdentityError
from edge_agent.delivery.connection import PUBLISHES_AT_ONCE, Connection
from edge_agent.delivery.key_sets import KeySets, NoRecipientsError, content_algorithm
from edge_agent.delivery.next_message import NextMessage
from edge_agent.delivery.sealer import Outgoing, Sealer
from edge_agent.health.facts import Facts
from edge_agent.remote_settings import RemoteSettings
from edge_agent.settings import AgentSettings
from edge_agent.spool.group_commit import GroupCommit
from runtime.backoff import FullJitter
from runtime.cancellation import stoppable
from runtime.mqtt import failures

log = logging.getLogger(__name__)

_FINISH_SECONDS: Final = 10.0
_WATCH_SECONDS: Final = 30.0
_ASK_AGAIN_SECONDS: Final = 10.0
_STEADY_SECONDS: Final = 60.0
_FIRST_RETRY_SECONDS: Final = 1.0


class CertificateReplacedError(Exception):
    """The certificate's files have changed: connect again under the new one."""


OUTAGES: Final = (
    OSError,
    aiomqtt.MqttError,
    sqlite3.OperationalError,
    NoIdentityError,
    CertificateReplacedError,
)


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
        self._slots = asyncio.Semaphore(PUBLISHES_AT_ONCE)
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
            self._slots = asyncio.Semaphore(PUBLISHES_AT_ONCE)
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
        if failures(codes):
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
