"""What kind of number a result is, where it is not one that is simply averaged.

Gateway and centre sum up readings by the same rules: a mean formed at the edge must be the mean
that the centre would have formed. The sums are `edge_agent.processing.aggregation` and
`storage.aggregation`.
"""

import math
from typing import Final

LEVEL_UNITS: Final = frozenset({"dB", "dBA", "dBm"})
"""Units whose mean is that of the energy: 60 and 70 dB make 67.4 dB."""

FULL_TURN: Final = {"deg": 360.0, "rad": math.tau}
"""Units of an angle, with a whole turn in each."""

BEARINGS: Final = frozenset({"compass_heading", "wind_direction"})
"""Observed properties that are directions: 350 and 10 degrees make 0. Other angles are not."""

TOTALLED: Final = frozenset(
    {
        "cycle_count",
        "lightning_strikes",
        "motion_count",
        "passage_count",
        "people_count",
        "rainfall",
        "vehicle_count",
    }
)
"""Observed properties that are counted or caught in an interval: parts add up to the whole."""


def full_turn(property_key: str, unit: str) -> float | None:
    """Return a whole turn in `unit` if results of the property are directions, else None."""
    return FULL_TURN.get(unit) if property_key in BEARINGS else None
