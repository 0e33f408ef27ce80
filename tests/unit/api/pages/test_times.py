"""Ages, spans and the judgement of freshness."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pages.times import (
    Freshness,
    age_text,
    duration_text,
    freshness,
    iso_text,
    late_after_seconds,
    parse_time,
    short_time_text,
    stale_after_seconds,
    time_text,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (1.99, "just now"),
        (2, "2 seconds ago"),
        (119, "119 seconds ago"),
        (120, "2 minutes ago"),
        (7199, "119 minutes ago"),
        (7200, "2 hours ago"),
        (172_799, "47 hours ago"),
        (172_800, "2 days ago"),
        (86_400 * 1200, "1,200 days ago"),
        (-59, "just now"),
        (-61, "61 seconds in the future"),
    ],
)
def test_age_is_told_in_the_unit_two_of_which_fit(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (1, "1 second"), (3600, "1 hour"), (5400, "1 hour 30 minutes"),
     (86_400 * 90, "90 days"), (90_061, "1 day 1 hour")],
)  # fmt: skip
def test_a_span_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("age", "period", "expected"),
    [
        (60, 5, Freshness.FRESH),
        (61, 5, Freshness.LATE),
        (300, 5, Freshness.LATE),
        (301, 5, Freshness.STALE),
        (7200, 3600, Freshness.FRESH),
        (7201, 3600, Freshness.LATE),
        (14_401, 3600, Freshness.STALE),
        (86_400, None, Freshness.FRESH),
        (86_401, None, Freshness.LATE),
        (-10, 5, Freshness.FRESH),
    ],
)
def test_a_value_is_judged_by_its_own_period(
    age: int, period: int | None, expected: Freshness
) -> None:
    assert freshness(NOW - timedelta(seconds=age), period, NOW) is expected


def test_a_stream_without_a_value_is_waiting() -> None:
    assert freshness(None, 5, NOW) is Freshness.WAITING


@given(st.one_of(st.none(), st.integers(1, 10**7)))
def test_nothing_is_stale_before_it_is_late(period: int | None) -> None:
    assert late_after_seconds(period) < stale_after_seconds(period)


@given(st.datetimes(timezones=st.timezones()))
def test_a_written_time_is_read_as_the_same_moment(time: datetime) -> None:
    try:
        utc = time.astimezone(UTC)
    except OverflowError:
        return  # the first and last days of the calendar have no UTC
    assert parse_time(iso_text(time)) == utc


def test_a_time_without_offset_is_taken_as_utc_and_any_offset_is_honoured() -> None:
    assert parse_time("2026-06-01T12:00") == NOW
    assert parse_time("2026-06-01T13:00+01:00") == NOW
    with pytest.raises(ValueError, match="Invalid"):
        parse_time("yesterday")


def test_times_for_people_are_utc_and_say_so() -> None:
    summer = NOW.astimezone(timezone(timedelta(hours=1)))
    assert time_text(summer) == "1 June 2026, 12:00 UTC"
    assert time_text(NOW + timedelta(seconds=5)) == "1 June 2026, 12:00:05 UTC"
    assert short_time_text(summer, NOW) == "1 Jun, 12:00:00 UTC"
    assert short_time_text(NOW.replace(year=2025), NOW) == "1 Jun 2025, 12:00:00 UTC"
