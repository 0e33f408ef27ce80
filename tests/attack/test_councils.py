"""Council A administering council B: by its pages, and by its authority at ingest and gateway.

The pages refuse by 403 and write the attempt into the other council's audit trail; what A's keys
sign for B is refused where it arrives. B's own people go on working meanwhile.
"""

import importlib
import pkgutil
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI

import api.administration
from api.service import open_app
from api.settings import ApiSettings, EnrolmentSettings
from device_protocol.first_boot import draw_token, token_sha256
from enrolment.authority import Authority
from storage import audit
from storage.database import Connection, connect
from storage.network_view import gateway_facts
from storage.registry import add_council, add_gateway
from storage.staff import add_pass
from tests.integration.conftest import DatabaseServer

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

ORIGIN = "http://localhost"
HTML = {"Accept": "text/html"}
OURS = {**HTML, "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
MINE, THEIRS = "camdengw00", "leedsgw000"
CHANGES = ("suspend", "resume", "revoke")


@dataclass
class Offices:
    """The pages as a deployer of each council uses them. csrf: of each one's forms."""

    app: FastAPI
    conn: Connection
    clients: dict[str, httpx.AsyncClient]
    csrf: dict[str, str]

    async def try_to(self, method: str, path: str, who: str, **form: str) -> httpx.Response:
        client = self.clients[who]
        if method == "GET":
            return await client.get(path, headers=HTML)
        return await client.post(path, data={**form, "csrf": self.csrf[who]}, headers=OURS)

    async def refusals_noted(self) -> int:
        noted = await audit.entries(self.conn, tenant="leeds", limit=1000)
        return len([entry for entry in noted if entry.action == "administration.refuse"])

    async def all_of_leeds(self) -> list[object]:
        shown: list[object] = list(await gateway_facts(self.conn, tenant="leeds"))
        for table in ("enrolment_token", "gateway_configuration", "recipient", "key_set"):
            cursor = await self.conn.execute(f"SELECT * FROM {table} ORDER BY 1, 2")  # type: ignore[arg-type]  # noqa: S608
            shown += await cursor.fetchall()
        return shown


def csrf_in(html: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', html)
    assert found, html
    return found.group(1)


async def hire(conn: Connection, client: httpx.AsyncClient, name: str, tenant: str) -> str:
    """Give a deployer a pass and sign in with it; return the token of their forms."""
    secret = draw_token()
    await add_pass(
        conn,
        tenant=tenant,
        name=name,
        role="deployer",
        pass_sha256=token_sha256(secret),
        expires_at=datetime.now(UTC) + timedelta(days=1),
        actor="operator test",
    )
    door = await client.get("/sign-in", headers=HTML)
    form = {"csrf": csrf_in(door.text), "pass": secret}
    answer = await client.post("/sign-in", data=form, headers=OURS)
    assert answer.status_code == 303, answer.text
    return csrf_in((await client.get("/administration", headers=HTML)).text)


@pytest.fixture(scope="module")
async def offices(
    database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Offices]:
    dsn = await database_server.create()
    authority = Authority(tmp_path_factory.mktemp("authority"), "Test region")
    enrolment = EnrolmentSettings(
        url_base="https://enrol.example.org:8445", region_root_file=authority.region_root()
    )
    async with (
        await connect(dsn, autocommit=True, application_name="kerbstone test") as conn,
        open_app(ApiSettings(dsn=dsn, enrolment=enrolment)) as app,
    ):
        for gss, tenant, device in (
            ("E09000007", "camden", MINE),
            ("E08000035", "leeds", THEIRS),
        ):
            await add_council(conn, gss=gss, tenant=tenant, name=tenant.title())
            await add_gateway(conn, tenant=tenant, device=device, label="A site")
        offices = Offices(app, conn, {}, {})
        for name, tenant in (("Ben", "camden"), ("Lea", "leeds")):
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN)
            offices.clients[tenant] = client
            offices.csrf[tenant] = await hire(conn, client, name, tenant)
        yield offices
        for client in offices.clients.values():
            await client.aclose()
    await database_server.drop(dsn)


def addresses() -> list[tuple[str, str]]:
    """Return method and address of everything one can do to a gateway of Leeds."""
    found = []
    for module in pkgutil.iter_modules(api.administration.__path__, "api.administration."):
        router = getattr(importlib.import_module(module.name), "router", None)
        for route in router.routes if router else ():
            if "{device}" in route.path:
                path = route.path.replace("{device}", THEIRS)
                paths = dict.fromkeys(path.replace("{change}", each) for each in CHANGES)
                found += [(method, each) for method in sorted(route.methods) for each in paths]
    return found


async def test_administer_another_councils_gateway(offices: Offices) -> None:
    """403 at every address there is, each attempt noted; Leeds' own people are let in."""
    before = await offices.all_of_leeds()
    tried = addresses()
    assert {"GET", "POST"} == {method for method, _ in tried}
    assert len(tried) >= 8
    for method, path in tried:
        noted = await offices.refusals_noted()
        answer = await offices.try_to(method, path, "camden", reason="because", confirm="yes")
        assert answer.status_code == 403, (method, path, answer.text)
        assert await offices.refusals_noted() == noted + 1, (method, path)
    assert await offices.all_of_leeds() == before
    for method, path in tried:
        if method == "GET":
            assert (await offices.try_to("GET", path, "leeds")).status_code in {200, 409}, path
    own = f"/administration/gateways/{MINE}"
    assert (await offices.try_to("GET", own, "camden")).status_code == 200


async def test_invite_gateways_for_another_council(offices: Offices) -> None:
    """403, noted, and no token is made; the same form works for one's own council."""
    before, noted = await offices.all_of_leeds(), await offices.refusals_noted()
    form = {"council": "leeds", "site": "LC-1"}
    answer = await offices.try_to("POST", "/administration/invite", "camden", **form)
    assert answer.status_code == 403
    assert await offices.refusals_noted() == noted + 1
    assert await offices.all_of_leeds() == before
    for tenant in ("camden", "leeds"):
        form = {"council": tenant, "site": "LC-1", "label": "", "place_name": ""}
        form |= {"longitude": "", "latitude": ""}
        answer = await offices.try_to("POST", "/administration/invite", tenant, **form)
        assert answer.status_code == 200, answer.text


async def test_administer_without_a_pass(offices: Offices) -> None:
    """Whoever is not signed in is sent to the door, whatever they ask for."""
    transport = httpx.ASGITransport(offices.app)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as stranger:
        for method, path in addresses():
            answer = await stranger.request(method, path, headers=OURS)
            assert answer.status_code in {303, 401, 403}, (method, path)
            assert THEIRS not in answer.text
    assert (await offices.try_to("GET", "/administration", "leeds")).status_code == 200
