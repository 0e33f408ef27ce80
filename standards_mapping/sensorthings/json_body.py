"""JSON as clients send it, without a number in it becoming another one.

What the members of a body mean is `creation`'s business, and `batch`'s.
"""

import json
import re
from typing import Any, Final

import orjson

from standards_mapping.sensorthings.errors import QueryError

ROUNDED: Final = "send it less precise, or as a text"
"""What to do about a number that has more digits than can be kept."""

_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")
_MOST_DIGITS: Final = 20  # a sign included, or of the largest
_SMALLEST: Final = -(1 << 63)
_LARGEST: Final = (1 << 64) - 1


def parse_json_body(body: bytes) -> Any:
    """Return what a body says.

    Raises:
        QueryError: it is no JSON, or has a whole number that does not fit into 64 bits, which
            would be rounded without a word.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise QueryError(f"the body is not JSON: {error}") from error
    if _LONG_NUMBER.search(body):
        try:
            json.loads(body, parse_int=_check_whole)
        except RecursionError as error:
            raise QueryError("the body is nested too deep") from error
    return found


def _check_whole(digits: str) -> None:
    if len(digits) > _MOST_DIGITS or not _SMALLEST <= int(digits) <= _LARGEST:
        raise QueryError(f"the number {digits[:80]} is too long to be kept as it is: {ROUNDED}")
