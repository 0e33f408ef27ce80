"""What Linux tells about this computer and this process: disk, memory, heat, bytes written.

Only looked up here; readings are made of it by `health.heartbeat` and the adapter `host`.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")
_MILLIDEGREES: Final = 1000.0
_MEMORY: Final = ("MemAvailable", "MemTotal")
_TEMPERATURES: Final = (
    "sys/class/thermal/thermal_zone*/temp",
    "sys/class/hwmon/hwmon*/temp*_input",
)


def disk_used(path: Path) -> float:
    """Return the share of the file system in use, in per cent, as df(1) shows it.

    What only root may use does not count.

    Raises:
        OSError: it cannot be looked up.
    """
    figures = os.statvfs(path)
    used = figures.f_blocks - figures.f_bfree
    usable = used + figures.f_bavail
    return round(100.0 * used / usable, 3) if usable else 0.0


def warmest(root: Path = _ROOT) -> float | None:
    """Return the greatest of the computer's own temperatures in degrees Celsius, None without."""
    return max(_temperatures(root), default=None)


def memory_used(root: Path = _ROOT) -> float | None:
    """Return the share of memory that is not available to new programs, in per cent.

    From MemAvailable and MemTotal of proc(5); None if untold.
    """
    available, total = (_figure(root / "proc/meminfo", name) for name in _MEMORY)
    if available is None or not total:
        return None
    return round(100.0 * (1 - available / total), 3)


def resident_bytes(root: Path = _ROOT) -> int | None:
    """Return how much of this process is in memory (VmRSS of proc(5)), None if untold."""
    return _kibibytes(root / "proc/self/status", "VmRSS")


def written_bytes(root: Path = _ROOT) -> int | None:
    """Return how many bytes this process has sent to disks since its start, None if untold.

    write_bytes of proc(5): what really goes to the flash card, journal and metadata not included.
    """
    return _figure(root / "proc/self/io", "write_bytes")


def _temperatures(root: Path) -> Iterable[float]:
    for pattern in _TEMPERATURES:
        for path in root.glob(pattern):
            try:
                yield int(path.read_text()) / _MILLIDEGREES
            except (OSError, ValueError):
                continue  # many a thermometer exists without being readable


def _kibibytes(path: Path, name: str) -> int | None:
    figure = _figure(path, name)
    return None if figure is None else figure * 1024


def _figure(path: Path, name: str) -> int | None:
    """Return the number on the line that begins with `name` and a colon."""
    try:
        lines = path.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
