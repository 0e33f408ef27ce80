"""What can be answered, or refused, before any database is asked."""

import httpx
import pytest
from fastapi import FastAPI

from api.sensorthings.routes import PREFIX, router


async def ask(method: str, path: str) -> httpx.Response:
    """Ask an application that has no database: looking for one would raise."""
    app = FastAPI()
    app.include_router(router())
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
        return await client.request(method, PREFIX + path)


@pytest.mark.parametrize("path", ["", "/"])
async def test_the_landing_page_needs_no_database(path: str) -> None:
    response = await ask("GET", path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert len(response.json()["value"]) == 8


@pytest.mark.parametrize(
    ("status", "path"),
    [
        (404, "/Nothings"),
        (404, "/Things(1)/nothing"),
        (404, "/Things(0)"),
        (400, "/Things("),
        (400, "/Things?$top=-1"),
        (400, "/Things?$count=x"),
        (400, "/Things?$filter=name eq"),
        (400, "/Things?$filter=%FF"),
        (400, "/Things?$nothing=1"),
        (400, "/Things(1)/name?$select=name"),
        (501, "/Things?$search=x"),
    ],
)
async def test_a_refusal_is_json_with_code_type_and_message(status: int, path: str) -> None:
    response = await ask("GET", path)
    assert response.status_code == status
    body = response.json()
    assert (body["code"], body["type"]) == (status, "error")
    assert body["message"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_methods_that_write_need_a_key(method: str) -> None:
    response = await ask(method, "/Things(1)")
    assert response.status_code == 401
    assert response.json()["type"] == "error"
    assert response.headers["www-authenticate"].startswith("Bearer")
