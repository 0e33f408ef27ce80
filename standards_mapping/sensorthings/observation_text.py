"""Observations as JSON text, written straight from what is kept: pages of them are asked for most.

What is written means the same as what `entity.EntityWriter` makes, key by key in its order; it is
only made without a dictionary for each observation. What is expanded or selected is left to that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from standards_mapping.sensorthings.entity import result_quality

COLUMNS: Final = ("phenomenonTime", "result", "resultTime", "resultQuality")
"""The properties that are written of every page; `ObservationColumns` says what of the others."""

_ARRAYS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_NULL: Final = b"null"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationColumns:
    """Observations, a column at a time; all columns are equally long.

    streams: ids of their datastreams. times: Unix microseconds, as `starts`: where an interval
    began, the time itself for an instant. values: NaN where the result is no number. qualities:
    masks of flags. results: results that are no numbers, None where they are; () for none at all.
    others: by property, JSON values of those that have some, None or {} where one has not.
    """

    streams: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    qualities: npt.NDArray[np.int64]
    results: Sequence[Any] = ()
    others: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many observations there are."""
        return len(self.times)


def observations_text(found: ObservationColumns, root: str) -> bytes:
    """Return a JSON array of observations.

    root: URL of the service, without a slash at its end.
    """
    if not len(found):
        return b"[]"
    # What is the same in all and what differs are put in turns into one list, a column at a time:
    # that takes a third of what a template filled for each observation does.
    streams, times = _numbers(found.streams), _numbers(found.times)
    key: tuple[_Part, ...] = (streams, b"-", times)
    link = b"".join((orjson.dumps(root)[1:-1], b"/Observations('"))
    ends = _moments(found.times)
    parts: tuple[_Part, ...] = (
        *(b'{"@iot.id":"', *key, b'","@iot.selfLink":"' + link, *key),
        *(b'\')","phenomenonTime":"', _openings(found), ends, b'","result":', _results(found)),
        *(b',"resultTime":"', ends, b'"', *_told(found)),
        *(b',"Datastream@iot.navigationLink":"' + link, *key),
        *(b'\')/Datastream","FeatureOfInterest@iot.navigationLink":"' + link, *key),
        b"')/FeatureOfInterest\"},",
    )
    return b"[%b]" % _interleaved(parts, len(found))[:-1]


_Part = bytes | list[bytes]
"""What stands in each observation: the same text in all, or one for each."""


def _interleaved(parts: Sequence[_Part], count: int) -> bytes:
    """Return the parts of the first observation, then those of the second, and so on."""
    pieces = [part if isinstance(part, bytes) else b"" for part in parts] * count
    for number, part in enumerate(parts):
        if isinstance(part, list):
            pieces[number :: len(parts)] = part
    return b"".join(pieces)


def _numbers(column: npt.NDArray[Any]) -> list[bytes]:
    """Return each number as JSON, null for NaN."""
    return orjson.dumps(column, option=_ARRAYS)[1:-1].split(b",")


def _moments(microseconds: npt.NDArray[np.int64], after: bytes = b"") -> list[bytes]:
    """Return each time as in ISO 8601, without quotes; `after` follows each."""
    written = orjson.dumps(microseconds.view("datetime64[us]"), option=_ARRAYS)
    return written.replace(b'Z"', b'Z%b"' % after).split(b'"')[1::2]


def _openings(found: ObservationColumns) -> _Part:
    """Return what stands before each end in phenomenonTime: its interval's start, or nothing."""
    lasting = found.starts != found.times
    intervals = np.count_nonzero(lasting)
    if not intervals:
        return b""
    openings = _moments(found.starts, b"/")
    if intervals == len(found):
        return openings
    return [
        opening if is_interval else b""
        for opening, is_interval in zip(openings, lasting.tolist(), strict=True)
    ]


def _results(found: ObservationColumns) -> _Part:
    values = _numbers(found.values)
    if not found.results:
        return values
    return [
        orjson.dumps(result) if value == _NULL else value
        for value, result in zip(values, found.results, strict=True)
    ]


def _told(found: ObservationColumns) -> list[_Part]:
    """Return what is told of some observations beside their times and their results, as members."""
    told: list[_Part] = []
    if np.count_nonzero(found.qualities):
        told.append(
            [
                b',"resultQuality":%b' % orjson.dumps(result_quality(quality)) if quality else b""
                for quality in found.qualities.tolist()
            ]
        )
    for name, column in found.others.items():
        told.append(
            [
                b""
                if one is None or one == {}
                else b',"%b":%b' % (name.encode(), orjson.dumps(one))
                for one in column
            ]
        )
    return told
