"""A station that serves its readings by HTTP, and can be misused: slow, broken, packed, moved.

Python's own server, on a thread; what it answers is set beforehand, path by path.
"""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any


@dataclass
class Page:
    """What one path answers.

    etag, modified: make it conditional. raw: sent instead of all the rest.
    hold: until set, nothing is answered.
    """

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = ""
    modified: str = ""
    raw: bytes | None = None
    hold: threading.Event | None = None


class HttpStation:
    """The station. pages: by path with query. asked: path and headers of every request."""

    def __init__(self, scheme: str, port: int) -> None:
        self.url = f"{scheme}://localhost:{port}"
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def serves(self, path: str, page: Page) -> str:
        """Let `path` answer `page`; return its whole URL."""
        self.pages[path] = page
        return f"{self.url}{path}"


class _Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    station: HttpStation

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.station.asked.append((self.path, headers))
        page = self.station.pages.get(self.path, Page(status=404))
        if page.hold is not None:
            page.hold.wait()
        if page.raw is not None:
            self.close_connection = True
            self.wfile.write(page.raw)
            return
        is_known = bool(page.etag) and headers.get("if-none-match") == page.etag
        is_known |= bool(page.modified) and headers.get("if-modified-since") == page.modified
        self.send_response(HTTPStatus.NOT_MODIFIED if is_known else page.status)
        for name, value in (("ETag", page.etag), ("Last-Modified", page.modified)):
            if value:
                self.send_header(name, value)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if not is_known:
            self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if not is_known:
            self.wfile.write(page.body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that have gone."""


@contextmanager
def http_station(credential: tuple[Path, Path] | None = None) -> Iterator[HttpStation]:
    """Run one on loopback. credential: certificate and key, PEM; then it speaks https."""
    answering = type("Answering", (_Answering,), {})
    with _Server(("127.0.0.1", 0), answering) as server:
        if credential is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*credential)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        station = HttpStation("https" if credential else "http", server.server_address[1])
        answering.station = station  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="http station")
        thread.start()
        try:
            yield station
        finally:
            for page in station.pages.values():
                if page.hold is not None:
                    page.hold.set()
            server.shutdown()
            thread.join()
