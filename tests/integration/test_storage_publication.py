"""What is left for a publisher: each observation once, whenever its transaction ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from analytics import runner
from analytics.settings import AnalyticsSettings
from standards_mapping.sensorthings.model import ObservationId
from storage import batches
from storage.batches import Observations
from storage.database import Connection, connect
from storage.optimism import Optimism
from storage.partitions import ensure_partitions
from storage.publication import Due, begin, due, keep_on, note
from tests.integration.datastreams import add_datastream

START = datetime(2024, 3, 31, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECONDS = 20


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    """The publisher's connection."""
    await ensure_partitions(connection, START, START)
    return connection


@pytest.fixture
async def writers(dsn: str) -> AsyncIterator[tuple[Connection, Connection]]:
    """Two that store."""
    async with (
        await connect(dsn, autocommit=True, application_name="first") as first,
        await connect(dsn, autocommit=True, application_name="second") as second,
    ):
        for one in (first, second):
            await batches.prepare(one)
        yield first, second


def at(stream: int, *minutes: int) -> list[ObservationId]:
    """Name the observations of a datastream at minutes."""
    return [ObservationId.of(stream, START + timedelta(minutes=each)) for each in minutes]


async def write(conn: Connection, keys: Sequence[ObservationId], *, staged: bool = False) -> None:
    """Store observations within whatever transaction there is."""
    await batches.store_observations(
        conn,
        Observations(
            np.array([key.datastream for key in keys], np.int32),
            np.array([key.microseconds for key in keys], np.int64),
            np.ones(len(keys)),
        ),
        [],
        None if staged else Optimism(),
    )


async def store(conn: Connection, keys: Sequence[ObservationId], *, staged: bool = False) -> None:
    async with conn.transaction():
        await write(conn, keys, staged=staged)


async def publish(conn: Connection) -> list[ObservationId]:
    """Return what a publisher would send now, and note that it has."""
    found = await due(conn)
    if found:
        await note(conn, {one.batch for one in found}, found[-1])
    return [one.key for one in found]


@pytest.mark.parametrize("staged", [False, True], ids=["straight", "staged"])
async def test_what_is_stored_is_due_once_in_the_order_of_storing(
    conn: Connection, writers: tuple[Connection, Connection], *, staged: bool
) -> None:
    first, _ = writers
    stream = await add_datastream(conn)
    await store(first, at(stream, 0), staged=staged)
    assert not await due(conn), "nobody wanted to publish it"
    await begin(conn, HOUR)
    await begin(conn, HOUR)  # as after a restart
    await store(first, at(stream, 50, 51), staged=staged)
    await store(first, at(stream, 10, 30), staged=staged)
    assert await publish(conn) == at(stream, 50, 51, 10, 30)
    await store(first, at(stream, 10, 20, 50), staged=staged)  # two of them repeated
    assert await publish(conn) == at(stream, 20)
    assert not await publish(conn)


async def test_a_transaction_that_ends_after_a_later_one_is_not_passed_over(
    conn: Connection, writers: tuple[Connection, Connection]
) -> None:
    first, second = writers
    stream = await add_datastream(conn)
    await store(first, at(stream, 0))  # a chunk is made by one transaction, and others wait for it
    await begin(conn, HOUR)
    async with first.transaction():
        await write(first, at(stream, 10))
        assert not await due(conn)
        await store(second, at(stream, 20))
        assert await publish(conn) == at(stream, 20)
        await store(second, at(stream, 30))
    assert await publish(conn) == at(stream, 10, 30)
    assert not await publish(conn)


async def test_what_is_undone_is_never_due(
    conn: Connection, writers: tuple[Connection, Connection]
) -> None:
    first, _ = writers
    stream = await add_datastream(conn)
    await begin(conn, HOUR)

    async with first.transaction(force_rollback=True):
        await write(first, at(stream, 10))
    await store(first, at(stream, 20))
    assert await publish(conn) == at(stream, 20)


async def test_a_batch_goes_on_where_its_publication_stopped(
    conn: Connection, writers: tuple[Connection, Connection]
) -> None:
    """Even if one that was written before becomes visible meanwhile."""
    first, second = writers
    stream = await add_datastream(conn)
    await store(first, at(stream, 0))  # a chunk is made by one transaction, and others wait for it
    await begin(conn, HOUR)
    async with first.transaction():
        await write(first, at(stream, 1))
        await store(second, at(stream, 10, 20, 30))
        [one, two, _] = await due(conn)
        assert (one.number, two.number) == (1, 2)
        await note(conn, (), two)
    left = await due(conn)
    assert [each.key for each in left] == at(stream, 30, 1)
    assert left[0] == Due(two.batch, 3, *at(stream, 30))
    assert await publish(conn) == at(stream, 30, 1)
    assert not await due(conn)


async def test_what_waits_too_long_is_forgotten(
    dsn: str, conn: Connection, writers: tuple[Connection, Connection]
) -> None:
    """By the publisher, and while there is none, by whoever keeps the house."""
    first, _ = writers
    stream = await add_datastream(conn)
    await begin(conn, HOUR)
    old = "UPDATE unpublished_batch SET stored_at = stored_at - interval '61 minutes'"
    await store(first, at(stream, 1))
    await conn.execute(old)
    await store(first, at(stream, 2))
    await keep_on(conn)
    assert [one.key for one in await due(conn)] == at(stream, 2)
    await conn.execute(old)
    task = asyncio.create_task(runner.run(AnalyticsSettings(dsn=dsn)))
    async with asyncio.timeout(SECONDS):
        while await due(conn):  # noqa: ASYNC110  # another process's doing
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_left_for_a_publisher_that_is_gone_for_good(
    conn: Connection, writers: tuple[Connection, Connection]
) -> None:
    first, _ = writers
    stream = await add_datastream(conn)
    await begin(conn, HOUR)
    await conn.execute("UPDATE publication SET seen_at = now() - interval '8 days'")
    await store(first, at(stream, 1))
    await store(first, at(stream, 2), staged=True)
    assert not await due(conn)
    await keep_on(conn)
    await store(first, at(stream, 3))
    assert await publish(conn) == at(stream, 3)
