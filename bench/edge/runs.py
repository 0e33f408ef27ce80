"""The runs that an agent is put through, one function each; figures have units in their names."""

import asyncio
import csv
import time
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any, Final

from bench.edge.agent import Figures, MeasuredAgent, measured_agent
from bench.edge.place import Place
from bench.edge.street import street

_STREAMS: Final = 10
_BATCH_READINGS: Final = 100
_HOST_READINGS: Final = 3  # of one measurement; four where there is a thermometer
_SHORTEST_SECONDS: Final = 0.1  # between two measurements of a host
_SETTLE_SECONDS: Final = 20.0
_SOAK_SETTLE_SECONDS: Final = 120.0
_SAMPLE_SECONDS: Final = 10.0

_SENSOR: Final = """
[[sensor]]
urn = "urn:dev:bench:sensor"
thing = "urn:dev:bench:computer"
name = "Sensor"
description = "A sensor."
"""
_HOST: Final = """
adapter = "host"
interval_seconds = {seconds}
"""
_REPLAY: Final = """
adapter = "replay"
file = "{file}"
recorded = "never"
source = "made up"
licence = "none"
live_interval_seconds = 3600
backfill_days = 3660
"""
_COLUMN: Final = """
[sensor.columns.{name}]
name = "{name}"
title = "{name}"
description = "{name}"
observed_property = "no2"
unit = "ug/m3"
"""


async def steady(place: Place, readings_per_second: float, seconds: float) -> dict[str, Any]:
    """Return what an agent costs that measures its own computer about so often."""
    sensor = _SENSOR + _HOST.format(seconds=_HOST_READINGS / readings_per_second)
    async with measured_agent(place, sensor) as agent:
        started = await agent.seconds_to_run()
        await agent.until(lambda: agent.centre.messages > 1)
        first = agent.figures()
        await asyncio.sleep(seconds)
        last = agent.figures()
    return {
        **_between(first, last),
        "seconds_to_run": round(started, 2),
        "seconds_to_first_message": round(agent.seconds_to_first_message, 2),
    }


async def adapters(place: Place, seconds: float) -> dict[str, Any]:
    """Return what an agent costs that reads a serial sensor, a Modbus meter and LoRaWAN uplinks."""
    async with (
        street(place.directory) as (sensors, further),
        measured_agent(place, sensors, further) as agent,
    ):
        await agent.until(lambda: agent.centre.messages > 1)
        await asyncio.sleep(_SETTLE_SECONDS)
        first = agent.figures()
        await asyncio.sleep(seconds)
        return _between(first, agent.figures())


async def backlog(place: Place, readings: int) -> dict[str, Any]:
    """Return what an agent costs with so many readings waiting, and while it delivers them."""
    rows = max(1, readings // _STREAMS)
    names = [f"stream{index}" for index in range(_STREAMS)]
    file = await asyncio.to_thread(_recording, place.directory / "recording.csv", names, rows)
    sensor = _SENSOR + _REPLAY.format(file=file)
    sensor += "".join(_COLUMN.format(name=name) for name in names)
    async with measured_agent(place, sensor, answered=False) as agent:
        await agent.seconds_to_run()
        await agent.until(lambda: agent.figures().spooled >= rows * _STREAMS)
        filled = agent.figures()
        begun = time.monotonic()
        agent.begin_centre()
        wanted = rows * _STREAMS // _BATCH_READINGS
        await agent.until(lambda: agent.centre.messages > wanted)
        elapsed = time.monotonic() - begun
        last = agent.figures()
    return {
        "readings": rows * _STREAMS,
        "waiting_resident_bytes": filled.resident_bytes,
        "written_bytes_per_reading": round(filled.written_bytes / (rows * _STREAMS)),
        "delivered_per_second": round(rows * _STREAMS / elapsed),
        "resident_bytes": last.resident_bytes,
        "resident_peak_bytes": last.resident_peak_bytes,
    }


async def soak(place: Place, readings_per_second: float, seconds: float) -> dict[str, Any]:
    """Return how the memory of an agent grows under a steady load.

    growth: slope of a straight line through samples of every ten seconds in the second half, for
    an agent settles in the first; noise: the standard deviation of those samples from that line.
    """
    count = ceil(readings_per_second * _SHORTEST_SECONDS / _HOST_READINGS)
    each = _HOST.format(seconds=count * _HOST_READINGS / readings_per_second)
    sensors = "".join(
        (_SENSOR + each).replace("bench:sensor", f"bench:sensor{index}") for index in range(count)
    )
    async with measured_agent(place, sensors) as agent:
        await agent.until(lambda: agent.centre.messages > 1)
        await asyncio.sleep(min(_SOAK_SETTLE_SECONDS, seconds / 4))
        first = agent.figures()
        samples = await _samples(agent, seconds)
        last = agent.figures()
    slope, noise = line_through(samples[len(samples) // 2 :])
    tenth = max(1, len(samples) // 10)
    return {
        **_between(first, last),
        "samples": len(samples),
        "resident_bytes_by_tenths": [round(size) for _, size in samples[::tenth]],
        "growth_bytes_per_hour": round(slope * 3600),
        "noise_bytes": round(noise),
    }


def line_through(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """Return slope and standard deviation about the straight line nearest to the samples."""
    count = len(samples)
    middle_x = sum(x for x, _ in samples) / count
    middle_y = sum(y for _, y in samples) / count
    spread = sum((x - middle_x) ** 2 for x, _ in samples) or 1.0
    slope = sum((x - middle_x) * (y - middle_y) for x, y in samples) / spread
    errors = [y - middle_y - slope * (x - middle_x) for x, y in samples]
    return slope, (sum(error * error for error in errors) / count) ** 0.5


async def _samples(agent: MeasuredAgent, seconds: float) -> list[tuple[float, float]]:
    deadline = time.monotonic() + seconds
    found: list[tuple[float, float]] = []
    while time.monotonic() < deadline:
        figures = agent.figures()
        found.append((figures.at, float(figures.resident_bytes)))
        await asyncio.sleep(min(_SAMPLE_SECONDS, seconds / 20))
    return found


def _between(first: Figures, last: Figures) -> dict[str, Any]:
    readings = last.readings - first.readings
    elapsed = last.at - first.at
    return {
        "seconds": round(elapsed, 1),
        "readings_per_second": round(readings / elapsed, 2),
        "resident_bytes": last.resident_bytes,
        "resident_peak_bytes": last.resident_peak_bytes,
        "processor_percent": round(100 * (last.cpu_seconds - first.cpu_seconds) / elapsed, 2),
        "written_bytes_per_reading": round(
            (last.written_bytes - first.written_bytes) / max(1, readings)
        ),
    }


def _recording(file: Path, names: list[str], rows: int) -> Path:
    # The last day becomes today, so that what lies after now is not delivered: one day more.
    begin = datetime(1999, 1, 1, tzinfo=UTC)
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened)
        table.writerow(["date", *names])
        for row in range(rows + 24):
            moment = begin + timedelta(hours=row)
            table.writerow([moment.isoformat(), *(row + index for index in range(len(names)))])
    return file
