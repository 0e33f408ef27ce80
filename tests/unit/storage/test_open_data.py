"""Reading by columns: a slice of time holds about as many observations as fit into memory."""

from dataclasses import replace
from datetime import timedelta

from storage.open_data import ROWS_AT_ONCE, slice_length
from tests.simulators.moved_site import NO2

SECOND = timedelta(seconds=1)


def test_a_slice_holds_about_as_many_observations_whatever_their_rate() -> None:
    assert slice_length([NO2]) == timedelta(hours=ROWS_AT_ONCE)
    fast = replace(NO2, period=SECOND)
    assert slice_length([fast]) == timedelta(seconds=ROWS_AT_ONCE)
    assert slice_length([fast] * 4) == timedelta(seconds=ROWS_AT_ONCE / 4)
    assert slice_length([replace(NO2, period=None)]) == timedelta(minutes=ROWS_AT_ONCE)


def test_no_slice_is_shorter_than_an_hour() -> None:
    assert slice_length([replace(NO2, period=SECOND)] * 100) == timedelta(hours=1)
    assert slice_length([replace(NO2, period=timedelta(milliseconds=1))] * 100) == timedelta(
        hours=1
    )
