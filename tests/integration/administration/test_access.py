"""Who may see and change what: every route of administration, held to it."""

import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from device_protocol.first_boot import FirstBoot, draw_token
from storage import audit
from storage.registry import gateways
from tests.integration.administration.office import (
    AT_WORK,
    HTML,
    ORIGIN,
    OURS,
    URL_BASE,
    Form,
    Office,
)

GATEWAY_PATHS = ["", "/kept-aside", "/settings", "/invite", "/suspend", "/resume", "/revoke"]
READ = [
    ("/administration", ""),
    ("/administration?council={tenant}", "council"),
    ("/administration/invite", ""),
    ("/administration/upload", ""),
    *((f"/administration/gateways/{{device}}{path}", "device") for path in GATEWAY_PATHS),
]
CHANGE: list[tuple[str, Form, str]] = [
    ("/administration/invite", {"council": "{tenant}", "site": "LC-9"}, "council"),
    ("/administration/upload", {"council": "{tenant}"}, "council"),
    ("/administration/first-boot.zip", {"invitations": "{uri}"}, "council"),
    ("/administration/gateways/{device}/settings", {"setting rekey": "yes"}, "device"),
    ("/administration/gateways/{device}/invite", {}, "device"),
    ("/administration/gateways/{device}/suspend", {"reason": "a test"}, "device"),
    ("/administration/gateways/{device}/resume", {}, "device"),
    ("/administration/gateways/{device}/revoke", {"reason": "a test"}, "device"),
]
OF_CAMDEN = {
    "tenant": "camden",
    "device": AT_WORK,
    "uri": FirstBoot(
        url=f"{URL_BASE}/.well-known/est/camden",
        tenant="camden",
        device=AT_WORK,
        token=draw_token(),
        region_root_sha256=bytes(32),
    ).to_uri(),
}


def filled(form: Form) -> dict[str, str]:
    return {name: value.format(**OF_CAMDEN) for name, value in form.items()}


def csv_of(url: str) -> bytes | None:
    return b"site\nLC-9\n" if url.endswith("/upload") else None


def routes_of(router: APIRouter) -> Iterator[APIRoute]:
    """Every route, also of the routers that were included."""
    for one in router.routes:
        if isinstance(one, APIRoute):
            yield one
        elif included := getattr(one, "original_router", None):
            yield from routes_of(included)


async def test_every_route_of_administration_stands_in_these_tables(office: Office) -> None:
    """A route that is added must be added to the tables above, and is then held to them."""
    found = {
        (method, route.path.replace("{change}", "revoke"))
        for route in routes_of(office.app.router)
        if route.path.startswith("/administration")
        for method in route.methods or ()
    }
    listed = {("GET", url.partition("?")[0]) for url, _ in READ}
    listed |= {("POST", url) for url, _, _ in CHANGE}
    listed = {(method, re.sub(r"/(suspend|resume)$", "/revoke", url)) for method, url in listed}
    assert found == listed


@pytest.mark.parametrize(("url", "foreign"), READ)
async def test_pages_need_a_session_and_the_right_council(
    office: Office, url: str, foreign: str
) -> None:
    url = url.format(**OF_CAMDEN)
    answer = await office.visitor.get(url, headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=/administration")
    answer = await office.people["Lea"].get(url)
    assert answer.status_code == (403 if foreign else 200)
    if foreign:
        assert "Gower Street" not in answer.text
        [entry] = await audit.entries(office.conn, tenant="camden", limit=1)
        assert entry.action == "administration.refuse"
        assert entry.subject == OF_CAMDEN["tenant" if foreign == "council" else "device"]
        assert entry.actor.endswith("(Lea, leeds)")


@pytest.mark.parametrize(("url", "form", "foreign"), CHANGE)
async def test_changes_need_a_session_our_own_form_and_the_right_council(
    office: Office, url: str, form: Form, foreign: str
) -> None:
    url = url.format(**OF_CAMDEN)
    form, file = filled(form), csv_of(url)
    before = await office.state()

    answer = await office.visitor.post(url, data={**form, "csrf": "0" * 64}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")

    ben = office.ben
    for csrf in ("", "0" * 64, office.people["Lea"].csrf):
        assert (await ben.post(url, form, file=file, csrf=csrf)).status_code == 403
    files = None if file is None else {"file": ("sites.csv", file, "text/csv")}
    for headers in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Referer": f"{ORIGIN}/administration"},
    ):
        answer = await ben.client.post(
            url, data={**form, "csrf": ben.csrf}, files=files, headers={**HTML, **headers}
        )
        assert answer.status_code == 403, headers
    assert (await office.people["Lea"].post(url, form, file=file)).status_code == 403
    [entry] = await audit.entries(office.conn, tenant="camden", limit=1)
    assert (entry.action, entry.detail["path"]) == ("administration.refuse", url)

    assert await office.state() == before


@pytest.mark.parametrize("who", ["Ben", "Olu"])
async def test_the_council_itself_and_the_region_may(office: Office, who: str) -> None:
    person = office.people[who]
    device = f"kept{who.lower()}"
    home = await office.gateway(device)
    answer = await person.post(f"{home}/suspend", {"reason": "it was opened"})
    assert answer.status_code == 303
    assert await office.status_of(device) == "suspended"
    page = await person.page(answer.headers["location"])
    assert "The gateway is suspended." in page
    assert "it was opened" in page
    [row] = await gateways(office.conn, device)
    assert row.status == "suspended"
    assert (await person.post(f"{home}/resume", {})).status_code == 303
    assert await office.status_of(device) == "active"
    entries = await audit.entries(office.conn, subject=device)
    assert [one.action for one in entries] == ["gateway.resume", "gateway.suspend"]
    tenant = "camden" if who == "Ben" else "region"
    assert {one.actor for one in entries} == {f"staff {person.number} ({who}, {tenant})"}


async def test_a_deployer_sees_only_the_own_council_and_the_region_all(office: Office) -> None:
    mine = await office.ben.page("/administration")
    assert "Gateways of Camden" in mine
    assert "Gower Street" in mine
    assert "Headrow" not in mine
    everything = await office.people["Olu"].page("/administration")
    assert "Gower Street" in everything
    assert "Headrow" in everything


async def test_reading_pages_stay_open(office: Office) -> None:
    for url in ("/", "/status", "/about-data"):
        assert (await office.visitor.get(url, headers=HTML)).status_code == 200
