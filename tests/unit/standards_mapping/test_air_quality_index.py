import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.air_quality_index import (
    RULES,
    Index,
    NoIndex,
    PartMean,
    covered_share,
    first_start,
    index_now,
)

NOW = datetime(2026, 3, 1, 14, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
FULL = datetime(2026, 3, 1, 14, tzinfo=UTC)


def hours(*means: float | None, until: datetime = FULL) -> list[PartMean]:
    """Hourly means, the last one ending at `until`; None where nothing was measured."""
    return [
        PartMean(until - back * HOUR, mean, 1.0)
        for back, mean in enumerate(reversed(means))
        if mean is not None
    ]


@pytest.mark.parametrize(
    ("key", "concentration", "index"),
    [
        ("o3", 0, 1), ("o3", 33, 1), ("o3", 33.5, 2), ("o3", 240.4, 9), ("o3", 240.5, 10),
        ("no2", 67.4, 1), ("no2", 67.5, 2), ("no2", 601, 10), ("no2", 1e6, 10),
        ("so2", 88, 1), ("so2", 1064, 9), ("so2", 1065, 10),
        ("pm25", 11.49, 1), ("pm25", 35.5, 4), ("pm25", 70, 9), ("pm25", 71, 10),
        ("pm10", 16, 1), ("pm10", 100.4, 9), ("pm10", 100.5, 10), ("pm10", -3, 1),
    ],
)  # fmt: skip
def test_bounds_are_those_of_the_whole_number(key: str, concentration: float, index: int) -> None:
    assert RULES[key].index(concentration) == index


def test_bands_are_low_to_3_moderate_to_6_high_to_9_then_very_high() -> None:
    for rule in RULES.values():
        assert rule.bands == ("Low",) * 3 + ("Moderate",) * 3 + ("High",) * 3 + ("Very High",)


@given(st.sampled_from(sorted(RULES)), st.floats(0, 5000), st.floats(0, 5000))
def test_more_never_has_a_lower_index(key: str, one: float, other: float) -> None:
    rule = RULES[key]
    low, high = sorted((one, other))
    assert 1 <= rule.index(low) <= rule.index(high) <= 10


def test_particles_are_the_mean_of_the_last_24_hours() -> None:
    found = index_now(RULES["pm25"], hours(*[10.0] * 12, *[40.0] * 12), NOW)
    assert isinstance(found, Index)
    assert (found.index, found.band, found.concentration) == (3, "Low", 25.0)
    assert (found.start, found.end, found.captured) == (FULL - 24 * HOUR, FULL, 1.0)


def test_an_hour_before_the_period_does_not_count() -> None:
    found = index_now(RULES["o3"], hours(1000.0, *[20.0] * 8), NOW)
    assert isinstance(found, Index)
    assert found.concentration == 20.0


def test_without_three_quarters_of_its_hours_there_is_none() -> None:
    enough = index_now(RULES["pm10"], hours(*[20.0] * 18, *[None] * 6), NOW)
    assert isinstance(enough, Index)
    assert enough.captured == 0.75
    found = index_now(RULES["pm10"], hours(*[20.0] * 17, *[None] * 7), NOW)
    assert found == NoIndex("pm10", "17 of 24 hours were measured; it takes 18")


def test_an_hour_of_which_too_little_was_measured_is_no_hour() -> None:
    weak = [PartMean(FULL, 500.0, 0.74)]
    found = index_now(RULES["no2"], weak, NOW)
    assert found == NoIndex("no2", "less than three quarters of the hour were measured")
    found = index_now(RULES["no2"], [*weak, PartMean(FULL - HOUR, 100.0, 0.75)], NOW)
    assert isinstance(found, Index)
    assert (found.end, found.index) == (FULL - HOUR, 2)


def test_one_reading_is_never_enough() -> None:
    for key, rule in RULES.items():
        covered = covered_share(rule, 1, averaging=timedelta(), period=timedelta(minutes=1))
        assert covered is not None
        found = index_now(rule, [PartMean(FULL, 100.0, covered)], NOW)
        assert isinstance(found, NoIndex), key


def test_of_sulphur_dioxide_the_highest_quarter_counts() -> None:
    quarter = timedelta(minutes=15)
    parts = [PartMean(FULL - n * quarter, mean, 1.0) for n, mean in enumerate((50, 300, 60, 70))]
    found = index_now(RULES["so2"], parts, NOW)
    assert isinstance(found, Index)
    assert (found.index, found.concentration, found.start) == (4, 300, FULL - HOUR)
    found = index_now(RULES["so2"], parts[:2], NOW)
    assert found == NoIndex("so2", "2 of 4 quarter hours were measured; it takes 3")


def test_what_is_old_is_no_index_of_now() -> None:
    parts = hours(*[10.0] * 24, until=FULL - 9 * HOUR)
    assert isinstance(index_now(RULES["pm25"], parts, NOW), NoIndex)
    assert first_start(RULES["pm25"], NOW) == FULL - 26 * HOUR


def test_how_much_results_cover() -> None:
    hourly, quarterly = RULES["pm25"], RULES["so2"]
    minute = timedelta(minutes=1)
    assert covered_share(hourly, 45, averaging=timedelta(), period=minute) == 0.75
    assert covered_share(hourly, 90, averaging=timedelta(), period=minute) == 1.0
    assert covered_share(hourly, 1, averaging=HOUR, period=HOUR) == 1.0
    assert covered_share(hourly, 3, averaging=minute * 10, period=HOUR) == 0.5
    assert covered_share(quarterly, 1, averaging=HOUR, period=HOUR) is None, "too long a mean"
    assert covered_share(hourly, 9, averaging=timedelta(), period=None) is None
    assert math.isclose(covered_share(quarterly, 7, averaging=minute, period=minute) or 0, 7 / 15)
