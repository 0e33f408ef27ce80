import csv
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import device_protocol
from device_protocol.errors import RejectionError, UnitMismatchError
from standards_mapping import units
from standards_mapping.units import (
    UNITS,
    Conversion,
    UnknownUnitError,
    between,
    converter,
    exact_ratio,
    find_unit,
)

DATA = Path(device_protocol.__file__).parent / "data"
RESULTS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_of_the_table_is_a_unit() -> None:
    assert [unit.key for unit in UNITS.values()] == [row["key"] for row in rows("units")]
    assert find_unit("ug/m3").qudt == "http://qudt.org/vocab/unit/MicroGM-PER-M3"


@pytest.mark.parametrize(
    ("cell", "ratio"),
    [
        ("1e-9", Fraction(1, 10**9)),
        ("1/3.6", Fraction(5, 18)),
        ("1/3600000", Fraction(1, 3_600_000)),
        ("0.44704", Fraction("0.44704")),
        ("-30", Fraction(-30)),
        ("0.5555555555555556", Fraction(5, 9)),
        ("-17.77777777777778", Fraction(-160, 9)),
        ("0.5144444444444445", Fraction(463, 900)),
        ("2.777777777777778e-07", Fraction(1, 3_600_000)),
        ("2.7777777777777777e-10", Fraction(1, 3_600_000_000)),
    ],
)
def test_a_table_cell_is_read_as_the_exact_ratio_it_rounds(cell: str, ratio: Fraction) -> None:
    assert exact_ratio(cell) == ratio


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_any_simple_ratio_survives_being_written_as_a_float(over: int, under: int) -> None:
    written = repr(over / under)
    assume(len(Decimal(written).as_tuple().digits) >= 15)  # a shorter cell is taken as exact
    assert exact_ratio(written) == Fraction(over, under)


def test_our_table_and_the_senml_registry_agree() -> None:
    registry = {row["symbol"]: row for row in rows("senml_units")}
    for row in rows("units"):
        symbol = row["senml_u"]
        if not symbol or registry[symbol]["registry"] == "primary":
            continue
        assert row["senml_primary"] == registry[symbol]["primary_unit"], row["key"]
        assert exact_ratio(row["scale_to_senml_primary"]) == exact_ratio(registry[symbol]["scale"])
        assert exact_ratio(row["offset_to_senml_primary"]) == exact_ratio(
            registry[symbol]["offset"]
        )


@pytest.mark.parametrize(
    ("senml", "key", "result", "converted"),
    [
        ("kg/m3", "ug/m3", 4.2e-8, 42.0),
        ("ug/m3", "mg/m3", 123.4, 0.1234),
        ("Cel", "degF", 20.0, 68.0),
        ("K", "Cel", 293.15, 20.0),
        ("Pa", "hPa", 101325.0, 1013.25),
        ("hPa", "mbar", 1013.25, 1013.25),
        ("m/s", "mph", 10.0, 22.3693629205),
        ("km/h", "m/s", 36.0, 10.0),
        ("rad", "deg", 3.141592653589793, 180.0),
        ("/100", "%", 50.0, 50.0),
        ("%", "%", 0.5, 50.0),  # RFC 8428: SenML "%" is a ratio, not a percentage
        ("dBW", "dBm", -60.0, -30.0),
        ("1/s", "1/h", 1.0, 3600.0),
        ("mm/h", "m/s", 3.6, 1e-6),
        ("Bspl", "dBA", 6.5, 65.0),
        ("l", "m3", 1.0, 0.001),
    ],
)
def test_results_are_converted_in_decimal(
    senml: str, key: str, result: float, converted: float
) -> None:
    assert converter(senml, key).apply(result) == converted


@pytest.mark.parametrize(("senml", "key"), [("ug/m3", "ug/m3"), ("dB", "dBA"), ("", "bool")])
def test_the_same_unit_leaves_every_result_as_it_is(senml: str, key: str) -> None:
    conversion = converter(senml, key)
    assert conversion.identity
    assert conversion.apply(0.1 + 0.2) == 0.1 + 0.2


@pytest.mark.parametrize(("senml", "key"), [("dB", "Cel"), ("%RH", "%"), ("", "Cel"), ("m", "s")])
def test_units_of_different_kinds_are_refused(senml: str, key: str) -> None:
    with pytest.raises(UnitMismatchError) as refusal:
        converter(senml, key)
    assert not isinstance(refusal.value, UnknownUnitError)
    assert key in str(refusal.value)


def test_an_unknown_unit_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(UnknownUnitError, match="ug/m3"):
        converter("ugm3", "ug/m3")
    with pytest.raises(UnknownUnitError, match="Cel"):
        find_unit("Cell")
    assert issubclass(UnknownUnitError, RejectionError)
    assert UnknownUnitError.reason == "unit-mismatch"


def test_infinities_pass_and_nothing_is_invented_for_nan() -> None:
    conversion = converter("Pa", "hPa")
    assert conversion.apply(float("inf")) == float("inf")
    assert conversion.apply(float("nan")) != conversion.apply(float("nan"))


@given(RESULTS)
def test_no_conversion_leaves_more_than_twelve_digits(result: float) -> None:
    converted = converter("m/s", "mph").apply(result)
    assert len(Decimal(repr(converted)).normalize().as_tuple().digits) <= 12


@given(RESULTS)
def test_there_and_back_is_the_same_to_the_stated_digits(result: float) -> None:
    there = converter("Cel", "degF").apply(result)
    back = Conversion(Fraction(5, 9), Fraction(-160, 9)).apply(there)
    assert back == pytest.approx(result, rel=1e-11, abs=1e-9)


@given(st.text(max_size=8))
def test_what_senders_write_never_fills_the_cache(symbol: str) -> None:
    before = units._converter.cache_info().currsize
    try:
        converter(symbol, "Cel")
    except UnitMismatchError:
        assert units._converter.cache_info().currsize <= before + 1
    assert units._converter.cache_info().currsize <= len(units._SENML_SCALES) * len(UNITS)


@pytest.mark.parametrize("key", ["mg/m3", "kPa", "uSv/h"])
def test_a_unit_that_senml_lacks_travels_by_its_key_and_never_unsaid(key: str) -> None:
    assert converter(key, key).identity
    with pytest.raises(UnitMismatchError, match="a result without unit"):
        converter("", key)


def test_units_of_the_table_convert_into_one_another_exactly() -> None:
    assert between("mg/m3", "ug/m3").apply(0.017) == 17.0
    assert between("km/h", "m/s").apply(36.0) == 10.0
    assert between("degF", "Cel").apply(212.0) == 100.0
    assert between("ug/m3", "ug/m3").identity
    for there, back in (("mg/m3", "ng/m3"), ("km/h", "m/s"), ("degF", "Cel")):
        again = between(back, there).apply(between(there, back).apply(12.5))
        assert again == pytest.approx(12.5, rel=1e-11)


def test_units_of_different_kinds_do_not_convert() -> None:
    with pytest.raises(UnitMismatchError, match="'ppb'"):
        between("ppb", "ug/m3")
    with pytest.raises(UnknownUnitError, match="no unit 'ug/m'"):
        between("ug/m", "ug/m3")
