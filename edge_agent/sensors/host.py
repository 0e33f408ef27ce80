"""The computer itself as a sensor: load, memory, disk and, where the kernel tells it, temperature.

Reads files that Linux provides under /proc and /sys; `root` stands for `/` so that tests can
bring their own.
"""

import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent import machine
from edge_agent.adapter import (
    Adapter,
    AdapterError,
    Harvest,
    SensorSettings,
    Surroundings,
)
from edge_agent.inputs.rhythm import Rhythm
from runtime.settings import setting

_ROOT: Final = Path("/")
_LOAD_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings(SensorSettings):
    """Measures this computer itself."""

    adapter: Literal["host"] = "host"
    interval_seconds: float = setting(
        "Time between two measurements.", default=1.0, minimum=0.1, maximum=3600.0
    )
    disk_path: Path = setting("Whose file system's use is reported.", default=Path("/"))


def datastreams(settings: HostSettings) -> tuple[Datastream, ...]:
    """Return what a computer measures of itself."""
    period = max(1, round(settings.interval_seconds))
    return (
        Datastream(
            name="cpu_load",
            title="Processor load",
            description="Load average of one minute, divided by the number of processors.",
            observed_property="cpu_load",
            unit="1",
            period_seconds=period,
            averaging_seconds=_LOAD_SECONDS,
            valid_minimum=0.0,
        ),
        Datastream(
            name="memory_used",
            title="Memory in use",
            description="Share of memory that is not available to new programs.",
            observed_property="memory_used",
            unit="%",
            period_seconds=period,
            valid_minimum=0.0,
            valid_maximum=100.0,
        ),
        Datastream(
            name="disk_used",
            title="Disk in use",
            description=f"Share of the file system at {settings.disk_path} that is in use.",
            observed_property="disk_used",
            unit="%",
            period_seconds=period,
            valid_minimum=0.0,
            valid_maximum=100.0,
        ),
        Datastream(
            name="temperature",
            title="Temperature inside",
            description="The warmest of the computer's own thermometers; none, no readings.",
            observed_property="device_temperature",
            unit="Cel",
            period_seconds=None,
            valid_minimum=-60.0,
            valid_maximum=150.0,
        ),
    )


async def harvests(
    settings: HostSettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield one harvest at every interval, without drifting."""
    clock = surroundings.clock
    rhythm = Rhythm(clock, settings.interval_seconds)
    while True:
        await rhythm.beat()
        now = clock.now()
        yield Harvest(
            tuple(
                Reading(
                    sensor=settings.urn, name=name, phenomenon_time=now, result=result, unit=unit
                )
                for name, result, unit in measure(settings.disk_path)
            )
        )


def measure(disk_path: Path, root: Path = _ROOT) -> list[tuple[str, float, str]]:
    """Return short name, result and SenML unit of everything this computer can tell now.

    Raises:
        AdapterError, OSError: the kernel's files are not as expected.
    """
    results = [
        ("cpu_load", _load(root), "/"),
        ("memory_used", _memory_used(root), "/100"),
        ("disk_used", machine.disk_used(disk_path), "/100"),
    ]
    temperature = machine.warmest(root)
    if temperature is not None:
        results.append(("temperature", temperature, "Cel"))
    return results


def _load(root: Path) -> float:
    text = (root / "proc/loadavg").read_text()
    try:
        return round(float(text.split()[0]) / (os.cpu_count() or 1), 4)
    except (ValueError, IndexError) as error:
        raise AdapterError(f"/proc/loadavg holds {text!r}") from error


def _memory_used(root: Path) -> float:
    used = machine.memory_used(root)
    if used is None:
        raise AdapterError("/proc/meminfo does not tell the memory available")
    return used


ADAPTER: Final = Adapter(HostSettings, datastreams, harvests)
