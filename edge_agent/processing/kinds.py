"""Which results are added up in another way than numbers on a line.

The centre sums up hours by the same rules (`storage.aggregation`), which a gateway cannot see.
"""

import math
from typing import Final

from device_protocol.description import Datastream
from device_protocol.unit_table import BOOLEAN_UNIT

LEVEL_UNITS: Final = frozenset({"dB", "dBA", "dBm"})
"""Units whose mean is that of the energy."""

COUNT_UNIT: Final = "count"
TEXT_UNIT: Final = "1"
"""The only unit whose results may be texts."""

POSITIONS: Final = frozenset({"latitude", "longitude"})

_FULL_TURN: Final = {"deg": 360.0, "rad": math.tau}


def full_turn(datastream: Datastream) -> float | None:
    """Return a whole turn in its unit if its results are directions, else None."""
    if datastream.observed_property in POSITIONS:
        return None
    return _FULL_TURN.get(datastream.unit)


def is_truth(datastream: Datastream) -> bool:
    """Return whether its results are truth values."""
    return datastream.unit == BOOLEAN_UNIT
