"""Readings that came more than once: what a radio repeats, or a network server delivers again.

Pure. The same name, time and result is the same reading. Where a sensor stamps each repetition
anew, the settings say within how long the same result is one event (`repeat_seconds`).
"""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from device_protocol.reading import Reading

_REMEMBERED: Final = 64  # times of one datastream; repetitions come soon

Result = float | bool | str


class Duplicates:
    """What one sensor has said lately.

    repeat_seconds: by datastream; 0, or none, if each time makes it another reading.
    """

    def __init__(self, repeat_seconds: Mapping[str, float]) -> None:
        self._repeat_seconds = repeat_seconds
        self._streams: dict[str, OrderedDict[datetime, Result]] = {}

    def is_repeated(self, reading: Reading) -> bool:
        """Return whether it has been said; if not, remember it.

        Another result for the same time is another reading: which of them holds is for the
        centre to say, which has the first.
        """
        said = self._streams.setdefault(reading.name, OrderedDict())
        time, result = reading.phenomenon_time, reading.result
        if time in said:
            if _same(said[time], result):
                return True
        elif self._is_one_event(reading.name, said, time, result):
            return True
        said[time] = result
        said.move_to_end(time)
        if len(said) > _REMEMBERED:
            said.popitem(last=False)
        return False

    def _is_one_event(
        self, name: str, said: OrderedDict[datetime, Result], time: datetime, result: Result
    ) -> bool:
        """Compare with the last that was kept, so that a lasting state is still told anew."""
        seconds = self._repeat_seconds.get(name, 0.0)
        if not seconds or not said:
            return False
        last = next(reversed(said))
        return _same(said[last], result) and (abs((time - last).total_seconds()) <= seconds)


def _same(one: Result, other: Result) -> bool:
    """Return whether two results are one; true is not 1."""
    return type(one) is type(other) and one == other
