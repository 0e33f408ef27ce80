"""Publishes each new observation of an open datastream, as HTTP would give it, once it is stored.

Whoever stores observations leaves a batch that tells which (`storage.publication`), and ingest says
by NOTIFY that `latest` changed. What was left is read by the same code that answers requests,
in the order of storing, late observations among them, and sent with QoS 0, for which no broker
keeps anything. A mark with QoS 1 follows each page; only when it is acknowledged, and so all before
it taken, is the page noted as published: a restart goes on there, and may send the last page
again. Nothing becomes restricted between the reading of a page and its taking. Of two processes one
publishes and the other waits. Ingest is never waited for, nor does it wait: a broker that is slow
holds up nobody but its readers, and who restricts something.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Final

import aiomqtt
import orjson
from prometheus_client import Counter, Gauge

from api.publishing.settings import PublishSettings, ReadersBrokerSettings
from api.sensorthings.routes import PREFIX
from broker_config.readers import MARK, PUBLISHER, TOPICS
from runtime.backoff import FullJitter
from runtime.metrics import serve_metrics
from runtime.mqtt import MqttConnection
from standards_mapping.sensorthings.entity import EntityWriter
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from standards_mapping.sensorthings.options import Options
from storage.access import unchanged
from storage.database import OUTAGES, Connection, Pool, connect, open_pool
from storage.overview import listen, wait_for_change
from storage.publication import Due, begin, due, keep_on, note, take_turn
from storage.sensorthings.reader import SlowError, reading
from storage.sensorthings.select import Wanted

log = logging.getLogger(__name__)

PAGE: Final = 100
"""Observations read and sent at once, so many at most in memory."""

TAKEN_SECONDS: Final = 30.0

_LOOK_ANYWAY_SECONDS: Final = 2.0  # what comes late alone changes no latest value
_KEEP_ON_SECONDS: Final = 60.0
_OBSERVATION: Final = ENTITY_TYPES["Observation"]

PUBLISHED = Counter("publish_observations", "Observations that the broker has taken.")
LAST = Gauge("publish_last_look_timestamp_seconds", "When all that was due was last published.")
CONNECTED = Gauge("publish_connected", "1 while connected to the readers' broker and publishing.")


async def run(settings: PublishSettings) -> None:
    """Publish until cancelled; an outage of database or broker is waited out.

    Raises:
        OSError: a file that the settings name cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=settings.broker.ca_file)
    secret = settings.broker.secret()
    backoff = FullJitter(base_seconds=0.5, cap_seconds=30.0)
    with ExitStack() as resources:
        if metrics := serve_metrics(settings.metrics):
            resources.callback(metrics.close)
        async with open_pool(
            settings.database, max_size=2, application_name="kerbstone publish"
        ) as pool:
            while True:
                try:
                    await _publish(settings, pool, context, secret, backoff)
                except (*OUTAGES, SlowError, aiomqtt.MqttError) as error:
                    wait = backoff.next()
                    log.warning(
                        "not publishing", extra={"error": str(error), "retry_in_seconds": wait}
                    )
                    await asyncio.sleep(wait)


async def _publish(
    settings: PublishSettings,
    pool: Pool,
    context: ssl.SSLContext,
    secret: str,
    backoff: FullJitter,
) -> None:
    """Publish over one connection to each for as long as both last."""
    async with await connect(
        settings.database, autocommit=True, application_name="kerbstone publish"
    ) as conn:
        await take_turn(conn)
        async with _connection(settings.broker, context, secret) as client:
            await listen(conn)
            await begin(conn, timedelta(seconds=settings.catch_up_seconds))
            publisher = Publisher(pool, conn, client, root=settings.base_url + PREFIX)
            log.info("publishing", extra={"broker": settings.broker.host})
            CONNECTED.set(1)
            try:
                while True:
                    await publisher.look()
                    backoff.reset()
                    LAST.set_to_current_time()
                    await wait_for_change(conn, _LOOK_ANYWAY_SECONDS)
            finally:
                CONNECTED.set(0)


def _connection(
    broker: ReadersBrokerSettings, context: ssl.SSLContext, secret: str
) -> MqttConnection:
    """Return a connection; under its client id anybody could end it, so nobody can guess that."""
    return MqttConnection(
        broker.host,
        broker.port,
        identifier=secrets.token_hex(16),
        username=PUBLISHER,
        password=secret,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        tls_context=context,
    )


def topics(datastream_id: int) -> tuple[str, str]:
    """Return where an observation is published: its datastream's, and everything's."""
    return f"{TOPICS}/Datastreams({datastream_id})/Observations", f"{TOPICS}/Observations"


class Publisher:
    """Sends what is due over connections that its user opened and holds.

    root: URL of the SensorThings service.
    """

    def __init__(self, pool: Pool, conn: Connection, client: aiomqtt.Client, *, root: str) -> None:
        self._pool = pool
        self._conn = conn
        self._client = client
        self._writer = EntityWriter(_OBSERVATION, root, Options())
        self._keep_on_at = 0.0

    async def look(self) -> None:
        """Publish all that is due, in the order of storing.

        Raises:
            aiomqtt.MqttError: the broker has gone, or does not take it.
            SlowError, OUTAGES: the database.
        """
        loop = asyncio.get_running_loop()
        if loop.time() >= self._keep_on_at:
            await keep_on(self._conn)
            self._keep_on_at = loop.time() + _KEEP_ON_SECONDS
        while found := await due(self._conn):
            for start in range(0, len(found), PAGE):
                page = found[start : start + PAGE]
                async with unchanged(self._conn):
                    await self._publish(page)
                after = found[start + PAGE : start + PAGE + 1]
                begun = {one.batch for one in after}
                await note(self._conn, {one.batch for one in page} - begun, page[-1])

    async def _publish(self, page: Sequence[Due]) -> None:
        """Send a page as the API gives it; none of what is not open or not there any more."""
        wanted = Wanted(entity_type=_OBSERVATION, properties=tuple(_OBSERVATION.properties))
        async with reading(self._pool) as reader:
            rows = await reader.by_key(wanted, [one.key for one in page])
        found = [(one.key, self._writer.write(rows[one.key])) for one in page if one.key in rows]
        if found:
            await self._send(found)

    async def _send(self, found: Sequence[tuple[ObservationId, dict[str, Any]]]) -> None:
        messages = [
            (topic, payload)
            for key, body in found
            for payload in [orjson.dumps(body)]
            for topic in topics(key.datastream)
        ]
        await send(self._client, messages)
        PUBLISHED.inc(len(found))


async def send(client: aiomqtt.Client, messages: Sequence[tuple[str, bytes]]) -> None:
    """Publish messages by topic and return once the broker has taken them all.

    Raises:
        aiomqtt.MqttError: it has gone, or does not answer.
    """
    for topic, payload in messages:
        await client.publish(topic, payload, qos=0, timeout=TAKEN_SECONDS)
    await client.publish(MARK, b"", qos=1, timeout=TAKEN_SECONDS)
