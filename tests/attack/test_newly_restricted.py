"""A stranger who listens already, by MQTT or to the live stream, when a datastream is restricted.

Proof that something was not delivered is that what came later, of an open datastream, arrives.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import orjson
import pytest

from api.live import LiveFeed
from api.publishing import publisher
from api.publishing.settings import PublishSettings
from storage import access
from storage.database import Connection, Pool, connect, open_pool
from tests.integration.conftest import DatabaseServer
from tests.integration.fix_brokers import City
from tests.integration.readers import Readers, run_readers
from tests.integration.region import eventually, metric
from tests.simulators.street import Street, seed

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

STREAM = ("Bloomsbury", "temp")
OPEN = ("Bloomsbury", "no2")
SECONDS = 20


@dataclass(frozen=True)
class Scene:
    """A city in a database of its own; everything in it is open to begin with."""

    dsn: str
    conn: Connection
    street: Street

    async def report(self, stream: tuple[str, str], value: float) -> None:
        await self.street.report(self.conn, stream, value)

    async def restrict(self) -> None:
        """Restrict the datastream, as an operator does: over a connection of their own."""
        async with await connect(self.dsn, autocommit=True, application_name="operator") as conn:
            changed = await access.set_access(
                conn,
                tenant="camden",
                access="restricted",
                datastream_id=self.street.streams[STREAM],
                actor="test",
            )
        assert changed == [self.street.streams[STREAM]]


@pytest.fixture
async def scene(database_server: DatabaseServer) -> AsyncIterator[Scene]:
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        yield Scene(dsn, conn, await seed(conn, days=1))
    await database_server.drop(dsn)


# By MQTT


@pytest.fixture(scope="module")
def readers(city: City, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    directory: Path = tmp_path_factory.mktemp("readers")
    with run_readers(city.broker.kind, directory, city.authority) as running:
        yield running


@contextlib.asynccontextmanager
async def publishing(scene: Scene, readers: Readers) -> AsyncIterator[None]:
    settings = PublishSettings(
        dsn=scene.dsn, base_url="https://data.example.org", broker=readers.settings
    )
    task = asyncio.create_task(publisher.run(settings))
    try:
        await eventually(lambda: metric("publish_connected") == 1, task)
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def stranger(readers: Readers) -> AsyncIterator[aiomqtt.Client]:
    async with readers.client() as client:
        await client.subscribe("v1.1/+/Observations", qos=0, timeout=SECONDS)
        yield client


async def heard(client: aiomqtt.Client) -> float:
    """Return the result that is heard next."""
    async with asyncio.timeout(SECONDS):
        message = await anext(client.messages)
    return float(orjson.loads(bytes(message.payload))["result"])


@dataclass
class Gate:
    """Holds what is published just before it is sent."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    taken: bool = False

    async def send(self, client: aiomqtt.Client, messages: Sequence[tuple[str, bytes]]) -> None:
        self.reached.set()
        await self.opened.wait()
        await send(client, messages)
        self.taken = True


send = publisher.send


async def test_go_on_listening_by_mqtt_to_what_becomes_restricted(
    scene: Scene, readers: Readers
) -> None:
    async with publishing(scene, readers), stranger(readers) as listening:
        await scene.report(STREAM, 11)
        assert await heard(listening) == 11
        await scene.restrict()
        for value in (12, 13):
            await scene.report(STREAM, value)
        await scene.report(OPEN, 21)
        assert await heard(listening) == 21
        async with stranger(readers) as late:  # and nothing was kept for whoever comes now
            await scene.report(OPEN, 22)
            assert await heard(late) == 22
        assert await heard(listening) == 22


async def test_hear_what_was_left_to_publish_before_it_was_restricted(
    scene: Scene, readers: Readers
) -> None:
    async with publishing(scene, readers):
        pass  # from now on word is left of what is stored
    for value in (11, 12):
        await scene.report(STREAM, value)
    await scene.restrict()
    await scene.report(OPEN, 21)
    async with stranger(readers) as listening, publishing(scene, readers):
        assert await heard(listening) == 21


async def test_hear_what_is_on_its_way_while_it_is_restricted(
    scene: Scene, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who restricts it is told so only once what was read before has gone out."""
    gate = Gate()
    monkeypatch.setattr(publisher, "send", gate.send)
    waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with publishing(scene, readers), stranger(readers) as listening:
        await scene.report(STREAM, 11)
        await asyncio.wait_for(gate.reached.wait(), SECONDS)
        restricting = asyncio.create_task(scene.restrict())
        async with asyncio.timeout(SECONDS):
            while await (await scene.conn.execute(waits)).fetchone() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not restricting.done()
        gate.opened.set()
        await asyncio.wait_for(restricting, SECONDS)
        assert gate.taken
        await scene.report(STREAM, 12)
        await scene.report(OPEN, 21)
        assert [await heard(listening), await heard(listening)] == [11, 21]


async def test_keep_it_open_by_a_publisher_that_hangs(
    scene: Scene, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(publisher, "send", gate.send)
    monkeypatch.setattr(access, "_WAIT", "100ms")
    async with publishing(scene, readers), stranger(readers) as listening:
        await scene.report(STREAM, 11)
        await asyncio.wait_for(gate.reached.wait(), SECONDS)
        await asyncio.wait_for(scene.restrict(), SECONDS)
        assert not gate.taken
        for value in (12, 13):
            await scene.report(STREAM, value)
        await scene.report(OPEN, 21)
        gate.opened.set()
        assert [await heard(listening), await heard(listening)] == [11, 21]


# By the live stream


@contextlib.asynccontextmanager
async def feeding(scene: Scene) -> AsyncIterator[tuple[LiveFeed, Pool]]:
    feed = LiveFeed(scene.dsn)
    async with open_pool(scene.dsn, max_size=2, application_name="kerbstone test") as pool:
        task = asyncio.create_task(feed.run())
        try:
            yield feed, pool
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def told(message: bytes) -> dict[int, str]:
    """Return the values that one event tells, by datastream."""
    for line in message.splitlines():
        if line.startswith(b"data: "):
            body = orjson.loads(line.removeprefix(b"data: "))
            return {one["id"]: one["value"] for one in body.get("values", ())}
    return {}


class Page:
    """A stranger's open page: whenever its stream ends it comes back, as a browser does."""

    def __init__(self, feed: LiveFeed, pool: Pool) -> None:
        self._feed = feed
        self._pool = pool
        self.told: list[tuple[int, str]] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Page"]:
        task = asyncio.create_task(self._listen())
        try:
            yield self
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        seen: datetime | None = None
        while True:
            async for message in self._feed.stream(self._pool, None, seen):
                self.told += told(message).items()
                for line in message.splitlines():
                    if line.startswith(b"id: "):
                        seen = datetime.fromisoformat(line.removeprefix(b"id: ").decode())

    async def hears(self, stream: int, value: str) -> None:
        async with asyncio.timeout(SECONDS):
            while (stream, value) not in self.told:  # noqa: ASYNC110  # it comes by itself
                await asyncio.sleep(0.02)


async def test_go_on_listening_live_to_what_becomes_restricted(scene: Scene) -> None:
    restricted, still_open = scene.street.streams[STREAM], scene.street.streams[OPEN]
    async with feeding(scene) as (feed, pool), Page(feed, pool).open() as page:
        await eventually_connected(feed)
        await scene.report(STREAM, 11.5)
        await page.hears(restricted, "11.5")
        await scene.restrict()
        page.told.clear()
        for value in (12.5, 13.5):
            await scene.report(STREAM, value)
            await scene.report(OPEN, value)
            await page.hears(still_open, str(value))
        assert restricted not in dict(page.told)


async def test_come_back_for_what_was_missed_and_is_restricted_by_now(scene: Scene) -> None:
    restricted, still_open = scene.street.streams[STREAM], scene.street.streams[OPEN]
    async with feeding(scene) as (feed, pool):
        since = datetime.now(UTC)
        await scene.report(STREAM, 11.5)
        await scene.report(OPEN, 21)
        await scene.restrict()
        stream = feed.stream(pool, None, since)
        found: dict[int, str] = {}
        async with asyncio.timeout(SECONDS):
            while still_open not in found:
                found |= told(await anext(stream))
        await stream.aclose()
        assert restricted not in found


async def test_leave_live_values_waiting_until_they_are_restricted(scene: Scene) -> None:
    """What waits for a stranger who does not read is not for them any more."""
    restricted = scene.street.streams[STREAM]
    async with feeding(scene) as (feed, pool), Page(feed, pool).open() as page:
        await eventually_connected(feed)
        slow = feed.stream(pool, None, None)
        await anext(slow)
        await scene.report(STREAM, 11.5)
        await page.hears(restricted, "11.5")  # so it waits for the slow one, too
        await scene.restrict()
        async with asyncio.timeout(SECONDS):
            while len(feed._clients) > 1:  # noqa: ASYNC110  # until the slow one's has ended
                await asyncio.sleep(0.02)
            rest = [told(message) async for message in slow]
        assert not any(restricted in each for each in rest)


async def eventually_connected(feed: LiveFeed) -> None:
    async with asyncio.timeout(SECONDS):
        while not feed.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
