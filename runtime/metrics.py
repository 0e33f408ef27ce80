"""The metrics endpoint, in the Prometheus text format. Which metrics there are, each process says.

`prometheus_client` is imported only when an endpoint is asked for: a gateway without one is
smaller by its memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Protocol

from runtime.settings import setting

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.core import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """The Prometheus endpoint."""

    port: int = setting("TCP port; 0 is off.", default=0, minimum=0, maximum=65535)
    host: str = setting("Address to listen on.", default="127.0.0.1")


class MetricsSource(Protocol):
    """Something that computes its metrics when asked (a Prometheus collector)."""

    def collect(self) -> Iterable["Metric"]:
        """Yield the metrics as they are now."""
        ...


class MetricsServer:
    """A running endpoint; `port` is the one it really listens on."""

    def __init__(self, server: "WSGIServer", thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(
    settings: MetricsSettings, source: MetricsSource | None = None
) -> MetricsServer | None:
    """Answer GET /metrics on a thread of its own, or do nothing when the port is 0.

    With `source` only its metrics are served, else the process's default registry.

    Raises:
        OSError: the port is taken.
    """
    if not settings.port:
        return None
    from prometheus_client import REGISTRY, CollectorRegistry, start_http_server  # noqa: PLC0415

    registry = REGISTRY
    if source is not None:
        registry = CollectorRegistry()
        registry.register(source)
    server, thread = start_http_server(settings.port, addr=settings.host, registry=registry)
    return MetricsServer(server, thread)
