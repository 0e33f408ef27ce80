"""Signing in and out: passes, cookies, hosts, and that no log tells a secret."""

import json
import logging
import re
from html import unescape

import httpx
import pytest

from api.service import open_app
from api.settings import ApiSettings
from api.sign_in import WRONG
from device_protocol.first_boot import draw_token
from storage import audit
from storage.network_view import gateway_facts
from storage.staff import withdraw_pass
from tests.integration.administration.office import HTML, ORIGIN, OURS, Office, csrf_in, text_of
from tests.integration.conftest import DatabaseServer


async def test_signing_out_ends_the_session_and_a_withdrawn_pass_every_session(
    office: Office,
) -> None:
    async with office.newcomer("Una", "camden") as una, office.newcomer("Max", None) as other:
        cookie = dict(una.client.cookies)
        assert (await una.post("/sign-out", {})).status_code == 303
        una.client.cookies.update(cookie)
        assert (await una.get("/administration")).status_code == 303
        assert (await other.get("/administration")).status_code == 200
        await withdraw_pass(office.conn, pass_id=other.number, actor="operator test")
        assert (await other.get("/administration")).status_code == 303


async def test_wrong_passes_look_alike_and_are_limited(office: Office) -> None:
    async with office.newcomer("Wil", "camden") as wil:
        await withdraw_pass(office.conn, pass_id=wil.number, actor="operator test")
    async with open_app(office.app.state.settings) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            form = {"csrf": csrf_in((await client.get("/sign-in", headers=HTML)).text)}
            pages = set()
            for secret in ("", "nonsense", draw_token(), wil.secret):
                answer = await client.post("/sign-in", data={**form, "pass": secret}, headers=OURS)
                assert answer.status_code == 403
                pages.add(answer.text)
            [page] = pages
            assert WRONG in unescape(page)
            for _ in range(6):
                await client.post("/sign-in", data={**form, "pass": draw_token()}, headers=OURS)
            right = {**form, "pass": office.ben.secret}
            answer = await client.post("/sign-in", data=right, headers=OURS)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 900


async def test_signing_in_is_bound_to_the_browser_that_asked(office: Office) -> None:
    other = csrf_in((await office.visitor.get("/sign-in", headers=HTML)).text)
    office.visitor.cookies.clear()
    await office.visitor.get("/sign-in", headers=HTML)
    form = {"csrf": other, "pass": office.ben.secret}
    assert (await office.visitor.post("/sign-in", data=form, headers=OURS)).status_code == 403
    assert not any("session" in name for name in office.visitor.cookies)


async def test_a_name_that_was_made_to_point_here_is_refused(office: Office) -> None:
    for host in ("evil.example", "localhost.evil.example", "evil.example:80", ""):
        answer = await office.visitor.get("/status", headers={"Host": host})
        assert answer.status_code == 421, host
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
        answer = await office.visitor.get("/accessibility", headers={"Host": host})
        assert answer.status_code == 200, host


@pytest.mark.parametrize(
    ("base_url", "status"),
    [
        ("", 403),
        ("http://kerb.example.org", 403),
        ("https://kerb.example.org", 200),
        ("http://localhost:8080", 200),
    ],
)
async def test_no_pass_is_taken_where_it_can_be_read_on_its_way(
    office: Office, base_url: str, status: int
) -> None:
    settings = ApiSettings(
        dsn=office.app.state.settings.database,
        host="0.0.0.0",  # noqa: S104 - what is tried
        base_url=base_url,
    )
    async with open_app(settings) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            page = await client.get("/sign-in", headers=HTML)
            assert page.status_code == status
            assert ("unprotected" in page.text) is (status == 403)
            answer = await client.post("/sign-in", data={"pass": office.ben.secret}, headers=OURS)
            assert answer.status_code == 403
            assert (await client.get("/status", headers=HTML)).status_code == 200


async def test_no_log_line_holds_a_pass_a_session_or_a_token(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = draw_token()
    async with office.newcomer("Lou", "camden") as lou:
        form = {"csrf": csrf_in((await lou.get("/sign-in")).text), "pass": wrong}
        assert (await lou.client.post("/sign-in", data=form, headers=OURS)).status_code == 403
        session = lou.client.cookies["kerbstone-session"]
        invited = await lou.post("/administration/invite", {"council": "camden", "site": "Log 1"})
        [token] = re.findall(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}-[0-9A-Z]{6}", text_of(invited.text))[
            :1
        ]
        again = await lou.post("/administration/invite", {"council": "leeds", "site": "Log 2"})
        assert again.status_code == 403
        secrets = [wrong, lou.secret, session, lou.csrf, token]
    said = json.dumps([vars(record) for record in caplog.records if of_ours(record)], default=str)
    assert "sign-in refused" in said
    kept = json.dumps([dict(entry.detail) for entry in await audit.entries(office.conn)])
    for secret in secrets:
        assert secret[:6] not in said + kept
        assert secret[-6:] not in said + kept


def of_ours(record: logging.LogRecord) -> bool:
    """Tell what the service says from what the client of the test says."""
    return not record.name.startswith(("httpx", "httpcore"))


async def test_over_tls_the_cookie_is_for_this_host_alone(
    office: Office, database_server: DatabaseServer
) -> None:
    settings = ApiSettings(
        dsn=office.app.state.settings.database, base_url="https://kerb.example.org"
    )
    async with open_app(settings) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="https://kerb.example.org"
        ) as client:
            page = await client.get("/sign-in", headers=HTML)
            form = {"csrf": csrf_in(page.text), "pass": office.ben.secret}
            headers = {**OURS, "Origin": "https://kerb.example.org"}
            answer = await client.post("/sign-in", data=form, headers=headers)
            assert answer.status_code == 303
            [cookie] = [one for one in answer.headers.get_list("set-cookie") if "session" in one]
            assert cookie.startswith("__Host-kerbstone-session=")
            for part in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", "Max-Age=43200"):
                assert part in cookie
            assert "Domain" not in cookie
            page = await client.get("/administration/invite", headers=HTML)
            assert "cannot invite gateways yet" in page.text
            form = {"csrf": csrf_in(page.text), "council": "camden", "site": "LC-5"}
            answer = await client.post("/administration/invite", data=form, headers=headers)
            assert answer.status_code == 503
    assert "LC-5" not in {one.site for one in await gateway_facts(office.conn)}
