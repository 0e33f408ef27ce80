"""How long a reading takes from its COMMIT to the pages that are open.

A real web process serves many streams of server-sent events at once. Readings are committed here
by the functions that ingest uses, and told as ingest tells them: newest values are written, and
listeners notified, once a second. That second and the one that the live stream keeps between two
messages are part of the delay; what the same server needs for a bare NOTIFY to a listener stands
beside it. Every client must hear of every reading, or the measurement is void.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.errors import BenchError
from bench.machine import cpu_seconds, describe_machine
from bench.seed import seed
from storage.batches import (
    Latest,
    Observations,
    make_room,
    notify_latest,
    prepare,
    store_observations,
    upsert_latest,
)
from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate

CLIENTS: Final = 200
SECONDS: Final = 20.0
READINGS_PER_SECOND: Final = 200

_ROOT: Final = Path(__file__).parents[1]
_STREAMS: Final = 1600  # each reports at most every few seconds: none replaces another in a flush
_BATCH_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 1.0  # as ingest
_START_SECONDS: Final = 60.0
_LAST_SECONDS: Final = 20.0
_IDLE_SECONDS: Final = 5.0
_ROUND_TRIPS: Final = 300
_LINE_BYTES: Final = 1 << 22


def measure(
    *,
    clients: int = CLIENTS,
    seconds: float = SECONDS,
    readings_per_second: int = READINGS_PER_SECOND,
) -> dict[str, Any]:
    """Return delays in milliseconds, events a second and what the web process used for them.

    Raises:
        BenchError: a client was cut off, or missed a reading.
        EmbeddedDatabaseError: there is no database here.
    """
    if not 0 < readings_per_second * _FLUSH_SECONDS * 2 <= _STREAMS:
        raise BenchError(f"{readings_per_second} readings a second: give 1 to {_STREAMS // 2}")
    machine = describe_machine()
    with ExitStack() as opened:
        directory = Path(
            opened.enter_context(tempfile.TemporaryDirectory(prefix="kerbstone-bench-"))
        )
        data = directory / "database"
        database = opened.enter_context(EmbeddedDatabase.start(data))
        opened.callback(remove, data)
        opened.callback(database.stop)
        asyncio.run(_prepare(database.dsn))
        serving = opened.enter_context(serve(database.dsn, directory))
        run = _Run(database.dsn, serving, clients, seconds, readings_per_second)
        try:
            found = asyncio.run(run.measure())
        except BaseExceptionGroup as group:  # what the task groups make of it
            if (void := group.subgroup(BenchError)) is None:
                raise
            raise BenchError(str(_first(void))) from group
    return {
        "machine": machine,
        "clients": clients,
        "seconds": seconds,
        "readings_per_second": readings_per_second,
        **found,
    }


def _first(group: BaseExceptionGroup[BenchError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _prepare(dsn: str) -> None:
    await migrate(dsn)
    await seed(dsn, rows=_STREAMS * 24, streams=_STREAMS, days=1)


@dataclass(frozen=True, slots=True)
class Serving:
    """A running web process."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu(self) -> float:
        """Return the processor time it has used."""
        used = cpu_seconds(self.process.pid)
        if used is None:
            raise BenchError("the web process ended, or this system does not tell its CPU time")
        return used


@contextmanager
def serve(dsn: str, directory: Path, settings: str = "") -> Iterator[Serving]:
    """Run the web process for the length of the block; settings: more of them, in TOML."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = directory / "serve.toml"
    config.write_text(f"dsn = {json.dumps(dsn)}\nport = {port}\n{settings}", encoding="utf-8")
    with (
        (directory / "serve.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "command_line", "serve", "--config", str(config)],
            stdout=log,
            stderr=log,
            cwd=_ROOT,
        ) as process,
    ):
        try:
            _await_ready(process, port)
            yield Serving(process, port)
        finally:
            process.terminate()


def _await_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"the web process ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                if json.load(answer).get("live"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise BenchError(f"the web process did not answer in {_START_SECONDS:.0f} s")


@dataclass
class _Run:
    """One measurement. committed: by the reading's time as the stream writes it, its COMMIT."""

    dsn: str
    serving: Serving
    clients: int
    seconds: float
    readings_per_second: int
    committed: dict[str, float] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    events: int = 0
    event_bytes: int = 0

    async def measure(self) -> dict[str, Any]:
        """Let readings pass to all clients."""
        raw = await self._round_trips()
        idle = self.serving.cpu()
        await asyncio.sleep(min(_IDLE_SECONDS, self.seconds))
        idle = (self.serving.cpu() - idle) / min(_IDLE_SECONDS, self.seconds)
        heard: list[set[str]] = [set() for _ in range(self.clients)]
        async with asyncio.TaskGroup() as tasks:
            opened = asyncio.Barrier(self.clients + 1)
            followers = [
                tasks.create_task(self._follow(opened, known), name="client") for known in heard
            ]
            await opened.wait()
            used, own = self.serving.cpu(), _own_cpu()
            began = time.monotonic()
            await self._report()
            lasted = time.monotonic() - began
            await self._until_heard(heard)
            used, own = self.serving.cpu() - used, _own_cpu() - own
            for follower in followers:
                follower.cancel()
        p50, p99 = np.percentile(np.array(self.delays) * 1000, [50, 99])
        least, most = np.percentile(np.array(raw) * 1000, [50, 99])
        return {
            "readings": len(self.committed),
            "delay_p50_ms": round(float(p50), 1),
            "delay_p99_ms": round(float(p99), 1),
            "delay_worst_ms": round(max(self.delays) * 1000, 1),
            "raw_notify_p50_ms": round(float(least), 3),
            "raw_notify_p99_ms": round(float(most), 3),
            "events_per_s": round(self.events / lasted, 1),
            "values_heard_per_s": round(len(self.delays) / lasted),
            "event_bytes_per_s": round(self.event_bytes / lasted),
            "api_cpu_share": round(used / lasted, 3),
            "api_cpu_share_idle": round(idle, 3),
            "api_cpu_ms_per_client_and_s": round(
                max(0.0, used / lasted - idle) * 1000 / self.clients, 3
            ),
            "clients_cpu_share": round(own / lasted, 3),
        }

    async def _round_trips(self) -> list[float]:
        """Return how long a bare NOTIFY takes to a listener, in seconds."""
        took = []
        async with (
            await connect(self.dsn, autocommit=True, application_name="kerbstone bench") as said,
            await connect(self.dsn, autocommit=True, application_name="kerbstone bench") as hears,
        ):
            await hears.execute("LISTEN bench")
            for _ in range(_ROUND_TRIPS):
                began = time.monotonic()
                await said.execute("NOTIFY bench")
                took += [
                    time.monotonic() - began async for _ in hears.notifies(timeout=10, stop_after=1)
                ]
        if len(took) < _ROUND_TRIPS:
            raise BenchError("a bare NOTIFY was not heard")
        return took

    async def _report(self) -> None:
        """Commit readings evenly, and tell of them once a second, as ingest does."""
        newest: dict[int, Latest] = {}
        async with (
            await connect(self.dsn, autocommit=True, application_name="kerbstone bench") as conn,
            asyncio.TaskGroup() as tasks,
        ):
            flushing = tasks.create_task(self._flush(newest), name="flush")
            await prepare(conn)
            begins, done = time.monotonic(), 0
            while (passed := time.monotonic() - begins) < self.seconds:
                due = int(passed * self.readings_per_second)
                if due > done:
                    await self._commit(conn, range(done, due), newest)
                    done = due
                await asyncio.sleep(_BATCH_SECONDS)
            flushing.cancel()
            await self._tell(conn, newest)

    async def _commit(self, conn: Connection, numbers: range, newest: dict[int, Latest]) -> None:
        now = time.time_ns() // 1000
        ids = np.array([number % _STREAMS + 1 for number in numbers], dtype=np.int32)
        times = np.array([now + place for place in range(len(numbers))], dtype=np.int64)
        order = np.argsort(ids)
        found = Observations(ids[order], times[order], np.full(len(numbers), 21.5))
        await make_room(conn, found)
        async with conn.transaction():
            await store_observations(conn, found, [])
        moment = time.monotonic()
        for datastream_id, at in zip(ids.tolist(), times.tolist(), strict=True):
            self.committed[_iso(at)] = moment
            newest[datastream_id] = Latest(at, 21.5, None, 0)

    async def _flush(self, newest: dict[int, Latest]) -> None:
        async with await connect(
            self.dsn, autocommit=True, application_name="kerbstone bench"
        ) as conn:
            while True:
                await self._tell(conn, newest)
                await asyncio.sleep(_FLUSH_SECONDS)

    async def _tell(self, conn: Connection, newest: dict[int, Latest]) -> None:
        """Write the newest values and notify listeners; what was taken is forgotten then."""
        taken = dict(newest)
        if taken:
            async with conn.transaction():
                await upsert_latest(conn, taken)
                await notify_latest(conn)
        for datastream_id, told in taken.items():
            if newest.get(datastream_id) == told:
                del newest[datastream_id]

    async def _follow(self, opened: asyncio.Barrier, known: set[str]) -> None:
        """Be one client: note when which reading arrives."""
        async with _stream(self.serving.port) as lines:
            await opened.wait()
            async for line in lines:
                moment = time.monotonic()
                if not line.startswith(b"data: "):
                    continue
                for reading in _times_in(line):
                    committed = self.committed.get(reading)
                    if committed is not None and reading not in known:
                        known.add(reading)
                        self.delays.append(moment - committed)
                self.events += 1
                self.event_bytes += len(line)

    async def _until_heard(self, heard: list[set[str]]) -> None:
        """Wait for the last readings to arrive everywhere."""
        deadline = time.monotonic() + _LAST_SECONDS
        while any(len(known) < len(self.committed) for known in heard):
            if time.monotonic() > deadline:
                least = min(len(known) for known in heard)
                raise BenchError(
                    f"a client heard of {least} of {len(self.committed)} readings"
                    f" {_LAST_SECONDS:.0f} s after the last one"
                )
            await asyncio.sleep(_BATCH_SECONDS)


@asynccontextmanager
async def _stream(port: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a live stream; yield its lines, without those between them that HTTP adds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LINE_BYTES)
    try:
        writer.write(b"GET /live HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        status = await reader.readline()
        if b" 200 " not in status:
            raise BenchError(f"a client was answered {status.decode(errors='replace').strip()}")
        yield _lines(reader)
    finally:
        writer.close()


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while line := await reader.readline():
        yield line
    raise BenchError("the web process cut a client off")


@lru_cache(maxsize=8)
def _times_in(line: bytes) -> list[str]:
    """Return the times of the readings in an event; all clients are sent the same bytes."""
    return [one["time"] for one in json.loads(line.removeprefix(b"data: ")).get("values", ())]


def _iso(microseconds: int) -> str:
    """Return a time as the stream writes it."""
    seconds, rest = divmod(microseconds, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
    return moment.isoformat().replace("+00:00", "Z")


def _own_cpu() -> float:
    used = cpu_seconds(os.getpid())
    if used is None:
        raise BenchError("this system does not tell CPU times")
    return used
