"""Which kinds of results a datastream has, as far as processing asks."""

from typing import Final

from device_protocol import kinds
from device_protocol.description import Datastream
from device_protocol.unit_table import BOOLEAN_UNIT

COUNT_UNIT: Final = "count"
TEXT_UNIT: Final = "1"
"""The only unit whose results may be texts."""

POSITIONS: Final = frozenset({"latitude", "longitude"})


def full_turn(datastream: Datastream) -> float | None:
    """Return a whole turn in its unit if its results are directions, else None."""
    return kinds.full_turn(datastream.observed_property, datastream.unit)


def is_truth(datastream: Datastream) -> bool:
    """Return whether its results are truth values."""
    return datastream.unit == BOOLEAN_UNIT
