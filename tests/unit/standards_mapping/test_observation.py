from datetime import UTC, datetime, timedelta

from standards_mapping.observation import Observation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_mean_began_one_averaging_time_before_it_ended() -> None:
    hourly = Observation(datastream=1, time=NOON, averaging=timedelta(hours=1), result=20.5)
    assert hourly.phenomenon_start == datetime(2026, 3, 1, 11, tzinfo=UTC)
    instant = Observation(datastream=1, time=NOON, averaging=timedelta(0), result=True)
    assert instant.phenomenon_start == NOON
