"""The SensorThings service over real air, which no test here changes."""

from collections.abc import AsyncIterator

import pytest

from storage.database import connect
from tests.conformance.air import Air, store_air
from tests.integration.conftest import DatabaseServer, database_server
from tests.integration.sensorthings.conftest import Service, serve

__all__ = ["database_server"]


@pytest.fixture(scope="session")
async def stored(database_server: DatabaseServer) -> AsyncIterator[tuple[str, Air]]:
    """How to connect to a database that holds the air, and that air."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        air = await store_air(conn)
    yield dsn, air
    await database_server.drop(dsn)


@pytest.fixture(scope="session")
async def service(stored: tuple[str, Air]) -> AsyncIterator[Service]:
    """The service over the air."""
    async with serve(stored[0]) as service:
        yield service


@pytest.fixture(scope="session")
def air(stored: tuple[str, Air]) -> Air:
    """What the database holds."""
    return stored[1]
