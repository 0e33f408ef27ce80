"""Whether storing gets dearer as the table grows: the same load at several sizes of the table.

Between two loads rows are stored the raw way, the next in time of the same datastreams, so that
the table is as if everything had come through ingest. The rate of those rows says what the
database itself loses.
"""

import asyncio
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.ingest.flow import Flow
from bench.ingest.place import GATEWAYS, Place, made_place, prepare_database
from bench.ingest.raw import Span, store
from bench.load import STEP, STREAMS
from broker_config.files import BrokerKind

_SHARES: Final = (0.0, 0.25, 0.5, 1.0)  # of the rows wanted, before each load
_TIMES: Final = 10  # in a message: of 100 readings


def measure_growth(
    edition: str, kind: BrokerKind, *, rows: int, load_rows: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return the end-to-end rate of `load_rows` at four sizes of the table, 0 to `rows`."""
    with (
        tempfile.TemporaryDirectory(prefix="kerbstone-bench-") as directory,
        made_place(kind, edition, Path(directory)) as place,
    ):
        return asyncio.run(_grow(place, rows, load_rows, tell))


async def _grow(
    place: Place, rows: int, load_rows: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    await prepare_database(place)
    messages = max(1, load_rows // (GATEWAYS * STREAMS * _TIMES))
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start -= (rows + (len(_SHARES) + 1) * load_rows) // (GATEWAYS * STREAMS) * STEP
    found = []
    async with Flow.running(place, start) as flow:
        await flow.full_speed(max(1, messages // 10), _TIMES)  # everyone has met, caches are warm
        for share in _SHARES:
            preload = await _preload(flow, round(rows * share) - flow.rows)
            tell(f"  {flow.rows:,} rows are stored")
            before = flow.rows
            result = await flow.full_speed(messages, _TIMES)
            found.append(
                {
                    "rows_before": before,
                    "raw_rows_per_s_up_to_here": preload,
                    "rows_per_s": result["rows_per_s"],
                    "cpu_ms_per_1000_readings": result["cpu_ms_per_1000_readings"],
                }
            )
    return found


async def _preload(flow: Flow, rows: int) -> int | None:
    """Store so many more rows the raw way; return the rate, None where there is nothing to do."""
    messages = rows // (GATEWAYS * STREAMS * _TIMES)
    if messages <= 0:
        return None
    span = Span(flow.next_start, messages, _TIMES)
    seconds = await store(flow.conn, span)
    flow.skip(span)
    return round(span.rows / seconds)
