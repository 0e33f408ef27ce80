"""Migrations against real servers: order, atomicity, and what is refused."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import DivisionByZero

from storage.database import Connection, connect
from storage.migration import MIGRATIONS, MigrationError, migrate
from storage.partitions import ensure_partitions


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """A directory of migrations of our own."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int);")
    (tmp_path / "0002_second.sql").write_text(
        "CREATE TABLE second (id int);\nINSERT INTO first VALUES (1);"
    )
    return tmp_path


async def tables(dsn: str) -> set[str]:
    async with await connect(dsn, application_name="test") as conn:
        cursor = await conn.execute("SELECT relname FROM pg_stat_user_tables")
        return {name for (name,) in await cursor.fetchall()}


async def applied(dsn: str) -> list[str]:
    async with await connect(dsn, application_name="test") as conn:
        cursor = await conn.execute("SELECT name FROM schema_migration ORDER BY name")
        return [name for (name,) in await cursor.fetchall()]


async def test_a_new_database_gets_every_step_of_its_edition_once(empty_dsn: str) -> None:
    names = await migrate(empty_dsn)
    assert names == sorted(names)
    numbers = {path.name[:4] for path in MIGRATIONS.glob("*.sql")}
    assert [name[:4] for name in names] == sorted(numbers)
    assert await applied(empty_dsn) == names
    assert await migrate(empty_dsn) == []


async def test_a_failed_step_changes_nothing(empty_dsn: str, steps: Path) -> None:
    failing = steps / "0003_third.sql"
    failing.write_text("CREATE TABLE third (id int); INSERT INTO first VALUES (2); SELECT 1 / 0;")
    with pytest.raises(DivisionByZero):
        await migrate(empty_dsn, directory=steps)
    assert await applied(empty_dsn) == ["0001_first", "0002_second"]
    assert {"first", "second"} <= await tables(empty_dsn)
    assert "third" not in await tables(empty_dsn)
    async with await connect(empty_dsn, application_name="test") as conn:
        cursor = await conn.execute("SELECT id FROM first")
        assert await cursor.fetchall() == [(1,)]

    failing.write_text("CREATE TABLE third (id int);")
    assert await migrate(empty_dsn, directory=steps) == ["0003_third"]


async def test_concurrent_migrations_apply_each_step_once(empty_dsn: str) -> None:
    results = await asyncio.gather(*(migrate(empty_dsn) for _ in range(6)))
    assert sorted(len(names) for names in results)[:5] == [0] * 5
    assert max(results, key=len) == await applied(empty_dsn)


async def test_a_changed_step_is_refused(empty_dsn: str, steps: Path) -> None:
    await migrate(empty_dsn, directory=steps)
    (steps / "0001_first.sql").write_text("CREATE TABLE first (id bigint);")
    (steps / "0003_third.sql").write_text("CREATE TABLE third (id int);")
    with pytest.raises(MigrationError, match="0001_first was changed"):
        await migrate(empty_dsn, directory=steps)
    assert "third" not in await tables(empty_dsn)


async def test_the_database_of_a_newer_version_is_refused(empty_dsn: str, steps: Path) -> None:
    await migrate(empty_dsn, directory=steps)
    (steps / "0002_second.sql").unlink()
    with pytest.raises(MigrationError, match="0002_second, which this version does not know"):
        await migrate(empty_dsn, directory=steps)


async def test_a_step_that_comes_too_late_is_refused(empty_dsn: str, steps: Path) -> None:
    await migrate(empty_dsn, directory=steps)
    (steps / "0001_later.sql").write_text("CREATE TABLE later (id int);")
    with pytest.raises(MigrationError, match="0001_later sorts before 0002_second"):
        await migrate(empty_dsn, directory=steps)
    assert "later" not in await tables(empty_dsn)


async def test_an_unreachable_server_is_an_outage(unused_tcp_port: int) -> None:
    with pytest.raises(psycopg.OperationalError):
        await migrate(f"host=127.0.0.1 port={unused_tcp_port} user=x dbname=x")


@pytest.mark.parametrize("last", ["0013", "0015"])
async def test_an_upgrade_keeps_what_is_stored_and_rewrites_no_table(
    empty_dsn: str, tmp_path: Path, last: str
) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        if path.name[:4] <= last:
            shutil.copy(path, tmp_path)
    await migrate(empty_dsn, directory=tmp_path)
    when = datetime(2026, 3, 1, 12, tzinfo=UTC)
    async with await connect(empty_dsn, autocommit=True, application_name="test") as conn:
        await ensure_partitions(conn, when, when)
        await conn.execute(
            "INSERT INTO observation VALUES (7, %s, 20.5), (8, %s, NULL)", [when] * 2
        )
        await conn.execute(
            "INSERT INTO observation_extra (datastream_id, time, quality, result)"
            " VALUES (7, %s, 2, NULL), (8, %s, 0, 'true')",
            [when] * 2,
        )
        files, stored = await files_of(conn), await observed(conn)
        assert {"observation_extra", "datastream", "thing"} <= files.keys()
        names = await migrate(empty_dsn)
        assert names
        assert min(names) > last
        after = await files_of(conn)
        assert {name: after[name] for name in files} == files
        assert await observed(conn) == stored
        assert len(stored) == 2


async def files_of(conn: Connection) -> dict[str, int]:
    """Return the file of each table of ours, partitions and chunks too: a rewrite gives another."""
    cursor = await conn.execute(
        "SELECT relname, pg_relation_filenode(oid) FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace IN"
        " (SELECT oid FROM pg_namespace WHERE nspname IN ('public', '_timescaledb_internal'))"
    )
    return dict(await cursor.fetchall())


async def observed(conn: Connection) -> list[tuple[object, ...]]:
    cursor = await conn.execute(
        "SELECT datastream_id, time, value, quality, result FROM observation"
        " JOIN observation_extra USING (datastream_id, time) ORDER BY 1"
    )
    return await cursor.fetchall()
