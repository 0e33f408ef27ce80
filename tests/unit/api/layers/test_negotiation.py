"""What is accepted, and what is told to whom it is not."""

import httpx
import pytest

from api.app import create_app
from api.layers.negotiation import accepts
from api.openapi.document import offered_at
from api.settings import ApiSettings


@pytest.mark.parametrize(
    ("accept", "media_type", "taken"),
    [
        ("application/json", "application/json", True),
        ("text/html, application/json;q=0.1", "application/json", True),
        ("application/*", "application/ld+json", True),
        ("application/json", "application/ld+json", True),
        ("application/ld+json", "application/json", False),
        ("text/turtle", "application/json", False),
        ("application/json;q=0", "application/json", False),
        ("application/json; q=0.000", "application/json", False),
        ("application/json; q=0.05", "application/json", True),
        ("application/json", "text/csv", True),
        ("application/json", "text/event-stream", True),
    ],
)
def test_json_is_taken_by_those_who_say_so(
    accept: str,
    media_type: str,
    taken: bool,  # noqa: FBT001
) -> None:
    assert accepts(accept, media_type) is taken


@pytest.mark.parametrize(
    ("path", "offered"),
    [
        ("/sensorthings/v1.1", ("application/json",)),
        ("/sensorthings/v1.1/Things(7)", ("application/json",)),
        ("/sensorthings/v1.1/Things", ("application/json", "text/csv", "application/geo+json")),
        ("/catalogue/camden", ("application/ld+json", "text/turtle")),
        ("/nowhere", ()),
    ],
)
def test_what_there_is_stands_in_the_description(path: str, offered: tuple[str, ...]) -> None:
    assert offered_at(path) == offered


async def test_a_refusal_lists_what_there_is() -> None:
    app = create_app(ApiSettings(dsn="postgresql://"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        refused = await client.get("/openapi.json", headers={"Accept": "text/turtle"})
        told = await client.get("/sensorthings/v1.1", headers={"Accept": "text/html"})
        taken = await client.get("/openapi.json", headers={"Accept": "application/json"})
    assert refused.status_code == 406
    assert refused.json()["code"] == "not-acceptable"
    assert refused.json()["detail"] == "This comes as application/json. Accept one of them."
    assert (told.status_code, told.json()["code"]) == (406, 406)
    assert taken.status_code == 200
