"""NGSI-LD served over entities in memory (ETSI's cases) and over a seeded city (our own path)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from api.ngsi_ld.routes import router
from storage.database import connect, open_pool
from tests.integration.conftest import DatabaseServer
from tests.integration.ngsi_ld.etsi import CONTEXT_URL, Etsi, context
from tests.simulators.ngsi_ld_city import NEWEST, seed_varied_city
from tests.simulators.ngsi_ld_entities import EntitiesInMemory
from tests.simulators.registry import City, seed_city

FEW = 10
"""Instances of an attribute in one answer of the cases: their histories are twice as long."""


@pytest.fixture
async def etsi() -> AsyncIterator[Etsi]:
    """The routes over an empty source in memory."""
    kept = EntitiesInMemory((CONTEXT_URL, context()))
    app = FastAPI()
    app.include_router(router(kept, most=FEW))
    async with _client(app) as client:
        yield Etsi(client, kept)


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
        yield client


@pytest.fixture(scope="session")
async def seeded(database_server: DatabaseServer) -> AsyncIterator[tuple[str, City]]:
    """How to connect to a database that holds a city, and that city. Only read it."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        city = await seed_city(conn)
        await conn.execute(NEWEST)
        await conn.execute("ANALYZE")
    yield dsn, city
    await database_server.drop(dsn)


@pytest.fixture(scope="session")
async def varied(database_server: DatabaseServer) -> AsyncIterator[tuple[str, int]]:
    """How to connect to a varied city, and the council that restricts some of it. Only read it."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        council = await seed_varied_city(conn)
        await conn.execute("ANALYZE")
    yield dsn, council
    await database_server.drop(dsn)


@pytest.fixture(scope="session")
async def city_client(seeded: tuple[str, City]) -> AsyncIterator[httpx.AsyncClient]:
    """The service's own routes over the city."""
    async with open_pool(seeded[0], application_name="kerbstone test") as pool:
        app = FastAPI()
        app.include_router(router())
        app.state.pool = pool
        async with _client(app) as client:
            yield client


@pytest.fixture(scope="session")
def city(seeded: tuple[str, City]) -> City:
    """What the database was filled with."""
    return seeded[1]
