"""Which kind of mean stands for many results of a property, and that mean from kept sums.

Pure. The sums themselves are made by storage/queries/refresh_rollups.sql: of the sine (and, as
second sum, the cosine) for a bearing, of the energy for a level in decibels, else of the value.
Sums of parts add up to those of the whole, so any period is derived from its hours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from device_protocol.kinds import FULL_TURN, LEVEL_UNITS, TOTALLED, full_turn


class Aggregation(Enum):
    """What one value stands for many results of a datastream.

    MEAN: the arithmetic mean. TOTAL: the sum, of what is counted or caught in an interval.
    BEARING: the direction of the mean unit vector (350 and 10 degrees make 0, not 180).
    LEVEL: the level of the mean energy (60 and 70 dB make 67.4 dB, not 65).
    """

    MEAN = "mean"
    TOTAL = "total"
    BEARING = "bearing"
    LEVEL = "level"


_CANCELLED: Final = 1e-9  # mean vectors shorter than this point nowhere


@dataclass(frozen=True, slots=True)
class Summary:
    """What is kept of `n` results; see the module for what the sums are of.

    n: finite numeric results, other ones are not counted. minimum and maximum: in the
    datastream's unit, None for a bearing, which has neither.
    """

    n: int
    sum: float
    sum2: float | None
    minimum: float | None
    maximum: float | None

    def merge(self, other: Self) -> Self:
        """Return the summary of both sets of results."""
        return type(self)(
            self.n + other.n,
            self.sum + other.sum,
            None if self.sum2 is None or other.sum2 is None else self.sum2 + other.sum2,
            _extreme(min, self.minimum, other.minimum),
            _extreme(max, self.maximum, other.maximum),
        )

    def value(self, aggregation: Aggregation, unit: str) -> float | None:
        """Return what stands for the results, in `unit`; None where nothing does.

        That is so without results, and for bearings that cancel each other out.
        """
        if self.n == 0:
            return None
        match aggregation:
            case Aggregation.TOTAL:
                return self.sum
            case Aggregation.LEVEL:
                return 10 * math.log10(self.sum / self.n)
            case Aggregation.BEARING:
                return mean_bearing(self.sum / self.n, (self.sum2 or 0.0) / self.n, FULL_TURN[unit])
            case Aggregation.MEAN:
                return self.sum / self.n


def aggregation_of(property_key: str, unit: str) -> Aggregation:
    """Return what stands for many results of an observed property kept in `unit`.

    property_key: row of the property registry, e.g. "wind_direction". unit: key of the unit table.
    """
    if full_turn(property_key, unit) is not None:
        return Aggregation.BEARING
    if unit in LEVEL_UNITS:
        return Aggregation.LEVEL
    return Aggregation.TOTAL if property_key in TOTALLED else Aggregation.MEAN


def mean_bearing(mean_sine: float, mean_cosine: float, full_turn: float) -> float | None:
    """Return the direction of a mean vector in [0, full_turn); None if it has no direction."""
    if math.hypot(mean_sine, mean_cosine) < _CANCELLED:
        return None
    bearing = math.atan2(mean_sine, mean_cosine) / math.tau * full_turn % full_turn
    return 0.0 if bearing == full_turn else bearing  # a tiny negative rounds up to a whole turn


def _extreme(
    choose: Callable[[float, float], float], one: float | None, other: float | None
) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return choose(one, other)
