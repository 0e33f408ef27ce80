"""Observations as JSON text, written straight from what is kept: pages of them are asked for most.

What is written means the same as what `entity.EntityWriter` makes, key by key in its order; it is
only made without a dictionary for each observation. What is expanded or selected is left to that.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from standards_mapping.sensorthings.entity import result_quality

COLUMNS: Final = ("phenomenonTime", "result", "resultTime", "resultQuality")
"""The properties that are written; what a row holds of them says `observations_text`."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - what it is taken from has no zone, either
_DAY_SECONDS: Final = 86_400
_NOTHING: Final = "null"
_IN_UTC: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


def observations_text(
    rows: Sequence[Sequence[Any]], root: str, others: Sequence[str] = ()
) -> bytes:
    """Return a JSON array of observations.

    rows: the datastream's id; the time in UTC, without a zone; so the start of the interval, None
    for an instant; the number, None where the result is none; another result; the mask of its
    quality; then the JSON values of the properties `others`; what follows is passed over.
    root: URL of the service, without a slash at its end.
    """
    dumps = orjson.dumps
    prefix = dumps(f"{root}/Observations(").decode()[1:-1]
    # A call for each column, not for each cell: that halves the time of the whole.
    ends = _cells([row[1] for row in rows])
    starts = _cells([row[2] for row in rows])
    numbers = _cells([row[3] for row in rows])
    written = []
    for row, end, start, number in zip(rows, ends, starts, numbers, strict=False):
        stream, time, _, _, result, quality, *rest = row
        since = time - _EPOCH
        seconds = since.days * _DAY_SECONDS + since.seconds
        key = f"{stream}-{seconds * 1_000_000 + since.microseconds}"
        link = f"{prefix}'{key}')"
        phenomenon = end if start == _NOTHING else f"{start[:-1]}/{end[1:]}"
        value = number if row[3] is not None else dumps(result).decode()
        more = f',"resultQuality":{dumps(result_quality(quality)).decode()}' if quality else ""
        for name, other in zip(others, rest, strict=False):
            if other is not None and other != {}:
                more += f',"{name}":{dumps(other).decode()}'
        written.append(
            f'{{"@iot.id":"{key}","@iot.selfLink":"{link}","phenomenonTime":{phenomenon}'
            f',"result":{value},"resultTime":{end}{more}'
            f',"Datastream@iot.navigationLink":"{link}/Datastream"'
            f',"FeatureOfInterest@iot.navigationLink":"{link}/FeatureOfInterest"}}'
        )
    return f"[{','.join(written)}]".encode()


def _cells(values: Sequence[datetime | float | None]) -> list[str]:
    """Return each value as JSON; times have no zone, and none of them has a comma when written."""
    return orjson.dumps(values, option=_IN_UTC).decode()[1:-1].split(",")
