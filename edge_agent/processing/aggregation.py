"""What an interval comes to: mean, extremes, sum and number of its readings. Pure.

Intervals begin at midnight UTC and follow each other without a gap; a reading at the very end of
one belongs to it, as the time of a mean is the end of its interval. What is out of its range is
left out; all other flags go to what was made of the reading. Levels in decibels are averaged by
their energy, directions round the circle.

An interval is told once, some time after its end, and never again: a reading that comes still
later is left out, and counted. Whoever runs this keeps `state` on the disk, so that what a
sensor's broker was told is safe outlives a power cut.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from device_protocol.description import Datastream
from device_protocol.kinds import LEVEL_UNITS, TOTALLED
from device_protocol.reading import UNFLAGGED, Quality, Reading
from device_protocol.unit_table import senml_symbol
from edge_agent.processing.kinds import COUNT_UNIT, full_turn, is_truth
from edge_agent.processing.settings import AggregateSettings
from edge_agent.stamps import Mark, mark_of, marked

COUNT_SUFFIX: Final = ".n"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_MOST_OPEN: Final = 2_000  # intervals; times may come from outside, and each makes one
_NOWHERE: Final = 1e-9  # mean vectors shorter than this point nowhere
_WORDS: Final = {"mean": "mean", "max": "greatest", "min": "least", "sum": "sum"}


def is_aggregated(stream: Datastream, settings: AggregateSettings) -> bool:
    """Return whether readings of the datastream are sent as aggregates only."""
    return not is_truth(stream) or "count" in settings.functions


def aggregates(stream: Datastream, settings: AggregateSettings) -> Iterator[Datastream]:
    """Yield what is described in place of an aggregated datastream."""
    seconds = settings.interval_seconds
    for function in _functions(stream, settings):
        yield Datastream(
            name=f"{stream.name}.{function}",
            title=f"{stream.title}, {_WORDS[function]} of {seconds} s",
            description=stream.description,
            observed_property=stream.observed_property,
            unit=stream.unit,
            period_seconds=seconds,
            averaging_seconds=seconds,
            valid_minimum=None if function == "sum" else stream.valid_minimum,
            valid_maximum=None if function == "sum" else stream.valid_maximum,
            properties={**stream.properties, "aggregate": function, "aggregated": "at the gateway"},
        )
    yield Datastream(
        name=f"{stream.name}{COUNT_SUFFIX}",
        title=f"{stream.title}, readings in {seconds} s",
        description=f"How many readings of {stream.name!r} there were within their range.",
        observed_property="sample_count",
        unit=COUNT_UNIT,
        period_seconds=seconds,
        averaging_seconds=seconds,
        valid_minimum=0.0,
        properties={**stream.properties, "aggregate": "count", "aggregated": "at the gateway"},
    )


def _functions(stream: Datastream, settings: AggregateSettings) -> Iterator[str]:
    """Yield the functions that make sense of a datastream.

    A direction has no sum or extremes; what the centre adds up has only a sum.
    """
    if stream.observed_property in TOTALLED:
        if set(settings.functions) != {"count"}:
            yield "sum"
        return
    for function in settings.functions:
        if function == "count" or is_truth(stream):
            continue
        if function == "mean" or full_turn(stream) is None:
            yield function


@dataclass(slots=True)
class Summary:
    """What is known of an interval so far.

    n: readings within range. numbers: those of them that are numbers. total, sine, cosine: sums of
    the results, their energies or the coordinates of their directions. touched: when the last
    was added, Unix seconds. quality: all flags of what was added.
    """

    n: int = 0
    numbers: int = 0
    total: float = 0.0
    energy: float = 0.0
    sine: float = 0.0
    cosine: float = 0.0
    least: float | None = None
    greatest: float | None = None
    quality: int = 0
    touched: float = 0.0

    def add(self, reading: Reading, turn: float | None, *, is_level: bool, now: float) -> None:
        """Take a reading into account."""
        self.touched = now
        if reading.quality & Quality.OUT_OF_RANGE:
            return
        self.n += 1
        self.quality |= int(reading.quality)
        result = reading.result
        if isinstance(result, bool | str):
            return
        self.numbers += 1
        self.total += result
        if turn is not None:
            self.sine += math.sin(result / turn * math.tau)
            self.cosine += math.cos(result / turn * math.tau)
        if is_level:
            self.energy += 10 ** (min(max(result, -2000), 2000) / 10)
        self.least = result if self.least is None else min(self.least, result)
        self.greatest = result if self.greatest is None else max(self.greatest, result)

    def mean(self, turn: float | None, *, is_level: bool) -> float | None:
        """Return the mean; None where there is none, as of opposite directions."""
        if not self.numbers:
            return None
        if turn is not None:
            sine, cosine = self.sine / self.numbers, self.cosine / self.numbers
            if math.hypot(sine, cosine) < _NOWHERE:
                return None
            return math.atan2(sine, cosine) / math.tau % 1.0 * turn
        if is_level:
            return 10 * math.log10(self.energy / self.numbers)
        return self.total / self.numbers


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval of one datastream. end: Unix seconds. mark: of the clock its times are of."""

    name: str
    end: int
    mark: Mark | None = None

    @property
    def time(self) -> datetime:
        """Its end, as a reading's time."""
        end = _EPOCH + self.end * _SECOND
        return end if self.mark is None else marked(end, self.mark)


@dataclass(slots=True)
class Closing:
    """Intervals that fell due, and the readings they came to, with how many each was made of."""

    intervals: list[Interval] = field(default_factory=list)
    readings: list[tuple[Reading, Summary]] = field(default_factory=list)


class Aggregation:
    """The open intervals of one sensor."""

    def __init__(
        self, sensor: str, datastreams: Iterable[Datastream], settings: AggregateSettings
    ) -> None:
        self._sensor = sensor
        self._settings = settings
        self._streams = {
            stream.name: stream for stream in datastreams if is_aggregated(stream, settings)
        }
        self._open: dict[Interval, Summary] = {}
        self._closing: set[Interval] = set()  # on the way to the disk: nothing is added any more
        self._told: dict[tuple[str, Mark | None], int] = {}  # the end of the last that was told

    def takes(self, reading: Reading) -> bool:
        """Return whether the reading is one to be aggregated."""
        return reading.name in self._streams

    def add(self, reading: Reading, now: float) -> bool:
        """Add a reading to its interval; return False if that has been told, or is being told."""
        interval = self._interval(reading)
        if interval.end <= self._told.get((interval.name, interval.mark), 0):
            return False
        if interval in self._closing:
            return False
        stream = self._streams[reading.name]
        summary = self._open.setdefault(interval, Summary())
        is_level = stream.unit in LEVEL_UNITS
        summary.add(reading, full_turn(stream), is_level=is_level, now=now)
        return True

    def _interval(self, reading: Reading) -> Interval:
        length = self._settings.interval_seconds
        microseconds = (reading.phenomenon_time - _EPOCH) // timedelta(microseconds=1)
        end = -(-microseconds // (length * 1_000_000)) * length
        return Interval(reading.name, end, mark_of(reading.phenomenon_time))

    def due(self, now: float) -> Closing:
        """Return what fell due by Unix second `now`; it stays in `state` until it is `settled`.

        Nothing is added to it from now on: what came while it is written would be lost with it.

        An interval waits after its end, and as long after its last reading, so that one filled
        from the past in portions is told once it is whole. What is out of a clock that ran
        ahead is told when the time has come round to it. Of too many, the oldest wait no longer.
        """
        closing = Closing()
        too_many = len(self._open) - _MOST_OPEN
        in_order = sorted(self._open, key=lambda interval: interval.end)
        for index, interval in enumerate(in_order):
            summary = self._open[interval]
            is_due = index < too_many or now >= self._due_at(interval, summary, now)
            if is_due or interval in self._closing:
                self._closing.add(interval)
                closing.intervals.append(interval)
                closing.readings += [
                    (reading, summary) for reading in self._results(interval, summary)
                ]
        return closing

    def next_due(self, now: float) -> float | None:
        """Return the Unix second at which something falls due; None if nothing is open."""
        if len(self._open) > _MOST_OPEN:
            return now
        return min(
            (self._due_at(interval, summary, now) for interval, summary in self._open.items()),
            default=None,
        )

    def _due_at(self, interval: Interval, summary: Summary, now: float) -> float:
        touched = summary.touched if summary.touched <= now else 0.0  # a clock may be set back
        return max(interval.end, touched) + self._settings.wait_seconds

    def settle(self, closing: Closing) -> None:
        """Forget what was told and is on the disk."""
        for interval in closing.intervals:
            self._open.pop(interval, None)
            self._closing.discard(interval)
            key = (interval.name, interval.mark)
            self._told[key] = max(interval.end, self._told.get(key, 0))
            if interval.mark is not None:  # of the beliefs of one boot one is enough
                self._told = {
                    known: end
                    for known, end in self._told.items()
                    if known[1] in (None, interval.mark)
                }

    def _results(self, interval: Interval, summary: Summary) -> Iterator[Reading]:
        stream = self._streams[interval.name]
        turn, is_level = full_turn(stream), stream.unit in LEVEL_UNITS
        found = {
            "mean": summary.mean(turn, is_level=is_level),
            "max": summary.greatest,
            "min": summary.least,
            "sum": summary.total if summary.numbers else None,
        }
        for function in _functions(stream, self._settings):
            result = found[function]
            if result is not None and math.isfinite(result):
                yield self._reading(f".{function}", interval, result, summary.quality)
        yield self._reading(COUNT_SUFFIX, interval, float(summary.n), summary.quality)

    def _reading(self, suffix: str, interval: Interval, result: float, quality: int) -> Reading:
        unit = COUNT_UNIT if suffix == COUNT_SUFFIX else self._streams[interval.name].unit
        return Reading(
            sensor=self._sensor,
            name=interval.name + suffix,
            phenomenon_time=interval.time,
            result=result,
            unit=senml_symbol(unit),
            quality=Quality(quality) if quality else UNFLAGGED,
        )

    # What must outlive the process

    def state(self) -> bytes:
        """Return the open intervals, and up to where intervals were told."""
        document = {
            "settings": self._settings_key(),
            "open": [
                [key.name, key.end, key.mark, asdict(summary)]
                for key, summary in self._open.items()
            ],
            "told": [[name, mark, end] for (name, mark), end in self._told.items()],
        }
        return json.dumps(document, separators=(",", ":")).encode()

    def restore(self, state: bytes) -> int:
        """Take up what `state` said; return how many open intervals had to be given up.

        They are of other settings, under which they would be told under names that nobody has
        described.

        Raises:
            ValueError: this is no such state.
        """
        try:
            document = json.loads(state)
            found = {
                Interval(name, end, _mark(mark)): Summary(**summary)
                for name, end, mark, summary in document["open"]
            }
            told = {(name, _mark(mark)): int(end) for name, mark, end in document["told"]}
            same = document["settings"] == self._settings_key()
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the state of an aggregation: {error}") from error
        if not same:
            return len(found)
        self._told = told
        self._open = {key: summary for key, summary in found.items() if key.name in self._streams}
        return len(found) - len(self._open)

    def _settings_key(self) -> Mapping[str, Any]:
        return {"interval": self._settings.interval_seconds}


def _mark(found: Any) -> Mark | None:
    return None if found is None else (str(found[0]), int(found[1]))
