"""What a client has already is not sent again (RFC 9110, section 13), and HEAD is answered.

An answer that comes whole gets a weak ETag of its content; one that a route gave an ETag or
Last-Modified keeps it. What is streamed is passed through as it comes. Only on the paths for
programs: pages show how things are now, and are never cached.
"""

import zlib
from email.utils import parsedate_to_datetime
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.headers import Headers, header, put, remove
from api.layers.compression import COMPRESSED_ALREADY
from api.machine_paths import is_machine_path

LARGEST_BODY: Final = 4 << 20
"""Bytes of an answer that an ETag is made for."""

_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key", b"cookie"})
_DECIDING: Final = ("Accept", "Authorization", "X-API-Key", "Cookie")
_VARY: Final = ", ".join(_DECIDING)
"""The headers that decide what an answer holds."""

_READ: Final = frozenset({"GET", "HEAD"})
_OF_CONTENT: Final = (
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"content-disposition",
)


class Head:
    """ASGI middleware that answers HEAD as GET without the content (RFC 9110, section 9.3.2).

    Left alone are live streams, which never end, and files, which would be made in vain: their
    routes answer HEAD themselves.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does to GET, and drop the content."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or _answers_head(scope["path"]):
            await self._app(scope, receive, send)
            return
        ended = False
        got = {**scope, "method": "GET"}

        async def send_head(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                if "route" in got:
                    scope["route"] = got["route"]  # what is counted, is counted by route
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(got, receive, send_head)


def _answers_head(path: str) -> bool:
    return path == "/live" or path.startswith("/data/")


class Conditional:
    """ASGI middleware that answers 304 where the client's copy is still good."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, or that nothing has changed."""
        readable = scope["type"] == "http" and scope["method"] in _READ
        if readable and is_machine_path(scope["path"]):
            await self._app(scope, receive, _Answer(scope["headers"], send).send)
        else:
            await self._app(scope, receive, send)


class _Answer:
    """One answer on its way; its start is held back until its content is known or streamed."""

    def __init__(self, asked: Headers, send: Send) -> None:
        self._asked = asked
        self._send = send
        self._start: Message | None = None
        self._unchanged = False

    async def send(self, message: Message) -> None:
        """Pass a message on, or hold it back."""
        if message["type"] == "http.response.start":
            _say_for_whom(message["headers"], self._asked)
            if message["status"] == 200:  # noqa: PLR2004  # only what was found can be kept
                self._start = message
                return
        elif self._start is not None and message["type"] == "http.response.body":
            start, self._start = self._start, None
            await self._begin(start, message)
        if not self._unchanged:
            await self._send(message)

    async def _begin(self, start: Message, first: Message) -> None:
        """Send the start of an answer that begins with `first`, or say that it is unchanged."""
        headers = start["headers"]
        etag = header(headers, b"etag")
        if not etag and _may_tag(first, headers):
            headers.append((b"etag", weak_etag(first.get("body", b"")).encode()))
        elif etag.startswith('"') and _is_weakened(self._asked, headers):
            put(headers, b"etag", f"W/{etag}")
        self._unchanged = is_unchanged(self._asked, headers)
        if not self._unchanged:
            await self._send(start)
            return
        for name in _OF_CONTENT:
            remove(headers, name)
        await self._send({**start, "status": 304})
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def weak_etag(content: bytes) -> str:
    """Return the ETag of `content`, whichever way it is compressed.

    A checksum and the length: a digest would take five times as long, and all that this must tell
    apart is what one address answered at two times.
    """
    return f'W/"{zlib.crc32(content):08x}-{len(content):x}"'


def is_unchanged(asked: Headers, answered: Headers) -> bool:
    """Return whether what the client says it has is what it would get (RFC 9110, 13.1.2-3)."""
    wanted = header(asked, b"if-none-match")
    if wanted:
        etag = _opaque(header(answered, b"etag"))
        return bool(etag) and (
            wanted.strip() == "*" or etag in {_opaque(one) for one in wanted.split(",")}
        )
    since = header(asked, b"if-modified-since")
    modified = header(answered, b"last-modified") if since else ""
    if not modified:
        return False
    try:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):  # a date that is none is ignored, as if it were not there
        return False


def _opaque(etag: str) -> str:
    """Return an ETag as weak comparison sees it."""
    return etag.strip().removeprefix("W/")


def _may_tag(message: Message, headers: Headers) -> bool:
    body = message.get("body", b"")
    return (
        not message.get("more_body", False)
        and 0 < len(body) <= LARGEST_BODY
        and "no-store" not in header(headers, b"cache-control")
    )


def _is_weakened(asked: Headers, headers: Headers) -> bool:
    """Return whether other bytes than those that a strong ETag stands for may be sent: gzip's."""
    if "gzip" not in header(asked, b"accept-encoding"):
        return False
    return header(headers, b"content-type").partition(";")[0].strip() not in COMPRESSED_ALREADY


def _say_for_whom(headers: list[tuple[bytes, bytes]], asked: Headers) -> None:
    """Let no shared cache give one reader's answer to another."""
    own = header(headers, b"vary")
    also = [name for name in own.split(", ") if name and name not in _DECIDING]
    put(headers, b"vary", ", ".join([_VARY, *also]))
    told = header(headers, b"cache-control")
    if not _CREDENTIALS.isdisjoint([name for name, _ in asked]):
        if "no-store" not in told:
            put(headers, b"cache-control", "private, no-cache")
    elif not told:
        headers.append((b"cache-control", b"public, no-cache"))  # kept, and asked if still so
