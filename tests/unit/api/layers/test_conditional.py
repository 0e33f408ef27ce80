"""What a client has already is not sent again; HEAD tells as GET; what streams, streams."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from api.layers.conditional import Conditional, Head, weak_etag

MODIFIED = "Sun, 01 Mar 2026 00:00:00 GMT"


async def registry(request: Request) -> Response:
    headers = {"Vary": "Accept, Link"}
    return Response(b'{"value":[]}', media_type="application/json", headers=headers)


async def file(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a,b\n"
        yield b"1,2\n"

    headers = {"ETag": '"strong"', "Last-Modified": MODIFIED}
    return StreamingResponse(chunks(), media_type="text/csv", headers=headers)


async def page(request: Request) -> Response:
    return Response("<p>now", media_type="text/html", headers={"Cache-Control": "no-store"})


async def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    routes = [
        Route("/catalogue", registry, methods=["GET"]),
        Route("/data/file.csv", file, methods=["GET"]),
        Route("/", page, methods=["GET"]),
    ]
    transport = httpx.ASGITransport(app=Head(Conditional(Starlette(routes=routes))))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
        return await client.request(method, path, headers=named)


async def test_an_unchanged_answer_is_not_sent_again() -> None:
    first = await ask("/catalogue")
    etag = first.headers["etag"]
    assert re.fullmatch(r'W/"[0-9a-f]{8}-[0-9a-f]+"', etag)
    assert etag == weak_etag(first.content)
    assert first.headers["cache-control"] == "public, no-cache"
    for known in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        again = await ask("/catalogue", If_None_Match=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert "content-length" not in again.headers
    assert (await ask("/catalogue", If_None_Match='"other"')).content == first.content


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If_None_Match": '"strong"'}, 304),
        ({"If_None_Match": 'W/"strong"'}, 304),
        ({"If_None_Match": '"weak"'}, 200),
        ({"If_Modified_Since": MODIFIED}, 304),
        ({"If_Modified_Since": "Mon, 02 Mar 2026 00:00:00 GMT"}, 304),
        ({"If_Modified_Since": "Sat, 28 Feb 2026 00:00:00 GMT"}, 200),
        ({"If_Modified_Since": "yesterday"}, 200),
        ({"If_None_Match": '"weak"', "If_Modified_Since": MODIFIED}, 200),
    ],
)
async def test_a_streamed_file_keeps_what_its_route_says_of_it(
    headers: dict[str, str], status: int
) -> None:
    answer = await ask("/data/file.csv", Accept_Encoding="identity", **headers)
    assert answer.status_code == status
    assert answer.content == (b"" if status == 304 else b"a,b\n1,2\n")
    assert answer.headers["etag"] == '"strong"'


async def test_an_etag_is_weak_where_the_bytes_may_be_compressed() -> None:
    assert (await ask("/data/file.csv", Accept_Encoding="gzip")).headers["etag"] == 'W/"strong"'


@pytest.mark.parametrize("path", ["/catalogue", "/data/file.csv", "/"])
async def test_head_tells_what_get_would_without_the_content(path: str) -> None:
    got, head = await ask(path), await ask(path, "HEAD")
    assert head.status_code == 200
    assert head.content == b""
    assert dict(head.headers) == dict(got.headers)


async def test_answers_to_somebody_are_kept_by_nobody_else() -> None:
    answer = await ask("/catalogue", X_API_Key="kbs_x")
    assert answer.headers["cache-control"] == "private, no-cache"
    names = answer.headers["vary"].split(", ")
    assert {"Authorization", "X-API-Key", "Cookie"} <= set(names)
    assert "Link" in names
    assert len(names) == len(set(names))


async def test_pages_are_left_alone() -> None:
    answer = await ask("/", If_None_Match="*")
    assert answer.status_code == 200
    assert "etag" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
