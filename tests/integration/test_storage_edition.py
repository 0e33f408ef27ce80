"""What kind of server there is decides how `observation` is kept, once and for all."""

from psycopg import sql

from storage.database import Connection, connect
from storage.edition import Edition, detect
from storage.migration import migrate


async def has_extension(conn: Connection) -> bool:
    cursor = await conn.execute("SELECT FROM pg_extension WHERE extname = 'timescaledb'")
    return await cursor.fetchone() is not None


async def test_the_edition_is_what_the_database_has(connection: Connection) -> None:
    edition = await detect(connection)
    assert (edition is Edition.PLAIN) == (not await has_extension(connection))
    cursor = await connection.execute("SELECT name FROM schema_migration WHERE name LIKE '0003%'")
    assert await cursor.fetchall() == [(f"0003_observation_table.{edition.value}",)]


async def test_observations_are_kept_in_partitions_or_in_chunks_of_a_day(
    connection: Connection,
) -> None:
    cursor = await connection.execute(
        "SELECT relkind::text FROM pg_class WHERE oid = 'observation'::regclass"
    )
    [(kind,)] = await cursor.fetchall()
    if not await has_extension(connection):
        assert kind == "p"
        return
    assert kind == "r"
    cursor = await connection.execute(
        "SELECT extract(epoch FROM time_interval)::int FROM timescaledb_information.dimensions"
        " WHERE hypertable_name = 'observation'"
    )
    assert await cursor.fetchall() == [(86_400,)]


async def test_only_the_community_edition_turns_old_chunks_into_columns(
    connection: Connection,
) -> None:
    if not await has_extension(connection):
        return  # there are no chunks
    cursor = await connection.execute(
        "SELECT count(*) FROM timescaledb_information.jobs"
        " WHERE hypertable_name = 'observation' AND config ->> 'compress_after' = '7 days'"
    )
    policies = 1 if await detect(connection) is Edition.TIMESCALE else 0
    assert await cursor.fetchall() == [(policies,)]


async def test_observation_has_its_key_and_no_other_index(connection: Connection) -> None:
    cursor = await connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'observation'"
    )
    [(definition,)] = await cursor.fetchall()
    assert definition.endswith('USING btree (datastream_id, "time")')


async def test_an_extension_added_later_leaves_a_plain_database_plain(empty_dsn: str) -> None:
    async with await connect(empty_dsn, autocommit=True, application_name="test") as conn:
        offered = await has_extension(conn)
        await conn.execute("DROP EXTENSION IF EXISTS timescaledb CASCADE")
    names = await migrate(empty_dsn)
    assert "0003_observation_table.plain" in names
    async with await connect(empty_dsn, autocommit=True, application_name="test") as conn:
        if offered:
            await conn.execute("SET client_min_messages = warning")
            await conn.execute("CREATE EXTENSION timescaledb")
        assert await detect(conn) is Edition.PLAIN
    assert await migrate(empty_dsn) == []


async def test_times_are_utc_whatever_the_servers_zone(dsn: str) -> None:
    async with await connect(dsn, autocommit=True, application_name="test") as conn:
        name = sql.Identifier(conn.info.dbname)
        await conn.execute(sql.SQL("ALTER DATABASE {} SET TimeZone = 'Asia/Kolkata'").format(name))
    async with await connect(dsn, application_name="test") as conn:
        cursor = await conn.execute("SHOW TimeZone")
        assert await cursor.fetchone() == ("UTC",)
