"""The whole way, measured: sealed messages over mutual TLS through the broker to COMMIT.

One ingest runs; loads follow each other, each in an epoch of its own and on readings after those
of the load before.
"""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import numpy as np

from bench.errors import BenchError
from bench.ingest.place import GATEWAYS, Place, check_count, ended, said, spawned, write_settings
from bench.ingest.raw import Span
from bench.load import STREAMS, Plan
from bench.machine import tree_cpu_seconds, tree_resident_bytes
from storage.database import Connection, connect

_POLL_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 300.0
_SETTLE_SECONDS: Final = 1.5  # ingest's last flush, and the database's own afterthoughts


class Flow:
    """An ingest under load. rows: stored so far. next_start: of the next load's readings."""

    def __init__(
        self, place: Place, conn: Connection, ingest: subprocess.Popen[str], start: datetime
    ) -> None:
        self._place = place
        self.conn = conn
        self._ingest = ingest
        self._counter = 0
        self.rows = 0
        self.next_start = start

    @classmethod
    @asynccontextmanager
    async def running(
        cls, place: Place, start: datetime, *, workers: int = 1
    ) -> AsyncIterator["Flow"]:
        """Run ingest on a prepared database for the length of the block."""
        settings = write_settings(place, workers=workers)
        async with await connect(
            place.database.dsn, autocommit=True, application_name="kerbstone bench"
        ) as conn:
            with spawned("command_line", "ingest", "run", "--config", str(settings)) as ingest:
                yield cls(place, conn, ingest, start)

    def skip(self, span: Span) -> None:
        """Take note of rows that were stored otherwise; loads go on after them."""
        self.rows += span.rows
        self.next_start = span.end

    async def full_speed(self, messages: int, times: int) -> dict[str, Any]:
        """Return the rate of so many messages of each gateway, and who used the processor."""
        span = Span(self.next_start, messages, times)
        async with self._load(span, rate=0.0) as (load, sealed_bytes):
            before = self._cpu(load)
            began = time.perf_counter()
            _go(load)
            await self._until_stored(span, load)
            seconds = time.perf_counter() - began
            await asyncio.sleep(_SETTLE_SECONDS)
            used = {name: after - before[name] for name, after in self._cpu(load).items()}
            resident = tree_resident_bytes(self._ingest.pid)
        return {
            "rows": span.rows,
            "readings_per_message": STREAMS * times,
            "rows_per_s": round(span.rows / seconds),
            "seconds": round(seconds, 2),
            "cpu_seconds": {name: round(spent, 2) for name, spent in used.items()},
            "cpu_ms_per_1000_readings": {
                name: round(spent / span.rows * 1e6, 2) for name, spent in used.items()
            },
            "message_bytes_per_reading": round(sealed_bytes / span.rows, 1),
            "ingest_resident_mb": round(resident / 1e6, 1),
        }

    async def latency(self, rows_per_s: float, times: int, seconds: float) -> dict[str, Any]:
        """Return how long messages wait for their acknowledgement at a steady rate."""
        readings = STREAMS * times
        rate = rows_per_s / readings
        span = Span(self.next_start, max(10, round(rate * seconds / GATEWAYS)), times)
        async with self._load(span, rate=rate) as (load, _):
            _go(load)
            waited = np.array(json.loads(await said(load)))
            await self._until_stored(span, load)
        return {
            "rows_per_s": round(rows_per_s),
            "messages": len(waited),
            "p50_ms": round(float(np.percentile(waited, 50)) * 1000, 1),
            "p99_ms": round(float(np.percentile(waited, 99)) * 1000, 1),
            "max_ms": round(float(waited.max()) * 1000, 1),
        }

    @asynccontextmanager
    async def _load(
        self, span: Span, *, rate: float
    ) -> AsyncIterator[tuple[subprocess.Popen[str], int]]:
        """Run a load that is ready; yield it with the bytes it has sealed."""
        self._counter += 1
        place = self._place
        plan = Plan(
            gateways=place.load_gateways(),
            recipient=place.recipient.cose_key.hex(),
            messages=span.messages,
            times=span.times,
            start=span.start.isoformat(),
            counter=self._counter,
            rate=rate,
        )
        file = place.directory / "plan.json"
        plan.write(file)
        with spawned("bench.load", str(file)) as load:
            word, _, sealed = (await said(load)).partition(" ")
            if word != "ready":
                raise BenchError(f"the load says {word!r}")
            yield load, int(sealed)
        self.rows += span.rows
        self.next_start = span.end
        await check_count(self.conn, self.rows)

    async def _until_stored(self, span: Span, load: subprocess.Popen[str]) -> None:
        """Return once the database holds the last message of this load's epochs."""
        expected = GATEWAYS * (span.messages + 1)  # the description is one, too
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                cursor = await self.conn.execute(
                    "SELECT sum(received_messages) FROM epoch WHERE counter = %s", (self._counter,)
                )
                if await cursor.fetchone() == (expected,):
                    return
                if ended(self._ingest) is not None or ended(load):
                    codes = f"ingest {ended(self._ingest)}, load {ended(load)}"
                    raise BenchError(f"exit codes: {codes}")
                await asyncio.sleep(_POLL_SECONDS)

    def _cpu(self, load: subprocess.Popen[str]) -> dict[str, float]:
        pids = {
            "ingest": self._ingest.pid,
            "database": self._place.database.pid,
            "broker": self._place.broker.pid,
            "load": load.pid,
        }
        return {name: tree_cpu_seconds(pid) or 0.0 for name, pid in pids.items()}


def _go(load: subprocess.Popen[str]) -> None:
    if load.stdin is None:
        raise BenchError("the load cannot be started")
    load.stdin.write("go\n")
    load.stdin.flush()
