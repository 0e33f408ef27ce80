"""A Reading: what a device reports. How it travels is in `senml`."""

import math
import re
from dataclasses import dataclass
from datetime import datetime

from device_protocol.errors import PayloadError

SENSOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
"""What a sensor's URN may look like to be the beginning of a SenML name (RFC 8428, 4.5.1)."""
NAME = re.compile(r"[A-Za-z0-9\-./_]+")
"""A datastream's short name: as above, without the colon that separates it from the sensor."""
_UNFIT = re.compile("[\\0\\ud800-\\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One result from one sensor; on the wire, one SenML record (RFC 8428).

    sensor: URN of the sensor.
    name: short name of the datastream, unique within the sensor.
    phenomenon_time: when the result held in the world, or the end of the interval it averages;
        carries a UTC offset.
    result: a finite number in `unit`, a truth value or a text.
    unit: SenML unit symbol (RFC 8428, RFC 8798), "" where the result has none.

    Raises:
        PayloadError: not such a reading.
    """

    sensor: str
    name: str
    phenomenon_time: datetime
    result: float | bool | str
    unit: str

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
