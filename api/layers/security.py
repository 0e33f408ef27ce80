"""What wraps every answer: headers that let pages do nothing but what we ship, and our own names.

Who is signed in, and whether a form is ours, is `api.session`.
"""

import ipaddress
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.headers import header, put

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No font is served or used; forbidding them makes Chromium complain of the one GOV.UK names."""

HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_ONE_YEAR_SECONDS: Final = 31_536_000
_LOCALHOST: Final = "localhost"  # with all below it, never looked up elsewhere (RFC 6761, 6.3)
_NOT_OURS: Final = (
    "This service does not answer to that name. Where it is reached through a proxy, its settings "
    "must say so: base_url.\n"
)


class SecurityHeaders:
    """ASGI middleware that adds `HEADERS` to every answer, and HSTS where the service has TLS."""

    def __init__(self, app: ASGIApp, *, has_tls: bool) -> None:
        self._app = app
        headers = dict(HEADERS)
        if has_tls:
            headers["Strict-Transport-Security"] = f"max-age={_ONE_YEAR_SECONDS}"
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = {name for name, _ in message["headers"]}
                added = [header for header in self._headers if header[0] not in told]
                message["headers"] = [*message["headers"], *added]
                if scope["path"].startswith("/static/"):
                    kept = f"public, max-age={_ONE_YEAR_SECONDS}, immutable"
                    put(message["headers"], b"cache-control", kept)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class OwnNames:
    """ASGI middleware that refuses requests for a name that is not ours, with 421.

    A service that listens on loopback only is meant for this machine. A foreign page could still
    reach it, by letting a name of its own point here (DNS rebinding): then the browser says that
    name, which is how we tell. Addresses need no look-up and are let pass.
    """

    def __init__(self, app: ASGIApp, *, bound_to: str, base_url: str) -> None:
        self._app = app
        self._checks = is_loopback(bound_to)
        self._public = urlsplit(base_url).hostname or ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, or refuse."""
        app = self._app
        if scope["type"] == "http" and self._checks:
            host = header(scope["headers"], b"host")
            if not self._is_ours(host):
                app = PlainTextResponse(_NOT_OURS, 421)
        await app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = _name_in(host)
        return bool(name) and (
            name in (_LOCALHOST, self._public)
            or name.endswith(f".{_LOCALHOST}")
            or _address(name) is not None
        )


def is_private(*, bound_to: str, base_url: str) -> bool:
    """Return whether what people send cannot be read on its way: by TLS, or within this machine."""
    public = urlsplit(base_url)
    return public.scheme == "https" or is_loopback(public.hostname or bound_to)


def is_loopback(bound_to: str) -> bool:
    """Return whether only this machine can reach what listens there."""
    address = _address(bound_to)
    return address.is_loopback if address else bound_to == _LOCALHOST


@lru_cache(maxsize=64)  # our names are few
def _name_in(host: str) -> str:
    """Return the name in a Host header, without its port; "" where it has none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@lru_cache(maxsize=64)
def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
