"""Every observation has a place, whatever its month; what is too old goes as a whole."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from storage.database import Connection, connect
from storage.edition import Edition, detect
from storage.partitions import ensure_partitions, existing_partitions
from storage.retention import expire
from storage.rollups import hourly, refresh_rollups
from tests.integration.datastreams import add_datastream, store


def at(year: int, month: int = 1, day: int = 1, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


async def is_plain(conn: Connection) -> bool:
    return await detect(conn) is Edition.PLAIN


async def months(conn: Connection) -> frozenset[date]:
    return (await existing_partitions(conn)).months


async def times(conn: Connection) -> list[datetime]:
    cursor = await conn.execute("SELECT time FROM observation ORDER BY time")
    return [time for (time,) in await cursor.fetchall()]


async def test_a_range_across_years_gets_every_month(connection: Connection) -> None:
    first, last = datetime(2023, 11, 30, 23, 59, 59, 999999, UTC), at(2024, 2)
    await ensure_partitions(connection, first, last)
    expected = {date(2023, 11, 1), date(2023, 12, 1), date(2024, 1, 1), date(2024, 2, 1)}
    assert await months(connection) == (expected if await is_plain(connection) else frozenset())
    await store(connection, (1, first, 1.0), (1, at(2024), 2.0), (1, last, 3.0))
    assert await times(connection) == [first, at(2024), last]


async def test_times_of_a_wrong_clock_have_a_place_and_make_no_partition(
    connection: Connection,
) -> None:
    wrong = [at(1970), at(1999, 12, 31, 23), at(2100), at(9999)]
    await ensure_partitions(connection, wrong[0], wrong[1])
    await ensure_partitions(connection, wrong[2], wrong[3])
    await store(connection, *((1, time, 0.0) for time in wrong))
    assert await times(connection) == wrong
    assert await months(connection) == frozenset()


async def test_many_writers_may_need_the_same_new_month(dsn: str) -> None:
    async def write(number: int) -> None:
        async with await connect(dsn, autocommit=True, application_name="test") as conn:
            for month in range(1, 13):
                time = at(2024, month) + timedelta(seconds=number)
                await ensure_partitions(conn, time, time)
                await store(conn, (number, time, 1.0))

    await asyncio.gather(*(write(number) for number in range(8)))
    async with await connect(dsn, application_name="test") as conn:
        assert len(await times(conn)) == 8 * 12


async def test_making_a_month_stalls_no_writer_and_no_writer_stalls_it(
    connection: Connection, dsn: str
) -> None:
    """Each side has its transaction open while the other works; waiting would be an error."""
    await ensure_partitions(connection, at(2024), at(2024))
    await store(connection, (1, at(2024), 1.0))
    async with await connect(dsn, autocommit=True, application_name="test") as other:
        for conn in (connection, other):
            await conn.execute("SET lock_timeout = '1s'")
        async with connection.transaction():
            await store(connection, (2, at(2024), 1.0))
            async with other.transaction():
                await ensure_partitions(other, at(2024, 2), at(2024, 2))
                await store(connection, (3, at(2024), 1.0))
            await store(other, (4, at(2024), 1.0), (4, at(2024, 2), 1.0))
    assert len(await times(connection)) == 5


async def test_a_known_month_costs_no_statement(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_partitions(connection, at(2024), at(2024, 3))
    statements: list[object] = []
    execute = psycopg.AsyncConnection.execute

    async def counted(conn: Connection, statement: str, *values: object) -> object:
        statements.append(statement)
        return await execute(conn, statement, *values)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", counted)
    await ensure_partitions(connection, at(2024, 2), at(2024, 3))
    assert not statements
    await ensure_partitions(connection, at(2024, 3), at(2024, 4))
    assert bool(statements) == await is_plain(connection)


async def test_a_month_made_in_a_rolled_back_transaction_is_made_again(
    connection: Connection,
) -> None:
    async with connection.transaction(force_rollback=True):
        await ensure_partitions(connection, at(2024), at(2024))
    await ensure_partitions(connection, at(2024), at(2024))
    await store(connection, (1, at(2024), 1.0))
    assert await times(connection) == [at(2024)]


async def test_a_writer_that_knows_a_month_can_write_to_it_after_it_was_dropped(
    connection: Connection, dsn: str
) -> None:
    await ensure_partitions(connection, at(2024), at(2024, 2))
    await store(connection, (1, at(2024), 1.0), (1, at(2024, 2), 1.0))
    async with await connect(dsn, autocommit=True, application_name="test") as other:
        await expire(other, at(2024, 2))
        await ensure_partitions(connection, at(2024), at(2024, 2))
        await store(connection, (1, at(2024, 1, 31), 2.0))
        assert await times(connection) == [at(2024, 1, 31), at(2024, 2)]
        await expire(other, at(2024, 2))
    assert await times(connection) == [at(2024, 2)]


async def test_expiry_drops_whole_partitions_and_keeps_the_rollups(
    connection: Connection,
) -> None:
    datastream = await add_datastream(connection)
    kept = [at(2024, 3), at(2024, 3, 20), at(2024, 5)]
    old = [at(1980), at(2023, 12, 31, 23), at(2024, 2, 29, 23)]
    await ensure_partitions(connection, at(2023, 12), at(2024, 5))
    await store(connection, *((datastream, time, 5.0) for time in old + kept))
    await connection.execute(
        "INSERT INTO observation_extra (datastream_id, time, quality)"
        " SELECT %s, unnest(%s::timestamptz[]), 8",
        (datastream, [old[0], kept[0]]),
    )

    expired = await expire(connection, at(2024, 3))

    assert await times(connection) == kept
    assert expired.tables == (3 if await is_plain(connection) else len(old))
    cursor = await connection.execute("SELECT time FROM observation_extra")
    assert await cursor.fetchall() == [(kept[0],)]
    rollups = await hourly(connection, [datastream], at(1970), at(2030))
    assert [rollup.bucket for rollup in rollups] == old + kept


async def test_a_late_observation_never_replaces_the_rollup_of_an_expired_hour(
    connection: Connection,
) -> None:
    datastream = await add_datastream(connection)
    await ensure_partitions(connection, at(2024), at(2024, 3))
    await store(
        connection, (datastream, at(2024), 5.0), (datastream, at(2024) + timedelta(1, 60), 7.0)
    )
    await expire(connection, at(2024, 3))
    await ensure_partitions(connection, at(2024), at(2024))
    await store(connection, (datastream, at(2024) + timedelta(minutes=5), 1000.0))
    while await refresh_rollups(connection):
        pass
    rollups = await hourly(connection, [datastream], at(2023), at(2025))
    assert [rollup.value for rollup in rollups] == [5.0, 7.0]


async def test_evidence_goes_once_its_epoch_is_closed(connection: Connection) -> None:
    await add_datastream(connection)
    await connection.execute(
        """
        INSERT INTO epoch (epoch_id, gateway_id, recipient_group, counter, announcement_sha256,
                           content_algorithm, sealed_key, received_at, closes_at)
        SELECT decode(lpad(to_hex(counter), 16, '0'), 'hex'), id, 'main', counter, '', 24, '',
               '2024-01-01', CASE counter WHEN 1 THEN timestamptz '2024-01-09' ELSE 'infinity' END
          FROM gateway, generate_series(1, 2) AS counter;
        INSERT INTO signed_batch (epoch_id, seq, message_hash, gateway_id, signer_kid,
                                  content_format, signed, readings, received_at)
        SELECT epoch_id, seq, '', gateway_id, '', 112, '', 1,
               CASE seq WHEN 1 THEN timestamptz '2024-01-01' ELSE '2024-03-02' END
          FROM epoch, generate_series(1, 2) AS seq;
        INSERT INTO quarantine (received_at, tenant, device, reason, detail, topic)
        VALUES ('2024-02-29', 'camden', 'x', 'out-of-range', '', ''),
               ('2024-03-01', 'camden', 'x', 'out-of-range', '', '');
        INSERT INTO refusal (hour, tenant, device, reason, n, last_at, last_detail)
        VALUES ('2024-02-29 23:00Z', 'camden', 'x', 'size', 1, now(), ''),
               ('2024-03-01 00:00Z', 'camden', 'x', 'size', 1, now(), '')
        """
    )
    expired = await expire(connection, at(2024, 3))
    assert expired.rows == 3
    cursor = await connection.execute(
        "SELECT counter, seq FROM signed_batch JOIN epoch USING (epoch_id) ORDER BY 1, 2"
    )
    assert await cursor.fetchall() == [(1, 2), (2, 1), (2, 2)]
