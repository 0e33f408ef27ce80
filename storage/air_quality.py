"""The means that the Daily Air Quality Index is made of, read from observations.

How an index is made of them is `standards_mapping.air_quality_index`. They are read from the
observations themselves: a mean that ends on the hour belongs to the hour it ends, while rollups
are by the hour that a result falls into.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from device_protocol.errors import UnitMismatchError
from standards_mapping.air_quality_index import (
    RULES,
    UNIT,
    Index,
    NoIndex,
    PartMean,
    covered_share,
    first_start,
    index_now,
    latest_end,
)
from standards_mapping.units import Conversion, between
from storage.database import Connection, query


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


_NO_UNIT: Final = "it is not measured in mass per volume"


async def indices_now(
    conn: Connection, pollutants: Sequence[Pollutant], now: datetime
) -> dict[int, Index | NoIndex]:
    """Return the index of each datastream that there is one for, or why it has none, by id.

    One statement, however many they are.
    """
    asked = [(one, RULES[one.property_key]) for one in pollutants if one.is_indexed]
    if not asked:
        return {}
    cursor = await conn.execute(
        query("air_quality_parts"),
        {
            "ids": [one.datastream_id for one, _ in asked],
            "seconds": [int(rule.part.total_seconds()) for _, rule in asked],
            "starts": [first_start(rule, now) for _, rule in asked],
            "end": latest_end(now),
        },
    )
    rows: dict[int, list[tuple[datetime, int, float]]] = {}
    for datastream_id, ended, results, mean in await cursor.fetchall():
        rows.setdefault(datastream_id, []).append((ended, results, mean))
    return {
        one.datastream_id: _index(one, rows.get(one.datastream_id, []), now) for one, _ in asked
    }


def _index(
    pollutant: Pollutant, rows: Sequence[tuple[datetime, int, float]], now: datetime
) -> Index | NoIndex:
    rule = RULES[pollutant.property_key]
    conversion = _conversion(pollutant.unit)
    if conversion is None:
        return NoIndex(pollutant.property_key, _NO_UNIT)
    parts = []
    for ended, results, mean in rows:
        covered = covered_share(
            rule, results, averaging=pollutant.averaging, period=pollutant.period
        )
        if covered is None:
            return NoIndex(pollutant.property_key, _why_not_covered(pollutant))
        parts.append(PartMean(ended, conversion.apply(mean), covered))
    return index_now(rule, parts, now)


def _conversion(unit: str) -> Conversion | None:
    try:
        return between(unit, UNIT)
    except UnitMismatchError:
        return None


def _why_not_covered(pollutant: Pollutant) -> str:
    if pollutant.averaging:
        return "its means are over longer than the index allows"
    return "how often it reports is not known"
