from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from storage.partitions import (
    FIRST_MONTH,
    LAST_MONTH,
    Partitions,
    months_between,
    next_month,
    partition_name,
)

TIMES = st.datetimes(
    datetime(1990, 1, 2), datetime(2110, 1, 1), timezones=st.timezones()  # noqa: DTZ001
)  # fmt: skip


@given(TIMES, TIMES)
def test_every_time_between_has_its_month(one: datetime, other: datetime) -> None:
    first, last = sorted((one, other))
    months = list(months_between(first, last))
    assert months == sorted(set(months))
    for time in (first, last, first + (last - first) / 2):
        month = time.astimezone(UTC).date().replace(day=1)
        assert (month in months) == (FIRST_MONTH <= month <= LAST_MONTH)


def test_months_are_those_of_utc() -> None:
    east = timezone(timedelta(hours=10))
    time = datetime(2024, 1, 1, 5, tzinfo=east)
    assert list(months_between(time, time)) == [date(2023, 12, 1)]


def test_no_month_lies_between_times_in_the_wrong_order() -> None:
    later = datetime(2024, 5, 1, tzinfo=UTC)
    assert not list(months_between(later, later - timedelta(days=40)))


def test_december_is_followed_by_january() -> None:
    assert next_month(date(2024, 12, 1)) == date(2025, 1, 1)
    assert next_month(date(2024, 1, 1)) == date(2024, 2, 1)


def test_tables_are_named_by_month() -> None:
    assert partition_name(date(2024, 2, 1)) == "observation_2024_02"


def test_months_before_the_floor_need_no_partition() -> None:
    known = Partitions(frozenset({date(2024, 5, 1)}), floor=date(2024, 4, 1))
    wanted = [date(2024, 3, 1), date(2024, 4, 1), date(2024, 5, 1)]
    assert known.missing(wanted) == {date(2024, 4, 1)}
