"""Observations as JSON text, written straight from what is kept: pages of them are asked for most.

What is written means the same as what `entity.EntityWriter` makes, key by key in its order; it is
only made without a dictionary for each observation. What is expanded or selected is left to that.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from standards_mapping.sensorthings.entity import result_quality

COLUMNS: Final = ("phenomenonTime", "result", "resultTime", "resultQuality")
"""The properties that are written; what a row holds of them says `observations_text`."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - what it is taken from has no zone, either
_MICROSECOND: Final = timedelta(microseconds=1)
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
    if not rows:
        return b"[]"
    # A call for each column, not for each cell, and cells that nobody has cost nothing: together
    # that takes a third of the time.
    streams, times, starts, numbers, results, qualities, *more = zip(*rows, strict=False)
    ends = _cells(times)
    keys = [
        f"{stream}-{(time - _EPOCH) // _MICROSECOND}"
        for stream, time in zip(streams, times, strict=True)
    ]
    phenomena = [
        end if start == _NOTHING else f"{start[:-1]}/{end[1:]}"
        for start, end in zip(_cells(starts), ends, strict=True)
    ]
    values = _cells(numbers)
    if None in numbers:
        values = [
            _json(result) if number is None else value
            for number, value, result in zip(numbers, values, results, strict=True)
        ]
    told = _told(qualities, dict(zip(others, more, strict=False)))
    link = f"{_json(root)[1:-1]}/Observations('"
    written = [
        f'{{"@iot.id":"{key}","@iot.selfLink":"{link}{key}\')","phenomenonTime":{phenomenon}'
        f',"result":{value},"resultTime":{end}{also}'
        f',"Datastream@iot.navigationLink":"{link}{key}\')/Datastream"'
        f',"FeatureOfInterest@iot.navigationLink":"{link}{key}\')/FeatureOfInterest"}}'
        for key, phenomenon, value, end, also in zip(
            keys, phenomena, values, ends, told, strict=True
        )
    ]
    return f"[{','.join(written)}]".encode()


def _told(qualities: Sequence[int], others: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return what is told of each observation beside its times and its result, as members."""
    told = [""] * len(qualities)
    if any(qualities):
        told = [
            f',"resultQuality":{_json(result_quality(quality))}' if quality else ""
            for quality in qualities
        ]
    for name, column in others.items():
        if column.count(None) < len(column):
            told = [
                text if other is None or other == {} else f'{text},"{name}":{_json(other)}'
                for text, other in zip(told, column, strict=True)
            ]
    return told


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _cells(values: Sequence[datetime | float | None]) -> list[str]:
    """Return each value as JSON; times have no zone, and none of them has a comma when written."""
    return orjson.dumps(values, option=_IN_UTC).decode()[1:-1].split(",")
