"""A series as rows and as a drawing: nothing lost, gaps told, nothing drawn across them."""

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from api.pages.chart import HEIGHT, WIDTH, Chart, make_chart, value_axis
from api.pages.view import View
from storage.aggregation import Aggregation
from storage.charts import Point, Series

START = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = View(START, START + timedelta(hours=24), following=False)


def single(hours: Sequence[float], value: float = 10.0) -> Series:
    return Series(0, [Point(START + HOUR * h, None, value + h, None, None, 1, 0) for h in hours])


def chart_of(
    series: Series,
    aggregation: Aggregation = Aggregation.MEAN,
    *,
    spacing_seconds: int = 3600,
) -> Chart:
    return make_chart(
        series, DAY, spacing_seconds=spacing_seconds, aggregation=aggregation, unit="µg/m³"
    )


def test_every_point_is_a_row_and_a_missing_hour_is_a_row_that_says_so() -> None:
    chart = chart_of(single([1, 2, 3, 6, 7]))
    assert [row.value for row in chart.rows if not row.gap] == [11, 12, 13, 16, 17]
    [gap] = [row for row in chart.rows if row.gap]
    assert chart.rows.index(gap) == 3
    assert gap.gap == "3 hours"
    assert gap.time == "1 June 2026, 03:00 to 06:00 UTC"
    assert chart.summary.endswith("1 gap.")
    assert not chart.binned


def test_the_line_breaks_at_a_gap_and_a_lone_value_is_a_dot() -> None:
    chart = chart_of(single([1, 2, 3, 6, 9, 10]))
    assert chart.drawing is not None
    assert chart.drawing.line.count("M") == 2
    assert len(chart.drawing.dots) == 1
    assert chart.drawing.dots[0][0] == WIDTH * 6 / 24


def test_a_late_reading_within_half_an_interval_is_no_gap() -> None:
    assert chart_of(single([1, 2.5, 4])).gaps == 0
    assert chart_of(single([1, 2.6])).gaps == 1


def test_bins_keep_their_extremes_in_the_table_the_band_and_the_summary() -> None:
    points = [
        Point(START + HOUR * h, START + HOUR * (h + 1), 5.0, -7.0, 99.0, 60, 0) for h in range(4)
    ]
    chart = chart_of(Series(3600, points), spacing_seconds=60)
    assert chart.binned
    assert {(row.minimum, row.maximum, row.n) for row in chart.rows} == {(-7.0, 99.0, 60)}
    assert chart.drawing is not None
    assert chart.drawing.band.endswith("Z")
    assert "240 readings, lowest \N{MINUS SIGN}7" in chart.summary
    assert "highest 99" in chart.summary
    assert "mean over 1 hour" in chart.resolution


def test_a_bearing_is_dots_on_a_full_circle() -> None:
    chart = chart_of(single([1, 2, 3], 350), Aggregation.BEARING)
    assert chart.drawing is not None
    assert chart.drawing.line == chart.drawing.band == ""
    assert len(chart.drawing.dots) == 3
    assert list(chart.drawing.value_labels) == ["360", "270", "180", "90", "0"]
    assert "lowest" not in chart.summary


def test_nothing_is_drawn_of_nothing() -> None:
    chart = chart_of(Series(0, []))
    assert chart.drawing is None
    assert chart.summary == "No readings in this period."


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
    st.sets(st.integers(0, 1439), min_size=1, max_size=50),
)
def test_everything_drawn_lies_in_the_box(values: list[float], minutes: set[int]) -> None:
    points = [
        Point(START + timedelta(minutes=minute), None, value, None, None, 1, 0)
        for minute, value in zip(sorted(minutes), values, strict=False)
    ]
    chart = chart_of(Series(0, points), spacing_seconds=60)
    drawing = chart.drawing
    assert drawing is not None
    numbers = drawing.line.replace("M", " ").replace("L", " ").split()
    places = [*zip(numbers[::2], numbers[1::2], strict=True), *drawing.dots]
    for x, y in places:
        assert 0 <= float(x) <= WIDTH
        assert -0.1 <= float(y) <= HEIGHT + 0.1
    assert sum(not row.gap for row in chart.rows) == len(points)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_the_axis_reaches_around_the_values_in_even_steps(lowest: float, spread: float) -> None:
    highest = lowest + spread
    axis = value_axis(lowest, highest)
    tolerance = 1e-6 * max(abs(lowest), abs(highest), 1e-6)
    assert axis[0] <= lowest + tolerance
    assert axis[-1] >= highest - tolerance
    assert 2 <= len(axis) <= 8
    steps = [b - a for a, b in itertools.pairwise(axis)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-3, abs_tol=1e-9) for step in steps)
