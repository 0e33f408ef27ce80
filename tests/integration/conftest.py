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
from psycopg.conninfo import make_conninfo

from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate

EXTERNAL = os.environ.get("KERBSTONE_TEST_DATABASE")
SERVERS = ["external"] if EXTERNAL else ["plain", "timescaledb"]


@dataclass(frozen=True)
class DatabaseServer:
    """A running server; databases made through it are dropped by whoever asked for them."""

    name: str
    admin_dsn: str
    template: str

    async def create(self, *, migrated: bool = True) -> str:
        """Return the dsn of a new database: a copy of the migrated template, or empty."""
        name = f"test_{secrets.token_hex(6)}"
        command = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if migrated:
            command += sql.SQL(" TEMPLATE {}").format(sql.Identifier(self.template))
        await self._run(command)
        dsn = make_conninfo(self.admin_dsn, dbname=name)
        if not migrated and self.name == "timescaledb":
            await self._run(sql.SQL("CREATE EXTENSION timescaledb"), dsn)
        return dsn

    async def drop(self, dsn: str) -> None:
        async with await connect(dsn, application_name="kerbstone test") as conn:
            name = sql.Identifier(conn.info.dbname)
        await self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    async def _run(self, command: sql.Composed | sql.SQL, dsn: str | None = None) -> None:
        async with await connect(
            dsn or self.admin_dsn, autocommit=True, application_name="kerbstone test"
        ) as conn:
            await conn.execute("SET client_min_messages = warning")
            await conn.execute(command)


@pytest.fixture(scope="session", params=SERVERS)
async def database_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DatabaseServer]:
    """A server with a migrated template database; a missing one fails, saying how to get it."""
    template = f"template_{secrets.token_hex(6)}"
    if EXTERNAL:
        server = DatabaseServer("external", EXTERNAL, template)
        await server._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
        await migrate(make_conninfo(EXTERNAL, dbname=template))
        yield server
        await server.drop(make_conninfo(EXTERNAL, dbname=template))
        return
    directory = tmp_path_factory.mktemp(request.param)
    embedded = EmbeddedDatabase.start(directory, timescaledb=request.param == "timescaledb")
    try:
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
