"""What goes next once the uplink runs again after an outage: live readings beside the backlog.

`Lanes` knows which rows of the spool have been sealed and in what order the others are wanted:
alarms, then what came since the outage (live), then what had gathered by then (backlog), of
each the higher priority first, then the older. `Pace` slows the backlog down, so that a region
of gateways that all come back at once does not storm the centre. Pure, but for the clock.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from edge_agent.spool.rows import HIGHEST_NUMBER, Priority, Span, Waiting

_PACED: Final = (Priority.NORMAL, Priority.LOW)
_UNLIMITED: Final = 1 << 30


class Lanes:
    """Which rows were sealed, as ranges of numbers.

    A row whose number is below one that was sealed in the same lane was sealed too, or is gone:
    rows are read in order, and none appears later among older ones.

    boundary: the highest number of the backlog; what is above is live.
    has_backlog: rows up to there may still be unsealed.
    """

    def __init__(self) -> None:
        self.boundary = 0
        self.has_backlog = False
        self._sealed: dict[Priority, list[tuple[int, int]]] = {each: [] for each in Priority}

    def split(self, highest: int) -> None:
        """Call everything up to number `highest` backlog."""
        self.boundary = max(self.boundary, highest)
        self.has_backlog = self.boundary > 0

    def alarms(self) -> list[Span]:
        """Return where unsealed alarms are, of whatever age."""
        return list(self._unsealed(Priority.ALARM, 1, HIGHEST_NUMBER))

    def live(self) -> list[Span]:
        """Return where unsealed live readings are, alarms apart."""
        low = self.boundary + 1
        return [span for each in _PACED for span in self._unsealed(each, low, HIGHEST_NUMBER)]

    def backlog(self) -> list[Span]:
        """Return where the unsealed readings of the backlog are, alarms apart."""
        return [span for each in _PACED for span in self._unsealed(each, 1, self.boundary)]

    def is_backlog(self, row: Waiting) -> bool:
        """Tell whether a row belongs to the backlog."""
        return row.number <= self.boundary and row.priority is not Priority.ALARM

    def seal(self, rows: Sequence[Waiting]) -> tuple[Span, ...]:
        """Note rows as sealed and return them as spans that hold no other row.

        rows: as they were read, from the first of each lane on.
        """
        sealed: list[tuple[Span, Span]] = []  # the gap that rows stood in, and the rows
        for row in rows:
            gap, span = sealed[-1] if sealed else (None, None)
            if (
                gap is None
                or span is None
                or row.priority is not gap.priority
                or not span.last < row.number <= gap.last
            ):
                gap = self._gap_of(row)
                sealed.append((gap, Span(row.priority, row.number, row.number)))
            else:
                sealed[-1] = (gap, Span(row.priority, span.first, row.number))
        for gap, span in sealed:
            self._add(span.priority, gap.first, span.last)
        return tuple(span for _, span in sealed)

    def give_back(self, spans: Sequence[Span]) -> None:
        """Note rows as unsealed: they are to be sealed again."""
        for span in spans:
            ranges: list[tuple[int, int]] = []
            for first, last in self._sealed[span.priority]:
                ranges += [(first, min(last, span.first - 1)), (max(first, span.last + 1), last)]
            kept = {(first, last) for first, last in ranges if first <= last}
            self._sealed[span.priority] = sorted(kept)
            self.has_backlog |= span.first <= self.boundary

    def _gap_of(self, row: Waiting) -> Span:
        """Return the unsealed part of its lane that `row` is in."""
        first, last = 1, HIGHEST_NUMBER
        if row.priority is not Priority.ALARM:
            is_backlog = row.number <= self.boundary
            first, last = (1, self.boundary) if is_backlog else (self.boundary + 1, last)
        for gap in self._unsealed(row.priority, first, last):
            if gap.first <= row.number <= gap.last:
                return gap
        raise RuntimeError(f"row {row.number} was sealed before")

    def _unsealed(self, priority: Priority, first: int, last: int) -> Iterator[Span]:
        for begin, end in self._sealed[priority]:
            if first < begin and first <= last:
                yield Span(priority, first, min(last, begin - 1))
            first = max(first, end + 1)
        if first <= last:
            yield Span(priority, first, last)

    def _add(self, priority: Priority, first: int, last: int) -> None:
        """Add a range that touches no other but at its ends; ranges that meet become one."""
        ranges: list[tuple[int, int]] = []
        for begin, end in sorted([*self._sealed[priority], (first, last)]):
            if ranges and begin <= ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
            else:
                ranges.append((begin, end))
        self._sealed[priority] = ranges


class Pace:
    """How many readings of the backlog may go now.

    per_second: 0 for no limit. burst: how many may go at once after a pause.
    """

    def __init__(self, per_second: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = burst
        self._monotonic = monotonic
        self._saved = float(burst)
        self._at = monotonic()

    def allowance(self) -> int:
        """Return how many may go now."""
        if not self._per_second:
            return _UNLIMITED
        now = self._monotonic()
        grown = self._saved + (now - self._at) * self._per_second
        self._saved, self._at = min(grown, self._burst), now
        return int(self._saved)

    def spend(self, readings: int) -> None:
        """Note that so many went."""
        if self._per_second:
            self._saved -= readings

    def seconds_until(self, readings: int) -> float:
        """Return how long until so many may go, at most a burst."""
        missing = min(readings, self._burst) - self.allowance()
        return missing / self._per_second if missing > 0 else 0.0
