"""Readings become observations: found by name, converted, checked, and laid out in columns. Pure.

A reading that cannot be stored is refused alone; its neighbours go on. What carries the readings
was checked before, in `admission`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from device_protocol.errors import (
    ConflictingResultError,
    OutOfRangeError,
    PayloadError,
    ReadingTimeError,
    RejectionError,
    UnitMismatchError,
    UnknownDatastreamError,
)
from device_protocol.reading import Quality
from device_protocol.senml import Record
from device_protocol.unit_table import BOOLEAN_UNIT
from ingest.snapshot import Gateway, Stream
from standards_mapping.units import converter
from storage.batches import Extra, Observations, Result
from storage.quarantine import Reported

Refuse = Callable[[Record, RejectionError], None]

_DIMENSIONLESS = "1"


@dataclass(frozen=True, slots=True)
class Origin:
    """The message some readings came in."""

    tenant: str
    device: str
    topic: str
    received_at: int
    gateway: Gateway


@dataclass(frozen=True, slots=True)
class Span:
    """How many readings of a message are stored, and their first and last time."""

    readings: int
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A result that cannot be stored because another one has its place."""

    origin: Origin
    datastream_id: int
    time: int
    reported: Reported
    kept: Reported | None


@dataclass(frozen=True, slots=True)
class Columns:
    """The observations of a batch, sorted and unique, with the message each came in.

    sources: for each row, an index of `origins`. extras: by (datastream id, time).
    """

    observations: Observations
    sources: npt.NDArray[np.int32]
    origins: tuple[Origin, ...]
    extras: Mapping[tuple[int, int], Extra]

    def contradiction(self, datastream_id: int, time: int, kept: Reported | None) -> Contradiction:
        """Return what is known of the row with this key, which the store found taken."""
        ids, times = self.observations.datastream_ids, self.observations.times
        start, end = np.searchsorted(ids, [datastream_id, datastream_id + 1])
        row = int(start + np.searchsorted(times[start:end], time))
        extra = self.extras.get((datastream_id, time))
        reported: Reported = float(self.observations.values[row])
        if extra is not None and extra.result is not None:
            reported = extra.result
        return Contradiction(self.origins[self.sources[row]], datastream_id, time, reported, kept)


class ReadingTable:
    """Collects the readings of a batch, message by message."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._times: list[int] = []
        self._values: list[float] = []
        self._origins: list[Origin] = []
        self._counts: list[int] = []
        self._extras: dict[int, tuple[int, Result]] = {}  # by row: quality, result

    def __len__(self) -> int:
        return len(self._times)

    def take(
        self,
        records: Iterable[Record],
        origin: Origin,
        *,
        earliest: int,
        latest: int,
        quality: int,
        refuse: Refuse,
    ) -> Span:
        """Add a message's readings; call `refuse` with each that cannot be stored.

        earliest, latest: the allowed times, Unix microseconds. quality: flags for all of them,
        beside their own.
        """
        start = len(self._times)
        find = origin.gateway.streams.get
        add_id, add_time, add_value = self._ids.append, self._times.append, self._values.append
        times, extras = self._times, self._extras
        for record in records:
            stream = find(record.name)
            time, value = record.time_microseconds, record.value
            if (  # the usual reading; anything else takes the slower way below
                stream is not None
                and type(value) is float
                and record.unit == stream.senml_unit
                and earliest <= time <= latest
                and stream.minimum <= value <= stream.maximum
            ):
                if record.quality:
                    extras[len(times)] = (record.quality, None)
                add_id(stream.datastream_id)
                add_time(time)
                add_value(value)
                continue
            try:
                self._observe(record, stream, earliest, latest)
            except RejectionError as error:
                refuse(record, error)
        if quality:
            self._flag(start, quality)
        return self._close(origin, start)

    def _observe(self, record: Record, stream: Stream | None, earliest: int, latest: int) -> None:
        if stream is None:
            raise UnknownDatastreamError(f"{record.name!r} is no datastream of this gateway")
        if not earliest <= record.time_microseconds <= latest:
            raise ReadingTimeError(
                f"time {record.time_microseconds / 1e6:.0f} s, allowed"
                f" {earliest / 1e6:.0f} to {latest / 1e6:.0f}"
            )
        value, result = _observed(record, stream)
        if result is not None or record.quality:
            self._extras[len(self._times)] = (record.quality, result)
        self._ids.append(stream.datastream_id)
        self._times.append(record.time_microseconds)
        self._values.append(value)

    def _flag(self, start: int, quality: int) -> None:
        for row in range(start, len(self._times)):
            before, result = self._extras.get(row, (0, None))
            self._extras[row] = (before | quality, result)

    def _close(self, origin: Origin, start: int) -> Span:
        count = len(self._times) - start
        if not count:
            return Span(0)
        self._origins.append(origin)
        self._counts.append(count)
        times = self._times[start:]
        return Span(count, min(times), max(times))

    def columns(self) -> tuple[Columns, list[Contradiction]]:
        """Return the batch's observations, and those that contradict an earlier one in it.

        Of one datastream and time the reading that came first is kept; repetitions go unsaid.
        """
        ids = np.array(self._ids, np.int32)
        times = np.array(self._times, np.int64)
        order = np.lexsort((times, ids))  # stable: first come, first of its key
        repeated = np.zeros(len(order), np.bool_)
        repeated[1:] = (np.diff(ids[order]) == 0) & (np.diff(times[order]) == 0)
        contradictions = self._contradictions(order, repeated) if repeated.any() else []
        rows = order[~repeated]
        observations = Observations(
            ids[rows], times[rows], np.array(self._values, np.float64)[rows]
        )
        columns = Columns(
            observations, self._sources()[rows], tuple(self._origins), self._kept_extras(rows)
        )
        return columns, contradictions

    def _sources(self) -> npt.NDArray[np.int32]:
        return np.repeat(np.arange(len(self._counts), dtype=np.int32), self._counts)

    def _contradictions(
        self, order: npt.NDArray[np.int64], repeated: npt.NDArray[np.bool_]
    ) -> list[Contradiction]:
        """Return, of the repeated rows in this order, those unlike the first of their key."""
        sources = self._sources()
        firsts = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(order))))
        found = []
        for position in np.flatnonzero(repeated):
            row, first = int(order[position]), int(order[firsts[position]])
            if self._reported(row) != self._reported(first):
                found.append(
                    Contradiction(
                        self._origins[sources[row]],
                        self._ids[row],
                        self._times[row],
                        self._reported(row),
                        self._reported(first),
                    )
                )
        return found

    def _reported(self, row: int) -> Reported:
        _, result = self._extras.get(row, (0, None))
        return self._values[row] if result is None else result

    def _kept_extras(self, rows: npt.NDArray[np.int64]) -> dict[tuple[int, int], Extra]:
        if not self._extras:
            return {}
        kept = set(rows.tolist())
        return {
            (self._ids[row], self._times[row]): Extra(
                self._ids[row], self._times[row], quality, result
            )
            for row, (quality, result) in self._extras.items()
            if row in kept
        }


def _observed(record: Record, stream: Stream) -> tuple[float, Result]:
    """Return the value to store, and the result itself where it is not a number.

    A truth value is also stored as 1 or 0, so that it can be counted and averaged; a text, which
    only a dimensionless datastream takes, leaves the value empty (NaN). Out of the valid range is
    a number only where its gateway says so of it.
    """
    value = record.value
    if isinstance(value, bool):
        if stream.unit != BOOLEAN_UNIT:
            raise UnitMismatchError(f"a truth value for {stream.unit!r}")
        return float(value), value
    if isinstance(value, str):
        if stream.unit != _DIMENSIONLESS:
            raise UnitMismatchError(f"a text for {stream.unit!r}")
        return float("nan"), value
    if not isinstance(value, int | float):
        raise PayloadError("a record without a number, truth value or text")
    if stream.unit == BOOLEAN_UNIT:
        raise UnitMismatchError(f"a number for {stream.unit!r}")
    result = converter(record.unit, stream.unit).apply(float(value))
    flagged = record.quality & Quality.OUT_OF_RANGE and isfinite(result)
    if not (flagged or stream.minimum <= result <= stream.maximum):
        raise OutOfRangeError(
            f"{result:g} {stream.unit}, valid {stream.minimum:g} to {stream.maximum:g}"
        )
    return result, None


def conflicting_result(found: Contradiction) -> ConflictingResultError:
    """Return the refusal that a contradiction is."""
    return ConflictingResultError(f"{found.reported!r} where {found.kept!r} is stored")
