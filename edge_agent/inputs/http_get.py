"""One GET by HTTP/1.1, over TLS or not: bounded in size, time and redirections.

Speaks h11 on asyncio's streams, so that a stop need not wait for a server that is slow. What is
asked for and how often is told in `edge_agent.sensors.http_poll`.
"""

import asyncio
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

import h11

_MOST_HEADER_BYTES: Final = 32 * 1024
_READ_BYTES: Final = 16 * 1024
_MOST_REDIRECTIONS: Final = 3
_REDIRECTIONS: Final = (301, 302, 303, 307, 308)
_PORTS: Final = {"http": 80, "https": 443}


class FetchError(Exception):
    """A resource cannot be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered: headers by lower-case name, those in ASCII; the body unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def get(
    url: str,
    *,
    headers: Mapping[str, str],
    secret_headers: Mapping[str, str],
    tls: ssl.SSLContext | None,
    most_bytes: int,
) -> Response:
    """Return the answer to a GET, having followed up to three redirections.

    secret_headers: sent to the host of `url` only. tls: how servers are trusted; None, none is.
    most_bytes: largest body, packed or unpacked.

    Raises:
        FetchError: too large, not HTTP, redirected too often or from https to http.
        OSError: no connection, or (ssl.SSLError) no trust.
    """
    here = urlsplit(url)
    for _ in range(_MOST_REDIRECTIONS + 1):
        secret = secret_headers if here.netloc == urlsplit(url).netloc else {}
        response = await _get_once(here, {**headers, **secret}, tls, most_bytes)
        location = response.headers.get("location")
        if response.status not in _REDIRECTIONS or location is None:
            return response
        there = _redirected(here, location)
        if there.scheme not in _PORTS or (here.scheme, there.scheme) == ("https", "http"):
            raise FetchError(f"redirected from {here.scheme} to {there.scheme}")
        here = there
    raise FetchError(f"redirected more than {_MOST_REDIRECTIONS} times")


def _redirected(here: SplitResult, location: str) -> SplitResult:
    """Return where a server sends us.

    Raises:
        FetchError: nowhere: it is no URL, or one that cannot stand in a request.
    """
    try:
        there = urlsplit(urljoin(here.geturl(), location))
        there.port  # noqa: B018  # raises where it is none
        (there.hostname or "").encode("idna")
        there.geturl().encode("ascii")
    except ValueError as error:
        raise FetchError("redirected to what is no URL") from error
    return there


async def _get_once(
    url: SplitResult, headers: Mapping[str, str], tls: ssl.SSLContext | None, most_bytes: int
) -> Response:
    if not url.hostname:
        raise FetchError(f"{url.geturl()} names no host")
    if url.scheme == "https" and tls is None:
        raise FetchError(f"redirected to {url.geturl()}: ask for https at once")
    reader, writer = await asyncio.open_connection(
        url.hostname,
        url.port or _PORTS[url.scheme],
        ssl=tls if url.scheme == "https" else None,
        limit=_READ_BYTES,
    )
    try:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEADER_BYTES)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        sent = {
            "Host": url.netloc.rpartition("@")[2],
            "Connection": "close",
            "Accept-Encoding": "gzip",
            **headers,
        }
        request = h11.Request(method="GET", target=target, headers=list(sent.items()))
        writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        return await _response(http, reader, most_bytes)
    except h11.ProtocolError as error:
        raise FetchError(f"that is not HTTP: {error}") from error
    finally:
        writer.transport.abort()  # its answer is complete, or of no use


async def _response(
    http: h11.Connection, reader: asyncio.StreamReader, most_bytes: int
) -> Response:
    response, packed = None, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            packed += event.data
            if len(packed) > most_bytes:
                raise FetchError(f"more than {most_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            break
    if response is None:
        raise FetchError("hung up without an answer")
    headers = {
        name.decode(): value.decode("ascii") for name, value in response.headers if value.isascii()
    }
    encoding = headers.get("content-encoding", "identity").strip().lower()
    return Response(response.status_code, headers, _unpacked(packed, encoding, most_bytes))


def _unpacked(packed: bytes | bytearray, encoding: str, most_bytes: int) -> bytes:
    """Return a body as it was before gzip.

    Raises:
        FetchError: it is damaged, too large, or packed in another way.
    """
    if encoding == "identity" or not packed:
        return bytes(packed)
    if encoding not in ("gzip", "x-gzip"):
        raise FetchError(f"packed by {encoding}, which was not asked for")
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        body = unpacker.decompress(packed, most_bytes + 1)
    except zlib.error as error:
        raise FetchError(f"not gzip: {error}") from error
    if len(body) > most_bytes:
        raise FetchError(f"more than {most_bytes} bytes")
    if not unpacker.eof:
        raise FetchError("the gzipped body is cut off")
    return body
