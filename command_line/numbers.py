"""Numbers on the command line, within the bounds that make sense of them. Pure."""

import argparse
import math
from collections.abc import Callable


def count(least: int = 1) -> Callable[[str], int]:
    """Return what reads a whole number of at least `least`, for `type=` of an argument."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of {least} or more")
        return value

    return read


def more_than_zero(text: str) -> float:
    """Read a length of time or a rate, for `type=` of an argument."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return value


def zero_or_more(text: str) -> float:
    """Read a number of which 0 means none, for `type=` of an argument."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be 0 or a number above it")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
