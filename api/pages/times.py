"""Times and spans in words, and the judgement whether a value is fresh, late or stale.

Pure: the caller supplies the clock. The browser's own ticking (dashboard/static/age.js) follows
`age_text`; a browser test holds the two together.
"""

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_UNITS: Final = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (1, "second"))
_JUST_NOW_SECONDS: Final = 2
_TWO: Final = 2

IRREGULAR_PERIOD_SECONDS: Final = 12 * _HOUR
"""What a stream that keeps no rhythm is judged by: late after a day, stale after two."""


class Freshness(Enum):
    """How a value's age compares with how often one is expected; never a statement about health.

    WAITING: no value has come yet.
    """

    FRESH = "fresh"
    LATE = "late"
    STALE = "stale"
    WAITING = "waiting"


def late_after_seconds(period_seconds: int | None) -> int:
    """Return the age at which a value stops being fresh: two periods, at least a minute."""
    return max(2 * (period_seconds or IRREGULAR_PERIOD_SECONDS), _MINUTE)


def stale_after_seconds(period_seconds: int | None) -> int:
    """Return the age at which a value is stale: four periods, at least five minutes."""
    return max(4 * (period_seconds or IRREGULAR_PERIOD_SECONDS), 5 * _MINUTE)


def freshness(time: datetime | None, period_seconds: int | None, now: datetime) -> Freshness:
    """Return how fresh a value observed at `time` is at `now`."""
    if time is None:
        return Freshness.WAITING
    age_seconds = (now - time).total_seconds()
    if age_seconds <= late_after_seconds(period_seconds):
        return Freshness.FRESH
    if age_seconds <= stale_after_seconds(period_seconds):
        return Freshness.LATE
    return Freshness.STALE


def plural(count: int, noun: str) -> str:
    """Return e.g. "1 day", "3 days"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration_text(seconds: float) -> str:
    """Return an exact span in its largest fitting units, e.g. "1 hour", "1 day 6 hours"."""
    rest = round(seconds)
    parts: list[str] = []
    for size, noun in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(plural(count, noun))
    return " ".join(parts[:_TWO]) or "0 seconds"


def age_text(age_seconds: float) -> str:
    """Return how long ago, in the unit that two or more of fit; rounded down."""
    if age_seconds < -_MINUTE:
        return f"{_coarse(-age_seconds)} in the future"
    if age_seconds < _JUST_NOW_SECONDS:
        return "just now"
    return f"{_coarse(age_seconds)} ago"


def _coarse(seconds: float) -> str:
    for size, noun in _UNITS[:-1]:
        if seconds >= _TWO * size:
            return plural(int(seconds // size), noun)
    return plural(int(seconds), "second")


def time_text(time: datetime) -> str:
    """Return e.g. "22 November 2026, 03:12:05 UTC"; seconds only where they are not zero."""
    time = time.astimezone(UTC)
    clock = f"{time:%H:%M:%S}" if time.second else f"{time:%H:%M}"
    return f"{time.day} {time:%B %Y}, {clock} UTC"


def date_text(time: datetime) -> str:
    """Return the day, in UTC, e.g. "22 November 2026"."""
    time = time.astimezone(UTC)
    return f"{time.day} {time:%B %Y}"


def short_time_text(time: datetime, now: datetime) -> str:
    """Return e.g. "22 Nov, 03:12:05 UTC", with the year where it is not the present one."""
    time = time.astimezone(UTC)
    year = "" if time.year == now.astimezone(UTC).year else f" {time.year}"
    return f"{time.day} {time:%b}{year}, {time:%H:%M:%S} UTC"


def iso_text(time: datetime) -> str:
    """Return RFC 3339 in UTC with the letter Z, microseconds only where there are any."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the moment an ISO 8601 text names; without an offset it is taken as UTC.

    Raises:
        ValueError: the text is not such a time.
    """
    time = datetime.fromisoformat(text.strip())
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return time.astimezone(UTC)


def floor_second(time: datetime) -> datetime:
    """Return `time` without its fraction of a second."""
    return time - timedelta(microseconds=time.microsecond)
