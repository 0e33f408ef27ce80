from datetime import UTC, datetime, timedelta

import pytest

from standards_mapping.observation import Observation, Quality

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_mean_began_one_averaging_time_before_it_ended() -> None:
    hourly = Observation(datastream=1, time=NOON, averaging=timedelta(hours=1), result=20.5)
    assert hourly.phenomenon_start == datetime(2026, 3, 1, 11, tzinfo=UTC)
    instant = Observation(datastream=1, time=NOON, averaging=timedelta(0), result=True)
    assert instant.phenomenon_start == NOON


@pytest.mark.parametrize(
    ("mask", "flags"),
    [
        (0, ()),
        (1, ("out-of-range",)),
        (6, ("clock-unsynchronised", "replayed")),
        (15, ("out-of-range", "clock-unsynchronised", "replayed", "suspect")),
    ],
)
def test_the_quality_mask_names_its_flags(mask: int, flags: tuple[str, ...]) -> None:
    assert Quality(mask).flags == flags
