"""Sessions that brokers keep for processes of ingest: which are taken up, and which are ended.

A broker keeps for each client id what that client is subscribed to, and what has come for it. When
gateways are divided anew, by another number of workers or other councils, a session made before is
subscribed to the wrong ones, and one that nobody takes up fills until it expires. So all are noted
in the database, and those are ended. What waited in them is lost to us, and sent again by its
gateways, which have had no acknowledgement.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

import aiomqtt

from ingest.settings import BrokerSettings
from ingest.workers.shares import Part, division, own_file, suffix
from runtime.backoff import FullJitter
from runtime.mqtt import MqttConnection
from runtime.tls import client_context
from storage import ingest_workers
from storage.database import OUTAGES, Connection, Pool
from storage.ingest_workers import BrokerSession

log = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT_SECONDS: Final = 10.0
_BACKOFF_SECONDS: Final = (0.5, 30.0)


def with_own_certificate(broker: BrokerSettings, ending: str) -> BrokerSettings:
    """Return a connection with a process's own certificate, if there is one beside the common one.

    Mosquitto takes the client id from it: then each process needs its own.
    """
    certificate = own_file(broker.certificate_file, ending)
    key = own_file(broker.key_file, ending)
    if not ending or not (certificate.exists() and key.exists()):
        return broker
    return replace(broker, certificate_file=certificate, key_file=key)


class Sessions:
    """The sessions of one process's part of the work."""

    def __init__(self, part: Part, pool: Pool) -> None:
        self._part = part
        self._pool = pool

    async def take_up(self, broker: BrokerSettings) -> None:
        """Return once the broker keeps no session for us that was made for other gateways."""
        ownership = self._part.ownership
        ours = BrokerSession(
            broker.name, broker.client_id, suffix(broker, ownership), division(broker, ownership)
        )
        before = [
            found.division
            for found in await self._until_done(self._noted)
            if (found.connection, found.client_id) == (ours.connection, ours.client_id)
        ]
        if (before or [""]) != [ours.division]:
            await self._end(with_own_certificate(broker, ours.ending))

        async def note(conn: Connection) -> None:
            await ingest_workers.note_broker_session(conn, self._part.scope, ours)

        await self._until_done(note)

    async def retire(self) -> None:
        """End the sessions that nobody takes up any more; for the first worker to do."""
        brokers = {broker.name: broker for broker in self._part.settings.broker}
        for found in await self._until_done(self._noted):
            broker = brokers.get(found.connection)
            if broker is None or not broker.host:  # a stream is no session
                continue
            if (found.connection, found.client_id) in self._part.sessions:
                continue
            old = replace(broker, client_id=found.client_id)
            await self._end(with_own_certificate(old, found.ending))

            async def forget(conn: Connection, session: BrokerSession = found) -> None:
                await ingest_workers.forget_broker_session(conn, self._part.scope, session)

            await self._until_done(forget)
            log.info(
                "session of a former worker ended",
                extra={"connection": found.connection, "client_id": found.client_id},
            )

    async def _noted(self, conn: Connection) -> list[BrokerSession]:
        return await ingest_workers.broker_sessions(conn, self._part.scope)

    async def _until_done(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Ask the database, however long it is away."""
        backoff = FullJitter(*_BACKOFF_SECONDS)
        while True:
            try:
                async with self._pool.connection() as conn:
                    return await work(conn)
            except OUTAGES as error:
                log.warning("sessions wait for the database", extra={"error": str(error).strip()})
                await asyncio.sleep(backoff.next())

    async def _end(self, broker: BrokerSettings) -> None:
        """End a session, however long the broker is away."""
        backoff = FullJitter(*_BACKOFF_SECONDS)
        while True:
            try:
                return await _end_session(broker)
            except (aiomqtt.MqttError, OSError) as error:
                log.warning(
                    "session not ended yet",
                    extra={
                        "connection": broker.name,
                        "client_id": broker.client_id,
                        "error": str(error),
                    },
                )
                await asyncio.sleep(backoff.next())


async def _end_session(broker: BrokerSettings) -> None:
    """Connect with a clean session, which replaces the one that is kept, and leave none behind."""
    tls = await asyncio.to_thread(
        client_context,
        ca_file=broker.ca_file,
        certificate_file=broker.certificate_file,
        key_file=broker.key_file,
    )
    clean: dict[str, Any] = {"protocol": aiomqtt.ProtocolVersion.V5, "clean_start": True}
    if broker.mqtt_version == "3.1.1":
        clean = {"protocol": aiomqtt.ProtocolVersion.V311, "clean_session": True}
    async with MqttConnection(
        broker.host,
        broker.port,
        identifier=broker.client_id,
        tls_context=tls,
        timeout=_TIMEOUT_SECONDS,
        **clean,
    ):
        pass
