"""Batches straight into `observation`, or staged: the same rows either way, on both editions."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import numpy as np
import psycopg
import pytest

from storage import batches, epochs
from storage.batches import Conflict, Extra, Observations, Result, SignedBatch
from storage.database import OUTAGES, Connection, connect
from storage.edition import Edition, detect
from storage.epochs import NewEpoch, Progress
from storage.optimism import STORED_PER_DEAD, Optimism
from storage.rollups import hourly, refresh_rollups
from tests.integration.datastreams import add_datastream

START = datetime(2024, 3, 31, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LOG = "SELECT bucket, datastream_id FROM rollup_log ORDER BY 1, 2"
OBSERVATIONS = "SELECT datastream_id, time, value FROM observation ORDER BY 1, 2"

Row = tuple[int, datetime, float]


def microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def columns(rows: Sequence[Row]) -> Observations:
    ids, times, values = zip(*sorted(rows), strict=True)
    return Observations(
        np.array(ids, np.int32),
        np.array([microseconds(time) for time in times], np.int64),
        np.array(values, np.float64),
    )


def extra(datastream_id: int, time: datetime, quality: int, result: Result = None) -> Extra:
    return Extra(datastream_id, microseconds(time), quality, result)


def minutes(datastream_id: int, values: Mapping[int, float]) -> list[Row]:
    return [(datastream_id, START + minute * MINUTE, value) for minute, value in values.items()]


async def rows(conn: Connection, statement: LiteralString) -> list[tuple[object, ...]]:
    return await (await conn.execute(statement)).fetchall()


async def store(
    conn: Connection, new: Sequence[Row], optimism: Optimism | None, *extras: Extra
) -> list[Conflict]:
    observations = columns(new)
    await batches.make_room(conn, observations)
    async with conn.transaction():
        return await batches.store_observations(conn, observations, extras, optimism)


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await batches.prepare(connection)
    return connection


@pytest.fixture
async def other(dsn: str) -> AsyncIterator[Connection]:
    """Another worker's connection."""
    async with await connect(dsn, autocommit=True, application_name="other worker") as conn:
        await batches.prepare(conn)
        yield conn


async def test_both_ways_store_and_log_the_same(conn: Connection) -> None:
    """Across a month, which is two partitions; with a text, a flag and an instant on the hour."""
    hours = {minute: float(minute) for minute in (0, 59, 60, 61, 239, 240, 241, 800)}
    new = [*minutes(1, hours), *minutes(2, {0: float("nan"), 300: 7.5})]
    extras = [extra(2, START, 0, "büsy"), extra(1, START + 59 * MINUTE, 12)]
    stored = []
    for optimism in (Optimism(), None):
        await conn.execute("TRUNCATE observation, observation_extra, rollup_log")
        assert await store(conn, new, optimism, *extras) == []
        kept = "SELECT datastream_id, time, quality, result FROM observation_extra ORDER BY 1, 2"
        stored.append([await rows(conn, each) for each in (OBSERVATIONS, LOG, kept)])
    assert stored[0] == stored[1]
    observed, logged, kept_extras = stored[0]
    assert len(observed) == 10
    assert observed[8] == (2, START, None)
    assert len(logged) == 7
    assert [row[2:] for row in kept_extras] == [(12, None), (0, "büsy")]


async def test_a_repetition_anywhere_in_a_large_batch_is_met_and_the_rest_is_stored(
    conn: Connection,
) -> None:
    """More than the connection's buffers hold: the copy fails while it is still being sent."""
    optimism = Optimism()
    day = dict.fromkeys(range(1440), 1.0)
    new = [row for stream in range(1, 41) for row in minutes(stream, day)]
    await store(conn, minutes(1, {0: 1.0}), optimism)
    assert await store(conn, new, optimism) == []
    assert not optimism.justified()
    assert await rows(conn, "SELECT count(*) FROM observation") == [(40 * 1440,)]
    [(logged,)] = await rows(conn, "SELECT count(*) FROM rollup_log")
    assert logged == 1 + 40 * 24
    assert await store(conn, new, optimism) == []
    assert await rows(conn, "SELECT count(*) FROM rollup_log") == [(logged,)]


async def test_what_is_kept_in_columns_is_neither_doubled_nor_changed(
    conn: Connection,
) -> None:
    """In the Community edition rows become columns after a week; repetitions come later still."""
    await store(conn, minutes(1, {0: 1.0, 1: 2.0}), Optimism())
    if await detect(conn) is Edition.TIMESCALE:
        await conn.execute("SELECT compress_chunk(chunk) FROM show_chunks('observation') AS chunk")
    optimism = Optimism()
    found = await store(conn, minutes(1, {0: 1.0, 1: 9.0, 2: 3.0}), optimism)
    assert not optimism.justified()
    assert [(conflict.time, conflict.stored) for conflict in found] == [
        (microseconds(START + MINUTE), 2.0)
    ]
    assert await store(conn, minutes(1, {3: 4.0}), Optimism()) == []
    assert await rows(conn, OBSERVATIONS) == minutes(1, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0})


async def test_contradictions_are_found_and_nothing_stored_is_altered(conn: Connection) -> None:
    optimism = Optimism()
    occupied = extra(2, START, 0, result=True)
    first = [*minutes(1, {0: 1.0, 1: 2.0}), *minutes(2, {0: 1.0})]
    await store(conn, first, optimism, occupied)
    again = [*minutes(1, {0: 1.0, 1: 9.0, 2: 3.0}), *minutes(2, {0: 0.0, 1: 1.0})]
    free = [extra(2, START, 0, result=False), extra(2, START + MINUTE, 0, result=True)]
    conflicts = await store(conn, again, optimism, *free)
    assert conflicts == [
        Conflict(1, microseconds(START + MINUTE), 2.0),
        Conflict(2, microseconds(START), True),  # noqa: FBT003 - a result
    ]
    assert [row[2] for row in await rows(conn, OBSERVATIONS)] == [1.0, 2.0, 3.0, 1.0, 1.0]
    assert await rows(conn, "SELECT time, result FROM observation_extra ORDER BY 1") == [
        (START, True),
        (START + MINUTE, True),
    ]


async def test_what_is_left_of_a_dropped_observation_does_not_stop_a_new_one(
    conn: Connection,
) -> None:
    """Flags go a moment after the observations they are of, when these are too old."""
    await conn.execute(
        "INSERT INTO observation_extra (datastream_id, time, quality) VALUES (1, %s, 8)", (START,)
    )
    assert await store(conn, minutes(1, {0: 1.0}), Optimism(), extra(1, START, 4)) == []
    assert len(await rows(conn, OBSERVATIONS)) == 1
    assert await rows(conn, "SELECT quality FROM observation_extra") == [(8,)]
    assert len(await rows(conn, LOG)) == 1


async def test_batches_go_straight_again_once_the_failure_is_paid_for(conn: Connection) -> None:
    optimism = Optimism()
    await store(conn, minutes(1, {0: 1.0}), optimism)
    await store(conn, minutes(1, {0: 1.0, 1: 1.0}), optimism)
    later = dict.fromkeys(range(2, 2 + 2 * STORED_PER_DEAD), 1.0)
    assert not optimism.justified()
    await store(conn, minutes(1, later), optimism)
    assert optimism.justified()
    await store(conn, minutes(1, {1000: 1.0}), optimism)
    assert optimism.justified()
    assert len(await rows(conn, OBSERVATIONS)) == 2 + len(later) + 1


@pytest.fixture
async def watcher(dsn: str) -> AsyncIterator[Connection]:
    """A connection that stores nothing."""
    async with await connect(dsn, autocommit=True, application_name="watcher") as conn:
        yield conn


async def waits(watcher: Connection, worker: Connection) -> None:
    """Return once `worker` waits for another's lock; each look is a round trip."""
    look = "SELECT FROM pg_locks WHERE pid = %s AND NOT granted"
    async with asyncio.timeout(20):
        while not await (await watcher.execute(look, (worker.info.backend_pid,))).fetchall():
            pass


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("straight", [True, False])
async def test_two_workers_with_the_same_keys_store_each_once(
    conn: Connection, other: Connection, watcher: Connection, *, commits: bool, straight: bool
) -> None:
    """The second waits for the first, and stores what the first did not."""
    optimism = Optimism()
    await batches.make_room(conn, columns(minutes(1, {0: 1.0})))
    async with conn.transaction(force_rollback=not commits):
        first = columns(minutes(1, {0: 1.0, 1: 2.0}))
        await batches.store_observations(conn, first, [], Optimism())
        second = asyncio.create_task(
            store(other, minutes(1, {1: 5.0, 2: 3.0}), optimism if straight else None)
        )
        await waits(watcher, other)
        assert not second.done()
    conflicts = await second
    values = [row[2] for row in await rows(watcher, OBSERVATIONS)]
    if commits:
        assert [conflict.stored for conflict in conflicts] == [2.0]
        assert values == [1.0, 2.0, 3.0]
        assert optimism.justified() is not straight
    else:
        assert conflicts == []
        assert values == [5.0, 3.0]
        assert optimism.justified()
    assert await rows(watcher, "SELECT count(*) FROM rollup_log") == [(2,) if commits else (1,)]


async def test_workers_that_wait_for_each_other_meet_an_outage_and_store_each_once(
    conn: Connection, other: Connection, watcher: Connection
) -> None:
    """The server ends one of them; its batch then goes in."""
    one, five = (columns(minutes(1, {minute: 1.0})) for minute in (1, 5))
    await store(conn, minutes(1, {9: 1.0}), None)  # a chunk not yet committed would be waited for
    await other.execute("SET deadlock_timeout = '1h'")  # so that it is the first that is ended
    async with other.transaction():
        await batches.store_observations(other, five, [], Optimism())
        async with conn.transaction(force_rollback=True):
            await batches.store_observations(conn, one, [], Optimism())
            opposite = asyncio.create_task(batches.store_observations(other, one, [], Optimism()))
            await waits(watcher, other)
            with pytest.raises(OUTAGES) as ended:
                await batches.store_observations(conn, five, [], Optimism())
        assert isinstance(ended.value, psycopg.errors.DeadlockDetected)
        assert await opposite == []
    conflicts = await store(conn, minutes(1, {1: 2.0, 5: 1.0, 6: 2.0}), Optimism())
    assert [conflict.stored for conflict in conflicts] == [1.0]
    assert [row[2] for row in await rows(conn, OBSERVATIONS)] == [1.0, 1.0, 2.0, 1.0]


async def test_rollups_are_exact_with_late_and_repeated_data(conn: Connection) -> None:
    """Refreshed after every batch, so that each must have logged what it touched."""
    streams = [await add_datastream(conn) for _ in range(3)]
    values = {minute: float(minute * 7 % 101) for minute in range(600)}
    random = np.random.default_rng(1)
    optimism = Optimism()
    late = random.permutation([(stream, minute) for stream in streams for minute in values])
    for number, part in enumerate(np.array_split(late, 12)):
        new = [row for s, m in part.tolist() for row in minutes(s, {m: values[m]})]
        if number % 4 == 3:
            new += minutes(streams[0], {int(m): values[int(m)] for s, m in late[:9] if s == 1})
        await store(conn, sorted(set(new)), optimism)
        while await refresh_rollups(conn):
            pass
    found = await hourly(conn, streams, START, START + timedelta(hours=10))
    assert len(found) == 30
    for rollup in found:
        begins = (rollup.bucket - START) // MINUTE
        expected = [values[minute] for minute in range(begins, begins + 60)]
        assert rollup.summary.n == 60
        assert rollup.summary.sum == sum(expected)
        assert (rollup.summary.minimum, rollup.summary.maximum) == (min(expected), max(expected))


async def test_evidence_is_compressed_the_quicker_way_where_the_server_can(
    conn: Connection,
) -> None:
    """Packs of readings are alike enough to shrink; what comes back is what was signed."""
    [(able,)] = await rows(
        conn,
        "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'",
    )
    await add_datastream(conn)
    [(gateway_id,)] = await rows(conn, "SELECT id FROM gateway")
    assert isinstance(gateway_id, int)
    await epochs.insert_epochs(conn, [new_epoch(gateway_id)])
    signed = bytes(range(50)) * 80
    await batches.insert_signed_batches(conn, [signed_batch(gateway_id, signed)])
    assert await rows(conn, "SELECT signed, pg_column_compression(signed) FROM signed_batch") == [
        (signed, "lz4" if able else "pglz")
    ]


async def test_epochs_that_advance_with_every_batch_leave_their_indexes_alone(
    conn: Connection,
) -> None:
    """Heap-only updates: the page has room for them (PostgreSQL, section 65.7)."""
    await add_datastream(conn)
    [(gateway_id,)] = await rows(conn, "SELECT id FROM gateway")
    assert isinstance(gateway_id, int)
    news = [new_epoch(gateway_id, number) for number in range(1, 101)]
    await epochs.insert_epochs(conn, news)
    for seq in range(1, 4):
        await epochs.advance_epochs(conn, [progress(new.epoch_id, seq) for new in news])
    await conn.execute("SELECT pg_stat_force_next_flush()")
    updates = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'epoch'"
    [(updated, in_place)] = await rows(conn, updates)
    assert updated == 300
    assert isinstance(in_place, int)
    assert in_place >= 200
    assert await rows(conn, "SELECT DISTINCT highest_seq FROM epoch") == [(3,)]


def new_epoch(gateway_id: int, counter: int = 1) -> NewEpoch:
    return NewEpoch(
        epoch_id=counter.to_bytes(8, "big"),
        gateway_id=gateway_id,
        group="main",
        counter=counter,
        announcement_sha256=bytes(32),
        content_algorithm=24,
        sealed_key=bytes(73),
        received_at=0,
        closes_at=9,
        key_set_version=1,
        previous=None,
    )


def progress(epoch_id: bytes, seq: int) -> Progress:
    return Progress(epoch_id=epoch_id, highest_seq=seq, contiguous_seq=seq, received_messages=seq)


def signed_batch(gateway_id: int, signed: bytes) -> SignedBatch:
    return SignedBatch(
        epoch_id=(1).to_bytes(8, "big"),
        seq=1,
        message_hash=bytes(8),
        gateway_id=gateway_id,
        signer_kid=bytes(8),
        content_format=112,
        signed=signed,
        readings=0,
        first_time=None,
        last_time=None,
        received_at=0,
    )
