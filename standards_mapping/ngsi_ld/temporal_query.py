"""Temporal queries (ETSI GS CIM 009, clauses 4.11 and 4.5.19): which time, how many, which means.

Pure: parsing, and the arithmetic of aggregation periods. What the values of a period come to is
said in `aggregates`.
"""

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from standards_mapping.ngsi_ld.errors import BadRequestDataError, TooComplexQueryError
from standards_mapping.ngsi_ld.times import parse_time

METHODS: Final = (
    "avg",
    "min",
    "max",
    "sum",
    "sumsq",
    "stddev",
    "distinctCount",
    "totalCount",
)
MOST_LAST: Final = 100_000
MOST_PERIODS: Final = 100_000
"""How many aggregation periods one answer looks at."""

_DURATION: Final = re.compile(
    r"P(?:(?P<years>\d{1,9})Y)?(?:(?P<months>\d{1,9})M)?(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9}(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)
_LONGEST_YEARS: Final = 200


@dataclass(frozen=True, slots=True)
class Window:
    """The times asked about.

    after: later than that; `starts` says whether that very time is in it, too. before: earlier.
    """

    after: datetime | None = None
    before: datetime | None = None
    starts: bool = False

    def holds(self, time: datetime | None) -> bool:
        """Return whether a time is within; an instance without one never is."""
        if time is None:
            return False
        if self.after is not None and not (
            time > self.after or (self.starts and time == self.after)
        ):
            return False
        return self.before is None or time < self.before


@dataclass(frozen=True, slots=True)
class Period:
    """A duration: of months, of a fixed length, or, where both are nothing, the whole time."""

    months: int = 0
    length: timedelta = timedelta()

    @property
    def whole(self) -> bool:
        """Return whether it stands for the whole time asked about (PT0S)."""
        return not self.months and not self.length

    def start(self, origin: datetime, number: int) -> datetime:
        """Return when the period of that number begins; 0 begins at `origin`.

        Raises:
            TooComplexQueryError: in a year that has no four digits.
        """
        try:
            return _add_months(origin, self.months * number) + self.length * number
        except (OverflowError, ValueError) as error:
            raise TooComplexQueryError("an aggregation period ends too far away") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """Which values stand for those of each period."""

    methods: tuple[str, ...]
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalQuery:
    """What of the history is wanted.

    timerel: as it was given, "" where there was none; time_at, end_time_at likewise.
    last: only so many instances of each attribute, the newest; None: all.
    """

    window: Window = Window()
    timerel: str = ""
    time_at: datetime | None = None
    end_time_at: datetime | None = None
    timeproperty: str = "observedAt"
    last: int | None = None
    aggregation: Aggregation | None = None


def parse_window(timerel: str, time_at: str, end_time_at: str) -> TemporalQuery:
    """Return a temporal query with its times. before and after do not include timeAt; between does.

    Raises:
        BadRequestDataError: a time is missing, none at all, or the end is not after the start.
    """
    if not timerel:
        if time_at or end_time_at:
            raise BadRequestDataError("timeAt needs timerel: before, after or between")
        return TemporalQuery()
    if timerel not in ("before", "after", "between"):
        raise BadRequestDataError(f"timerel is {timerel!r}: give before, after or between")
    start = _time("timeAt", time_at)
    if timerel == "between":
        end = _time("endTimeAt", end_time_at)
        if end <= start:
            raise BadRequestDataError("endTimeAt is not after timeAt")
        window = Window(start, end, starts=True)
        return TemporalQuery(window=window, timerel=timerel, time_at=start, end_time_at=end)
    if end_time_at:
        raise BadRequestDataError("endTimeAt goes with timerel=between alone")
    window = Window(after=start) if timerel == "after" else Window(before=start)
    return TemporalQuery(window=window, timerel=timerel, time_at=start)


def _time(name: str, text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise BadRequestDataError(
            f"{name} is {text!r}: give a time such as 2026-03-29T14:00:00Z"
        ) from error


def parse_last(text: str) -> int | None:
    """Return lastN; None where nothing is given.

    Raises:
        BadRequestDataError: it is no positive whole number, or too large.
    """
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not 0 < int(text) <= MOST_LAST:
        raise BadRequestDataError(f"lastN is {text!r}: give a whole number from 1 to {MOST_LAST}")
    return int(text)


def parse_aggregation(methods: str, duration: str) -> Aggregation:
    """Return what aggrMethods and aggrPeriodDuration ask for; without a duration, the whole time.

    Raises:
        BadRequestDataError: a method or the duration is not known.
    """
    names = tuple(dict.fromkeys(methods.split(","))) if methods else ()
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise BadRequestDataError(
            f"aggrMethods is {methods!r}: give one or more of {', '.join(METHODS)}"
        )
    return Aggregation(methods=names, period=parse_duration(duration or "PT0S"))


def parse_duration(text: str) -> Period:
    """Return an ISO 8601 duration.

    Raises:
        BadRequestDataError: it is none, too long, or has both months and something shorter.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()) or text.endswith("T"):
        raise BadRequestDataError(
            f"aggrPeriodDuration is {text!r}: give an ISO 8601 duration such as PT1H, P1D or P1M"
        )
    parts = {name: float(value) for name, value in match.groupdict("0").items()}
    months = int(parts.pop("years") * 12 + parts.pop("months"))
    try:
        length = timedelta(**parts)
    except OverflowError:
        length = timedelta.max
    if months and length:
        raise BadRequestDataError("aggrPeriodDuration has months and days: give one of them")
    if months > _LONGEST_YEARS * 12 or length > timedelta(days=366 * _LONGEST_YEARS):
        raise BadRequestDataError(f"aggrPeriodDuration is longer than {_LONGEST_YEARS} years")
    return Period(months, length)


def starts(period: Period, origin: datetime, first: datetime, last: datetime) -> Sequence[datetime]:
    """Return when the periods begin that hold `first`, `last` and what is between, and the end.

    origin: when one of them begins. Not for a period that is the whole time.

    Raises:
        TooComplexQueryError: there are more than `MOST_PERIODS`.
    """
    if period.months:
        number = ((first.year - origin.year) * 12 + first.month - origin.month) // period.months
        while period.start(origin, number) > first:
            number -= 1
        while period.start(origin, number + 1) <= first:
            number += 1
    else:
        number = (first - origin) // period.length
    found = [period.start(origin, number)]
    while found[-1] <= last:
        if len(found) > MOST_PERIODS:
            raise TooComplexQueryError(
                f"more than {MOST_PERIODS} aggregation periods: ask for a longer"
                " aggrPeriodDuration or a shorter time"
            )
        number += 1
        found.append(period.start(origin, number))
    return found


def _add_months(time: datetime, months: int) -> datetime:
    """Return the same day so many months later; the last of the month where it has no such day."""
    years, month = divmod(time.month - 1 + months, 12)
    year = time.year + years
    if not 1 <= year <= 9999:  # noqa: PLR2004  # what datetime can say
        raise ValueError(f"year {year}")
    day = min(time.day, calendar.monthrange(year, month + 1)[1])
    return time.replace(year=year, month=month + 1, day=day)


def written(time: datetime) -> str:
    """Return a time as NGSI-LD writes it: UTC, fractions of a second only where there are any."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
