"""Rows of the store as a page shows them: what a value is, how old, how sure, in plain words.

Pure. The live stream sends the same texts, so that a row changed in the browser reads like one
made by the server. Charts are `api.pages.chart`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from api.pages.times import (
    Freshness,
    age_text,
    freshness,
    iso_text,
    late_after_seconds,
    short_time_text,
    stale_after_seconds,
)
from api.pages.words import (
    HEADLINES,
    is_flagged,
    property_name,
    quality_text,
    result_text,
    unit_symbol,
    what_it_is,
)
from standards_mapping.units import UNITS
from storage.aggregation import Aggregation, aggregation_of
from storage.overview import ChangedValue, CurrentValue, Site

STATUS_TEXTS: Final[Mapping[Freshness, str]] = {
    Freshness.FRESH: "Fresh",
    Freshness.LATE: "Late",
    Freshness.STALE: "Stale",
    Freshness.WAITING: "No value yet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRow:
    """One datastream with its newest value, in words.

    measured: what is measured, as everywhere. name: the same, and which of a site's sensors does
    it where several do. what: instant, or mean or total over how long. age: in words at the time
    the page was made.
    is_open: whether everybody may read it.
    late_after, stale_after: ages in seconds; the browser goes on judging by them.
    """

    datastream_id: int
    property_key: str
    measured: str
    name: str
    title: str
    value: str
    unit: str
    unit_name: str
    what: str
    time_iso: str
    time: str
    age: str
    quality: str
    flagged: bool
    status: Freshness
    is_open: bool
    late_after: int
    stale_after: int

    @property
    def status_text(self) -> str:
        """The status in words."""
        return STATUS_TEXTS[self.status]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow:
    """A site with its values. headline: the value that stands for it on the map, with a label."""

    site: Site
    values: Sequence[ValueRow]
    replay: str

    @property
    def status(self) -> Freshness:
        """Fresh if all values are, stale if none is better; late for anything between."""
        kinds = {row.status for row in self.values}
        if kinds <= {Freshness.FRESH}:
            return Freshness.FRESH
        if kinds <= {Freshness.STALE, Freshness.WAITING}:
            return Freshness.STALE
        return Freshness.LATE

    @property
    def status_text(self) -> str:
        """How many values are in which state, e.g. "7 fresh, 1 stale"."""
        return count_text(self.values)

    @property
    def is_open(self) -> bool:
        """Whether everybody may read all that is shown."""
        return all(row.is_open for row in self.values)

    @property
    def headline(self) -> ValueRow | None:
        """The value that stands for the site on a map; None where it has none."""
        order = list(HEADLINES)
        return min(
            self.values,
            key=lambda row: (
                order.index(row.property_key) if row.property_key in order else len(order)
            ),
            default=None,
        )

    @property
    def headline_label(self) -> str:
        """What the headline is called on a map."""
        row = self.headline
        return HEADLINES.get(row.property_key, row.name) if row else ""


def count_text(rows: Iterable[ValueRow]) -> str:
    """Return how many rows are in which state, leaving out states without any."""
    counts = Counter(row.status for row in rows)
    if set(counts) == {Freshness.FRESH}:
        return "All fresh"
    parts = [f"{counts[kind]} {STATUS_TEXTS[kind].lower()}" for kind in Freshness if counts[kind]]
    return ", ".join(parts) or "No values"


def value_row(current: CurrentValue, now: datetime) -> ValueRow:
    """Return a datastream's newest value in words."""
    unit = UNITS.get(current.unit)
    time = current.time
    aggregation = aggregation_of(current.property_key, current.unit)
    name = property_name(current.property_key, current.property_name)
    return ValueRow(
        datastream_id=current.datastream_id,
        property_key=current.property_key,
        measured=name,
        name=name,
        title=current.datastream_name,
        value=result_text(current.value, current.result),
        unit=unit_symbol(current.unit),
        unit_name=unit.label if unit else current.unit,
        what=what_it_is(
            current.averaging_seconds,
            total=aggregation is Aggregation.TOTAL,
            aggregate=current.properties.get("aggregate"),
        ),
        time_iso=iso_text(time) if time else "",
        time=short_time_text(time, now) if time else "",
        age=age_text((now - time).total_seconds()) if time else "",
        quality=quality_text(current.quality) if time else "",
        flagged=is_flagged(current.quality),
        status=freshness(time, current.period_seconds, now),
        is_open=current.is_open,
        late_after=late_after_seconds(current.period_seconds),
        stale_after=stale_after_seconds(current.period_seconds),
    )


def site_rows(
    sites: Sequence[Site], values: Sequence[CurrentValue], now: datetime
) -> list[SiteRow]:
    """Return each site that has datastreams, with its values by property."""
    by_site: dict[int, list[CurrentValue]] = {}
    for value in values:
        by_site.setdefault(value.thing_id, []).append(value)
    rows = []
    for site in sites:
        own = by_site.get(site.id, [])
        if own:
            shown = sorted((value_row(value, now) for value in own), key=_order)
            told_apart = list(_told_apart(shown))
            rows.append(SiteRow(site=site, values=told_apart, replay=replay_note(site, own)))
    return rows


def _told_apart(rows: Sequence[ValueRow]) -> Iterator[ValueRow]:
    """Yield a site's rows; those that say the same of different sensors with their titles."""
    alike = Counter((row.name, row.what) for row in rows)
    for row in rows:
        is_alone = alike[row.name, row.what] == 1 or row.title == row.name
        yield row if is_alone else replace(row, name=f"{row.name} ({row.title})")


def _order(row: ValueRow) -> tuple[int, str, int]:
    order = list(HEADLINES)
    rank = order.index(row.property_key) if row.property_key in order else len(order)
    return rank, row.name, row.datastream_id


def replay_note(site: Site, values: Iterable[CurrentValue]) -> str:
    """Return what the site's properties say about being a replay; empty where it is none."""
    sources: list[Mapping[str, Any]] = [site.properties, *(value.properties for value in values)]
    return next((str(source["replay"]) for source in sources if source.get("replay")), "")


def watermark(values: Iterable[CurrentValue], default: datetime) -> datetime:
    """Return the moment up to which `values` hold every change; the live stream goes on from it."""
    return max((value.updated_at for value in values if value.updated_at), default=default)


def live_value(changed: ChangedValue) -> dict[str, str | int | bool]:
    """Return a changed value as the live stream sends it."""
    return {
        "id": changed.datastream_id,
        "site": changed.thing_id,
        "value": result_text(changed.value, changed.result),
        "time": iso_text(changed.time),
        "when": short_time_text(changed.time, changed.updated_at),
        "quality": quality_text(changed.quality),
        "flagged": is_flagged(changed.quality),
    }
