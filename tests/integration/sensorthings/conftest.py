"""A seeded city served by a minimal application that has nothing but the SensorThings routes.

And a whole service with people and keys who may write, for each file of tests that do.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from api.sensorthings.routes import PREFIX, router
from storage.database import Pool, connect, open_pool
from tests.integration.conftest import DatabaseServer
from tests.integration.sensorthings.writing import Writing, serve_writing
from tests.simulators.registry import City, seed_city

Json = Any


def make_app(pool: Pool) -> FastAPI:
    """Return an application of the SensorThings routes alone."""
    app = FastAPI()
    app.include_router(router())
    app.state.pool = pool
    return app


@dataclass(frozen=True)
class Service:
    """Asks the service and expects an answer."""

    client: httpx.AsyncClient
    pool: Pool

    async def ask(self, path: str, **options: str) -> httpx.Response:
        """Return the response to a path below the root, options without their $."""
        query = "&".join(f"${name}={quote(text, safe='')}" for name, text in options.items())
        return await self.client.get(f"{PREFIX}/{path}" + (f"?{query}" if query else ""))

    async def get(self, path: str, **options: str) -> Json:
        """Return the JSON of an answer that must be 200."""
        response = await self.ask(path, **options)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        return response.json()

    async def refused(self, status: int, path: str, **options: str) -> str:
        """Return the message of a refusal, which must be in the standard's form."""
        response = await self.ask(path, **options)
        assert response.status_code == status, response.text
        body = response.json()
        assert body["code"] == status
        assert body["type"] == "error"
        assert set(body) == {"code", "type", "message"}
        return str(body["message"])

    async def follow(self, url: str) -> Json:
        """Return the JSON behind a URL the service gave."""
        response = await self.client.get(url)
        assert response.status_code == 200, response.text
        return response.json()

    async def ids(self, path: str, **options: str) -> list[Any]:
        """Return the ids of all entities of a collection, page by page."""
        answer = await self.get(path, **({"top": "1000", "select": "id"} | options))
        found = [entity["@iot.id"] for entity in answer["value"]]
        while link := answer.get("@iot.nextLink"):
            answer = await self.follow(link)
            found += [entity["@iot.id"] for entity in answer["value"]]
        return found


@pytest.fixture(scope="session")
async def seeded(database_server: DatabaseServer) -> AsyncIterator[tuple[str, City]]:
    """How to connect to a database that holds a city, and that city. Only read it."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        city = await seed_city(conn)
        await conn.execute("ANALYZE")
    yield dsn, city
    await database_server.drop(dsn)


@asynccontextmanager
async def serve(dsn: str) -> AsyncIterator[Service]:
    """Serve a database for the length of the block."""
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        transport = httpx.ASGITransport(app=make_app(pool))
        async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
            yield Service(client, pool)


@pytest.fixture(scope="session")
async def service(seeded: tuple[str, City]) -> AsyncIterator[Service]:
    """The service over the city."""
    async with serve(seeded[0]) as service:
        yield service


@pytest.fixture
async def own_service(dsn: str) -> AsyncIterator[Service]:
    """The service over a database of this test's own, still empty."""
    async with serve(dsn) as service:
        yield service


@pytest.fixture(scope="session")
def city(seeded: tuple[str, City]) -> City:
    """What the database was filled with."""
    return seeded[1]


@pytest.fixture(scope="module")
async def centre(database_server: DatabaseServer) -> AsyncIterator[Writing]:
    """A service that is written to, over a database of this file's own."""
    dsn = await database_server.create()
    async with serve_writing(dsn) as writing:
        yield writing
    await database_server.drop(dsn)
