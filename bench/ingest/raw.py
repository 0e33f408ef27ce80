"""What the database could do at best: a prepared binary COPY of the same keys, through staging.

Transactions are of the size ingest uses by default, rows sorted by key, ON CONFLICT DO NOTHING:
what has to be done to refuse doubles, and nothing else.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from bench.ingest.place import GATEWAYS, check_count
from bench.load import STEP, STREAMS
from storage.batches import Observations, copy_payload
from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase
from storage.migration import migrate
from storage.partitions import ensure_partitions

_BATCH_MESSAGES: Final = 1000  # ingest's default


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the load: so many messages of each gateway, `times` moments in each."""

    start: datetime
    messages: int
    times: int

    @property
    def end(self) -> datetime:
        """The time after the last reading."""
        return self.start + self.messages * self.times * STEP

    @property
    def rows(self) -> int:
        """How many readings all gateways send."""
        return self.messages * GATEWAYS * STREAMS * self.times


async def raw_rate(database: EmbeddedDatabase, name: str, span: Span) -> float:
    """Return the rows a second of a prepared COPY into a fresh database."""
    dsn = database.create_database(name)
    await migrate(dsn)
    async with await connect(dsn, autocommit=True, application_name="kerbstone bench") as conn:
        seconds = await store(conn, span)
        await check_count(conn, span.rows)
    return span.rows / seconds


async def store(conn: Connection, span: Span) -> float:
    """Store the rows of a span; return the seconds it took, their preparation left out.

    The connection commits by itself.
    """
    await conn.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS bench_staged"
        " (datastream_id int NOT NULL, time timestamptz NOT NULL, value float8)"
        " ON COMMIT DELETE ROWS"
    )
    await ensure_partitions(conn, span.start, span.end)
    seconds = 0.0
    for batch in _batches(span):
        payload = copy_payload(batch)
        began = time.perf_counter()
        await _copy(conn, payload)
        seconds += time.perf_counter() - began
    return seconds


async def _copy(conn: Connection, payload: bytes) -> None:
    async with conn.transaction(), conn.cursor() as cursor:
        async with cursor.copy(
            "COPY bench_staged (datastream_id, time, value) FROM STDIN (FORMAT binary)"
        ) as copy:
            await copy.write(payload)
        await cursor.execute(
            "INSERT INTO observation (datastream_id, time, value)"
            " SELECT datastream_id, time, value FROM bench_staged ON CONFLICT DO NOTHING"
        )


def _batches(span: Span) -> Iterator[Observations]:
    """Yield the same keys as the load, in batches of the size ingest stores, sorted by key."""
    random = np.random.default_rng(0)
    streams = np.arange(1, GATEWAYS * STREAMS + 1, dtype=np.int32)
    first = round(span.start.timestamp()) * 1_000_000
    step = round(STEP.total_seconds()) * 1_000_000
    each = max(1, _BATCH_MESSAGES // GATEWAYS)
    for begin in range(0, span.messages, each):
        count = min(each, span.messages - begin) * span.times
        times = first + (begin * span.times + np.arange(count, dtype=np.int64)) * step
        values = random.integers(0, 10_000, count * len(streams)) / 10
        yield Observations(np.repeat(streams, count), np.tile(times, len(streams)), values)
