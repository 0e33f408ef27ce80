"""HTTP/1.1 with one client that pushes: what is taken from it, how much, and for how long.

Knows neither sensors nor paths' meaning: requests go to whoever answers them (`listener`).
Nothing is read that is not wanted: method, path, token and length are judged by the header alone.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

MOST_BODY_BYTES: Final = 256 * 1024

_MOST_HEADER_BYTES: Final = 16 * 1024
_MOST_DIGITS: Final = 20  # of a length
_READ_BYTES: Final = 8 * 1024
_HEADER_SECONDS: Final = 10.0  # from the first look for a request; bounds idleness, too
_BODY_SECONDS: Final = 20.0
_WRITE_SECONDS: Final = 10.0
_CLOSING_SECONDS: Final = 5.0  # for a client to take what is left of the answers
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 64 * 1024
_RETRY_AFTER_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Pushed:
    """A request: path without query, headers by lower-case name, and body."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and a reason for people."""

    status: int
    reason: str


class _RefusalError(Exception):
    """A request that goes to nobody."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.answer = Answer(status, reason)


class Conversation:
    """One connection.

    is_waiting_for_answer: whether a request is being answered, or being read.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        token: bytes | None,
        paths: Container[str],
        answer: Callable[[Pushed], Awaitable[Answer]],
    ) -> None:
        self.is_waiting_for_answer = False
        self._reader = reader
        self._writer = writer
        self._token = token
        self._paths = paths
        self._answer = answer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEADER_BYTES)

    async def run(self) -> None:
        """Answer request after request until one side has had enough."""
        try:
            while await self._exchange():
                self._http.start_next_cycle()
            await self._linger()
        except (OSError, h11.LocalProtocolError):  # the client has gone
            pass
        finally:
            await self._close()

    async def _close(self) -> None:
        """Let go of the connection, also of a client that takes no answers: it holds a place."""
        self._writer.close()
        try:
            with suppress(OSError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await self._writer.wait_closed()
        finally:
            self._writer.transport.abort()

    async def _exchange(self) -> bool:
        """Answer one request; return whether there may be another."""
        method = b""
        try:
            request = await self._request()
            if request is None:
                return False
            method = request.method
            self.is_waiting_for_answer = True
            answer = await self._answered(request)
        except _RefusalError as refusal:
            answer = refusal.answer
        except h11.RemoteProtocolError as error:
            answer = Answer(error.error_status_hint, str(error))
        await self._respond(answer, method)
        self.is_waiting_for_answer = False
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _request(self) -> h11.Request | None:
        """Return the next request's header; None if there is none."""
        try:
            async with asyncio.timeout(_HEADER_SECONDS):
                event = await self._next_event()
        except TimeoutError:
            if self._http.trailing_data[0]:
                raise _RefusalError(408, "the header did not come in time") from None
            return None
        return event if isinstance(event, h11.Request) else None

    async def _answered(self, request: h11.Request) -> Answer:
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        path = request.target.partition(b"?")[0].decode("ascii", "replace")
        _check(request.method, path, headers, self._token, self._paths)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._body()
        except TimeoutError:
            raise _RefusalError(408, "the body did not come in time") from None
        return await self._answer(Pushed(path, headers, body))

    async def _body(self) -> bytes:
        parts = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            parts += event.data
            if len(parts) > MOST_BODY_BYTES:
                raise _RefusalError(413, f"more than {MOST_BODY_BYTES} bytes")
        if isinstance(event, h11.EndOfMessage):
            return bytes(parts)
        raise ConnectionError("the client went away")

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self._writer.write(self._http.send(go_on))
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event

    async def _respond(self, answer: Answer, method: bytes) -> None:
        """Send an answer, if the state of the connection still allows one."""
        http = self._http
        if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{answer.reason}\n".encode(errors="backslashreplace")  # JSON may hold half a pair
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
        ]
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "POST"))
        elif answer.status == HTTPStatus.UNAUTHORIZED:
            headers.append(("WWW-Authenticate", 'Bearer, Basic realm="sensors"'))
        elif answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append(("Retry-After", str(_RETRY_AFTER_SECONDS)))
        if http.their_state is not h11.DONE:
            headers.append(("Connection", "close"))
        phrase = HTTPStatus(answer.status).phrase
        response = h11.Response(status_code=answer.status, headers=headers, reason=phrase)
        out = http.send(response) or b""
        if method != b"HEAD":
            out += http.send(h11.Data(data=body)) or b""
        out += http.send(h11.EndOfMessage()) or b""
        self._writer.write(out)
        async with asyncio.timeout(_WRITE_SECONDS):
            await self._writer.drain()

    async def _linger(self) -> None:
        """Let a client that is still sending see the answer before the connection is gone."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        unread = _LINGER_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while unread > 0 and (discarded := await self._reader.read(_READ_BYTES)):
                    unread -= len(discarded)


def _check(
    method: bytes,
    path: str,
    headers: Mapping[str, str],
    token: bytes | None,
    paths: Container[str],
) -> None:
    """Refuse by the header alone what goes to nobody.

    Raises:
        _RefusalError: with status and reason.
    """
    if token is not None and not _carries(headers.get("authorization", ""), token):
        raise _RefusalError(401, "the token is missing or wrong")
    if path not in paths:
        raise _RefusalError(404, "no sensor is pushed to here")
    if method != b"POST":
        raise _RefusalError(405, "only POST")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _RefusalError(415, "only plain bodies, without Content-Encoding")
    length = headers.get("content-length")
    if length is not None and "transfer-encoding" in headers:  # RFC 9112, 6.1: smuggled, perhaps
        raise _RefusalError(400, "Content-Length and Transfer-Encoding exclude each other")
    if length is None and "transfer-encoding" not in headers:
        raise _RefusalError(411, "Content-Length is missing")
    if length is not None and (len(length) > _MOST_DIGITS or int(length) > MOST_BODY_BYTES):
        raise _RefusalError(413, f"more than {MOST_BODY_BYTES} bytes")


def _carries(authorization: str, token: bytes) -> bool:
    """Tell whether a request carries the token: as a bearer, or as a password (RFC 7617).

    Many a small device knows user and password only.
    """
    scheme, _, given = authorization.partition(" ")
    carried = given.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            carried = base64.b64decode(carried, validate=True).partition(b":")[2]
        except binascii.Error:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(carried, token)
