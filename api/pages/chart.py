"""A series as a page shows it: rows of a table with its gaps, a summary, and a still drawing.

Pure. The browser draws its chart from the table's rows, so the two cannot differ. The drawing has
no text: labels stand beside it in HTML, because text in a stretched drawing would stretch too.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from api.pages.times import duration_text, iso_text, time_text
from api.pages.view import View
from api.pages.words import number_text, quality_text
from storage.aggregation import Aggregation
from storage.charts import Point, Series

WIDTH: Final = 1000
HEIGHT: Final = 240

_GAP_FACTOR: Final = 1.5
_TICKS: Final = 4
_RESOLUTION: Final = 1e-9  # finer differences are not drawn
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """A row of the table: a point, or (then `gap` says how long) the lack of them.

    middle: seconds since 1970 where it is drawn. Texts are for people; the numbers are exact.
    """

    time_iso: str
    end_iso: str
    time: str
    middle: float
    gap: str = ""
    value: float = 0.0
    value_text: str = ""
    minimum: float | None = None
    minimum_text: str = ""
    maximum: float | None = None
    maximum_text: str = ""
    n: int = 0
    quality: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """SVG path data in a box of WIDTH by HEIGHT, and the labels of its edges in equal steps.

    line: values, broken at gaps. band: from lowest to highest of each bin. dots: values that
    no line reaches.
    """

    line: str
    band: str
    dots: Sequence[tuple[float, float]]
    value_labels: Sequence[str]
    time_labels: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Everything a page needs to show one series. resolution: what one point stands for."""

    rows: Sequence[ChartRow]
    binned: bool
    bearing: bool
    resolution: str
    summary: str
    gaps: int
    drawing: Drawing | None


def make_chart(
    series: Series, view: View, *, spacing_seconds: int, aggregation: Aggregation, unit: str
) -> Chart:
    """Return `series` as a page shows it.

    spacing_seconds: the time one value stands for, its period or the interval it is the mean
    over; without a value for half as long again there is a gap. unit: as written beside values.
    """
    limit = _GAP_FACTOR * max(spacing_seconds, series.bin_seconds)
    rows = list(_rows(series, limit))
    values = [row for row in rows if not row.gap]
    gaps = len(rows) - len(values)
    bearing = aggregation is Aggregation.BEARING
    return Chart(
        rows=rows,
        binned=series.bin_seconds > 0,
        bearing=bearing,
        resolution=_resolution(series, aggregation),
        summary=_summary(series, gaps, unit, bearing=bearing),
        gaps=gaps,
        drawing=_draw(rows, view, bearing=bearing) if values else None,
    )


def _rows(series: Series, limit_seconds: float) -> Iterator[ChartRow]:
    before: Point | None = None
    for point in series.points:
        if before is not None:
            silence = (point.start - before.start).total_seconds()
            if silence > limit_seconds:
                yield _gap_row(before, point)
        yield _point_row(point)
        before = point


def _middle(point: Point) -> float:
    if point.end is None:
        return point.start.timestamp()
    return (point.start.timestamp() + point.end.timestamp()) / 2


def _point_row(point: Point) -> ChartRow:
    return ChartRow(
        time_iso=iso_text(point.start),
        end_iso=iso_text(point.end) if point.end else "",
        time=time_text(point.start) if point.end is None else _bin_text(point.start, point.end),
        middle=_middle(point),
        value=point.value,
        value_text=number_text(point.value),
        minimum=point.minimum,
        minimum_text="" if point.minimum is None else number_text(point.minimum),
        maximum=point.maximum,
        maximum_text="" if point.maximum is None else number_text(point.maximum),
        n=point.n,
        quality=quality_text(point.quality),
    )


def _gap_row(before: Point, after: Point) -> ChartRow:
    start = before.end or before.start
    return ChartRow(
        time_iso=iso_text(start),
        end_iso=iso_text(after.start),
        time=_bin_text(start, after.start),
        middle=(_middle(before) + _middle(after)) / 2,
        gap=duration_text((after.start - start).total_seconds()),
    )


def _bin_text(start: datetime, end: datetime) -> str:
    """Return e.g. "1 May 2026, 10:00 to 10:05 UTC"."""
    first, last = time_text(start).removesuffix(" UTC"), time_text(end)
    day = first.partition(",")[0]
    return f"{first} to {last.removeprefix(f'{day}, ')}"


def _resolution(series: Series, aggregation: Aggregation) -> str:
    if not series.bin_seconds:
        return "Every reading is shown."
    kind = "total" if aggregation is Aggregation.TOTAL else "mean"
    text = f"Each point is the {kind} over {duration_text(series.bin_seconds)}"
    extremes = aggregation is not Aggregation.BEARING
    return f"{text}; the band reaches from the lowest to the highest." if extremes else f"{text}."


def _summary(series: Series, gaps: int, unit: str, *, bearing: bool) -> str:
    points = series.points
    if not points:
        return "No readings in this period."
    count = sum(point.n for point in points)
    parts = [f"{count:,} {'reading' if count == 1 else 'readings'}"]
    if not bearing:
        lowest = min(p.value if p.minimum is None else p.minimum for p in points)
        highest = max(p.value if p.maximum is None else p.maximum for p in points)
        parts.append(f"lowest {number_text(lowest)}{_spaced(unit)}")
        parts.append(f"highest {number_text(highest)}{_spaced(unit)}")
    parts.append("no gaps" if not gaps else f"{gaps:,} {'gap' if gaps == 1 else 'gaps'}")
    return ", ".join(parts) + "."


def _spaced(unit: str) -> str:
    return unit if unit in ("", "°", "%") else f"\N{NO-BREAK SPACE}{unit}"


def value_axis(lowest: float, highest: float) -> Sequence[float]:
    """Return evenly spaced round numbers that reach from `lowest` or less to `highest` or more."""
    size = max(abs(lowest), abs(highest)) or 1.0
    spread = highest - lowest or size
    spread = max(spread, size * _RESOLUTION, _RESOLUTION)
    rough = spread / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))
    first = math.floor(lowest / step + 1e-9)
    last = max(math.ceil(highest / step - 1e-9), first + 1)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _draw(rows: Sequence[ChartRow], view: View, *, bearing: bool) -> Drawing:
    values = [row for row in rows if not row.gap]
    lows = [row.value if row.minimum is None else row.minimum for row in values]
    highs = [row.value if row.maximum is None else row.maximum for row in values]
    axis = [0.0, 90.0, 180.0, 270.0, 360.0] if bearing else value_axis(min(lows), max(highs))
    scale = _Scale(view.start.timestamp(), view.end.timestamp(), axis[0], axis[-1])
    runs = [] if bearing else _runs(rows)
    loners = values if bearing else [run[0] for run in runs if len(run) == 1]
    lines = [run for run in runs if len(run) > 1]
    quarter = view.span / _TICKS
    return Drawing(
        line="".join(scale.line(run) for run in lines),
        band="".join(scale.band(run) for run in lines if run[0].minimum is not None),
        dots=[scale.place(row.middle, row.value) for row in loners],
        value_labels=[number_text(value) for value in reversed(axis)],
        time_labels=[_tick_text(view.start + quarter * i, view.span) for i in range(_TICKS + 1)],
    )


def _runs(rows: Sequence[ChartRow]) -> list[list[ChartRow]]:
    runs: list[list[ChartRow]] = [[]]
    for row in rows:
        if row.gap:
            runs.append([])
        else:
            runs[-1].append(row)
    return [run for run in runs if run]


def _tick_text(time: datetime, span: timedelta) -> str:
    if span > timedelta(days=3):
        return f"{time.day} {time:%b}"
    if span > timedelta(hours=20):
        return f"{time.day} {time:%b %H:%M}"
    return f"{time:%H:%M}"


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps a time in seconds and a value to a place in the box."""

    start: float
    end: float
    lowest: float
    highest: float

    def place(self, time: float, value: float) -> tuple[float, float]:
        across = (time - self.start) / (self.end - self.start)
        up = (value - self.lowest) / (self.highest - self.lowest)
        return round(across * WIDTH, 1), round((1 - up) * HEIGHT, 1)

    def line(self, run: Sequence[ChartRow]) -> str:
        return _path(self.place(row.middle, row.value) for row in run)

    def band(self, run: Sequence[ChartRow]) -> str:
        top = [self.place(row.middle, row.maximum or 0.0) for row in run]
        bottom = [self.place(row.middle, row.minimum or 0.0) for row in run]
        return _path(iter([*top, *reversed(bottom)])) + "Z"


def _path(places: Iterator[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
