"""A site's index in words: the highest of its pollutants', or that it has none."""

from dataclasses import replace
from datetime import timedelta

from api.pages.air_quality import air_by_site, air_quality
from api.pages.presentation import site_rows
from standards_mapping.air_quality_index import Index, NoIndex
from tests.unit.api.pages.test_presentation import NO2, NOW, SITE, WIND

PM25 = replace(NO2, datastream_id=5, property_key="pm25")
[ROW] = site_rows([SITE], [NO2, PM25, WIND], NOW)
END = NOW.replace(minute=0, second=0, microsecond=0)


def index(key: str, number: int, band: str) -> Index:
    return Index(
        property_key=key,
        index=number,
        band=band,
        concentration=40.0,
        averaging="hourly mean",
        start=END - timedelta(hours=1),
        end=END,
        captured=1.0,
    )


def test_the_highest_counts_and_is_named_with_what_it_is_of() -> None:
    found = air_quality(
        {1: index("no2", 3, "Low"), 5: index("pm25", 4, "Moderate")}, ROW.values, NOW
    )
    assert found is not None
    assert found.worst is not None
    assert (found.index, found.band, found.worst.name) == (4, "Moderate", "Particles, PM2.5")
    assert found.worst.averaging == "hourly mean"
    assert found.short == "Index 4, Moderate"
    assert len(found.rows) == 2


def test_too_little_measured_is_no_index_and_nothing_to_measure_is_nothing_said() -> None:
    reason = NoIndex("no2", "too little")
    found = air_by_site([ROW], {1: reason}, NOW)[ROW.site.id]
    assert (found.index, found.worst, found.short) == (None, None, "")
    assert [row.reason for row in found.rows] == ["too little"]
    assert air_by_site([ROW], {}, NOW) == {}
