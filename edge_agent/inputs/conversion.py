"""Units that sources speak, turned exactly into those of the table of units.

Only conversions whose factors are exact by definition are here; calibrations are the sensor's
business (`scale`, `offset`). What unit a datastream may have is told elsewhere.
"""

import difflib
from collections.abc import Callable
from typing import Final

SIGNIFICANT_DIGITS: Final = 12  # of a converted result; no street sensor gives as many

# Factors to the first unit of each group: numerator, denominator, and what is added before.
# SI brochure, 9th edition; inch, foot, mile, pound and knot as by NIST SP 811, appendix B;
# conventional millimetre of mercury 133.322387415 Pa (ibid.).
_GROUPS: Final[tuple[dict[str, tuple[str, ...]], ...]] = (
    {"K": (), "Cel": ("1", "1", "273.15"), "degF": ("5", "9", "459.67")},
    {
        "m/s": (),
        "km/h": ("1", "3.6"),
        "mi/h": ("0.44704",),
        "mph": ("0.44704",),
        "kn": ("1852", "3600"),
        "ft/s": ("0.3048",),
        "cm/s": ("0.01",),
        "mm/s": ("0.001",),
        "mm/h": ("0.001", "3600"),
        "in/h": ("0.0254", "3600"),
    },
    {
        "Pa": (),
        "hPa": ("100",),
        "kPa": ("1000",),
        "mbar": ("100",),
        "bar": ("100000",),
        "mmHg": ("133.322387415",),
        "inHg": ("3386.388640341",),
        "psi": ("4.4482216152605", "0.00064516"),
    },
    {
        "m": (),
        "mm": ("0.001",),
        "cm": ("0.01",),
        "km": ("1000",),
        "um": ("0.000001",),
        "in": ("0.0254",),
        "ft": ("0.3048",),
        "yd": ("0.9144",),
        "mi": ("1609.344",),
        "L/m2": ("0.001",),
    },
    {"kg/m3": (), "mg/m3": ("1e-6",), "ug/m3": ("1e-9",), "ng/m3": ("1e-12",), "g/m3": ("1e-3",)},
    {"1": (), "%": ("0.01",), "ppm": ("1e-6",), "ppb": ("1e-9",)},
    {"V": (), "mV": ("0.001",), "uV": ("1e-6",), "kV": ("1000",)},
    {"A": (), "mA": ("0.001",), "uA": ("1e-6",)},
    {"W": (), "mW": ("0.001",), "kW": ("1000",), "MW": ("1e6",)},
    {"J": (), "kJ": ("1000",), "MJ": ("1e6",), "Wh": ("3600",), "kWh": ("3.6e6",)},
    {"s": (), "ms": ("0.001",), "us": ("1e-6",), "min": ("60",), "h": ("3600",), "d": ("86400",)},
    {"Hz": (), "kHz": ("1000",), "MHz": ("1e6",), "GHz": ("1e9",)},
    {"1/s": (), "1/min": ("1", "60"), "1/h": ("1", "3600"), "rpm": ("1", "60")},
    {"m3": (), "L": ("0.001",), "mL": ("1e-6",)},
    {
        "m3/s": (),
        "L/s": ("0.001",),
        "m3/h": ("1", "3600"),
        "L/min": ("0.001", "60"),
        "L/h": ("0.001", "3600"),
    },
    {"kg": (), "g": ("0.001",), "mg": ("1e-6",), "t": ("1000",), "lb": ("0.45359237",)},
    {"lx": (), "klx": ("1000",)},
    {"S/m": (), "uS/cm": ("0.0001",), "mS/cm": ("0.1",), "dS/m": ("0.1",)},
    {"m/s2": (), "g0": ("9.80665",), "mg0": ("0.00980665",)},
    {"uSv/h": (), "nSv/h": ("0.001",), "mSv/h": ("1000",)},
    {"By": (), "kB": ("1000",), "MB": ("1e6",), "KiB": ("1024",), "MiB": ("1048576",)},
    {"mg/L": (), "ug/L": ("0.001",), "g/L": ("1000",)},
)


def mistake(from_unit: str, unit: str) -> str | None:
    """Return why `from_unit` cannot become `unit`, as what must stand there; None if it can."""
    groups = [group for group in _GROUPS if from_unit in group]
    if not groups:
        known = [name for group in _GROUPS for name in group]
        near = difflib.get_close_matches(from_unit, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"is not a unit that can be converted{hint}"
    if unit not in groups[0]:
        return f"does not become {unit}, only {', '.join(sorted(groups[0].keys() - {from_unit}))}"
    return None


def converter(
    from_unit: str, unit: str, scale: float = 1.0, offset: float = 0.0
) -> Callable[[float], float]:
    """Return what turns a source's number into a result: number x scale + offset, then its unit.

    from_unit: "" where the source speaks `unit`. Exact in decimal, then rounded to
    `SIGNIFICANT_DIGITS`; a number that needs no conversion is never touched.

    Raises:
        ValueError: `mistake`.
    """
    if (scale, offset) == (1.0, 0.0) and from_unit in ("", unit):
        return float
    if from_unit:
        reason = mistake(from_unit, unit)
        if reason:
            raise ValueError(f"{from_unit} {reason}")
    return _converter(from_unit or unit, unit, scale, offset)


def _converter(from_unit: str, unit: str, scale: float, offset: float) -> Callable[[float], float]:
    from decimal import Context, Decimal  # noqa: PLC0415  # half a megabyte, for a few sensors

    exact, rounded = Context(prec=60), Context(prec=SIGNIFICANT_DIGITS)
    group = next((group for group in _GROUPS if from_unit in group), {from_unit: ()})

    def factors(name: str) -> tuple[Decimal, Decimal, Decimal]:
        given = [Decimal(each) for each in group[name]]
        numerator, denominator, before = given + [Decimal(1), Decimal(1), Decimal(0)][len(given) :]
        return numerator, denominator, before

    up, down, before = factors(from_unit)
    back, forth, after = factors(unit)
    factor, sum_ = Decimal(repr(scale)), Decimal(repr(offset))

    def convert(number: float) -> float:
        value = exact.fma(Decimal(repr(number)), factor, sum_)
        value = exact.multiply(exact.add(value, before), exact.multiply(up, forth))
        value = exact.divide(value, exact.multiply(down, back))
        return float(rounded.plus(exact.subtract(value, after)))

    return convert
