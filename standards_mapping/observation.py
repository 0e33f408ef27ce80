"""The canonical observation: what every published standard is a face of.

Names are those of SOSA and OGC 18-088. How it is written in a standard is the business of that
standard's own module.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntFlag
from typing import Final, TypeAlias

Result: TypeAlias = float | bool | str
"""A number in the datastream's unit, a state, or text."""


class Quality(IntFlag):
    """What is known against a result; nothing set means nothing flagged.

    Kept as the bit mask `quality` of stored observations.
    """

    OUT_OF_RANGE = 1
    """Outside the range its sensor can measure: kept, but not valid."""
    CLOCK_UNSYNCHRONISED = 2
    """The gateway's clock was not known to be right: the time may be off."""
    REPLAYED = 4
    """A recording played back, not a measurement of now."""
    SUSPECT = 8
    """A check at the centre doubts it."""

    @property
    def flags(self) -> tuple[str, ...]:
        """The published names of what is set, in the order of their bits."""
        return tuple(flag.name.lower().replace("_", "-") for flag in self if flag.name is not None)


UNFLAGGED: Final = Quality(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One result of one datastream.

    datastream: id of the registered datastream.
    time: the instant observed or, for a mean, the end of its interval; UTC.
    averaging: how long an interval the result is a mean over; zero for an instant.
    result: None only where the sensor said explicitly that there is none.
    """

    datastream: int
    time: datetime
    averaging: timedelta
    result: Result | None
    quality: Quality = UNFLAGGED

    @property
    def phenomenon_start(self) -> datetime:
        """When what was observed began; equal to `time` for an instant."""
        return self.time - self.averaging
