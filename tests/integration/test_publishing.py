"""From a gateway to whoever subscribes: real ingest, database, publisher and both brokers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest
from fastapi import FastAPI

from api.publishing import publisher
from api.publishing.publisher import PAGE, run, topics
from api.publishing.settings import PublishSettings
from api.sensorthings.routes import PREFIX, router
from storage.batches import prepare
from storage.database import Connection, open_pool
from storage.publication import Due, note
from tests.integration.fix_brokers import City
from tests.integration.readers import Readers, run_readers
from tests.integration.region import (
    DEVICE,
    OTHER,
    Region,
    eventually,
    make_region,
    metric,
    minutes,
    now,
)
from tests.simulators.gateway import MqttGateway, description, reading
from tests.simulators.street import store

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

BASE_URL = "https://data.example.org"
SECONDS = 20


@pytest.fixture
async def region(city: City, dsn: str, tmp_path: Path, connection: Connection) -> Region:
    return await make_region(city, dsn, tmp_path, connection)


@pytest.fixture
async def readers(city: City, tmp_path: Path) -> AsyncIterator[Readers]:
    with run_readers(city.broker.kind, tmp_path / "readers", city.authority) as running:
        yield running


@contextlib.asynccontextmanager
async def publishing(region: Region, readers: Readers) -> AsyncIterator[None]:
    """Publish for the length of the block."""
    settings = PublishSettings(
        dsn=region.dsn, base_url=BASE_URL, catch_up_seconds=86_400, broker=readers.settings
    )
    task = asyncio.create_task(run(settings))
    try:
        await eventually(lambda: metric("publish_connected") == 1, task)
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def subscribed(readers: Readers, *names: str) -> AsyncIterator[aiomqtt.Client]:
    async with readers.client() as client:
        for name in names:
            await client.subscribe(name, qos=0, timeout=SECONDS)
        yield client


async def heard(client: aiomqtt.Client, count: int) -> list[tuple[str, Any]]:
    """Return topics and bodies of the next messages."""
    async with asyncio.timeout(SECONDS):
        messages = [await anext(client.messages) for _ in range(count)]
    return [(str(each.topic), json.loads(bytes(each.payload))) for each in messages]


async def described(gateway: MqttGateway, device: str) -> str:
    """Announce a gateway with one sensor; return the sensor's name."""
    sensor = f"urn:dev:{device}:air"
    await gateway.publish(gateway.gateway.announce(now(), counter=now()))
    await gateway.publish(
        gateway.gateway.describe(description(thing=f"urn:dev:{device}", sensor=sensor))
    )
    await gateway.acknowledged(1)
    return sensor


async def stream_of(region: Region, device: str, *, access: str = "open") -> int:
    """Return the id of the datastream of a gateway, whose access is set."""
    cursor = await region.conn.execute(
        "UPDATE datastream SET access = %s FROM thing"
        " WHERE thing.id = thing_id AND thing.urn = %s RETURNING datastream.id",
        (access, f"urn:dev:{device}"),
    )
    [(found, *_)] = await cursor.fetchmany(1)
    return int(found)


async def all_published(region: Region) -> None:
    """Return once it is noted that nothing is left to publish."""
    async with asyncio.timeout(SECONDS):
        while True:
            cursor = await region.conn.execute("SELECT FROM unpublished_batch")
            if await cursor.fetchone() is None:
                return
            await asyncio.sleep(0.02)


async def by_http(region: Region, path: str) -> list[Any]:
    app = FastAPI()
    app.include_router(router())
    app.state.base_url = BASE_URL
    async with open_pool(region.dsn, application_name="kerbstone test") as pool:
        app.state.pool = pool
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
            answer = await client.get(f"{PREFIX}/{path}")
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["value"]
    return found


async def test_every_observation_is_heard_once_as_http_gives_it(
    region: Region, readers: Readers
) -> None:
    async with region.ingest(), region.gateway() as gateway:
        sensor = await described(gateway, DEVICE)
        stream = await stream_of(region, DEVICE)
        mine, everything = topics(stream)
        async with (
            subscribed(readers, mine) as reader,
            subscribed(readers, everything) as watcher,
            publishing(region, readers),
            publishing(region, readers),  # one of the two waits
        ):
            values = [
                reading(value, sensor=sensor, time=minutes(value - 41)) for value in (41, 42, 43)
            ]
            await gateway.publish(gateway.gateway.report(values))
            await gateway.publish(
                gateway.gateway.report([reading(44, sensor=sensor, time=minutes(9))])
            )
            messages = await heard(reader, 4)
            assert {topic for topic, _ in messages} == {mine}
            path = f"Datastreams({stream})/Observations?$orderby=resultTime"
            assert [body for _, body in messages] == await by_http(region, path)
            assert [body["result"] for _, body in messages] == [41, 42, 43, 44]
            assert [body for _, body in await heard(watcher, 4)] == [body for _, body in messages]


async def test_what_is_restricted_is_not_published(region: Region, readers: Readers) -> None:
    async with (
        region.ingest(),
        region.gateway(DEVICE) as closed,
        region.gateway(OTHER) as open_one,
    ):
        for gateway, device in ((closed, DEVICE), (open_one, OTHER)):
            await described(gateway, device)
        await stream_of(region, DEVICE, access="restricted")
        stream, moment = await stream_of(region, OTHER), minutes(1)
        async with subscribed(readers, "v1.1/#") as reader, publishing(region, readers):
            for gateway, device in ((closed, DEVICE), (open_one, OTHER)):
                report = [reading(7, sensor=f"urn:dev:{device}:air", time=moment)]
                await gateway.publish(gateway.gateway.report(report))
                await gateway.acknowledged(2)
            messages = await heard(reader, 2)  # restricted came first, and would be heard first
            assert {topic for topic, _ in messages} == set(topics(stream))
            await all_published(region)


async def test_a_restart_goes_on_where_it_stopped(region: Region, readers: Readers) -> None:
    async with region.ingest(), region.gateway() as gateway:
        sensor = await described(gateway, DEVICE)
        stream = await stream_of(region, DEVICE)
        first, second = minutes(1), minutes(2)
        async with subscribed(readers, topics(stream)[0]) as reader:
            async with publishing(region, readers):
                await gateway.publish(
                    gateway.gateway.report([reading(1, sensor=sensor, time=first)])
                )
                assert [body["result"] for _, body in await heard(reader, 1)] == [1]
                await all_published(region)
            await gateway.publish(gateway.gateway.report([reading(2, sensor=sensor, time=second)]))
            await gateway.acknowledged(3)
            async with publishing(region, readers):
                assert [body["result"] for _, body in await heard(reader, 1)] == [2]
                await all_published(region)


async def test_what_comes_late_is_heard_once_in_the_order_of_storing(
    region: Region, readers: Readers
) -> None:
    """As after an outage: what is newest was sent first, then the spool drains."""
    async with region.ingest(), region.gateway() as gateway:
        sensor = await described(gateway, DEVICE)
        stream = await stream_of(region, DEVICE)
        mine, _ = topics(stream)
        async with subscribed(readers, mine) as reader:
            async with publishing(region, readers):
                newest = [reading(50, sensor=sensor, time=minutes(50))]
                await gateway.publish(gateway.gateway.report(newest))
                assert [body["result"] for _, body in await heard(reader, 1)] == [50]
                await all_published(region)
                for first in (10, 30):  # each report is a message of its own, committed in turn
                    late = [
                        reading(value, sensor=sensor, time=minutes(value))
                        for value in (first, first + 1)
                    ]
                    await gateway.publish(gateway.gateway.report(late))
                messages = await heard(reader, 4)
                assert [body["result"] for _, body in messages] == [10, 11, 30, 31]
                await all_published(region)
            late = [reading(20, sensor=sensor, time=minutes(20))]
            await gateway.publish(gateway.gateway.report(late))
            await gateway.acknowledged(5)
            async with publishing(region, readers):  # and after a restart, nothing twice
                assert [body["result"] for _, body in await heard(reader, 1)] == [20]
                last = [reading(60, sensor=sensor, time=minutes(51))]
                await gateway.publish(gateway.gateway.report(last))
                assert [body["result"] for _, body in await heard(reader, 1)] == [60]


async def test_a_drained_spool_is_heard_whole_and_after_a_failure_no_more_than_a_page_again(
    region: Region, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second page is taken by the broker, and before that is noted the connection is lost."""
    noted = 0

    async def forgetting(conn: Connection, finished: Collection[int], last: Due) -> None:
        nonlocal noted
        noted += 1
        if noted == 2:
            raise aiomqtt.MqttError("lost")
        await note(conn, finished, last)

    monkeypatch.setattr(publisher, "note", forgetting)
    values = [float(number) for number in range(2 * PAGE + 50)]
    async with region.ingest(), region.gateway() as gateway:
        await described(gateway, DEVICE)
        stream = await stream_of(region, DEVICE)
        async with subscribed(readers, topics(stream)[0]) as reader, publishing(region, readers):
            begins = minutes(0)
            times = [begins + timedelta(seconds=number) for number in range(len(values))]
            await prepare(region.conn)
            await store(region.conn, {stream: list(zip(times, values, strict=True))})
            messages = await heard(reader, len(values) + PAGE)
            await all_published(region)
    twice = values[PAGE : 2 * PAGE]
    assert [body["result"] for _, body in messages] == [
        *values[: 2 * PAGE],
        *twice,
        *values[2 * PAGE :],
    ]
