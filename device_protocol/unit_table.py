"""The units that results may be kept in, and what each is called in a SenML pack.

Only names: how units convert into one another is `standards_mapping.units`' business, at the
centre. Gateways use this to refuse a unit that the centre would refuse.
"""

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Final

from device_protocol.errors import UnitMismatchError
from device_protocol.tables import read_table

BOOLEAN_UNIT: Final = "bool"
"""Key of the unit that stands for true and false."""

_NEAREST: Final = 3
_LIKE_ENOUGH: Final = 0.4


class UnknownUnitError(UnitMismatchError):
    """No such unit in the table; the message names the nearest ones."""


@cache
def unit_symbols() -> dict[str, str]:
    """Return the SenML symbol of each unit of the table, by its key.

    Where SenML has no symbol for a unit (mg/m3, kPa) its key stands in the pack instead; a truth
    value has no unit there.
    """
    return {
        row["key"]: row["senml_u"] or ("" if row["key"] == BOOLEAN_UNIT else row["key"])
        for row in read_table("units")
    }


def senml_symbol(key: str) -> str:
    """Return the symbol that stands in a SenML pack for the unit of that key.

    Raises:
        UnknownUnitError: there is no such unit; the nearest keys are named.
    """
    symbol = unit_symbols().get(key)
    if symbol is None:
        raise UnknownUnitError(f"no unit {key!r}{nearest(key, unit_symbols())}")
    return symbol


def property_keys() -> frozenset[str]:
    """Return the keys of all observed properties; read anew each time, for it is rarely asked."""
    tables = ("observed_properties", "own_observed_properties")
    return frozenset(row["key"] for table in tables for row in read_table(table))


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; nearest: a, b" for a message about an unknown `word`, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=_NEAREST, cutoff=_LIKE_ENOUGH)
    return f"; nearest: {', '.join(matches)}" if matches else ""
