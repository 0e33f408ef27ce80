"""What time it is on a machine that may have no battery-backed clock, and how far to trust it.

Two clocks are read: the wall clock, which somebody may set at any moment, and one that only
counts seconds since the machine started (CLOCK_BOOTTIME, suspension included). While nobody has
set the wall clock, times are provisional: seconds since the start on top of a guess when that
was. They carry the guess with them (`edge_agent.stamps`), so that readings which still wait can
be given their true time once it is known. When each of the last boots really began is kept in a
file, for readings that outlast a restart.

The floor below which the clock is known to be wrong is kept on disk here: the latest of when
this program was built, the time last saved, and the beginnings of certificates that were
verified. How TLS obeys it is told in `credentials.tls`. Which readings wait for the time, and for
how long, is the uplink's business.
"""

import ctypes
import json
import time
from collections.abc import Callable
from dataclasses import replace as with_changes
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Final

from device_protocol.reading import Quality, Reading
from edge_agent.durable import replace, write_durably
from edge_agent.stamps import UnsetClock, corrected, mark_of

_ADJTIMEX_ERROR: Final = 5  # TIME_ERROR of adjtimex(2): the kernel's clock is not synchronised
_TIMEX_BYTES: Final = 512  # more than struct timex on any Linux
_LIBRARY: Final = ctypes.CDLL(None)
_DOUBT_SECONDS: Final = 86_400  # archives may date files by a day too late
_HARDWARE_CLOCK: Final = Path("/sys/class/rtc/rtc0")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_SYSTEMD: Final = Path("/run/systemd/system")  # sd_booted(3)
_MICROSECONDS: Final = 1_000_000
_STEP_SECONDS: Final = 1.0  # a wall clock that strays so far has been set, or its oscillator is odd
_DRIFT_SECONDS: Final = 60.0  # more than a week's drift of any oscillator
_MOST_BOOTS: Final = 32


class ClockQuality(IntEnum):
    """Field 6 of an announcement: where this machine's time comes from."""

    NONE = 0
    AUTHENTICATED = 1
    NETWORK = 2
    HARDWARE = 3


_VOUCHED: Final = (ClockQuality.AUTHENTICATED, ClockQuality.NETWORK)


def since_boot() -> float:
    """Return seconds since this machine started, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """Wall time that does not stand before a floor, unless the machine is sure of it.

    boot_id: names this start of the machine.
    floor_file: holds the latest time this machine has seen; written by `save_floor`. What is
        known of boots is kept beside it.
    wall, monotonic, source, may_be_set: the machine's own; a test gives others.
    """

    def __init__(
        self,
        floor_file: Path,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = since_boot,
        source: Callable[[], ClockQuality] | None = None,
        boot_id: str | None = None,
        may_be_set: Callable[[], bool] | None = None,
    ) -> None:
        self.boot_id = _machine_boot_id() if boot_id is None else boot_id
        self.monotonic = monotonic
        self._floor_file = floor_file
        self._boots_file = floor_file.with_name(f"{floor_file.name}-boots.json")
        self._wall = wall
        self._source = source or machine_clock_quality
        self._may_be_set = may_be_set or machine_keeps_time
        built = Path(__file__).stat().st_mtime - _DOUBT_SECONDS
        self._floor_epoch = max(built, _saved_floor(floor_file)) - monotonic()
        self._boots = _saved_boots(self._boots_file)
        known = self._boots.get(self.boot_id)
        self._true_epoch = None if known is None else known / _MICROSECONDS
        self._hinted_epoch: float | None = None
        self._provisional: int | None = None
        self._last = 0.0

    def raise_floor(self, unix_seconds: float) -> None:
        """Note that by now it cannot be earlier than this, e.g. a certificate's notBefore."""
        self._floor_epoch = max(self._floor_epoch, unix_seconds - self.monotonic())

    def hint(self, unix_seconds: float, at_monotonic: float) -> None:
        """Take the time from a satellite receiver, which nobody sets the machine's clock by.

        at_monotonic: what `monotonic` said as it held. A time before the floor is not taken:
        receivers forget in which 1024 weeks they are. Of several that agree the latest counts,
        for the line they came by only ever delays them.
        """
        epoch = unix_seconds - at_monotonic
        if epoch < self._floor_epoch:
            return
        known = self._hinted_epoch
        if known is None or epoch > known or known - epoch > _STEP_SECONDS:
            self._hinted_epoch = epoch

    def unix(self) -> float:
        """Return Unix seconds: the machine's, or a provisional time while that is unset."""
        return self._reckon()[1]

    def now(self) -> datetime:
        """Return the time for a reading taken now; from an unset clock it carries its mark.

        While the clock is set back by up to a second, time stands nearly still instead of
        running twice over the same moments.
        """
        quality, unix = self._reckon()
        if quality is ClockQuality.NONE:
            provisional = self._provisional or 0
            return datetime.fromtimestamp(unix, UnsetClock((self.boot_id, provisional)))
        if unix < self._last <= unix + _STEP_SECONDS:
            unix = self._last + 1 / _MICROSECONDS  # a stream's readings must differ in time
        self._last = unix
        return datetime.fromtimestamp(unix, UTC)

    def quality(self) -> ClockQuality:
        """Return how this machine knows the time; NONE while nobody has set its clock.

        A clock that was set since the machine started and has lost its source since is as good
        as one from a chip.
        """
        return self._reckon()[0]

    def true_epoch_microseconds(self, boot_id: str | None = None) -> int | None:
        """Return the Unix microsecond at which a boot began, this one by default.

        None while the clock is unset, or if that boot never learned the time.
        """
        if boot_id not in (None, self.boot_id):
            return self._boots.get(str(boot_id))
        quality, unix = self._reckon()
        if quality is ClockQuality.NONE:
            return None
        return round((unix - self.monotonic()) * _MICROSECONDS)

    def is_to_be_set(self) -> bool:
        """Tell whether the clock is unset and something on this machine may set it yet."""
        return self.quality() is ClockQuality.NONE and self._may_be_set()

    def settled(self, reading: Reading) -> Reading:
        """Return a reading as it is to be sent now.

        A time that an unset clock gave becomes the true one, flagged as reconstructed, where its
        boot has learned the time; else it is sent as it is and flagged. Others stay as they are.
        """
        mark = mark_of(reading.phenomenon_time)
        if mark is None:
            return reading
        true_epoch = self.true_epoch_microseconds(mark[0])
        if true_epoch is None:
            as_is = reading.phenomenon_time.replace(tzinfo=UTC)
            flags = reading.quality | Quality.CLOCK_UNSYNCHRONISED
            return with_changes(reading, phenomenon_time=as_is, quality=flags)
        return with_changes(
            reading,
            phenomenon_time=corrected(reading.phenomenon_time, true_epoch),
            quality=reading.quality | Quality.TIME_RECONSTRUCTED,
        )

    def is_floor_only(self) -> bool:
        """Tell whether the machine's own clock, which TLS goes by, is not to be believed."""
        if self._hinted_epoch is not None and self._source() not in _VOUCHED:
            return True
        return self.quality() is ClockQuality.NONE

    def save_floor(self) -> None:
        """Keep the present time as the floor of the next start.

        Not a satellite's: a false one would outlast this boot.

        Raises:
            OSError: the file cannot be written.
        """
        unix = max(self._wall(), self._floor_epoch + self.monotonic())
        if self._source() in _VOUCHED:
            unix = self._wall()
        replace(self._floor_file, f"{unix:.0f}\n".encode())

    def save_boot(self) -> None:
        """Keep when this boot began, once it is known; durable, and nothing if it was kept.

        Raises:
            OSError: the file cannot be written.
        """
        epoch = self.true_epoch_microseconds()
        if epoch is None:
            return
        kept = self._boots.get(self.boot_id)
        if kept is not None and abs(kept - epoch) < _STEP_SECONDS * _MICROSECONDS:
            return
        others = [(boot, began) for boot, began in self._boots.items() if boot != self.boot_id]
        boots = dict([*others, (self.boot_id, epoch)][-_MOST_BOOTS:])
        write_durably(self._boots_file, json.dumps(boots).encode())
        self._boots = boots

    def _reckon(self) -> tuple[ClockQuality, float]:
        """Return how far to trust the time, and the time."""
        wall, monotonic, source = self._wall(), self.monotonic(), self._source()
        epoch = wall - monotonic
        quality, unix = source, wall
        if source not in _VOUCHED:
            if self._hinted_epoch is not None:
                quality, unix = ClockQuality.HARDWARE, self._hinted_epoch + monotonic
            elif epoch < self._floor_epoch:
                return ClockQuality.NONE, self._guess(self._floor_epoch, monotonic)
            elif source is ClockQuality.NONE:
                if not self._was_set(epoch):
                    return ClockQuality.NONE, self._guess(epoch, monotonic)
                quality = ClockQuality.HARDWARE
        self._true_epoch = unix - monotonic
        return quality, unix

    def _was_set(self, epoch: float) -> bool:
        """Tell whether the wall clock is still what it was when somebody vouched for it."""
        known = self._true_epoch
        return known is not None and abs(epoch - known) < _DRIFT_SECONDS

    def _guess(self, epoch: float, monotonic: float) -> float:
        """Return provisional time; the guess stays until the wall clock is set by hand."""
        provisional = self._provisional
        if provisional is None or abs(epoch - provisional / _MICROSECONDS) > _STEP_SECONDS:
            provisional = self._provisional = round(epoch * _MICROSECONDS)
        return provisional / _MICROSECONDS + monotonic


def machine_clock_quality() -> ClockQuality:
    """Ask the kernel whether its clock is disciplined, or else whether it came from a chip."""
    state = _LIBRARY.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if 0 <= state < _ADJTIMEX_ERROR:
        return ClockQuality.NETWORK
    return ClockQuality.HARDWARE if _HARDWARE_CLOCK.exists() else ClockQuality.NONE


def machine_keeps_time() -> bool:
    """Tell whether a service may set this machine's clock: where systemd is in charge.

    In a container without it nobody will: its clock is the host's, and there is nothing to
    wait for.
    """
    return _SYSTEMD.is_dir()


def _machine_boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def _saved_floor(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0


def _saved_boots(path: Path) -> dict[str, int]:
    try:
        boots = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(boots, dict):
        return {}
    return {boot: epoch for boot, epoch in boots.items() if isinstance(epoch, int)}
