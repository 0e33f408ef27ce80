"""Units become others exactly, or not at all."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inputs.conversion import _GROUPS, SIGNIFICANT_DIGITS, converter, mistake

PAIRS = [(one, other) for group in _GROUPS for one in group for other in group]
NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@pytest.mark.parametrize(
    ("number", "from_unit", "unit", "result"),
    [
        (32.0, "degF", "Cel", 0.0),
        (-40.0, "degF", "Cel", -40.0),
        (98.6, "degF", "Cel", 37.0),
        (21.5, "Cel", "K", 294.65),
        (273.16, "K", "Cel", 0.01),
        (10.0, "mi/h", "m/s", 4.4704),
        (10.0, "mph", "km/h", 16.09344),
        (1.0, "kn", "km/h", 1.852),
        (18.0, "km/h", "m/s", 5.0),
        (1.0, "inHg", "Pa", 3386.38864034),
        (1.0, "psi", "Pa", 6894.75729317),
        (1013.25, "hPa", "kPa", 101.325),
        (1.0, "in", "mm", 25.4),
        (3.3, "ft", "m", 1.00584),
        (0.01, "in/h", "mm/h", 0.254),
        (12.3, "mg/m3", "ug/m3", 12300.0),
        (415.0, "ppm", "ppb", 415000.0),
        (3.6, "m3/h", "L/s", 1.0),
        (1.0, "kWh", "J", 3.6e6),
    ],
)
def test_conversions_are_those_of_the_definitions(
    number: float, from_unit: str, unit: str, result: float
) -> None:
    assert converter(from_unit, unit)(number) == result


@pytest.mark.parametrize(("from_unit", "unit"), PAIRS)
def test_there_and_back_is_where_it_was(from_unit: str, unit: str) -> None:
    back = converter(unit, from_unit)(converter(from_unit, unit)(20.5))
    assert back == pytest.approx(20.5, rel=1e-9)


@given(NUMBERS)
def test_a_conversion_is_as_exact_as_its_digits(number: float) -> None:
    exact = (Fraction(repr(number)) - 32) * 5 / 9
    error = abs(Fraction(converter("degF", "Cel")(number)) - exact)
    assert error <= abs(exact) * Fraction(6, 10**SIGNIFICANT_DIGITS)


@given(NUMBERS)
def test_scale_and_offset_leave_no_noise_of_binary_arithmetic(number: float) -> None:
    tenths = round(number)
    assert repr(converter("", "Cel", 0.1, -40.0)(tenths)) == repr(float(Fraction(tenths, 10) - 40))


@given(st.floats(allow_nan=False))
def test_what_is_in_its_unit_already_is_not_touched(number: float) -> None:
    assert converter("", "Cel")(number) == number
    assert converter("Cel", "Cel")(number) == number
    assert converter("", "no such unit")(number) == number


@pytest.mark.parametrize(
    ("from_unit", "unit", "reason"),
    [
        ("degf", "Cel", "did you mean degF?"),
        ("mi/hr", "m/s", "did you mean mi/h?"),
        ("furlong", "m", "cannot|can be converted"),
        ("Cel", "m/s", "only K, degF"),
    ],
)
def test_what_cannot_be_converted_is_named(from_unit: str, unit: str, reason: str) -> None:
    assert mistake(from_unit, unit)
    with pytest.raises(ValueError, match=reason.replace("?", r"\?")):
        converter(from_unit, unit)


def test_no_unit_stands_in_two_groups() -> None:
    names = [name for group in _GROUPS for name in group]
    assert len(names) == len(set(names))
