"""Ids that were published under a council's former code go on finding their entities."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.ngsi_ld.routes import router
from storage.council_codes import change_code
from storage.database import connect, open_pool, query
from tests.integration.conftest import DatabaseServer
from tests.simulators.registry import seed_city

OLD, NEW = "E09000007", "E09000099"
TYPE = "AirQualityObserved"
WINDOW = {"timerel": "after", "timeAt": "2025-12-01T00:00:00Z"}


@pytest.fixture(scope="module")
async def client(database_server: DatabaseServer) -> AsyncIterator[httpx.AsyncClient]:
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        await seed_city(conn)
        await conn.execute(query("reconcile_latest"))
    app = FastAPI()
    app.include_router(router())
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        app.state.pool = pool
        transport = httpx.ASGITransport(app=app)
        url = "http://city.test/ngsi-ld/v1/"
        async with httpx.AsyncClient(transport=transport, base_url=url) as client:
            published = [one["id"] for one in await read(client, "entities", type=TYPE)]
            async with await connect(dsn, autocommit=True, application_name="test") as conn:
                await change_code(
                    conn,
                    tenant="camden",
                    gss=NEW,
                    name="Camden and Islington",
                    since=date(2026, 4, 1),
                    actor="test",
                )
            client.headers["x-published"] = next(one for one in published if OLD in one)
            yield client
    await database_server.drop(dsn)


async def read(client: httpx.AsyncClient, path: str, **given: str) -> Any:
    answer = await client.get(path, params=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_former_id_finds_the_entity_that_is_told_by_its_id_now(
    client: httpx.AsyncClient,
) -> None:
    former = client.headers["x-published"]
    now = former.replace(OLD, NEW)
    assert {one["id"] for one in await read(client, "entities", type=TYPE)} >= {now}
    found = await read(client, f"entities/{former}")
    assert found == await read(client, f"entities/{now}")
    assert found["id"] == now
    assert [
        one["id"] for one in await read(client, "entities", type=TYPE, id=f"{former},{now}")
    ] == [now]


async def test_a_former_id_finds_the_history(client: httpx.AsyncClient) -> None:
    former = client.headers["x-published"]
    now = former.replace(OLD, NEW)
    found = await read(client, f"temporal/entities/{former}", **WINDOW)
    assert found == await read(client, f"temporal/entities/{now}", **WINDOW)
    assert found["no2"]
    listed = await read(client, "temporal/entities", type=TYPE, id=former, **WINDOW)
    assert [one["id"] for one in listed] == [now]


async def test_a_code_that_nobody_had_finds_nothing(client: httpx.AsyncClient) -> None:
    unknown = client.headers["x-published"].replace(OLD, "E09000098")
    assert (await client.get(f"entities/{unknown}")).status_code == 404
