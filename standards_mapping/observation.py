"""The canonical observation: what every published standard is a face of.

Names are those of SOSA and OGC 18-088. How it is written in a standard is the business of that
standard's own module.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from device_protocol.reading import UNFLAGGED, Quality

Result: TypeAlias = float | bool | str
"""A number in the datastream's unit, a state, or text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One result of one datastream.

    datastream: id of the registered datastream.
    time: the instant observed or, for a mean, the end of its interval; UTC.
    averaging: how long an interval the result is a mean over; zero for an instant.
    result: None only where the sensor said explicitly that there is none.
    corrected: what the newest correction says instead of a result that was signed and stays;
    None where nobody corrected it.
    """

    datastream: int
    time: datetime
    averaging: timedelta
    result: Result | None
    quality: Quality = UNFLAGGED
    corrected: Result | None = None

    @property
    def phenomenon_start(self) -> datetime:
        """When what was observed began; equal to `time` for an instant."""
        return self.time - self.averaging
