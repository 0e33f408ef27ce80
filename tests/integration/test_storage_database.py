"""Connections and the pool across a server that goes away and comes back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from storage import database
from storage.database import OUTAGES, connect, open_pool, query
from storage.embedded import EmbeddedDatabase, remove


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    remove(tmp_path)


async def test_a_pool_outlives_its_server(data: Path) -> None:
    server = EmbeddedDatabase.start(data)
    try:
        async with open_pool(server.dsn, min_size=3, application_name="test") as pool:
            await pool.wait()
            server.kill()
            server = await asyncio.to_thread(EmbeddedDatabase.start, data)
            async with asyncio.timeout(15):
                for _ in range(4):  # each of the dead ones, and one more
                    async with pool.connection() as conn:
                        cursor = await conn.execute("SELECT 1")
                        assert await cursor.fetchone() == (1,)
    finally:
        server.stop()


async def test_a_pool_opens_while_the_server_is_away(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_POOL_TIMEOUT_SECONDS", 0.3)
    dsn = f"host=127.0.0.1 port={unused_tcp_port} user=x dbname=x"
    async with open_pool(dsn, application_name="test") as pool:
        with pytest.raises(OUTAGES):
            async with pool.connection():
                pass


async def test_losing_the_server_in_a_transaction_is_an_outage(data: Path) -> None:
    with EmbeddedDatabase.start(data) as server:
        async with open_pool(server.dsn, application_name="test") as pool:
            with pytest.raises(OUTAGES):  # noqa: PT012
                async with pool.connection() as conn:
                    server.kill()
                    async with asyncio.timeout(10):
                        while True:  # the session's process dies a little after the first
                            await conn.execute("SELECT 1")


async def test_connections_carry_their_name_and_the_given_options(dsn: str) -> None:
    options = psycopg.conninfo.make_conninfo(dsn, options="-c statement_timeout=1234")
    async with await connect(options, application_name="kerbstone test") as conn:
        cursor = await conn.execute(
            "SELECT current_setting('application_name'), current_setting('statement_timeout'),"
            "       current_setting('TimeZone')"
        )
        assert await cursor.fetchone() == ("kerbstone test", "1234ms", "UTC")


def test_a_statement_is_read_from_its_file() -> None:
    assert query("expire_extras").startswith("DELETE FROM observation_extra")
    with pytest.raises(FileNotFoundError):
        query("absent")
