"""Publishes each new observation of an open datastream, as HTTP would give it, once it is stored.

Ingest says by NOTIFY that `latest` changed; then whatever is newer than what was published is read
by the same code that answers requests, in the order of time, and sent with QoS 0, for which no
broker keeps anything. A mark with QoS 1 follows each page; only when it is acknowledged, and so all
before it taken, is the page noted as published: a restart goes on there, and may send the last page
again. What is older than the newest published of its datastream has come late and is not
sent: whoever needs it asks by HTTP. Of two processes one publishes and the other waits. Ingest is
never waited for, nor does it wait: a broker that is slow holds up nobody but its readers.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiomqtt
import orjson
from prometheus_client import Counter, Gauge

from api.publishing.settings import PublishSettings, ReadersBrokerSettings
from api.sensorthings.answer import Answers
from api.sensorthings.routes import PREFIX
from broker_config.readers import MARK, PUBLISHER, TOPICS
from runtime.backoff import FullJitter
from runtime.metrics import serve_metrics
from runtime.mqtt import MqttConnection
from standards_mapping.sensorthings.errors import UnknownTargetError
from standards_mapping.sensorthings.options import parse_options
from standards_mapping.sensorthings.path import parse_path
from storage.database import OUTAGES, Connection, Pool, connect, open_pool
from storage.overview import listen, server_time, wait_for_change
from storage.publication import Due, begin, due, note, take_turn
from storage.sensorthings.reader import SlowError, reading

log = logging.getLogger(__name__)

PAGE: Final = 100
"""Observations read and sent at once, so many at most in memory."""

TAKEN_SECONDS: Final = 30.0

_LOOK_ANYWAY_SECONDS: Final = 2.0  # a notification may have been lost with a connection
_OVERLAP: Final = timedelta(seconds=5)  # updated_at is when a writer began, not when it committed
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)

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
            await begin(conn)
            publisher = Publisher(
                pool,
                conn,
                client,
                root=settings.base_url + PREFIX,
                catch_up=timedelta(seconds=settings.catch_up_seconds),
            )
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

    root: URL of the SensorThings service. catch_up: how old an observation may be.
    """

    def __init__(
        self,
        pool: Pool,
        conn: Connection,
        client: aiomqtt.Client,
        *,
        root: str,
        catch_up: timedelta,
    ) -> None:
        self._pool = pool
        self._conn = conn
        self._client = client
        self._root = root
        self._catch_up = catch_up
        self._watermark = _BEGINNING

    async def look(self) -> None:
        """Publish all that is due, oldest first in each datastream.

        Raises:
            aiomqtt.MqttError: the broker has gone, or does not take it.
            SlowError, OUTAGES: the database.
        """
        oldest = await server_time(self._conn) - self._catch_up
        since = self._watermark
        if since != _BEGINNING:
            since -= _OVERLAP
        found = await due(self._conn, since)
        for one in found:
            await self._walk(one, oldest)
        if found:
            self._watermark = max(self._watermark, found[-1].updated_at)

    async def _walk(self, one: Due, oldest: datetime) -> None:
        """Publish a datastream's observations page by page until there are no more."""
        after = oldest if one.published is None else max(one.published, oldest)
        while True:
            page = await self._page(one.datastream_id, after)
            if page:
                await self._send(one.datastream_id, page)
                after = datetime.fromisoformat(page[-1]["resultTime"])
                await note(self._conn, one.datastream_id, after)
            if len(page) < PAGE:
                return

    async def _page(self, datastream_id: int, after: datetime) -> list[dict[str, Any]]:
        """Return the next observations as the API gives them; none of what is not open."""
        path = parse_path(f"Datastreams({datastream_id})/Observations")
        written = [
            (
                "$filter",
                f"resultTime gt {after.astimezone(UTC).isoformat()}".replace("+00:00", "Z"),
            ),
            ("$orderby", "resultTime asc"),
            ("$top", str(PAGE)),
        ]
        options = parse_options(written, path.target.entity_type, many=True)
        try:
            async with reading(self._pool) as reader:
                answer = await Answers(reader, self._root).collection(path, options)
        except UnknownTargetError:
            return []  # it was restricted, or deleted, a moment ago
        page: list[dict[str, Any]] = answer["value"]
        return page

    async def _send(self, datastream_id: int, page: list[dict[str, Any]]) -> None:
        messages = [
            (topic, payload)
            for payload in map(orjson.dumps, page)
            for topic in topics(datastream_id)
        ]
        await send(self._client, messages)
        PUBLISHED.inc(len(page))


async def send(client: aiomqtt.Client, messages: Sequence[tuple[str, bytes]]) -> None:
    """Publish messages by topic and return once the broker has taken them all.

    Raises:
        aiomqtt.MqttError: it has gone, or does not answer.
    """
    for topic, payload in messages:
        await client.publish(topic, payload, qos=0, timeout=TAKEN_SECONDS)
    await client.publish(MARK, b"", qos=1, timeout=TAKEN_SECONDS)
