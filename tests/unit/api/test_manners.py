"""The whole application towards strangers, without a database: limits, origins, forms of errors."""

from dataclasses import replace

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings, RateLimitSettings

STRANGER = ("198.51.100.9", 1234)
LIMITS = RateLimitSettings(
    anonymous_per_minute=3, pages_per_minute=4, trusted_proxies=("10.0.0.1",)
)
LANDING = "/sensorthings/v1.1"


def strangers(
    limits: RateLimitSettings = LIMITS, client: tuple[str, int] = STRANGER
) -> httpx.AsyncClient:
    """Return a client of a new application, at this address."""
    app = create_app(ApiSettings(dsn="postgresql://", rate_limits=limits))
    transport = httpx.ASGITransport(app, client=client)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def test_beyond_the_limit_a_program_is_told_when_to_come_back() -> None:
    async with strangers() as client:
        answers = [await client.get("/openapi.json") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"anonymous";q=3;w=60'
    assert [answer.headers["ratelimit"] for answer in answers[:3]] == [
        f'"anonymous";r={left}' for left in (2, 1, 0)
    ]
    refused = answers[3]
    seconds = int(refused.headers["retry-after"])
    assert 1 <= seconds <= 20
    assert refused.headers["ratelimit"] == f'"anonymous";r=0;t={seconds}'
    assert refused.headers["access-control-allow-origin"] == "*"
    assert refused.json()["code"] == "too-many-requests"
    assert f"Wait {seconds} second" in refused.json()["detail"]


async def test_a_person_is_told_on_a_page_and_a_standard_in_its_form() -> None:
    async with strangers() as client:
        for _ in range(4):
            page = await client.get("/nowhere", headers={"Accept": "text/html"})
            assert page.status_code == 404
        page = await client.get("/nowhere", headers={"Accept": "text/html"})
        for _ in range(4):
            answer = await client.get(LANDING, headers={"Accept": "text/html"})
    assert page.status_code == 429
    assert "You are asking too quickly" in page.text
    assert "API key" in page.text
    assert answer.status_code == 429
    assert (answer.json()["code"], answer.json()["type"]) == (429, "error")


async def test_pages_and_programs_have_limits_of_their_own() -> None:
    async with strangers() as client:
        for _ in range(3):
            assert (await client.get("/openapi.json")).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 429
        assert (await client.get("/nowhere")).status_code == 404
        for _ in range(20):
            assert (await client.get("/static/nothing.css")).status_code == 404


@pytest.mark.parametrize("client", [("127.0.0.1", 1), ("::1", 1)])
async def test_this_very_machine_is_not_limited(client: tuple[str, int]) -> None:
    async with strangers(client=client) as local:
        answers = [await local.get("/openapi.json") for _ in range(9)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


async def test_behind_a_proxy_each_client_has_its_own_limit() -> None:
    async with strangers(client=("10.0.0.1", 1)) as client:
        for address in ("203.0.113.5", "203.0.113.6"):
            headers = {"X-Forwarded-For": f"192.0.2.99, {address}"}
            answers = [await client.get("/openapi.json", headers=headers) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


async def test_nought_is_no_limit() -> None:
    limits = replace(LIMITS, anonymous_per_minute=0)
    async with strangers(limits) as client:
        answers = [await client.get("/openapi.json") for _ in range(9)]
    assert {answer.status_code for answer in answers} == {200}


def test_a_proxy_that_is_no_network_is_named() -> None:
    [(path, text)] = RateLimitSettings(trusted_proxies=("10.0.0.1", "proxy")).contradictions()
    assert path == ("trusted_proxies", 1)
    assert "'proxy'" in text


async def test_scripts_of_any_origin_may_read_open_data_and_nothing_else() -> None:
    origin = {"Origin": "https://app.example"}
    async with strangers() as client:
        answer = await client.get(LANDING, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "ETag" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        asked = {**origin, "Access-Control-Request-Method": "GET"}
        preflight = await client.options(LANDING, headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
        assert "X-API-Key" in preflight.headers["access-control-allow-headers"]
        for path in ("/nowhere", "/sign-in"):
            page = await client.options(path, headers=asked)
            assert "access-control-allow-origin" not in page.headers
        written = await client.post(LANDING + "/Things", json={}, headers=origin)
        assert "access-control-allow-origin" not in written.headers


async def test_head_and_conditions_work_through_all_layers() -> None:
    async with strangers(replace(LIMITS, anonymous_per_minute=0)) as client:
        got = await client.get("/openapi.json")
        head = await client.head("/openapi.json")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["etag"] == got.headers["etag"]
        assert got.headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in got.headers["vary"]
        again = await client.get("/openapi.json", headers={"If-None-Match": got.headers["etag"]})
        assert again.status_code == 304
        plain = await client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
        assert plain.headers["etag"] == got.headers["etag"]
        assert "content-encoding" not in plain.headers
