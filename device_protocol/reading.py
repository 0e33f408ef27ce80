"""A Reading: what a device reports, and what is known against it. How it travels is in `senml`."""

import math
import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from typing import Final

from device_protocol.errors import PayloadError

SENSOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
"""What a sensor's URN may look like to be the beginning of a SenML name (RFC 8428, 4.5.1)."""
NAME = re.compile(r"[A-Za-z0-9\-./_]+")
"""A datastream's short name: as above, without the colon that separates it from the sensor."""
_UNFIT = re.compile("[\\0\\ud800-\\udfff]")


class Quality(IntFlag):
    """What is known against a result; nothing set means nothing flagged.

    Set where it is known, on the gateway or at the centre, and never taken away. The sum of the
    flags travels as SenML label "kq" and is kept as the mask `quality` of stored observations.
    """

    OUT_OF_RANGE = 1
    """Outside the range its sensor can measure: kept, but not valid."""
    CLOCK_UNSYNCHRONISED = 2
    """The gateway's clock was not known to be right: the time may be off."""
    REPLAYED = 4
    """A recording played back, not a measurement of now."""
    SUSPECT = 8
    """A check doubts it: it leapt, or has not moved for too long."""
    WARMING_UP = 16
    """The sensor had not been on for as long as it needs."""
    TIME_RECONSTRUCTED = 32
    """Taken while the gateway had no time of day; its time was worked out once it had one."""
    CORRECTED = 64
    """Signed, and found to be wrong later: a correction is kept beside it. Set at the centre."""

    @property
    def flags(self) -> tuple[str, ...]:
        """The published names of what is set, in the order of their bits."""
        return tuple(flag.name.lower().replace("_", "-") for flag in self if flag.name is not None)


UNFLAGGED: Final = Quality(0)

SET_AT_CENTRE: Final = Quality.CORRECTED
"""What is known at the centre alone: a gateway that says so of its own readings is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One result from one sensor; on the wire, one SenML record (RFC 8428).

    sensor: URN of the sensor.
    name: short name of the datastream, unique within the sensor.
    phenomenon_time: when the result held in the world, or the end of the interval it averages;
        carries a UTC offset.
    result: a finite number in `unit`, a truth value or a text.
    unit: SenML unit symbol (RFC 8428, RFC 8798), "" where the result has none.
    quality: what is known against it.

    Raises:
        PayloadError: not such a reading.
    """

    sensor: str
    name: str
    phenomenon_time: datetime
    result: float | bool | str
    unit: str
    quality: Quality = UNFLAGGED

    def __post_init__(self) -> None:
        if not SENSOR.fullmatch(self.sensor):
            raise PayloadError(f"sensor {self.sensor!r} cannot begin a SenML name")
        if not NAME.fullmatch(self.name):
            raise PayloadError(f"name {self.name!r} cannot end a SenML name")
        if self.phenomenon_time.utcoffset() is None:
            raise PayloadError(f"time {self.phenomenon_time} has no UTC offset")
        if not isinstance(self.result, str) and not abs(self.result) < math.inf:
            raise PayloadError(f"result is {self.result}")
        check_text(self.unit)
        if isinstance(self.result, str):
            check_text(self.result)


def check_text(text: str) -> str:
    """Return a text that every store and wire can carry.

    Raises:
        PayloadError: it holds U+0000, which databases refuse, or half a surrogate pair.
    """
    if _UNFIT.search(text):
        raise PayloadError("text with U+0000 or half a surrogate pair")
    return text
