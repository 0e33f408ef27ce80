"""Sensors whose driver is in the Linux kernel: 1-wire, IIO, hwmon and thermal zones, as files.

Scales are those of the kernel's documentation (ABI/*/sysfs-bus-iio, sysfs-class-hwmon,
sysfs-class-thermal, w1/slaves/w1_therm): a file in thousandths of a degree becomes degrees. The
interpreting is pure; files are read in a thread, since a 1-wire thermometer takes 750 ms.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.adapter import (
    Adapter,
    AdapterError,
    DatastreamSettings,
    Harvest,
    SensorSettings,
    Surroundings,
    table_contradictions,
)
from edge_agent.inputs.rhythm import Rhythm
from runtime.settings import KeyPath, setting

log = logging.getLogger(__name__)

Source = Literal["w1", "iio", "hwmon", "thermal", "path"]

_DIRECTORIES: Final = {
    "w1": "bus/w1/devices",
    "iio": "bus/iio/devices",
    "hwmon": "class/hwmon",
    "thermal": "class/thermal",
}
_NAME_FILES: Final = {"iio": "name", "hwmon": "name", "thermal": "type"}
_CHANNELS: Final = {
    # what a channel's name begins with: unit, and how much of it one step of the file is
    "iio": {
        "temp": ("Cel", 1e-3),
        "pressure": ("hPa", 10.0),
        "humidityrelative": ("%RH", 1e-3),
        "illuminance": ("lx", 1.0),
        "voltage": ("V", 1e-3),
        "current": ("A", 1e-3),
        "power": ("W", 1e-3),
        "concentration_co2": ("ppm", 1e4),
    },
    "hwmon": {
        "temp": ("Cel", 1e-3),
        "humidity": ("%RH", 1e-3),
        "in": ("V", 1e-3),
        "curr": ("A", 1e-3),
        "power": ("W", 1e-6),
    },
}
_MILLIDEGREES: Final = ("Cel", 1e-3)
_POWER_ON_MILLIDEGREES: Final = 85_000
"""What a DS18B20 says that lost its power before it had measured."""
_COLDEST, _WARMEST = -55_000, 125_000
"""All that a DS18B20 can measure; -127 °C and the like are a broken bus."""
_THERMOCOUPLES: Final = "3b-"
"""Family of the MAX31850, which measures more than that."""
_DIGITS: Final = 12


class FileError(Exception):
    """A file holds no result; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings(DatastreamSettings):
    """What one of the kernel's files becomes: a datastream."""

    source: Source = setting("What kind of file it is.")
    device: str = setting(
        "1-wire: its number, e.g. 28-0516a1b2c3d4. Else what the driver calls it, e.g. bme280 or "
        "cpu-thermal, or its directory, e.g. iio:device0, which another start may number anew.",
        default="",
        pattern=r"[^/]*",
    )
    channel: str = setting(
        "Of iio and hwmon: which of its files, e.g. temp, humidityrelative, in0, temp1.",
        default="",
        pattern=r"[a-z0-9_-]*",
    )
    path: str = setting(
        "With source path: a file below /sys that holds a number.", default="", pattern=r"[^/].*|"
    )
    scale: float = setting("What that number is multiplied by to be in `unit`.", default=1.0)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a file that is named in two ways or in none, and units that it is not in."""
        by_path = self.source == "path"
        if by_path != bool(self.path):
            yield ("path",), 'must be given with source "path", and only then'
        if ".." in Path(self.path).parts:
            yield ("path",), "must stay below /sys"
        if by_path == bool(self.device):
            yield ("device",), 'must be given, unless source is "path"'
        if not by_path and self.scale != 1:
            yield ("scale",), 'is known, unless source is "path"'
        if self.scale == 0 or not math.isfinite(self.scale):
            yield ("scale",), "must be a number other than 0"
        yield from self._channel_contradicted()

    def _channel_contradicted(self) -> Iterator[tuple[KeyPath, str]]:
        if (self.source in _CHANNELS) != bool(self.channel):
            yield ("channel",), 'must be given with source "iio" or "hwmon", and only then'
        elif self.source in _CHANNELS and not _unit_and_step(self):
            known = ", ".join(_CHANNELS[self.source])
            yield ("channel",), f"must begin with one of {known}; for others use source path"
        elif self.source != "path" and (found := _unit_and_step(self)) and self.unit != found[0]:
            yield ("unit",), f'must be "{found[0]}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class SysfsSettings(SensorSettings):
    """Reads sensors whose driver is in the kernel."""

    adapter: Literal["sysfs"] = "sysfs"
    interval_seconds: float = setting(
        "Time between two rounds.", default=60.0, minimum=0.1, maximum=86_400.0
    )
    failed_rounds: int = setting(
        "Rounds in a row that brought nothing, after which the sensor has failed.",
        default=3,
        minimum=1,
        maximum=1000,
    )
    root: Path = setting("Where sysfs is; elsewhere only in a container.", default=Path("/sys"))
    files: Mapping[str, FileSettings] = setting("What each file becomes.")

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a sensor without files, and two of one name."""
        yield from table_contradictions("files", self.files)


def datastreams(settings: SysfsSettings) -> tuple[Datastream, ...]:
    """Return what the files become."""
    period = max(1, round(settings.interval_seconds))
    return tuple(file.datastream(period) for file in settings.files.values())


async def harvests(
    settings: SysfsSettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield what each round brings, unless it brings nothing."""
    clock = surroundings.clock
    rhythm = Rhythm(clock, settings.interval_seconds)
    troubles: dict[str, str] = {}
    fruitless = 0
    while True:
        await rhythm.beat()
        readings = []
        for key, file in settings.files.items():
            try:
                result = await asyncio.to_thread(measure, file, settings.root)
            except (FileError, OSError) as error:
                if troubles.get(key) != str(error):
                    extra = {"sensor": settings.urn, "file": key, "error": str(error)}
                    log.warning("file not read", extra=extra)
                troubles[key] = str(error)
                continue
            troubles.pop(key, None)
            readings.append(
                Reading(
                    sensor=settings.urn,
                    name=file.name,
                    phenomenon_time=clock.now(),
                    result=result,
                    unit=file.symbol,
                )
            )
        fruitless = 0 if readings else fruitless + 1
        if readings:
            yield Harvest(tuple(readings))
        elif fruitless >= settings.failed_rounds:
            reasons = "; ".join(f"{key}: {reason}" for key, reason in troubles.items())
            raise AdapterError(f"rounds that brought nothing: {fruitless}; {reasons}")


def measure(file: FileSettings, root: Path) -> float:
    """Return what a file says now, in its unit. Blocks as long as the sensor takes.

    root: where sysfs is.

    Raises:
        FileError: it says nothing of use, or its device is not there.
        OSError: it cannot be read.
    """
    if file.source == "path":
        return _rounded(number(_text(root / file.path)) * file.scale)
    directory = _directory(file, root)
    if file.source == "w1":
        return w1_temperature(_text(directory / "w1_slave"), file.device)
    if file.source == "thermal":
        return _rounded(number(_text(directory / "temp")) * _MILLIDEGREES[1])
    _, step = _unit_and_step(file) or _MILLIDEGREES
    if file.source == "hwmon":
        return _rounded(number(_text(directory / f"{file.channel}_input")) * step)
    return _rounded(_iio(directory, file.channel) * step)


def w1_temperature(text: str, device: str = "28-") -> float:
    """Return the degrees Celsius that a `w1_slave` file tells.

    device: the thermometer's number, which begins with its family.

    Raises:
        FileError: the checksum is wrong, or the temperature is none that was measured.
    """
    lines = text.splitlines()
    if len(lines) < 2 or "t=" not in lines[1]:  # noqa: PLR2004  # checksum, then result
        raise FileError(f"not a w1_slave file: {text!r}")
    if not lines[0].endswith("YES"):
        raise FileError("the checksum is wrong: check wiring and pull-up resistor")
    millidegrees = number(lines[1].rpartition("t=")[2])
    if millidegrees == _POWER_ON_MILLIDEGREES:
        raise FileError("85 °C is what it says before it has measured: check its power")
    possible = _COLDEST <= millidegrees <= _WARMEST
    if not possible and not device.lower().startswith(_THERMOCOUPLES):
        raise FileError(f"{millidegrees / 1000:g} °C is none that it can measure: check wiring")
    return _rounded(millidegrees * _MILLIDEGREES[1])


def number(text: str) -> float:
    """Return the number that a file holds.

    Raises:
        FileError: it holds something else.
    """
    try:
        found = float(text)
    except ValueError as error:
        raise FileError(f"holds {text.strip()!r}, no number") from error
    if not math.isfinite(found):
        raise FileError(f"holds {text.strip()!r}")
    return found


def _iio(directory: Path, channel: str) -> float:
    """Return what the driver has worked out, or else (raw + offset) * scale."""
    worked_out = directory / f"in_{channel}_input"
    if worked_out.exists():
        return number(_text(worked_out))
    raw = number(_text(directory / f"in_{channel}_raw"))
    return (raw + _shared(directory, channel, "offset", 0.0)) * _shared(
        directory, channel, "scale", 1.0
    )


def _shared(directory: Path, channel: str, what: str, otherwise: float) -> float:
    """Return scale or offset of a channel, or of all channels of its kind."""
    for name in (f"in_{channel}_{what}", f"in_{channel.rstrip('0123456789')}_{what}"):
        if (directory / name).exists():
            return number(_text(directory / name))
    return otherwise


def _directory(file: FileSettings, root: Path) -> Path:
    """Return the device's directory, by its own name or by what its driver calls it."""
    parent = root / _DIRECTORIES[file.source]
    if (parent / file.device).is_dir():
        return parent / file.device
    named = {}
    for directory in sorted(parent.glob("*")):
        name_file = directory / _NAME_FILES.get(file.source, "name")
        named[directory] = name_file.read_text().strip() if name_file.is_file() else ""
    found = [directory for directory, name in named.items() if name == file.device]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(directory.name for directory in found)
        raise FileError(f"several are called {file.device}: {several}; name one of these")
    there = ", ".join(name or directory.name for directory, name in named.items()) or "none"
    raise FileError(f"no {file.source} device {file.device}; there are: {there}")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error


def _unit_and_step(file: FileSettings) -> tuple[str, float] | None:
    if file.source in ("w1", "thermal"):
        return _MILLIDEGREES
    channels = _CHANNELS.get(file.source, {})
    stem = file.channel.partition("_")[0].rstrip("0123456789")  # temp2 and temp_ambient: temp
    return channels.get(file.channel) or channels.get(stem)


def _rounded(result: float) -> float:
    return float(f"{result:.{_DIGITS}g}")


ADAPTER: Final = Adapter(SysfsSettings, datastreams, harvests)
