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
from ingest.admission.packs import Readings
from ingest.admission.snapshot import Gateway, Stream
from standards_mapping.units import converter
from storage.batches import Extra, Observations, Result
from storage.quarantine import Reported

Refuse = Callable[[Record, RejectionError], None]

_DIMENSIONLESS = "1"
_MICROSECONDS = 1_000_000


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
    """Collects the readings of a batch, message by message.

    Times are kept as gateways write them, as seconds after a start that many readings share: so
    all of the batch are worked out together, at its end.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._starts: list[int] = []  # Unix microseconds
        self._started: list[int] = []  # how many readings share each start
        self._seconds: list[float] = []
        self._values: list[float] = []
        self._origins: list[Origin] = []
        self._counts: list[int] = []
        self._extras: dict[int, tuple[int, Result]] = {}  # by row: quality, result

    def __len__(self) -> int:
        return len(self._ids)

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
        start = len(self._ids)
        find = origin.gateway.streams.get
        times: list[int] = []
        for record in records:
            try:
                stream, value, result = _observe(record, find(record.name), earliest, latest)
            except RejectionError as error:
                refuse(record, error)
                continue
            if result is not None or record.quality:
                self._extras[len(self._ids)] = (record.quality, result)
            self._ids.append(stream.datastream_id)
            self._values.append(value)
            times.append(record.time_microseconds)
        self._starts += times
        self._started += [1] * len(times)
        self._seconds += [0.0] * len(times)
        self._close(origin, start, quality)
        return Span(len(times), min(times), max(times)) if times else Span(0)

    def take_pack(self, readings: Readings, origin: Origin, *, quality: int) -> Span:
        """Add a message's readings that `packs` has found fit to be stored as they are.

        quality: flags for all of them, beside their own.
        """
        start, count = len(self._ids), len(readings.values)
        self._ids += readings.datastream_ids
        self._starts.append(readings.start)
        self._started.append(count)
        self._seconds += readings.seconds
        self._values += readings.values
        for position, flags in readings.qualities.items():
            self._extras[start + position] = (flags, None)
        self._close(origin, start, quality)
        return Span(count, readings.first, readings.last)

    def _close(self, origin: Origin, start: int, quality: int) -> None:
        """Note that all readings from this row on came in one message, flagged so."""
        end = len(self._ids)
        if start == end:
            return
        self._origins.append(origin)
        self._counts.append(end - start)
        if quality:
            for row in range(start, end):
                before, result = self._extras.get(row, (0, None))
                self._extras[row] = (before | quality, result)

    def columns(self) -> tuple[Columns, list[Contradiction]]:
        """Return the batch's observations, and those that contradict an earlier one in it.

        Of one datastream and time the reading that came first is kept; repetitions go unsaid.
        """
        ids = np.array(self._ids, np.int32)
        times = self._times()
        values = np.array(self._values, np.float64)
        sources = np.repeat(np.arange(len(self._counts), dtype=np.int32), self._counts)
        order = np.lexsort((times, ids))  # stable: first come, first of its key
        repeated = np.zeros(len(order), np.bool_)
        repeated[1:] = (np.diff(ids[order]) == 0) & (np.diff(times[order]) == 0)
        contradictions = []
        rows = order
        if repeated.any():
            contradictions = self._contradictions(order, repeated, times, sources)
            rows = order[~repeated]
        columns = Columns(
            Observations(ids[rows], times[rows], values[rows]),
            sources[rows],
            tuple(self._origins),
            self._kept_extras(rows, times),
        )
        return columns, contradictions

    def _times(self) -> npt.NDArray[np.int64]:
        """Return all times in Unix microseconds, rounded as `senml` rounds them: halves to even."""
        starts = np.repeat(np.array(self._starts, np.int64), self._started)
        after = np.rint(np.array(self._seconds, np.float64) * _MICROSECONDS)
        return starts + after.astype(np.int64)

    def _contradictions(
        self,
        order: npt.NDArray[np.int64],
        repeated: npt.NDArray[np.bool_],
        times: npt.NDArray[np.int64],
        sources: npt.NDArray[np.int32],
    ) -> list[Contradiction]:
        """Return, of the repeated rows in this order, those unlike the first of their key."""
        firsts = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(order))))
        found = []
        for position in np.flatnonzero(repeated):
            row, first = int(order[position]), int(order[firsts[position]])
            if self._reported(row) != self._reported(first):
                found.append(
                    Contradiction(
                        self._origins[sources[row]],
                        self._ids[row],
                        int(times[row]),
                        self._reported(row),
                        self._reported(first),
                    )
                )
        return found

    def _reported(self, row: int) -> Reported:
        _, result = self._extras.get(row, (0, None))
        return self._values[row] if result is None else result

    def _kept_extras(
        self, rows: npt.NDArray[np.int64], times: npt.NDArray[np.int64]
    ) -> dict[tuple[int, int], Extra]:
        if not self._extras:
            return {}
        kept = set(rows.tolist())
        found = {}
        for row, (quality, result) in self._extras.items():
            if row in kept:
                key = (self._ids[row], int(times[row]))
                found[key] = Extra(*key, quality, result)
        return found


def _observe(
    record: Record, stream: Stream | None, earliest: int, latest: int
) -> tuple[Stream, float, Result]:
    """Return where a reading belongs and what to store, as `_observed` does.

    Raises:
        RejectionError: it cannot be stored.
    """
    if stream is None:
        raise UnknownDatastreamError(f"{record.name!r} is no datastream of this gateway")
    if not earliest <= record.time_microseconds <= latest:
        raise ReadingTimeError(
            f"time {record.time_microseconds / 1e6:.0f} s, allowed"
            f" {earliest / 1e6:.0f} to {latest / 1e6:.0f}"
        )
    value = record.value
    if (  # the usual reading, whose unit needs no look at the tables
        type(value) is float
        and record.unit == stream.senml_unit
        and stream.minimum <= value <= stream.maximum
    ):
        return stream, value, None
    return stream, *_observed(record, stream)


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
