"""The Daily Air Quality Index of a site in words, for its page and the overview.

Pure. How an index is found is `standards_mapping.air_quality_index`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.pages.presentation import SiteRow, ValueRow
from api.pages.times import iso_text, short_time_text
from standards_mapping.air_quality_index import Index, NoIndex
from storage.air_quality import Pollutant
from storage.overview import CurrentValue


@dataclass(frozen=True, slots=True, kw_only=True)
class PollutantRow:
    """One pollutant. index: e.g. "2 (Low)"; empty where it has none, and then `reason` says why."""

    name: str
    index: str
    mean: str
    averaging: str
    until: str
    until_iso: str
    captured: str
    reason: str


@dataclass(frozen=True, slots=True)
class AirQuality:
    """The index of a site: the highest of its pollutants', and these one by one.

    index: None where no pollutant has one. worst: the pollutant whose it is, None likewise.
    """

    index: int | None
    band: str
    worst: PollutantRow | None
    rows: tuple[PollutantRow, ...]

    @property
    def short(self) -> str:
        """The index and its band for a map, e.g. "Index 2, Low"; "" where it has none."""
        return f"Index {self.index}, {self.band}" if self.worst else ""


def pollutants(values: Sequence[CurrentValue]) -> list[Pollutant]:
    """Return those of a site's datastreams that an index can be asked of."""
    found = (
        Pollutant(
            datastream_id=value.datastream_id,
            property_key=value.property_key,
            unit=value.unit,
            averaging=timedelta(seconds=value.averaging_seconds),
            period=timedelta(seconds=value.period_seconds) if value.period_seconds else None,
        )
        for value in values
    )
    return [pollutant for pollutant in found if pollutant.is_indexed]


def air_quality(
    indices: Mapping[int, Index | NoIndex], rows: Sequence[ValueRow], now: datetime
) -> AirQuality | None:
    """Return what a site's page says of its index; None where nothing it measures has one."""
    told = [(row.name, indices[row.datastream_id]) for row in rows if row.datastream_id in indices]
    if not told:
        return None
    found = [(index, _row(name, index, now)) for name, index in told]
    each_one = tuple(row for _, row in found)
    indexed = [(index, row) for index, row in found if isinstance(index, Index)]
    if not indexed:
        return AirQuality(None, "", None, each_one)
    highest, worst = max(indexed, key=lambda each: each[0].index)
    return AirQuality(highest.index, highest.band, worst, each_one)


def air_by_site(
    sites: Iterable[SiteRow], indices: Mapping[int, Index | NoIndex], now: datetime
) -> dict[int, AirQuality]:
    """Return what is told of each site's index, by its id, of those that measure what has one."""
    found = ((site.site.id, air_quality(indices, site.values, now)) for site in sites)
    return {site: air for site, air in found if air is not None}


def _row(name: str, index: Index | NoIndex, now: datetime) -> PollutantRow:
    if isinstance(index, NoIndex):
        return PollutantRow(
            name=name, index="", mean="", averaging="", until="", until_iso="", captured="",
            reason=index.reason,
        )  # fmt: skip
    return PollutantRow(
        name=name,
        index=f"{index.index} ({index.band})",
        mean=f"{index.concentration:.1f}",
        averaging=index.averaging,
        until=short_time_text(index.end, now).replace(":00 UTC", " UTC"),  # always a full hour
        until_iso=iso_text(index.end),
        captured=f"{index.captured:.0%}",
        reason="",
    )
