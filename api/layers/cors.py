"""Open data for scripts of other sites (Fetch Standard, CORS protocol): read, without cookies.

Only on the paths for programs; pages and signing in stay closed to other origins. A key that a
script sends by itself counts, a session never does: browsers send no cookie to where `*` is said.
"""

from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.headers import Headers, header
from api.machine_paths import NGSI_LD, is_below, is_machine_path

METHODS: Final = "GET, HEAD, OPTIONS"
EXPOSED: Final = (
    "Content-Disposition, ETag, Link, Location, NGSILD-Results-Count, NGSILD-Tenant, RateLimit,"
    " RateLimit-Policy, Retry-After"
)
"""What a script may see beyond what the Fetch Standard shows it anyway."""

_REQUEST_HEADERS: Final = (
    "Accept, Authorization, If-Modified-Since, If-None-Match, Last-Event-ID, Link, NGSILD-Tenant,"
    " Prefer, X-API-Key"
)
_OPEN: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", EXPOSED.encode()),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_ONE_DAY_SECONDS: Final = 86_400
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class OpenToScripts:
    """ASGI middleware that lets scripts of any origin read what programs may."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does and say who may read it; answer OPTIONS itself."""
        if (
            scope["type"] != "http"
            or scope["method"] not in _SAFE
            or not is_machine_path(scope["path"])
        ):
            await self._app(scope, receive, send)
            return

        async def send_openly(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].extend(_OPEN)
            await send(message)

        asked = scope["headers"]
        if scope["method"] == "OPTIONS" and _is_answered_here(scope["path"], asked):
            await _options(asked)(scope, receive, send_openly)
        else:
            await self._app(scope, receive, send_openly)


def _is_answered_here(path: str, asked: Headers) -> bool:
    """Return whether OPTIONS is a script's preflight, or of what is only read.

    NGSI-LD has operations that read by POST, and says itself what each resource takes.
    """
    return _is_preflight(asked) or not is_below(path, NGSI_LD)


def _is_preflight(asked: Headers) -> bool:
    return bool(header(asked, b"access-control-request-method"))


def _options(asked: Headers) -> Response:
    """Return what may be done; for a preflight in the words of the Fetch Standard."""
    answer = Response(status_code=204, headers={"Allow": METHODS})
    if _is_preflight(asked):
        answer.headers["Access-Control-Allow-Methods"] = METHODS
        answer.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
        answer.headers["Access-Control-Max-Age"] = str(_ONE_DAY_SECONDS)
    return answer
