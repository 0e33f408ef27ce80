"""Plain English covers everything that can be said."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pages import words
from api.pages.words import (
    is_flagged,
    number_text,
    property_name,
    quality_text,
    reason_text,
    result_text,
    unit_symbol,
    what_it_is,
)
from device_protocol.errors import RejectionError
from standards_mapping.properties import PROPERTIES
from standards_mapping.units import UNITS

MINUS = "\N{MINUS SIGN}"


def every_reason(root: type[RejectionError] = RejectionError) -> set[str]:
    found = {root.reason} if "reason" in vars(root) else set()
    for kind in root.__subclasses__():
        found |= every_reason(kind)
    return found


def test_every_reason_for_a_refusal_has_a_plain_meaning() -> None:
    assert every_reason() - {"rejected"} <= set(words.REASONS)
    assert set(words.REASONS) >= words.HARMLESS_REASONS
    assert reason_text("from-the-future") == "Refused: from-the-future."


def test_symbols_and_names_are_of_units_and_properties_that_exist() -> None:
    assert set(words.UNIT_SYMBOLS) <= set(UNITS)
    assert set(words.PROPERTY_NAMES) | set(words.HEADLINES) <= set(PROPERTIES)
    assert unit_symbol("ug/m3") == "µg/m³"
    assert unit_symbol("m/s") == "m/s"
    assert property_name("no2", "long") == "Nitrogen dioxide (NO₂)"
    assert property_name("wind_speed", "Wind speed") == "Wind speed"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (41.0, "41"), (41.234, "41.23"), (0.8674, "0.8674"),
        (5000.0, "5,000"), (123_456.7, "123,457"), (-3.66666, f"{MINUS}3.667"),
        (0.00012345, "0.0001234"),
        (4.2e12, "4.200e+12"), (1e-7, f"1.000e{MINUS}07"), (math.nan, "not a number"),
        (9999.96, "10,000"),
    ],
)  # fmt: skip
def test_numbers_have_four_significant_digits(value: float, text: str) -> None:
    assert number_text(value) == text


@given(st.floats(min_value=-1e8, max_value=1e8).filter(lambda value: abs(value) > 1e-3))
def test_a_shown_number_is_within_a_thousandth_of_the_true_one(value: float) -> None:
    shown = float(number_text(value).replace(",", "").replace(MINUS, "-"))
    assert shown == pytest.approx(value, rel=1e-3)


def test_results_that_are_no_numbers_are_shown_too() -> None:
    assert result_text(None, result=True) == "Yes"
    assert result_text(None, "fault") == "fault"
    assert result_text(None, None) == ""
    assert result_text(3.5, None) == "3.5"


def test_what_a_value_is() -> None:
    assert what_it_is(0) == "Instant reading"
    assert what_it_is(3600) == "Mean over 1 hour"
    assert what_it_is(900, total=True) == "Total over 15 minutes"
    assert what_it_is(900, aggregate="max") == "Greatest over 15 minutes"
    assert what_it_is(900, total=True, aggregate="mean") == "Mean over 15 minutes"
    assert what_it_is(900, aggregate="a surprise") == "Mean over 15 minutes"


@given(st.integers(0, 255))
def test_quality_names_every_bit_that_is_set(mask: int) -> None:
    text = quality_text(mask).lower()
    for bit, name in words.QUALITY_FLAGS.items():
        assert (name.lower() in text) is bool(mask & bit)
    if mask & ~sum(words.QUALITY_FLAGS):
        assert "flag" in text


def test_a_replay_or_an_unsure_clock_is_no_warning_about_the_value() -> None:
    assert not is_flagged(0)
    assert not is_flagged(words.REPLAYED)
    assert not is_flagged(words.CLOCK_UNSYNCHRONISED)
    assert is_flagged(words.REPLAYED | words.SUSPECT)
    assert set(words.QUALITY_MEANINGS) == set(words.QUALITY_FLAGS)
    assert quality_text(0) == "Not flagged"
    assert quality_text(12) == "Replayed, suspect"
