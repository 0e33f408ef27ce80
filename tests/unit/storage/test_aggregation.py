import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.aggregation import Aggregation, Summary, aggregation_of, mean_bearing

NUMBERS = st.floats(-1e6, 1e6)


def summarise(values: list[float], aggregation: Aggregation) -> Summary:
    """What the statement refresh_rollups keeps of values in degrees, decibels or anything."""
    if aggregation is Aggregation.BEARING:
        angles = [math.radians(value) for value in values]
        sines, cosines = sum(map(math.sin, angles)), sum(map(math.cos, angles))
        return Summary(len(values), sines, cosines, None, None)
    if aggregation is Aggregation.LEVEL:
        energy = sum(10 ** (value / 10) for value in values)
        return Summary(len(values), energy, None, min(values), max(values))
    return Summary(len(values), sum(values), None, min(values), max(values))


@pytest.mark.parametrize(
    ("key", "unit", "expected"),
    [
        ("no2", "ug/m3", Aggregation.MEAN),
        ("vehicle_speed", "m/s", Aggregation.MEAN),
        ("spool_readings", "count", Aggregation.MEAN),  # a level of filling, not of what passed
        ("vehicle_count", "count", Aggregation.TOTAL),
        ("rainfall", "mm", Aggregation.TOTAL),
        ("wind_direction", "deg", Aggregation.BEARING),
        ("wind_direction", "rad", Aggregation.BEARING),
        ("compass_heading", "deg", Aggregation.BEARING),
        ("longitude", "deg", Aggregation.MEAN),  # west of Greenwich is -0.1, not 359.9
        ("tilt", "deg", Aggregation.MEAN),
        ("passage_count", "count", Aggregation.TOTAL),
        ("laeq", "dBA", Aggregation.LEVEL),
        ("rssi", "dBm", Aggregation.LEVEL),
    ],
)
def test_property_and_unit_decide(key: str, unit: str, expected: Aggregation) -> None:
    assert aggregation_of(key, unit) is expected


def test_each_kind_by_example() -> None:
    assert summarise([1, 2, 6], Aggregation.MEAN).value(Aggregation.MEAN, "m") == 3
    assert summarise([1, 2, 6], Aggregation.TOTAL).value(Aggregation.TOTAL, "count") == 9
    level = summarise([60, 70], Aggregation.LEVEL).value(Aggregation.LEVEL, "dBA")
    assert level == pytest.approx(67.4036269)
    north = summarise([350, 20], Aggregation.BEARING).value(Aggregation.BEARING, "deg")
    assert north == pytest.approx(5)


def test_nothing_stands_for_no_results_or_for_opposite_bearings() -> None:
    nothing = Summary(0, 0.0, None, None, None)
    assert all(nothing.value(aggregation, "m") is None for aggregation in Aggregation)
    assert summarise([90, 270], Aggregation.BEARING).value(Aggregation.BEARING, "deg") is None


def test_a_bearing_just_west_of_north_is_no_whole_turn() -> None:
    assert mean_bearing(-1e-20, 1.0, 360.0) == 0.0


@given(st.lists(st.floats(0, 360, exclude_max=True), min_size=1, max_size=9), st.floats(-80, 80))
def test_a_mean_bearing_turns_with_the_compass(offsets: list[float], turn: float) -> None:
    bearings = [offset / 360 * 90 for offset in offsets]  # a quarter, so that none cancel
    turned = [(bearing + turn) % 360 for bearing in bearings]
    one = summarise(bearings, Aggregation.BEARING).value(Aggregation.BEARING, "deg")
    other = summarise(turned, Aggregation.BEARING).value(Aggregation.BEARING, "deg")
    assert one is not None
    assert other is not None
    assert 0 <= one < 360
    difference = (other - one - turn) % 360
    assert min(difference, 360 - difference) < 1e-6


@given(st.lists(st.floats(0, 130), min_size=1, max_size=20))
def test_a_mean_level_lies_between_arithmetic_mean_and_maximum(levels: list[float]) -> None:
    value = summarise(levels, Aggregation.LEVEL).value(Aggregation.LEVEL, "dB")
    assert value is not None
    assert sum(levels) / len(levels) - 1e-9 <= value <= max(levels) + 1e-9


@given(
    st.lists(NUMBERS, min_size=1, max_size=9),
    st.lists(NUMBERS, min_size=1, max_size=9),
    st.sampled_from([Aggregation.MEAN, Aggregation.TOTAL, Aggregation.BEARING]),
)
def test_parts_merge_into_the_whole(
    some: list[float], others: list[float], aggregation: Aggregation
) -> None:
    merged = summarise(some, aggregation).merge(summarise(others, aggregation))
    whole = summarise(some + others, aggregation)
    assert (merged.n, merged.minimum, merged.maximum) == (whole.n, whole.minimum, whole.maximum)
    assert merged.sum == pytest.approx(whole.sum, rel=1e-9, abs=1e-6)
    if aggregation is Aggregation.BEARING:
        assert merged.sum2 == pytest.approx(whole.sum2, rel=1e-9, abs=1e-6)
