"""Units: the table we publish with, and exact conversion into it from SenML units.

A datastream keeps its results in one unit, a key of `UNITS`. Readings arrive in a SenML unit
(RFC 8428, section 12.1; RFC 8798) and are converted once, at ingest. Ratios are exact fractions
and the arithmetic is decimal, so 0.1 mg stays 100 ug and no binary rounding error is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache
from math import isfinite
from types import MappingProxyType
from typing import Final

from device_protocol.errors import UnitMismatchError
from device_protocol.tables import read_table
from device_protocol.unit_table import UnknownUnitError, nearest, senml_symbol

SIGNIFICANT_DIGITS: Final = 12
"""Of a converted result: more than any sensor has, fewer than binary floats blur."""

_RESULT: Final = Context(prec=SIGNIFICANT_DIGITS)
_WORKING: Final = Context(prec=40)
_FLOAT_DIGITS: Final = 15  # decimal digits that every binary float keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit results can be kept in.

    key: how it is named in our own tables, e.g. "ug/m3".
    label: in English.
    ucum: code of the Unified Code for Units of Measure; empty where it has none.
    qudt: IRI of the QUDT unit.
    unece: UN/CEFACT Recommendation 20 code; empty where unknown.
    senml: what stands for this very unit in a SenML pack (see `unit_table.senml_symbol`).
    """

    key: str
    label: str
    ucum: str
    qudt: str
    unece: str
    senml: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """The exact linear map from one unit to another: result * scale + offset."""

    scale: Fraction
    offset: Fraction

    @property
    def identity(self) -> bool:
        """Whether a result stays exactly as it is."""
        return self.scale == 1 and self.offset == 0

    def apply(self, result: float) -> float:
        """Return `result` in the target unit, rounded to 12 significant digits.

        The shortest decimal that names the float is what is converted, as a person would.
        Infinities and NaN, and every result under the identity, are returned unchanged.
        """
        if self.identity or not isfinite(result):
            return result
        scale, offset = self.scale, self.offset
        product = _WORKING.multiply(Decimal(repr(result)), scale.numerator)
        converted = _WORKING.divide(product, scale.denominator)
        if offset:
            shift = _WORKING.divide(Decimal(offset.numerator), Decimal(offset.denominator))
            converted = _WORKING.add(converted, shift)
        return float(_RESULT.plus(converted))


@dataclass(frozen=True, slots=True)
class _Scale:
    """How a unit relates to the base unit of its kind: result * scale + offset is in `base`."""

    base: str
    scale: Fraction
    offset: Fraction


# Kinds that SenML keeps apart though they measure the same: symbol, base symbol, scale, offset.
# pi to 30 digits is exact for any result of 12.
_SAME_KIND: Final = {
    "K": _Scale("Cel", Fraction(1), Fraction("-273.15")),
    "rad": _Scale("deg", 180 / Fraction("3.14159265358979323846264338328"), Fraction(0)),
    "Bspl": _Scale("dB", Fraction(10), Fraction(0)),
    "g": _Scale("kg", Fraction(1, 1000), Fraction(0)),
    "l": _Scale("m3", Fraction(1, 1000), Fraction(0)),
    "l/s": _Scale("m3/s", Fraction(1, 1000), Fraction(0)),
    "1/min": _Scale("1/s", Fraction(1, 60), Fraction(0)),
    "%": _Scale("/", Fraction(1), Fraction(0)),  # RFC 8428: a ratio of 0 to 1, not a percentage
}


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """Return the fraction of smallest denominator within [low, high], 0 < low <= high.

    Found by descending the Stern-Brocot tree along the continued fraction of both bounds.
    """
    whole = low.numerator // low.denominator
    if whole == low:
        return Fraction(whole)
    if whole + 1 <= high:
        return Fraction(whole + 1)
    return whole + 1 / _simplest_between(1 / (high - whole), 1 / (low - whole))


def exact_ratio(text: str) -> Fraction:
    """Return the ratio a table cell stands for: "1/3.6", "1e-9" or "0.2777777777777778".

    A cell of 15 or more significant digits is a ratio written as a float writes it; the simplest
    fraction within its rounding, decimal or binary, is meant: here 5/18. Shorter cells are exact.
    """
    if "/" in text:
        numerator, denominator = text.split("/")
        return Fraction(numerator) / Fraction(denominator)
    stated = Decimal(text)
    _, digits, exponent = stated.as_tuple()
    if len(digits) < _FLOAT_DIGITS or not isinstance(exponent, int):
        return Fraction(stated)
    size = abs(Fraction(stated))
    rounding = max(Fraction(10) ** exponent, size / 2**52)
    simplest = _simplest_between(size - rounding, size + rounding)
    return -simplest if stated < 0 else simplest


def _to_base(symbol: str, scale: Fraction, offset: Fraction) -> _Scale:
    """Follow `_SAME_KIND` from a SenML primary unit to the base of its kind."""
    further = _SAME_KIND.get(symbol)
    if further is None:
        return _Scale(symbol, scale, offset)
    return _Scale(further.base, scale * further.scale, offset * further.scale + further.offset)


def _read_units() -> tuple[Mapping[str, Unit], Mapping[str, _Scale]]:
    units: dict[str, Unit] = {}
    scales: dict[str, _Scale] = {}
    for row in read_table("units"):
        key = row["key"]
        units[key] = Unit(
            key=key,
            label=row["label_en"],
            ucum=row["ucum"],
            qudt=row["qudt_unit"],
            unece=row["unece_rec20"],
            senml=senml_symbol(key),
        )
        if row["senml_primary"]:
            scales[key] = _to_base(
                row["senml_primary"],
                exact_ratio(row["scale_to_senml_primary"]),
                exact_ratio(row["offset_to_senml_primary"]),
            )
    return MappingProxyType(units), MappingProxyType(scales)


def _read_senml() -> Mapping[str, _Scale]:
    scales: dict[str, _Scale] = {}
    for row in read_table("senml_units"):
        if row["registry"] == "primary":
            scales[row["symbol"]] = _to_base(row["symbol"], Fraction(1), Fraction(0))
        else:
            scales[row["symbol"]] = _to_base(
                row["primary_unit"], exact_ratio(row["scale"]), exact_ratio(row["offset"])
            )
    return MappingProxyType(scales)


UNITS, _UNIT_SCALES = _read_units()
_SENML_SCALES: Final = _read_senml()


def find_unit(key: str) -> Unit:
    """Return the unit of that key.

    Raises:
        UnknownUnitError: there is none; the nearest keys are named.
    """
    unit = UNITS.get(key)
    if unit is None:
        raise UnknownUnitError(f"no unit {key!r}{nearest(key, UNITS)}")
    return unit


@cache
def _converter(from_senml: str, to_unit_key: str) -> Conversion:
    target = find_unit(to_unit_key)
    to_scale = _UNIT_SCALES.get(to_unit_key)
    if from_senml == target.senml:
        return Conversion(Fraction(1), Fraction(0))
    from_scale = _SENML_SCALES.get(from_senml)
    if from_scale is None:
        if not from_senml:
            raise UnitMismatchError(f"a result without unit for {to_unit_key!r} ({target.label})")
        raise UnknownUnitError(f"no SenML unit {from_senml!r}{nearest(from_senml, _SENML_SCALES)}")
    if to_scale is None or from_scale.base != to_scale.base:
        raise UnitMismatchError(
            f"unit {from_senml!r} does not measure the same as {to_unit_key!r} ({target.label})"
        )
    return _across(from_scale, to_scale)


def _across(from_scale: _Scale, to_scale: _Scale) -> Conversion:
    return Conversion(
        from_scale.scale / to_scale.scale,
        (from_scale.offset - to_scale.offset) / to_scale.scale,
    )


def converter(from_senml: str, to_unit_key: str) -> Conversion:
    """Return the conversion from a SenML unit symbol to a unit of the table.

    `from_senml` is empty for results without unit, as true/false states are.

    Raises:
        UnknownUnitError: either is not in its table; the nearest are named.
        UnitMismatchError: they measure different things, e.g. "dB" for "Cel".
    """
    # Only what is in both tables is cached, so that a sender cannot fill the memory.
    if from_senml in _SENML_SCALES or not from_senml:
        return _converter(from_senml, to_unit_key)
    return _converter.__wrapped__(from_senml, to_unit_key)


@cache
def between(from_unit_key: str, to_unit_key: str) -> Conversion:
    """Return the conversion from one unit of the table to another.

    Raises:
        UnknownUnitError: either is not in the table; the nearest are named.
        UnitMismatchError: they measure different things.
    """
    source, target = find_unit(from_unit_key), find_unit(to_unit_key)
    if from_unit_key == to_unit_key:
        return Conversion(Fraction(1), Fraction(0))
    from_scale, to_scale = _UNIT_SCALES.get(from_unit_key), _UNIT_SCALES.get(to_unit_key)
    if from_scale is None or to_scale is None or from_scale.base != to_scale.base:
        raise UnitMismatchError(
            f"{from_unit_key!r} ({source.label}) does not measure the same as {to_unit_key!r}"
            f" ({target.label})"
        )
    return _across(from_scale, to_scale)
