"""Counting requests for Prometheus; where they are served is `runtime.metrics`."""

import time

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_requests = Counter("api_requests_total", "Requests answered.", ["route", "status"])
_seconds = Histogram(
    "api_request_duration_seconds", "Time to the first byte of the answer.", ["route"]
)
sign_ins = Counter(
    "api_sign_ins_total", "Attempts to sign in: accepted, refused or limited.", ["outcome"]
)


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
                _requests.labels(route, str(message["status"])).inc()
                _seconds.labels(route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_and_count)
