"""The hours of many datastreams as statements see them, however far the rollup worker has come.

Which datastreams a question is about, in which groups, and the sums of the hours that wait to be
recomputed. What is asked of the hours is `storage.analysis`; how they are kept, `storage.rollups`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import sql

from device_protocol.kinds import BEARINGS, FULL_TURN, LEVEL_UNITS
from storage.aggregation import Aggregation, aggregation_of
from storage.database import Connection, query

_HOUR: Final = timedelta(hours=1)
_BY_KEY_SHARE: Final = 20  # up to one datastream in so many is looked up by its key
_MOST_SHARE: Final = 0.8  # of more, all hours are added up


class DroppedError(Exception):
    """Observations that a question needs were dropped; the text says up to when."""


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """What is summed up together: the datastreams of a council for one property in one unit."""

    tenant: str
    property_key: str
    unit: str

    @property
    def aggregation(self) -> Aggregation:
        """What one value stands for many of its results."""
        return aggregation_of(self.property_key, self.unit)


@dataclass(frozen=True, slots=True)
class _Stream:
    """A datastream that a question is about; floor: observations before it were dropped."""

    id: int
    group: Group
    averaged: bool
    floor: datetime | None


class Streams:
    """The datastreams of a question, and the columns that its statements want of them."""

    def __init__(self, streams: Sequence[_Stream]) -> None:
        self._streams = streams
        self.groups = sorted({stream.group for stream in streams})
        numbers = {group: number for number, group in enumerate(self.groups)}
        table = [-1] * max((stream.id for stream in streams), default=0)
        for stream in streams:
            table[stream.id - 1] = numbers[stream.group]
        self.columns: dict[str, Any] = {
            "ids": [stream.id for stream in streams],
            "groups": [numbers[stream.group] for stream in streams],
            "averaged": [stream.averaged for stream in streams],
            "floors": [stream.floor for stream in streams],
            "numbers": table,
            "by_key": len(streams) * _BY_KEY_SHARE < len(table),
            "most": len(streams) > len(table) * _MOST_SHARE,
        }

    def kept_in(self, unit: str) -> "Streams":
        """Return those whose results are kept in `unit`."""
        return Streams([stream for stream in self._streams if stream.group.unit == unit])

    def check_kept(self, start: datetime) -> None:
        """Raise DroppedError where observations from `start` on are no longer all there."""
        floors = [stream.floor for stream in self._streams if stream.floor is not None]
        if floors and max(floors) > start:
            short = sum(floor > start for floor in floors)
            raise DroppedError(
                f"observations of {short} datastreams are kept from {max(floors)} on only: ask"
                " from then on; hourly means go back further"
            )


async def find_streams(conn: Connection, property_key: str | None, tenant: str | None) -> Streams:
    """Return the approved datastreams of one property, one council, both or neither."""
    cursor = await conn.execute(
        query("analysis_streams"), {"property_key": property_key, "tenant": tenant}
    )
    return Streams(
        [
            _Stream(datastream_id, Group(tenant, key, unit), averaged, floor)
            for datastream_id, tenant, key, unit, averaged, floor in await cursor.fetchall()
        ]
    )


async def exact_hours(
    conn: Connection, streams: Streams, start: datetime, end: datetime
) -> dict[str, Any]:
    """Return the parameters of analysis_hours.sql; hours that wait are summed up for it.

    Only within a transaction that sees one moment: what waits must not be worked off in between.
    """
    bounds = {"start": start, "end": end}
    pairs = await fetch(conn, "analysis_pending_hours", bounds | streams.columns)
    buckets = [bucket for bucket, _ in pairs]
    fresh: list[tuple[Any, ...]] = []
    if pairs:
        fresh = await fetch(
            conn,
            "analysis_fresh_hours",
            {
                "buckets": buckets,
                "datastream_ids": [datastream_id for _, datastream_id in pairs],
                "low": buckets[0],
                "high": buckets[-1] + _HOUR,
                "level_units": sorted(LEVEL_UNITS),
                "bearings": sorted(BEARINGS),
                "bearing_units": list(FULL_TURN),
                "full_turns": list(FULL_TURN.values()),
            },
        )
    names = ("ids", "buckets", "n", "sum", "sum2", "min", "max")
    columns = zip(*fresh, strict=True) if fresh else ((),) * len(names)
    kept = {f"fresh_{name}": list(column) for name, column in zip(names, columns, strict=True)}
    return bounds | kept | {"pending": sorted(set(buckets))}


async def fetch(conn: Connection, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a `statement`, planned for these parameters, never for any."""
    cursor = await conn.execute(statement(name), parameters, prepare=False)
    return await cursor.fetchall()


def statement(name: str) -> sql.Composed:
    """Return a statement with the parts that it shares with others."""
    touched = sql.SQL(query("analysis_touched_hours"))
    hours = sql.SQL(query("analysis_hours")).format(touched=touched)
    return sql.SQL(query(name)).format(touched=touched, hours=hours)
