"""How fast ingest is, beside the fastest its own database could be on the same machine.

One run measures both. `raw`: a prepared binary COPY through a staging table into the same schema,
ON CONFLICT DO NOTHING, in transactions of the size ingest uses. `flow`: sealed messages from eight
gateways over mutual TLS, through the broker, all checks on, to COMMIT; and how long a message
waits for its acknowledgement at a steady rate. Database, broker, ingest and load share the
machine, so the ratio says what all the rest costs. `stages`: where ingest's own time goes.
`growth`: the same load on a full table.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bench.ingest.flow import Flow
from bench.ingest.growth import measure_growth
from bench.ingest.place import GATEWAYS, Place, made_place, prepare_database
from bench.ingest.raw import Span, raw_rate
from bench.ingest.stages import measure_stages
from bench.load import STEP, STREAMS
from bench.machine import describe_machine
from broker_config.embedded import default_kind
from broker_config.files import BrokerKind
from storage.database import connect

__all__ = ["EDITIONS", "ROWS", "measure"]

EDITIONS: Final = ("plain", "timescaledb")
ROWS: Final = 1_000_000

_TIMES: Final = {100: 10, 10: 1}
"""By readings of a message, the moments it holds of ten datastreams each."""
_LATENCY_SHARES: Final = (0.1, 0.5, 0.9)  # of the rate just measured
_LATENCY_SECONDS: Final = 15.0
_LATENCY_SPAN: Final = timedelta(days=300)  # of readings: room for a million a second


def measure(
    *,
    editions: Sequence[str] = ("plain",),
    rows: int = ROWS,
    broker: str = "",
    workers: int = 1,
    growth_rows: int = 0,
    latency: bool = True,
    tell: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Return rates in rows a second and their ratios, for each edition of the database.

    editions: of "plain" and "timescaledb". rows: how many of each kind, rounded to whole
    messages; of messages of ten half of it. broker: "mosquitto" or "nats"; empty: the best
    there is here. workers: of ingest. growth_rows: also the rate up to a table of so many rows; 0:
    not. latency: also how long messages wait. tell: told, in a line each, what takes time.

    Raises:
        BenchError: not every row arrived.
    """
    kind = BrokerKind(broker) if broker else default_kind()
    machine = describe_machine()
    results: dict[str, Any] = {}
    for edition in editions:
        tell(f"{edition}: end to end beside raw")
        with (
            tempfile.TemporaryDirectory(prefix="kerbstone-bench-") as directory,
            made_place(kind, edition, Path(directory)) as place,
        ):
            results[edition] = asyncio.run(
                _measure(place, rows, workers, latency=latency, tell=tell)
            )
        if growth_rows:
            tell(f"{edition}: growth to {growth_rows:,} rows")
            results[edition]["growth"] = measure_growth(
                edition, kind, rows=growth_rows, load_rows=rows, tell=tell
            )
    return {
        "machine": machine,
        "broker": kind.value,
        "gateways": GATEWAYS,
        "workers": workers,
        "editions": results,
        "stages_of_ingest": [measure_stages(times) for times in _TIMES.values()],
    }


async def _measure(
    place: Place, rows: int, workers: int, *, latency: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start -= 4 * rows // (GATEWAYS * STREAMS) * STEP + _LATENCY_SPAN
    raw_span = Span(start, _messages(rows, 100), _TIMES[100])
    raw = [await raw_rate(place.database, "raw_before", raw_span)]
    await prepare_database(place)
    found: dict[str, Any] = {}
    async with Flow.running(place, start, workers=workers) as flow:
        size_before = await _size(flow)
        for readings, times in _TIMES.items():
            tell(f"  messages of {readings} readings, as fast as it goes")
            share = rows if readings == max(_TIMES) else rows // 2
            found[f"messages_of_{readings}"] = await flow.full_speed(
                _messages(share, readings), times
            )
            if readings == max(_TIMES):
                found["disk"] = await _disk(flow, size_before)
        raw.append(await raw_rate(place.database, "raw_after", raw_span))
        if latency:
            found["latency"] = await _latencies(flow, found["messages_of_100"]["rows_per_s"], tell)
    raw_rows_per_s = statistics.mean(raw)
    for readings in _TIMES:
        one = found[f"messages_of_{readings}"]
        one["ratio"] = round(one["rows_per_s"] / raw_rows_per_s, 3)
    async with await connect(place.database.dsn, application_name="kerbstone bench") as conn:
        server = conn.info.parameter_status("server_version")
    return {
        "server": f"PostgreSQL {server}",
        "raw_copy_rows_per_s": round(raw_rows_per_s),
        "raw_copy_rows_per_s_before_and_after": [round(rate) for rate in raw],
        **found,
    }


def _messages(rows: int, readings: int) -> int:
    """Return how many messages each gateway sends for so many rows in all."""
    return max(1, rows // (readings * GATEWAYS))


async def _latencies(
    flow: Flow, rows_per_s: float, tell: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    found = {}
    for share in _LATENCY_SHARES:
        tell(f"  acknowledgements at {share:.0%} of that rate")
        found[f"at_{share:.0%}"] = await flow.latency(
            rows_per_s * share, _TIMES[100], _LATENCY_SECONDS
        )
    return found


async def _size(flow: Flow) -> int:
    cursor = await flow.conn.execute("SELECT pg_database_size(current_database())")
    [(size,)] = await cursor.fetchall()
    return int(size)


async def _disk(flow: Flow, before: int) -> dict[str, float]:
    """Return bytes of disk for each reading stored so far, and how many of them are evidence."""
    size = await _size(flow)
    cursor = await flow.conn.execute("SELECT pg_total_relation_size('signed_batch')")
    [(evidence,)] = await cursor.fetchall()
    return {
        "bytes_per_reading": round((size - before) / flow.rows, 1),
        "of_them_signed_objects": round(int(evidence) / flow.rows, 1),
    }
