"""Names that are ours, for a service that only this machine can reach."""

import httpx
import pytest
from starlette.responses import PlainTextResponse

from api.layers.security import OwnNames, is_loopback


async def answered(host: str, *, bound_to: str = "127.0.0.1", base_url: str = "") -> int:
    app = OwnNames(PlainTextResponse("here"), bound_to=bound_to, base_url=base_url)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://any") as client:
        return (await client.get("/", headers={"Host": host})).status_code


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]", "demo.localhost", "192.0.2.7"],
)
async def test_names_that_no_stranger_can_point_here_are_ours(host: str) -> None:
    assert await answered(host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evillocalhost", "", "[", "a@b:c"]
)
async def test_other_names_are_refused(host: str) -> None:
    assert await answered(host) == 421


async def test_behind_a_proxy_its_name_is_ours() -> None:
    assert await answered("air.example.org", base_url="https://air.example.org") == 200
    assert await answered("evil.example", base_url="https://air.example.org") == 421


async def test_a_service_for_the_network_answers_to_every_name() -> None:
    assert await answered("air.example.org", bound_to="192.0.2.1") == 200


def test_loopback_is_told_by_address_or_by_name() -> None:
    assert [is_loopback(one) for one in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [is_loopback(one) for one in ("::", "192.0.2.1", "host")] == [False] * 3
