"""The span a page shows, from its address and back into it."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pages.view import SPANS, ViewError, read_view

NOW = datetime(2026, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def reread(query: str, now: datetime = NOW) -> tuple[datetime, datetime]:
    values = parse_qs(query)
    view = read_view(values["from"][0], values["to"][0], now)
    return view.start, view.end


def test_without_a_span_the_last_day_is_followed() -> None:
    view = read_view("", "", NOW)
    assert view.following
    assert view.start < NOW < view.end <= NOW + timedelta(seconds=1)
    assert view.span == timedelta(hours=24)


def test_one_end_alone_means_a_day() -> None:
    assert read_view("2026-05-01T00:00Z", "", NOW).end == datetime(2026, 5, 2, tzinfo=UTC)
    assert read_view("", "2026-05-02T00:00Z", NOW).start == datetime(2026, 5, 1, tzinfo=UTC)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001  # read as UTC
    st.timedeltas(timedelta(minutes=1), timedelta(days=3660)),
)
def test_the_address_of_a_view_shows_that_view(start: datetime, span: timedelta) -> None:
    start, span = start.replace(microsecond=0), span - timedelta(microseconds=span.microseconds)
    view = read_view(start.isoformat(), (start + span).isoformat(), NOW)
    assert reread(view.query) == (view.start, view.end)
    for link in [*view.zooms(NOW), *view.steps(NOW)]:
        if link.query:
            reread(link.query)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("noon", "", "not a time"),
        ("2026-05-02T00:00Z", "2026-05-01T00:00Z", "at least 1 minute after"),
        ("2026-05-01T00:00Z", "2026-05-01T00:00:59Z", "at least 1 minute after"),
        ("1900-01-01", "2026-01-01", "3,660 days"),
        ("0001-01-01T00:00+23:59", "", "not a time"),
    ],
)
def test_a_span_that_cannot_be_shown_is_refused_in_words(start: str, end: str, words: str) -> None:
    with pytest.raises(ViewError, match=words):
        read_view(start, end, NOW)


def test_zooming_keeps_the_middle_and_never_passes_now() -> None:
    view = read_view("2026-05-10T00:00Z", "2026-05-17T00:00Z", NOW)
    middle = view.start + view.span / 2
    for (label, span), link in zip(SPANS, view.zooms(NOW), strict=True):
        start, end = reread(link.query)
        assert (link.label, end - start) == (label, span)
        assert end <= NOW
        if middle + span / 2 <= NOW:
            assert start + span / 2 == middle
    assert [link.label for link in view.zooms(NOW) if link.current] == ["7 days"]


def test_zooming_from_a_view_of_the_present_stays_in_the_present() -> None:
    ninety_days = read_view("2026-03-03T12:00Z", "2026-06-01T12:00Z", NOW)
    for link in ninety_days.zooms(NOW):
        assert reread(link.query)[1] == ninety_days.end


def test_steps_lead_back_to_the_present() -> None:
    following = read_view("", "", NOW)
    assert [link.label for link in following.steps(NOW)] == ["Earlier"]
    past = read_view("2026-05-30T12:00Z", "2026-05-31T12:00Z", NOW)
    steps = {link.label: link.query for link in past.steps(NOW)}
    assert list(steps) == ["Earlier", "Later", "Latest"]
    assert reread(steps["Earlier"])[1] == past.end - timedelta(hours=12)
    assert reread(steps["Later"])[1] == past.end + timedelta(hours=12)
    assert steps["Latest"] == ""
