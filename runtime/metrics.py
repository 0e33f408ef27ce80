"""The metrics endpoint, in the Prometheus text format. Which metrics there are, each process says.

`prometheus_client` is imported only when an endpoint is asked for: a gateway without one is
smaller by its memory.
"""

from collections.abc import Iterable
from threading import Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.core import Metric


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
    port: int | None, host: str = "127.0.0.1", source: MetricsSource | None = None
) -> MetricsServer | None:
    """Answer GET /metrics on a thread of its own, or do nothing when `port` is None or 0.

    With `source` only its metrics are served, else the process's default registry.

    Raises:
        OSError: the port is taken.
    """
    if not port:
        return None
    from prometheus_client import REGISTRY, CollectorRegistry, start_http_server  # noqa: PLC0415

    registry = REGISTRY
    if source is not None:
        registry = CollectorRegistry()
        registry.register(source)
    server, thread = start_http_server(port, addr=host, registry=registry)
    return MetricsServer(server, thread)
