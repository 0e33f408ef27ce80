"""The UK's Daily Air Quality Index: 1 to 10 for five pollutants, from means over their periods.

Pure. Bounds and periods are Defra's (data/daqi_breakpoints.csv). An index never comes from one
reading: it needs the mean over the pollutant's period, and that needs three quarters of it to have
been measured. A mean over hours is the mean of its valid hours; an hour is valid if three quarters
of it were measured. Of sulphur dioxide the highest quarter of an hour counts.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final

CAPTURE: Final = 0.75
"""The least share of a period that must have been measured."""

UNIT: Final = "ug/m3"
"""What concentrations are in, as a key of the unit table."""

_TABLE: Final = Path(__file__).parent / "data" / "daqi_breakpoints.csv"
_KEYS: Final = {"O3": "o3", "NO2": "no2", "SO2": "so2", "PM2.5": "pm25", "PM10": "pm10"}
_HOUR: Final = timedelta(hours=1)
_PERIODS: Final = {  # as the table writes them: the parts that are averaged first, and how many
    "PT15M": (timedelta(minutes=15), 4),
    "PT1H": (_HOUR, 1),
    "PT8H": (_HOUR, 8),
    "PT24H": (_HOUR, 24),
}
_EXACT: Final = Decimal("1e-6")  # ug/m3
_BEYOND: Final = 1e9  # ug/m3; no bound is near it
_LATEST_HOURS: Final = 3  # a value older than this is no index of now


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a pollutant's index is found.

    part: what is averaged first. parts: how many make the period. takes_highest: their highest
    counts, not their mean. averaging: the period in words. bounds: the greatest whole ug/m3 of
    each index but the last. bands: the band of each index.
    """

    property_key: str
    part: timedelta
    parts: int
    takes_highest: bool
    averaging: str
    bounds: tuple[int, ...]
    bands: tuple[str, ...]

    @property
    def period(self) -> timedelta:
        """How far back from its end an index looks."""
        return self.part * self.parts

    def index(self, concentration: float) -> int:
        """Return the index of a mean in ug/m3, which is rounded to a whole number first.

        Before that, what the order of adding up leaves behind is taken off: 11.499999999999998 is
        11.5, so the index is the same however its mean was summed up.
        """
        bounded = Decimal(repr(min(max(concentration, -_BEYOND), _BEYOND)))
        exact = bounded.quantize(_EXACT, ROUND_HALF_UP)
        whole = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
        return 1 + sum(whole > bound for bound in self.bounds)


def _read_rules() -> Mapping[str, Rule]:
    with _TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rules = {}
    for pollutant, key in _KEYS.items():
        own = [row for row in rows if row["pollutant"] == pollutant]
        part, parts = _PERIODS[own[0]["averaging_iso8601"]]
        rules[key] = Rule(
            property_key=key,
            part=part,
            parts=parts,
            takes_highest=part < _HOUR,
            averaging=own[0]["averaging"].partition(" (")[0],
            bounds=tuple(int(row["upper_ug_m3"]) for row in own if row["upper_ug_m3"]),
            bands=tuple(row["band"] for row in own),
        )
    return MappingProxyType(rules)


RULES: Final = _read_rules()
"""By key of the observed property."""


@dataclass(frozen=True, slots=True)
class PartMean:
    """The mean of what was measured in one part. covered: which share of it was, 0 to 1."""

    end: datetime
    mean: float
    covered: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index, the mean in ug/m3 it comes from, and its period.

    captured: share of the period's parts that are valid, at least `CAPTURE`.
    """

    property_key: str
    index: int
    band: str
    concentration: float
    averaging: str
    start: datetime
    end: datetime
    captured: float


@dataclass(frozen=True, slots=True)
class NoIndex:
    """Why a pollutant has no index now, in plain English."""

    property_key: str
    reason: str


def latest_end(now: datetime) -> datetime:
    """Return when the newest period can have ended: at the last full hour."""
    return now.replace(minute=0, second=0, microsecond=0)


def oldest_end(now: datetime) -> datetime:
    """Return when the oldest period ended whose index may be told as that of `now`."""
    return latest_end(now) - (_LATEST_HOURS - 1) * _HOUR


def first_start(rule: Rule, now: datetime) -> datetime:
    """Return from when on parts are needed to tell the index of `now`."""
    return oldest_end(now) - rule.period


def covered_share(
    rule: Rule, results: int, *, averaging: timedelta, period: timedelta | None
) -> float | None:
    """Return which share of a part so many results cover; None where that cannot be told.

    averaging: what each result is a mean over; zero for an instant, which then stands for the time
    until the next, `period`.
    """
    each = averaging or period
    if not each or averaging > rule.part:
        return None
    return min(1.0, results * each / rule.part)


def index_now(rule: Rule, parts: Sequence[PartMean], now: datetime) -> Index | NoIndex:
    """Return the newest index of a pollutant that its parts allow, of the last three hours.

    parts: in any order; those outside the period are not looked at.
    """
    valid = {part.end: part for part in parts if part.covered >= CAPTURE}
    most = 0
    for back in range(_LATEST_HOURS):
        end = latest_end(now) - back * _HOUR
        ends = [end - number * rule.part for number in range(rule.parts)]
        means = [valid[each].mean for each in ends if each in valid]
        most = max(most, len(means))
        if len(means) >= CAPTURE * rule.parts:
            mean = max(means) if rule.takes_highest else sum(means) / len(means)
            return _index(rule, mean, end, len(means) / rule.parts)
    name = "quarter hours" if rule.takes_highest else "hours"
    if rule.parts == 1:
        return NoIndex(rule.property_key, "less than three quarters of the hour were measured")
    needed = -(-3 * rule.parts // 4)
    return NoIndex(
        rule.property_key, f"{most} of {rule.parts} {name} were measured; it takes {needed}"
    )


def highest(indices: Iterable[Index | NoIndex]) -> Index | None:
    """Return the index of a site: the highest of its pollutants', the first of several as high.

    None where no pollutant has one.
    """
    return max(
        (each for each in indices if isinstance(each, Index)),
        key=lambda each: each.index,
        default=None,
    )


def _index(rule: Rule, mean: float, end: datetime, captured: float) -> Index:
    index = rule.index(mean)
    return Index(
        property_key=rule.property_key,
        index=index,
        band=rule.bands[index - 1],
        concentration=mean,
        averaging=rule.averaging,
        start=end - rule.period,
        end=end,
        captured=captured,
    )
