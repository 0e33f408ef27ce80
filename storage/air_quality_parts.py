"""Means over parts of an hour for the Daily Air Quality Index: how they are read without much cost.

Whole hours are taken from the hourly sums (`storage.rollups`) and only what these cannot tell from
observations: quarters of an hour, hours that wait to be recomputed, and results on a full hour. A
mean that ends on the hour belongs to the hour it ends, in both; an instant on the hour does so for
the index, too, but is in the hourly sums of the hour it begins, so it is moved. What an index is
made of is `standards_mapping.air_quality_index`; which datastreams are asked,
`storage.air_quality`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from standards_mapping.air_quality_index import Rule, first_start, latest_end
from storage.database import Connection, query

_HOUR: Final = timedelta(hours=1)
_PLAIN: Final = 1e6
"""Results up to it can be taken out of a sum again and leave the others as exact as they were."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A datastream to read. known: the fingerprint of what was read before, None for nothing."""

    datastream_id: int
    rule: Rule
    is_instant: bool
    known: int | None


@dataclass(slots=True)
class Parts:
    """What was measured in each part of a datastream's hours.

    fingerprint: changes with the hours it is made of; None where they are about to. sums: number of
    results and their sum by when the part ended; None where nothing changed since `known`.
    """

    fingerprint: int | None
    sums: dict[datetime, tuple[int, float]] | None


@dataclass(slots=True)
class _Wanted:
    """What is to be read from observations: parts of a length, after `starts` and up to `ends`."""

    ids: list[int] = field(default_factory=list)
    parts: list[timedelta] = field(default_factory=list)
    starts: list[datetime] = field(default_factory=list)
    ends: list[datetime] = field(default_factory=list)

    def add(self, datastream_id: int, part: timedelta, start: datetime, end: datetime) -> None:
        self.ids.append(datastream_id)
        self.parts.append(part)
        self.starts.append(start)
        self.ends.append(end)


async def read_parts(conn: Connection, asked: Sequence[Asked], now: datetime) -> dict[int, Parts]:
    """Return the parts that the index of `now` may need of each datastream, by its id.

    Only within a transaction that sees one moment: what waits must not be worked off in between.
    A change that leaves number, sum, least and greatest of an hour as they were is not seen as one
    before the next full hour.
    """
    end = latest_end(now)
    starts = {one.datastream_id: first_start(one.rule, now) for one in asked}
    waiting = await _waiting(conn, asked, min(starts.values()), end)
    found: dict[int, Parts] = {}
    wanted = _Wanted()
    edged: list[int] = []
    for one, (fingerprint, greatest, hours) in await _hours(conn, asked, starts, waiting, end):
        number, start = one.datastream_id, starts[one.datastream_id]
        found[number] = Parts(None if number in waiting else fingerprint, hours)
        if hours is None:
            continue
        if one.rule.part < _HOUR or (one.is_instant and greatest > _PLAIN):
            hours.clear()
            wanted.add(number, one.rule.part, start, end)
            continue
        for bucket in waiting.get(number, ()):
            if bucket >= start:
                wanted.add(number, _HOUR, bucket, bucket + _HOUR)
        if one.is_instant:
            edged.append(number)
    await _move_edges(conn, found, {number: starts[number] for number in edged}, end)
    await _read_wanted(conn, found, wanted)
    return found


async def _waiting(
    conn: Connection, asked: Sequence[Asked], start: datetime, end: datetime
) -> dict[int, list[datetime]]:
    """Return the hours that wait to be recomputed, by datastream."""
    cursor = await conn.execute(
        query("analysis_pending_hours"),
        {
            "ids": [one.datastream_id for one in asked],
            "averaged": [not one.is_instant for one in asked],
            "floors": [None] * len(asked),
            "start": start,
            "end": end,
        },
        prepare=False,  # here and below: planned for these bounds, never for any
    )
    waiting: dict[int, list[datetime]] = {}
    for bucket, datastream_id in await cursor.fetchall():
        waiting.setdefault(datastream_id, []).append(bucket)
    return waiting


async def _hours(
    conn: Connection,
    asked: Sequence[Asked],
    starts: Mapping[int, datetime],
    waiting: Mapping[int, Any],
    end: datetime,
) -> list[tuple[Asked, tuple[int, float, dict[datetime, tuple[int, float]] | None]]]:
    """Return fingerprint, greatest result and hours, by their ends, of each, but those known."""
    cursor = await conn.execute(
        query("air_quality_hours"),
        {
            "ids": [one.datastream_id for one in asked],
            "starts": [starts[one.datastream_id] for one in asked],
            "instants": [one.is_instant for one in asked],
            "known": [None if one.datastream_id in waiting else one.known for one in asked],
            "end": end,
        },
        prepare=False,
    )
    by_id = {one.datastream_id: one for one in asked}
    found = []
    for number, fingerprint, greatest, is_new, buckets, results, sums in await cursor.fetchall():
        hours = None
        if is_new:
            each = zip(buckets or (), results or (), sums or (), strict=True)
            hours = {bucket + _HOUR: (n, total) for bucket, n, total in each}
        found.append((by_id[number], (fingerprint, greatest or 0.0, hours)))
    return found


async def _move_edges(
    conn: Connection, found: Mapping[int, Parts], starts: Mapping[int, datetime], end: datetime
) -> None:
    """Move what was measured on a full hour from the hour it begins to the one it ends."""
    if not starts:
        return
    cursor = await conn.execute(
        query("air_quality_edges"),
        {
            "ids": list(starts),
            "starts": list(starts.values()),
            "low": min(starts.values()),
            "end": end,
        },
        prepare=False,
    )
    for number, times, values in await cursor.fetchall():
        sums, start = found[number].sums, starts[number]
        if sums is None:
            continue
        for time, value in zip(times, values, strict=True):
            if time < end:
                _add(sums, time + _HOUR, -1, -value)
            if time > start:
                _add(sums, time, 1, value)


def _add(
    sums: dict[datetime, tuple[int, float]], ended: datetime, results: int, value: float
) -> None:
    before, total = sums.get(ended, (0, 0.0))
    sums[ended] = (before + results, total + value)


async def _read_wanted(conn: Connection, found: Mapping[int, Parts], wanted: _Wanted) -> None:
    """Put what observations say in the place of what the hours do."""
    if not wanted.ids:
        return
    for number, part, end in zip(wanted.ids, wanted.parts, wanted.ends, strict=True):
        sums = found[number].sums
        if sums is not None and part == _HOUR:
            sums.pop(end, None)
    cursor = await conn.execute(
        query("air_quality_parts"),
        {
            "ids": wanted.ids,
            "parts": wanted.parts,
            "starts": wanted.starts,
            "ends": wanted.ends,
            "low": min(wanted.starts),
            "high": max(wanted.ends),
        },
        prepare=False,
    )
    for number, ended, results, total in await cursor.fetchall():
        sums = found[number].sums
        if sums is not None:
            sums[ended] = (results, total)
