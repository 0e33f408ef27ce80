"""The Daily Air Quality Index of datastreams and of sites, from what is stored.

How an index is made of means is `standards_mapping.air_quality_index`; how those are read,
`storage.air_quality_parts`. A page that is asked for often keeps what it was told
(`api.pages.air_quality_now`); whoever asks again and again keeps a `KnownIndices`.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from device_protocol.errors import UnitMismatchError
from standards_mapping.air_quality_index import (
    RULES,
    UNIT,
    Index,
    NoIndex,
    PartMean,
    covered_share,
    highest,
    index_now,
    latest_end,
)
from standards_mapping.units import Conversion, between
from storage.air_quality_parts import Asked, read_parts
from storage.database import Connection, query

_NO_UNIT: Final = "it is not measured in mass per volume"
_UNKNOWN: Final = "how often it reports is not known"
_TOO_LONG: Final = "its means are over longer than the index allows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pollutant:
    """A datastream that an index can be asked of.

    unit: key of the unit table. averaging: zero for an instant. period: None where irregular.
    """

    datastream_id: int
    property_key: str
    unit: str
    averaging: timedelta
    period: timedelta | None

    @property
    def is_indexed(self) -> bool:
        """Whether there is an index for what it observes."""
        return self.property_key in RULES


@dataclass(frozen=True, slots=True)
class _Told:
    pollutant: Pollutant
    fingerprint: int
    index: Index | NoIndex


class KnownIndices:
    """Indices that were told in the hour that runs, and the fingerprints of what they are made of.

    Nobody learns anything from it that he did not ask for. Not for two readings at a time.
    """

    def __init__(self) -> None:
        self._end: datetime | None = None
        self._told: dict[int, _Told] = {}

    def begin(self, end: datetime) -> None:
        """Forget what was told before the hour that ended then."""
        if end != self._end:
            self._end = end
            self._told.clear()

    def fingerprint(self, pollutant: Pollutant) -> int | None:
        """Return what its index was made of, None where that is not known."""
        told = self._told.get(pollutant.datastream_id)
        return told.fingerprint if told and told.pollutant == pollutant else None

    def index(self, pollutant: Pollutant) -> Index | NoIndex:
        """Return the index of a pollutant with a fingerprint."""
        return self._told[pollutant.datastream_id].index

    def keep(self, pollutant: Pollutant, fingerprint: int | None, index: Index | NoIndex) -> None:
        """Keep an index; without a fingerprint it is about to change."""
        if fingerprint is None:
            self._told.pop(pollutant.datastream_id, None)
        else:
            self._told[pollutant.datastream_id] = _Told(pollutant, fingerprint, index)


async def indices_now(
    conn: Connection,
    pollutants: Sequence[Pollutant],
    now: datetime,
    *,
    known: KnownIndices | None = None,
) -> dict[int, Index | NoIndex]:
    """Return the index of each datastream that there is one for, or why it has none, by id.

    A few statements, however many they are, in a transaction that sees one moment
    (`storage.overview.bounded_read`). known: is kept up to date; then only what changed is read.
    """
    memory = known or KnownIndices()
    memory.begin(latest_end(now))
    found: dict[int, Index | NoIndex] = {}
    read: list[Pollutant] = []
    for one in pollutants:
        if one.is_indexed and _conversion(one.unit) is None:
            found[one.datastream_id] = NoIndex(one.property_key, _NO_UNIT)
        elif one.is_indexed:
            read.append(one)
    if not read:
        return found
    asked = [
        Asked(
            one.datastream_id, RULES[one.property_key], not one.averaging, memory.fingerprint(one)
        )
        for one in read
    ]
    parts = await read_parts(conn, asked, now)
    changed = [(one, sums) for one in read if (sums := parts[one.datastream_id].sums) is not None]
    made = await asyncio.to_thread(_made_of, changed, now)  # pages are answered meanwhile
    for (one, _), index in zip(changed, made, strict=True):
        memory.keep(one, parts[one.datastream_id].fingerprint, index)
        found[one.datastream_id] = index
    found |= {
        one.datastream_id: memory.index(one) for one in read if one.datastream_id not in found
    }
    return found


async def site_indices(
    conn: Connection,
    now: datetime,
    *,
    things: Collection[int] | None = None,
    known: KnownIndices | None = None,
) -> dict[int, Index]:
    """Return the index of each site that has one and that the reader may see, by the Thing's id.

    A site's index is the highest of its pollutants'; it tells which that is (`property_key`), its
    band, and when the period that it is of ended (`end`). things: only these. As `indices_now`
    says, within a transaction; whom it lets read what is said by `storage.access.let_read`.
    """
    cursor = await conn.execute(
        query("air_quality_streams"),
        {"keys": sorted(RULES), "things": None if things is None else list(things)},
    )
    rows = await cursor.fetchall()
    pollutants = [
        Pollutant(
            datastream_id=number,
            property_key=key,
            unit=unit,
            averaging=timedelta(seconds=averaging),
            period=timedelta(seconds=period) if period else None,
        )
        for _, number, key, unit, averaging, period in rows
    ]
    indices = await indices_now(conn, pollutants, now, known=known)
    by_thing: dict[int, list[Index | NoIndex]] = {}
    for thing_id, number, *_ in rows:
        by_thing.setdefault(thing_id, []).append(indices[number])
    found = ((thing_id, highest(each)) for thing_id, each in by_thing.items())
    return {thing_id: index for thing_id, index in found if index is not None}


def _made_of(
    changed: Sequence[tuple[Pollutant, Mapping[datetime, tuple[int, float]]]], now: datetime
) -> list[Index | NoIndex]:
    return [_index(one, sums, now) for one, sums in changed]


def _index(
    pollutant: Pollutant, sums: Mapping[datetime, tuple[int, float]], now: datetime
) -> Index | NoIndex:
    rule, conversion = RULES[pollutant.property_key], _conversion(pollutant.unit)
    if conversion is None:
        return NoIndex(pollutant.property_key, _NO_UNIT)
    parts = []
    shares: dict[int, float | None] = {}  # most hours have as many results
    for ended, (results, total) in sums.items():
        if results <= 0:
            continue  # what it held was of the hour before
        if results not in shares:
            shares[results] = covered_share(
                rule, results, averaging=pollutant.averaging, period=pollutant.period
            )
        covered = shares[results]
        if covered is None:
            reason = _TOO_LONG if pollutant.averaging else _UNKNOWN
            return NoIndex(pollutant.property_key, reason)
        parts.append(PartMean(ended, conversion.apply(total / results), covered))
    return index_now(rule, parts, now)


@cache
def _conversion(unit: str) -> Conversion | None:
    try:
        return between(unit, UNIT)
    except UnitMismatchError:
        return None
