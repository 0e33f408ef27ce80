"""Programs get JSON, people get a page."""

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request
from jinja2 import Environment
from starlette.exceptions import HTTPException

from api.errors import PROBLEMS, Problem, answer, code_of, install, wants_html
from storage.analysis import TooBigError


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("*/*", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_html_is_for_those_who_ask_for_it(accept: str, html: bool) -> None:  # noqa: FBT001
    assert wants_html(accept) is html


async def test_a_question_that_is_too_big_is_answered_with_how_to_ask_for_less() -> None:
    app = FastAPI()
    install(app, Environment(autoescape=True))

    async def question() -> None:
        raise TooBigError("The gaps took longer than 10 s: ask for one council.")

    app.add_api_route("/gaps", question)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        told = await client.get("/gaps")
    assert told.status_code == 503
    assert told.headers["content-type"] == "application/problem+json"
    assert told.json() == {
        "type": "/docs#question-too-big",
        "title": "Sorry, the service is not available for the moment",
        "status": 503,
        "detail": "The gaps took longer than 10 s: ask for one council.",
        "code": "question-too-big",
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sensorthings/v1.1/x", {"code": 404, "type": "error", "message": "Nothing there."}),
        ("/ngsi-ld/v1/x", {"type": "https://uri.etsi.org/ngsi-ld/errors/ResourceNotFound"}),
        ("/catalogue/x", {"type": "/docs#not-found", "code": "not-found", "status": 404}),
    ],
)
async def test_each_standard_tells_errors_in_its_own_form(
    path: str, body: dict[str, object]
) -> None:
    request = Request({"type": "http", "path": path, "headers": [], "query_string": b""})
    told = await answer(Environment(autoescape=True), request, HTTPException(404, "Nothing there."))
    found = orjson.loads(told.body)
    assert {name: found[name] for name in body} == body
    assert told.headers["cache-control"] == "no-store"


def test_every_status_that_is_a_code_has_one_of_its_own() -> None:
    for code, kind in PROBLEMS.items():
        assert code_of(Problem(code, "")) == code
        assert PROBLEMS[code_of(HTTPException(kind.status))].status == kind.status
    assert code_of(HTTPException(400)) == "bad-request"
    assert code_of(HTTPException(503)) == "unavailable"
    assert code_of(HTTPException(418)) == "http-418"
