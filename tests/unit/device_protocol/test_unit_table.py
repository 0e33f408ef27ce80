import pytest

from device_protocol.tables import read_table
from device_protocol.unit_table import (
    UnknownUnitError,
    nearest,
    property_keys,
    senml_symbol,
    unit_symbols,
)


@pytest.mark.parametrize(
    ("key", "symbol"),
    [
        ("ug/m3", "ug/m3"),
        ("%RH", "%RH"),
        ("%", "/100"),
        ("1", "/"),
        ("By", "B"),
        ("mg/L", "mg/l"),
        ("kPa", "kPa"),
        ("bool", ""),
    ],
)
def test_a_unit_has_the_symbol_that_stands_in_a_pack(key: str, symbol: str) -> None:
    assert senml_symbol(key) == symbol


def test_no_two_units_share_a_symbol_but_levels_which_senml_does_not_tell_apart() -> None:
    symbols = [symbol for key, symbol in unit_symbols().items() if key != "dBA"]
    assert len(set(symbols)) == len(symbols)
    assert senml_symbol("dBA") == senml_symbol("dB") == "dB"


def test_a_key_that_stands_for_itself_is_no_other_unit_in_senml() -> None:
    registered = {row["symbol"] for row in read_table("senml_units")}
    own = {row["key"] for row in read_table("units") if not row["senml_u"]}
    assert own.isdisjoint(registered)


@pytest.mark.parametrize(("wrong", "right"), [("µg/m3", "ug/m3"), ("ug/m^3", "ug/m3")])
def test_an_unknown_unit_is_refused_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UnknownUnitError, match=f"no unit .*nearest: .*{right}"):
        senml_symbol(wrong)


def test_nothing_is_near_to_what_resembles_nothing() -> None:
    assert nearest("zzzzzz", unit_symbols()) == ""


def test_properties_of_both_tables_are_known() -> None:
    assert {"no2", "spool_readings", "visibility"} <= property_keys()
