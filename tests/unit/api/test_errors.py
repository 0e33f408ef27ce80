"""Programs get JSON, people get a page."""

import httpx
import pytest
from fastapi import FastAPI
from jinja2 import Environment

from api.errors import install, wants_html
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
        answer = await client.get("/gaps")
    assert answer.status_code == 503
    assert answer.json()["message"] == "The gaps took longer than 10 s: ask for one council."
