"""What three days without a network cost: the spool's size, the time to drain it, and what waits.

A real agent process starts with a spool that holds 72 hours of ten readings a second, of all
priorities, and measures its own computer meanwhile: its live readings. The centre is as small
as can be (`bench.edge.centre`), so what is measured is the agent. Figures have units in their
names; none is judged.
"""

import asyncio
import os
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bench.edge.agent import MeasuredAgent, measured_agent
from bench.edge.centre import Centre
from bench.edge.place import Place, made_place
from bench.errors import BenchError
from bench.machine import describe_machine
from broker_config.embedded import default_kind
from broker_config.files import BrokerKind
from device_protocol.reading import Reading
from device_protocol.receiver import OpenedMessage
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, decode_cbor
from edge_agent.spool.rows import Priority
from edge_agent.spool.store import Spool

HOURS: Final = 72.0
READINGS_PER_SECOND: Final = 10.0

_STREET: Final = "urn:dev:bench:street"
_LIVE: Final = "urn:dev:bench:sensor"
_COMMIT_READINGS: Final = 5_000
_NO_QUOTA: Final = 1 << 40
_STREAMS: Final = 10
_ALARM_EVERY: Final = 1_000
_LOW_EVERY: Final = 3
_POLL_SECONDS: Final = 0.2
_STALL_SECONDS: Final = 120.0
_SENSOR: Final = f"""
[[sensor]]
adapter = "host"
urn = "{_LIVE}"
thing = "urn:dev:bench:computer"
name = "Sensor"
description = "A sensor."
interval_seconds = 1.0
"""
_UPLINK: Final = """
[uplink]
drain_readings_per_second = {pace}
"""


def measure(
    *,
    hours: float = HOURS,
    readings_per_second: float = READINGS_PER_SECOND,
    drain_readings_per_second: float = 0.0,
    broker: str = "",
) -> dict[str, Any]:
    """Return what an agent makes of so many hours without a network.

    drain_readings_per_second: the pace in its settings; 0: as fast as it goes.
    broker: "mosquitto" or "nats"; empty: the best there is here.

    Raises:
        BenchError: the agent ended, or two minutes passed without a message.
    """
    machine = describe_machine()
    kind = BrokerKind(broker) if broker else default_kind()
    count = round(hours * 3600 * readings_per_second)
    with made_place(kind) as place:
        drained = asyncio.run(
            _drain(place, count, 1 / readings_per_second, drain_readings_per_second)
        )
    return {"machine": machine, "broker": kind.value, "offline": {"hours": hours, **drained}}


class _Listening:
    """Counts what a centre opens, and how old live readings are when they come."""

    def __init__(self, centre: Centre) -> None:
        self.readings = 0
        self.delays: list[float] = []
        centre.on_message = self._opened

    def _opened(self, message: OpenedMessage) -> None:
        if message.content_format != CONTENT_FORMAT_SENML_CBOR:
            return
        now = time.time()
        for record in decode_cbor(message.payload):
            if record.name.startswith(_STREET):
                self.readings += 1
            elif record.name.startswith(_LIVE):
                self.delays.append(now - record.time_microseconds / 1e6)


async def _drain(place: Place, count: int, seconds_between: float, pace: float) -> dict[str, Any]:
    state = place.directory / "gateway" / "state"
    state.mkdir(parents=True)
    file = state / "spool.sqlite"
    begun = time.monotonic()
    await asyncio.to_thread(_fill, file, count, seconds_between)
    filling = time.monotonic() - begun
    size = file.stat().st_size
    begun = time.monotonic()
    async with measured_agent(place, _SENSOR, _UPLINK.format(pace=pace)) as agent:
        listening = _Listening(agent.centre)
        to_run = await agent.seconds_to_run()
        first = agent.figures()
        await _until_drained(agent, listening, count)
        last = agent.figures()
    elapsed = time.monotonic() - begun
    delays = listening.delays
    percentiles = statistics.quantiles(delays, n=100) if len(delays) > 1 else [0.0] * 99
    return {
        "readings": count,
        "file_bytes": size,
        "file_bytes_per_reading": round(size / count, 1),
        "seconds_to_fill": round(filling, 1),
        "seconds_to_run": round(to_run, 2),
        "seconds_to_drain": round(elapsed, 1),
        "drained_readings_per_second": round(count / elapsed),
        "live_readings_meanwhile": len(delays),
        "live_delay_seconds_p50": round(percentiles[49], 2),
        "live_delay_seconds_p99": round(percentiles[98], 2),
        "resident_bytes": last.resident_bytes,
        "resident_peak_bytes": last.resident_peak_bytes,
        "written_bytes_per_reading": round((last.written_bytes - first.written_bytes) / count),
    }


async def _until_drained(agent: MeasuredAgent, listening: _Listening, count: int) -> None:
    """Wait until every reading has come.

    Raises:
        BenchError: the agent ended, or two minutes passed without one.
    """
    seen, since = 0, time.monotonic()
    while listening.readings < count:
        await asyncio.sleep(_POLL_SECONDS)
        agent.figures()  # fails if it has ended
        if listening.readings > seen:
            seen, since = listening.readings, time.monotonic()
        elif time.monotonic() - since > _STALL_SECONDS:
            raise BenchError(f"{seen} of {count} readings came")


def _fill(path: Path, count: int, seconds_between: float) -> None:
    """Write readings up to now into a new spool, as an agent would have."""
    with Spool(path, quota_bytes=_NO_QUOTA, gap_record=lambda _: _reading(0, 0.0)) as spool:
        pending: list[tuple[Priority, Reading]] = []
        for each in _readings(count, seconds_between):
            pending.append(each)
            if len(pending) == _COMMIT_READINGS:
                spool.write(pending, [], int(time.time()))
                pending.clear()
        spool.write(pending, [], int(time.time()))
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.sync()


def _readings(count: int, seconds_between: float) -> Iterator[tuple[Priority, Reading]]:
    for number in range(count):
        priority = Priority.NORMAL
        if number % _ALARM_EVERY == 0:
            priority = Priority.ALARM
        elif number % _LOW_EVERY == 0:
            priority = Priority.LOW
        yield priority, _reading(number, (count - number) * seconds_between)


def _reading(number: int, seconds_ago: float) -> Reading:
    return Reading(
        sensor=_STREET,
        name=f"stream{number % _STREAMS}",
        phenomenon_time=datetime.now(UTC) - timedelta(seconds=seconds_ago),
        result=20.0 + number / 7,
        unit="ug/m3",
    )
