"""Rows in words: what a value is, how fresh a site is, what is replayed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from api.pages.overview import reported
from api.pages.presentation import (
    count_text,
    live_value,
    replay_note,
    site_rows,
    value_row,
    watermark,
)
from api.pages.times import Freshness
from storage.overview import ChangedValue, CurrentValue, Site

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

SITE = Site(
    id=7,
    urn="urn:x:site",
    name="Gower Street",
    description="A kerb",
    properties={},
    tenant="camden",
    council="Camden",
    gss="E09000007",
    gateway_id=1,
    device="k7q2m9xd4t",
    place="Gower Street, London",
    longitude=-0.13,
    latitude=51.52,
)
NO2 = CurrentValue(
    datastream_id=1,
    datastream_name="Nitrogen dioxide at the kerb",
    is_open=True,
    unit="ug/m3",
    period_seconds=60,
    averaging_seconds=3600,
    properties={},
    property_key="no2",
    property_name="Nitrogen dioxide mass concentration in air",
    thing_id=7,
    time=NOW - timedelta(seconds=30),
    value=41.234,
    result=None,
    quality=0,
    updated_at=NOW - timedelta(seconds=29),
)
WIND = replace(NO2, datastream_id=2, property_key="wind_speed", unit="m/s", averaging_seconds=0)


def test_two_sensors_of_one_site_that_measure_the_same_are_told_apart() -> None:
    school = replace(NO2, datastream_id=3, datastream_name="Nitrogen dioxide at the school")
    ((site,), (alone,)) = (site_rows([SITE], each, NOW) for each in ([NO2, school], [NO2, WIND]))
    assert [row.name for row in site.values] == [
        f"{alone.values[0].name} (Nitrogen dioxide at the kerb)",
        f"{alone.values[0].name} (Nitrogen dioxide at the school)",
    ]


def test_a_row_says_value_unit_time_what_it_is_and_quality() -> None:
    row = value_row(NO2, NOW)
    assert (row.value, row.unit, row.unit_name) == (
        "41.23",
        "µg/m³",
        "microgram per cubic metre",
    )
    assert (row.what, row.age, row.quality) == (
        "Mean over 1 hour",
        "30 seconds ago",
        "Not flagged",
    )
    assert row.time_iso == "2026-06-01T11:59:30Z"
    assert row.status_text == "Fresh"


def test_a_stream_without_a_value_is_shown_as_waiting() -> None:
    row = value_row(replace(NO2, time=None, value=None, updated_at=None), NOW)
    assert (row.status, row.value, row.age, row.quality) == (Freshness.WAITING, "", "", "")


def test_counts_of_people_are_totals() -> None:
    row = value_row(replace(NO2, property_key="people_count", unit="count"), NOW)
    assert row.what == "Total over 1 hour"


def test_a_site_is_only_as_fresh_as_all_its_values() -> None:
    old = replace(WIND, time=NOW - timedelta(hours=1))
    [fresh] = site_rows([SITE], [NO2, WIND], NOW)
    [mixed] = site_rows([SITE], [NO2, old], NOW)
    [stale] = site_rows([SITE], [old, replace(NO2, time=None)], NOW)
    assert [site.status for site in (fresh, mixed, stale)] == [
        Freshness.FRESH,
        Freshness.LATE,
        Freshness.STALE,
    ]
    assert (fresh.status_text, mixed.status_text) == ("All fresh", "1 fresh, 1 stale")
    assert stale.status_text == "1 stale, 1 no value yet"
    assert count_text([]) == "No values"


def test_the_headline_is_the_property_people_ask_for_first() -> None:
    [site] = site_rows([SITE], [WIND, NO2], NOW)
    assert site.headline is not None
    assert (site.headline.datastream_id, site.headline_label) == (1, "NO₂")
    assert [row.datastream_id for row in site.values] == [1, 2]


def test_a_site_without_datastreams_is_left_out() -> None:
    assert site_rows([SITE], [], NOW) == []


def test_a_replay_is_told_whether_the_site_or_a_datastream_says_it() -> None:
    assert replay_note(SITE, [NO2]) == ""
    assert replay_note(replace(SITE, properties={"replay": "Old air"}), [NO2]) == "Old air"
    assert replay_note(SITE, [NO2, replace(WIND, properties={"replay": "Old wind"})]) == "Old wind"


def test_the_stream_goes_on_from_the_newest_change_on_the_page() -> None:
    later = replace(WIND, updated_at=NOW)
    assert watermark([NO2, later, replace(NO2, updated_at=None)], NOW - timedelta(1)) == NOW
    assert watermark([], NOW) == NOW


def test_the_live_stream_says_a_value_as_the_page_does() -> None:
    row = value_row(NO2, NOW)
    sent = live_value(
        ChangedValue(
            datastream_id=1,
            thing_id=7,
            tenant="camden",
            council_id=1,
            is_open=True,
            unit="ug/m3",
            time=NOW - timedelta(seconds=30),
            value=41.234,
            result=None,
            quality=8,
            updated_at=NOW,
        )
    )
    assert (sent["value"], sent["time"], sent["when"]) == (row.value, row.time_iso, row.time)
    assert (sent["quality"], sent["flagged"]) == ("Suspect", True)


def test_the_overview_leaves_out_what_a_machine_lacks_unless_that_is_all() -> None:
    waiting = replace(WIND, time=None, value=None, updated_at=None)
    [both] = site_rows([SITE], [NO2, waiting], NOW)
    assert [row.property_key for row in reported(both).values] == ["no2"]
    [nothing] = site_rows([SITE], [waiting], NOW)
    assert reported(nothing) == nothing
