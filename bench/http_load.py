"""Requests over kept-alive connections, as fast as they are answered, with little work of its own.

What is asked, and what the answers mean, is the business of whoever measures.
"""

import selectors
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

from bench.errors import BenchError

_BUFFER_BYTES: Final = 1 << 20
_WAIT_SECONDS: Final = 30.0
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. median_ms: from a request's first byte to its answer's last."""

    per_second: float
    median_ms: float
    answer_bytes: int


@dataclass(slots=True)
class _Exchange:
    """A connection and the answer it is receiving."""

    connection: socket.socket
    began: float = 0.0
    head: bytes = b""
    missing: int | None = None
    took: list[float] = field(default_factory=list)

    def ask(self, request: bytes) -> None:
        self.head, self.missing = b"", None
        self.began = time.perf_counter()
        self.connection.sendall(request)

    def receive(self, buffer: memoryview) -> bool:
        """Take what has come; return whether that was the last of the answer."""
        count = self.connection.recv_into(buffer)
        if not count:
            raise BenchError("the web process closed a connection")
        if self.missing is None:
            self.head += bytes(buffer[:count])
            self.missing = _missing(self.head)
        else:
            self.missing -= count
        if self.missing != 0:
            return False
        self.took.append(time.perf_counter() - self.began)
        return True


def _missing(received: bytes) -> int | None:
    """Return how many bytes of an answer are still to come; None before its head is whole."""
    end = received.find(_END_OF_HEAD)
    if end < 0:
        return None
    head = received[:end].lower()
    if not head.startswith(b"http/1.1 200"):
        raise BenchError(f"answered {received[:200]!r}")
    at = head.find(_LENGTH)
    if at < 0:
        raise BenchError("an answer without Content-Length")
    length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
    return end + len(_END_OF_HEAD) + length - len(received)


def load(port: int, paths: Sequence[str], *, seconds: float, connections: int) -> Load:
    """Ask for the paths in turn, one request at a time on each connection.

    Raises:
        BenchError: an answer was another than 200, or none came.
    """
    requests = cycle([_request(path) for path in paths])
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with ExitStack() as opened, selectors.DefaultSelector() as selector:
        exchanges = []
        for _ in range(connections):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            exchanges.append(_Exchange(connection))
            selector.register(connection, selectors.EVENT_READ, exchanges[-1])
        began = time.perf_counter()
        for exchange in exchanges:
            exchange.ask(next(requests))
        while time.perf_counter() < began + seconds:
            _pass_on(selector, buffer, requests)
        lasted = time.perf_counter() - began
    took = [one for exchange in exchanges for one in exchange.took]
    if not took:
        raise BenchError(f"no answer in {seconds} s")
    body = len(fetch(port, paths[0]))
    return Load(round(len(took) / lasted, 1), round(statistics.median(took) * 1000, 3), body)


def _pass_on(
    selector: selectors.BaseSelector, buffer: memoryview, requests: Iterator[bytes]
) -> None:
    ready = selector.select(_WAIT_SECONDS)
    if not ready:
        raise BenchError(f"no answer in {_WAIT_SECONDS:.0f} s")
    for key, _ in ready:
        if key.data.receive(buffer):
            key.data.ask(next(requests))


def fetch(port: int, path: str) -> bytes:
    """Return the body of one answer.

    Raises:
        BenchError: it was another than 200.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=600) as connection:
        connection.sendall(_request(path))
        received = bytearray()
        while (missing := _missing(bytes(received[:_BUFFER_BYTES]))) is None:
            received += connection.recv(_BUFFER_BYTES) or _closed()
        whole = len(received[:_BUFFER_BYTES]) + missing
        while len(received) < whole:
            received += connection.recv(_BUFFER_BYTES) or _closed()
    return bytes(received[received.index(_END_OF_HEAD) + len(_END_OF_HEAD) :])


def _closed() -> bytes:
    raise BenchError("the web process closed a connection")


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
