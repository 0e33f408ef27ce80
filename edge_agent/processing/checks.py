"""Whether a reading may be told, and what is known against it. Pure; values are never altered.

A result whose unit is not its datastream's is refused, for nobody could tell what it means.
Everything else is told, flagged where it lies out of range, leaps, or has stopped moving.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from device_protocol.description import Datastream
from device_protocol.reading import UNFLAGGED, Quality, Reading
from device_protocol.unit_table import senml_symbol
from edge_agent.processing.kinds import TEXT_UNIT, full_turn, is_truth
from edge_agent.processing.settings import CheckSettings
from edge_agent.stamps import mark_of

_NO_CHECKS: Final = CheckSettings()


class RefusedError(Exception):
    """A reading that must not be told; the message says why."""


class Checks:
    """The checks of one sensor, with what they remember of its last readings."""

    def __init__(
        self, datastreams: Iterable[Datastream], settings: Mapping[str, CheckSettings]
    ) -> None:
        self._streams = {
            stream.name: _StreamChecks(stream, settings.get(stream.name, _NO_CHECKS))
            for stream in datastreams
        }

    def check(self, reading: Reading) -> Reading:
        """Return the reading with all that is known against it.

        Raises:
            RefusedError: it is of no datastream of the sensor, or not in that one's unit.
        """
        stream = self._streams.get(reading.name)
        if stream is None:
            raise RefusedError(f"the sensor has no datastream {reading.name!r}")
        stream.require_unit(reading)
        found = stream.flags(reading)
        return replace(reading, quality=reading.quality | found) if found else reading


class _StreamChecks:
    """The checks of one datastream."""

    def __init__(self, stream: Datastream, settings: CheckSettings) -> None:
        self._unit = stream.unit
        self._symbol = senml_symbol(stream.unit)
        self._is_truth = is_truth(stream)
        self._turn = full_turn(stream)
        lows = (stream.valid_minimum, settings.minimum)
        highs = (stream.valid_maximum, settings.maximum)
        self._low = max((low for low in lows if low is not None), default=float("-inf"))
        self._high = min((high for high in highs if high is not None), default=float("inf"))
        self._most_change = settings.most_change
        self._stuck_seconds = settings.stuck_seconds
        self._good: Reading | None = None  # the last that nothing about its value speaks against
        self._unmoved: Reading | None = None  # the first of those that had the last result

    def require_unit(self, reading: Reading) -> None:
        """Refuse what cannot be a result of this datastream."""
        result = reading.result
        if isinstance(result, bool) != self._is_truth:
            kind = "a truth value" if isinstance(result, bool) else "no truth value"
            raise RefusedError(f"{kind} for unit {self._unit!r}")
        if isinstance(result, str) and self._unit != TEXT_UNIT:
            raise RefusedError(f"a text for unit {self._unit!r}")
        fits = reading.unit == self._symbol
        if not fits and not (isinstance(result, bool | str) and not reading.unit):
            raise RefusedError(f"unit {reading.unit!r}, not {self._symbol!r} as described")

    def flags(self, reading: Reading) -> Quality:
        """Return what is known against it, and remember it."""
        result = reading.result
        if isinstance(result, bool | str):
            return UNFLAGGED
        found = UNFLAGGED
        if not self._low <= result <= self._high:
            found |= Quality.OUT_OF_RANGE
        if self._leaps(reading, result):
            found |= Quality.SUSPECT
        elif not (found or reading.quality & Quality.WARMING_UP):
            self._good = _newer(self._good, reading)
        if self._is_stuck(reading):
            found |= Quality.SUSPECT
        return found

    def _leaps(self, reading: Reading, result: float) -> bool:
        """Compare with the last good one, so that what follows a spike is not a leap as well."""
        before = self._good
        if self._most_change is None or before is None or isinstance(before.result, str):
            return False
        seconds = _seconds_between(before, reading)
        if seconds is None or seconds <= 0:
            return False
        change = abs(result - before.result)
        if self._turn is not None:
            change = min(change % self._turn, -change % self._turn)
        return change > self._most_change * seconds

    def _is_stuck(self, reading: Reading) -> bool:
        if self._stuck_seconds is None:
            return False
        since = self._unmoved
        seconds = None if since is None else _seconds_between(since, reading)
        if since is None or seconds is None or since.result != reading.result:
            self._unmoved = reading if seconds is None or seconds >= 0 else since
            return False
        return seconds >= self._stuck_seconds


def _seconds_between(before: Reading, after: Reading) -> float | None:
    """Return how much later one is; None where their times are of two clocks."""
    if mark_of(before.phenomenon_time) != mark_of(after.phenomenon_time):
        return None
    return (after.phenomenon_time - before.phenomenon_time).total_seconds()


def _newer(before: Reading | None, reading: Reading) -> Reading:
    """Return the later of two; the one at hand where their times are of two clocks."""
    seconds = None if before is None else _seconds_between(before, reading)
    return reading if before is None or seconds is None or seconds >= 0 else before
