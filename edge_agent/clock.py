"""What time it is on a machine that may have no battery-backed clock, and how far to trust it.

The floor below which the clock is known to be wrong is kept on disk here: the latest of when
this program was built, the time last saved, and the beginnings of certificates that were
verified. How TLS obeys it is told in `edge_agent.tls`. Times of readings that were already taken
are never rewritten.
"""

import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from edge_agent.durable import replace

_ADJTIMEX_ERROR = 5  # TIME_ERROR of adjtimex(2): the kernel's clock is not synchronised
_TIMEX_BYTES = 512  # more than struct timex on any Linux
_DOUBT_SECONDS = 86_400  # archives may date files by a day too late
_HARDWARE_CLOCK = Path("/sys/class/rtc/rtc0")


class ClockQuality(IntEnum):
    """Field 6 of an announcement: where this machine's time comes from."""

    NONE = 0
    AUTHENTICATED = 1
    NETWORK = 2
    HARDWARE = 3


class Clock:
    """Wall time that does not stand before a floor, unless the machine is sure of it.

    floor_file: holds the latest time this machine has seen; written by `save_floor`.
    wall, monotonic, source: the machine's own; a test gives others.
    """

    def __init__(
        self,
        floor_file: Path,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        source: Callable[[], ClockQuality] | None = None,
    ) -> None:
        self._floor_file = floor_file
        self._wall = wall
        self.monotonic = monotonic
        self._source = source or machine_clock_quality
        self._started = monotonic()
        built = Path(__file__).stat().st_mtime - _DOUBT_SECONDS
        self._floor = max(built, _saved_floor(floor_file))

    def raise_floor(self, unix_seconds: float) -> None:
        """Note that by now it cannot be earlier than this, e.g. a certificate's notBefore."""
        self._floor = max(self._floor, unix_seconds - self._running())

    def unix(self) -> float:
        """Return Unix seconds: the machine's, or floor plus time since the start if that is off."""
        return self._floor + self._running() if self._is_off() else self._wall()

    def now(self) -> datetime:
        """Return `unix()` as a UTC time."""
        return datetime.fromtimestamp(self.unix(), UTC)

    def quality(self) -> ClockQuality:
        """Return how this machine knows the time; NONE while it stands before the floor."""
        return ClockQuality.NONE if self._is_off() else self._source()

    def is_floor_only(self) -> bool:
        """Tell whether `unix()` only says that it is at least so late."""
        return self.quality() is ClockQuality.NONE

    def save_floor(self) -> None:
        """Keep the present time as the floor of the next start.

        Raises:
            OSError: the file cannot be written.
        """
        replace(self._floor_file, f"{self.unix():.0f}\n".encode())

    def _running(self) -> float:
        return self.monotonic() - self._started

    def _is_off(self) -> bool:
        """Tell whether the machine's time is before the floor and nobody vouches for it."""
        if self._wall() >= self._floor + self._running():
            return False
        return self._source() not in (ClockQuality.NETWORK, ClockQuality.AUTHENTICATED)


def machine_clock_quality() -> ClockQuality:
    """Ask the kernel whether its clock is disciplined, or else whether it came from a chip."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None).adjtimex(buffer)
    if 0 <= state < _ADJTIMEX_ERROR:
        return ClockQuality.NETWORK
    return ClockQuality.HARDWARE if _HARDWARE_CLOCK.exists() else ClockQuality.NONE


def _saved_floor(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0
