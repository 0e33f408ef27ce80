"""Real servers for the integration tests: started once a session, a fresh database for each test.

Every test that asks for `dsn` runs on plain PostgreSQL and on TimescaleDB. With
KERBSTONE_TEST_DATABASE, the URL of a server where databases may be made, it runs on that alone.
"""

import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from tests.integration.fix_network import kerbstone, newcomer, typed
from tests.integration.fix_uplink import tasks

__all__ = ["kerbstone", "newcomer", "tasks", "typed"]

EXTERNAL = os.environ.get("KERBSTONE_TEST_DATABASE")
SERVERS = ["external"] if EXTERNAL else ["plain", "timescaledb"]


@dataclass(frozen=True)
class DatabaseServer:
    """A running server; databases made through it are dropped by whoever asked for them.

    template: a migrated database to copy; None where the server's own workers would sit in it.
    """

    name: str
    admin_dsn: str
    template: str | None

    async def create(self, *, migrated: bool = True) -> str:
        """Return the dsn of a new database: with our schema, or empty."""
        name = f"test_{secrets.token_hex(6)}"
        dsn = make_conninfo(self.admin_dsn, dbname=name)
        copied = self.template if migrated and self.template else "template0"
        await self._run(
            self.admin_dsn,
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(copied)
            ),
        )
        if copied == "template0":
            if await self.has_timescaledb():
                await self._run(dsn, sql.SQL("CREATE EXTENSION timescaledb"))
            if migrated:
                await migrate(dsn)
        return dsn

    async def drop(self, dsn: str) -> None:
        name = sql.Identifier(conninfo_to_dict(dsn)["dbname"])
        await self._run(self.admin_dsn, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    async def has_timescaledb(self) -> bool:
        async with await connect(self.admin_dsn, application_name="kerbstone test") as conn:
            cursor = await conn.execute("SHOW shared_preload_libraries")
            [(libraries,)] = await cursor.fetchall()
        return "timescaledb" in libraries

    async def _run(self, dsn: str, command: sql.Composed | sql.SQL) -> None:
        async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
            await conn.execute("SET client_min_messages = warning")
            await conn.execute(command)


@pytest.fixture(scope="session", params=SERVERS)
async def database_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DatabaseServer]:
    """A server where databases are made; a missing one fails, saying how to get it."""
    if EXTERNAL:
        yield DatabaseServer("external", EXTERNAL, template=None)
        return
    directory = tmp_path_factory.mktemp(request.param)
    embedded = EmbeddedDatabase.start(directory, timescaledb=request.param == "timescaledb")
    try:
        template = f"template_{secrets.token_hex(6)}"
        await migrate(embedded.create_database(template))
        yield DatabaseServer(request.param, embedded.dsn, template)
    finally:
        embedded.stop()
        remove(directory)


@pytest.fixture
async def dsn(database_server: DatabaseServer) -> AsyncIterator[str]:
    """How to connect to a fresh, migrated database of this test's own."""
    dsn = await database_server.create()
    yield dsn
    await database_server.drop(dsn)


@pytest.fixture
async def empty_dsn(database_server: DatabaseServer) -> AsyncIterator[str]:
    """How to connect to a fresh database without any of our tables."""
    dsn = await database_server.create(migrated=False)
    yield dsn
    await database_server.drop(dsn)


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[Connection]:
    """A connection, autocommit, to this test's own database."""
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        yield conn
