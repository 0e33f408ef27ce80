"""The Daily Air Quality Index of a site in words, for its page.

Pure. How an index is found is `standards_mapping.air_quality_index`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.presentation import ValueRow
from api.times import iso_text, short_time_text
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

    index: None where no pollutant has one. worst: the pollutant whose it is.
    """

    index: int | None
    band: str
    worst: str
    rows: tuple[PollutantRow, ...]


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
    found = [(index.index, name, index.band) for name, index in told if isinstance(index, Index)]
    highest, worst, band = max(found, key=lambda each: each[0], default=(None, "", ""))
    return AirQuality(highest, band, worst, tuple(_row(name, index, now) for name, index in told))


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
        until=short_time_text(index.end, now),
        until_iso=iso_text(index.end),
        captured=f"{index.captured:.0%}",
        reason="",
    )
