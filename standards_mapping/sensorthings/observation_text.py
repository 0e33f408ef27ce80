"""Observations as JSON text, written straight from what is kept: pages of them are asked for most.

What is written means the same as what `entity.EntityWriter` makes, key by key in its order; it is
only made without a dictionary for each observation. What is expanded or selected is left to that.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from standards_mapping.sensorthings.entity import result_quality

COLUMNS: Final = ("phenomenonTime", "result", "resultTime", "resultQuality")
"""The properties that are written; what a row holds of them says `observations_text`."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - what it is taken from has no zone, either
_MICROSECOND: Final = timedelta(microseconds=1)


def observations_text(
    rows: Iterable[Sequence[Any]], root: str, others: Sequence[str] = ()
) -> bytes:
    """Return a JSON array of observations.

    rows: the datastream's id; the time in UTC, without a zone; so the start of the interval, None
    for an instant; the number, None where the result is none; another result; the mask of its
    quality; then the JSON values of the properties `others`; what follows is passed over.
    root: URL of the service, without a slash at its end.
    """
    dumps = orjson.dumps
    prefix = dumps(f"{root}/Observations(").decode()[1:-1]
    written = []
    for stream, time, start, number, result, quality, *rest in rows:
        key = f"{stream}-{(time - _EPOCH) // _MICROSECOND}"
        link = f"{prefix}'{key}')"
        end = f"{time.isoformat()}Z"
        phenomenon = end if start is None else f"{start.isoformat()}Z/{end}"
        value = dumps(result if number is None else number).decode()
        more = f',"resultQuality":{dumps(result_quality(quality)).decode()}' if quality else ""
        for name, other in zip(others, rest, strict=False):
            if other is not None and other != {}:
                more += f',"{name}":{dumps(other).decode()}'
        written.append(
            f'{{"@iot.id":"{key}","@iot.selfLink":"{link}","phenomenonTime":"{phenomenon}"'
            f',"result":{value},"resultTime":"{end}"{more}'
            f',"Datastream@iot.navigationLink":"{link}/Datastream"'
            f',"FeatureOfInterest@iot.navigationLink":"{link}/FeatureOfInterest"}}'
        )
    return f"[{','.join(written)}]".encode()
