"""Migrations against real servers: order, atomicity, and what is refused."""

import asyncio
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import DivisionByZero

from storage.database import connect
from storage.migration import MIGRATIONS, MigrationError, migrate


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
