"""Counting requests for Prometheus; where they are served is `runtime.metrics`."""

import time
from functools import cache

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_requests = Counter("api_requests_total", "Requests answered.", ["route", "status"])
_seconds = Histogram(
    "api_request_duration_seconds", "Time to the first byte of the answer.", ["route"]
)
sign_ins = Counter(
    "api_sign_ins_total", "Attempts to sign in: accepted, refused or limited.", ["outcome"]
)


@cache  # routes and statuses are few, and finding a label's child takes many steps
def _answered(route: str, status: int) -> Counter:
    return _requests.labels(route, str(status))


@cache
def _taken(route: str) -> Histogram:
    return _seconds.labels(route)


class RequestMetrics:
    """ASGI middleware that counts answers by route pattern, never by address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                _answered(route, message["status"]).inc()
                _taken(route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_and_count)
