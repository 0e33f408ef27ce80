"""How a time tells that it was read from a clock nobody had set, and what it may become later.

Such a time carries `UnsetClock` where others carry UTC. It counts the same, survives arithmetic
and `replace`, and goes with the reading through whatever handles it, so that only what this
gateway's own clock stamped is ever corrected: a time that came from a sensor, a network server
or a recording carries UTC and stays as it came. `astimezone(UTC)` takes the mark away.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_NO_OFFSET: Final = timedelta(0)

Mark = tuple[str, int]
"""Boot id, and the Unix microsecond at which that boot was believed to have begun."""


class UnsetClock(tzinfo):
    """UTC as a clock believes it that nobody has set since the machine started.

    mark: the boot in which it was read, and when that boot was then believed to have begun.
    """

    def __init__(self, mark: Mark) -> None:
        self.mark = mark

    def __getinitargs__(self) -> tuple[Mark]:
        """Let copies be made."""
        return (self.mark,)

    def __eq__(self, other: object) -> bool:
        """Tell whether both are the same belief."""
        return isinstance(other, UnsetClock) and other.mark == self.mark

    def __hash__(self) -> int:
        """Hash as equality demands."""
        return hash(self.mark)

    def utcoffset(self, _time: datetime | None, /) -> timedelta:
        """Return 0."""
        return _NO_OFFSET

    def dst(self, _time: datetime | None, /) -> timedelta:
        """Return 0."""
        return _NO_OFFSET

    def tzname(self, _time: datetime | None, /) -> str:
        """Return what logs show."""
        return "UTC (clock unset)"

    def fromutc(self, time: datetime, /) -> datetime:
        """Return the time unchanged."""
        return time


def mark_of(time: datetime) -> Mark | None:
    """Return what a time read from an unset clock carries; None of any other."""
    return time.tzinfo.mark if isinstance(time.tzinfo, UnsetClock) else None


def marked(time: datetime, mark: Mark) -> datetime:
    """Return the time as one read from an unset clock."""
    return time.replace(tzinfo=UnsetClock(mark))


def corrected(time: datetime, true_epoch_microseconds: int) -> datetime:
    """Return the time by what is known now of when its boot began; others as they are."""
    mark = mark_of(time)
    if mark is None:
        return time
    return time.replace(tzinfo=UTC) + timedelta(microseconds=true_epoch_microseconds - mark[1])
