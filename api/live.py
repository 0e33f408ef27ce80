"""New values, pushed to open pages as server-sent events.

One connection listens for what ingest announces; one query then reads what changed and the answer
is shared by all clients. A client hears of its council at most once a second. Each client's queue
is bounded: one that falls behind is disconnected and, coming back with the last event's id, is
told in one message all that it missed. When something is restricted, what waits in queues is
dropped and those streams end, so that whoever comes back is told what is still open. Without a word
from the centre for half a minute the page shows a banner, which is why silence is filled with
beats. Restricted values go to those alone who may read them; such a stream ends now and then, and
whoever comes back is asked anew who they are.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from prometheus_client import Counter, Gauge

from api.pages.presentation import live_value
from api.pages.times import iso_text
from runtime.backoff import FullJitter
from storage.database import OUTAGES, Connection, Pool, connect
from storage.overview import (
    ChangedValue,
    bounded_read,
    changed_values,
    listen,
    server_time,
    wait_for_change,
)

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 1.0
"""The least time between two messages about one council."""

BEAT_SECONDS: Final = 10.0
TRUSTED_SECONDS: Final = 300.0
"""How long a stream with restricted values lasts: a key or session may have ended meanwhile."""

MAX_CLIENTS: Final = 1000
QUEUE_MESSAGES: Final = 16

_LOOK_ANYWAY_SECONDS: Final = 2.0  # a notification may have been lost with a connection
_OVERLAP: Final = timedelta(seconds=5)  # updated_at is when a writer began, not when it committed
_RETRY: Final = b"retry: 2000\n\n"

_clients = Gauge("api_live_clients", "Open live streams.")
_messages = Counter("api_live_messages_total", "Messages queued to live streams.")
_overruns = Counter("api_live_overruns_total", "Live streams closed because they fell behind.")


class TooManyClientsError(Exception):
    """There are as many live streams open as the service takes."""


@dataclass(eq=False, slots=True)
class _Client:
    """One open stream. When its queue is full it is dropped; None in the queue ends it.

    councils: ids of those whose restricted values it may carry.
    """

    tenant: str | None
    councils: frozenset[int] = frozenset()
    queue: asyncio.Queue[bytes | None] = field(
        default_factory=lambda: asyncio.Queue(QUEUE_MESSAGES + 1)
    )

    def offer(self, message: bytes) -> bool:
        """Queue a message; False if the client is too far behind (one place is kept for None)."""
        if self.queue.qsize() >= QUEUE_MESSAGES:
            return False
        self.queue.put_nowait(message)
        return True


class LiveFeed:
    """What changed, to whom it may concern."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._clients: set[_Client] = set()
        self._watermark: datetime | None = None
        self._sent: dict[int, datetime] = {}
        self._closed = False
        self.connected = False

    async def run(self) -> None:
        """Listen and fan out until cancelled; a lost database is waited for."""
        waits = FullJitter(base_seconds=0.5, cap_seconds=5.0)
        while True:
            try:
                conn = await connect(
                    self._dsn, autocommit=True, application_name="kerbstone serve live"
                )
                async with conn:
                    await listen(conn)
                    self._withdraw()  # whatever was said meanwhile was not heard
                    self._set_connected(connected=True)
                    waits.reset()
                    await self._follow(conn)
            except OUTAGES as error:
                if self.connected:
                    log.warning("live feed lost the database", extra={"error": str(error)})
                self._set_connected(connected=False)
                await asyncio.sleep(waits.next())

    async def _follow(self, conn: Connection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._look(conn)
            await asyncio.sleep(max(0.0, INTERVAL_SECONDS - (loop.time() - began)))
            changes = await wait_for_change(conn, _LOOK_ANYWAY_SECONDS)
            if changes.access:
                self._withdraw()
            if changes.registry:
                self._publish_registry()

    async def _look(self, conn: Connection) -> None:
        """Read what was written since the last look and tell those whom it concerns."""
        if self._watermark is None:
            self._watermark = await server_time(conn)
        async with bounded_read(conn):
            changed = await changed_values(conn, self._watermark - _OVERLAP)
        news = [one for one in changed if self._sent.get(one.datastream_id) != one.updated_at]
        if not news:
            return
        self._watermark = max(self._watermark, news[-1].updated_at)
        horizon = self._watermark - _OVERLAP
        self._sent |= {one.datastream_id: one.updated_at for one in news}
        self._sent = {key: at for key, at in self._sent.items() if at > horizon}
        self._publish(news)

    def _publish(self, news: Sequence[ChangedValue]) -> None:
        messages: dict[tuple[str | None, frozenset[int]], bytes] = {}
        for client in list(self._clients):
            audience = client.tenant, client.councils
            if audience not in messages:
                some = for_audience(news, *audience)
                messages[audience] = values_message(some) if some else b""
            if message := messages[audience]:
                self._offer(client, message)

    def _publish_registry(self) -> None:
        """Tell everybody that gateways changed; which, and who may see it, the pages ask."""
        message = event("registry", {"now": iso_text(datetime.now(UTC))})
        for client in list(self._clients):
            self._offer(client, message)

    def _offer(self, client: _Client, message: bytes) -> None:
        if client.offer(message):
            _messages.inc()
        else:
            _overruns.inc()
            self._end(client)

    def _end(self, client: _Client) -> None:
        self._clients.discard(client)
        client.queue.put_nowait(None)

    def _withdraw(self) -> None:
        """Take back what is not sent yet, and end those streams: it may be restricted by now."""
        for client in list(self._clients):
            if not client.queue.empty():
                while not client.queue.empty():
                    client.queue.get_nowait()
                self._end(client)

    def _set_connected(self, *, connected: bool) -> None:
        if connected != self.connected:
            self.connected = connected
            for client in list(self._clients):
                self._offer(client, self._beat())

    def _beat(self) -> bytes:
        return event("beat", {"now": iso_text(datetime.now(UTC)), "connected": self.connected})

    async def stream(
        self,
        pool: Pool,
        tenant: str | None,
        since: datetime | None,
        councils: frozenset[int] = frozenset(),
    ) -> AsyncIterator[bytes]:
        """Yield events for one client: first what it missed since `since`, then what comes.

        tenant: short name of a council, None for all, "" for the values of none: only beats, and
        word that gateways changed. councils: ids of those whose restricted values it may carry.
        Ends when the client falls behind, the service stops, or, with `councils`, after
        `TRUSTED_SECONDS`; a browser then comes back by itself.
        """
        client = _Client(tenant, councils)
        until = asyncio.get_running_loop().time() + TRUSTED_SECONDS if councils else math.inf
        self._clients.add(client)
        _clients.set(len(self._clients))
        try:
            yield _RETRY + self._beat()
            if since is not None and (missed := await self._missed(pool, client, since)):
                yield missed
            while not self._closed and asyncio.get_running_loop().time() < until:
                try:
                    message = await asyncio.wait_for(client.queue.get(), BEAT_SECONDS)
                except TimeoutError:
                    message = self._beat()
                if message is None:
                    return
                yield message
        finally:
            self._clients.discard(client)
            _clients.set(len(self._clients))

    async def _missed(self, pool: Pool, client: _Client, since: datetime) -> bytes:
        """Return what was written since then as a message; empty if that is nothing."""
        try:
            async with pool.connection() as conn, bounded_read(conn):
                changed = await changed_values(conn, since - _OVERLAP)
        except OUTAGES:
            return b""  # the beat says so; what was missed comes with the next id
        some = for_audience(changed, client.tenant, client.councils)
        return values_message(some) if some else b""

    def check_room(self) -> None:
        """Raise TooManyClientsError if no further stream can be opened."""
        if len(self._clients) >= MAX_CLIENTS:
            raise TooManyClientsError

    def close(self) -> None:
        """End every stream, so that the service can stop."""
        self._closed = True
        for client in list(self._clients):
            self._end(client)


def for_audience(
    changed: Sequence[ChangedValue], tenant: str | None, councils: frozenset[int]
) -> list[ChangedValue]:
    """Return what is of a council (None: of any) and open, or restricted by one of `councils`."""
    return [
        one
        for one in changed
        if tenant in (None, one.tenant) and (one.is_open or one.council_id in councils)
    ]


def values_message(changed: Sequence[ChangedValue]) -> bytes:
    """Return changed values as one event whose id is the newest change."""
    newest = max(one.updated_at for one in changed)
    body = {"now": iso_text(datetime.now(UTC)), "values": [live_value(one) for one in changed]}
    return b"id: " + iso_text(newest).encode() + b"\n" + event("values", body)


def event(name: str, body: Any) -> bytes:
    """Return one server-sent event (HTML Living Standard, section 9.2)."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(body) + b"\n\n"
