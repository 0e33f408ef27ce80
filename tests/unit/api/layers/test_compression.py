"""Whoever takes gzip gets it, whoever does not is told that others might."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.layers.compression import COMPRESSED_ALREADY, Compression

BODY = b'{"value":[' + b'"the same again",' * 200 + b'""]}'


async def observations(_: Request) -> Response:
    return Response(BODY, media_type="application/json", headers={"Vary": "Accept"})


async def parquet(_: Request) -> Response:
    return Response(BODY, media_type=COMPRESSED_ALREADY[0])


async def ask(path: str, accepted: str) -> httpx.Response:
    routes = [Route("/observations", observations), Route("/parquet", parquet)]
    transport = httpx.ASGITransport(app=Compression(Starlette(routes=routes)))
    async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
        return await client.get(path, headers={"Accept-Encoding": accepted})


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, br", "gzip"),
        ("br;q=1.0, gzip; q=0.1", "gzip"),
        ("x-gzip", "gzip"),  # the same (RFC 9110, section 8.4.1.3)
        ("identity", None),
        ("gzip;q=0", None),  # not this (section 12.4.2)
        ("deflate, GZIP ; Q=0.000", None),
        ("gzipped", None),
        ("*", None),
        ("", None),
    ],
)
async def test_the_content_is_the_same_either_way_and_caches_keep_both(
    accepted: str, encoding: str | None
) -> None:
    answer = await ask("/observations", accepted)
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.content == BODY
    assert (int(answer.headers["content-length"]) < len(BODY) / 10) == (encoding is not None)


async def test_what_is_compressed_already_is_left_as_it_is() -> None:
    answer = await ask("/parquet", "gzip")
    assert "content-encoding" not in answer.headers
    assert answer.content == BODY
