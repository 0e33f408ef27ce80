from datetime import UTC, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.reading import Quality, Reading
from edge_agent.processing.checks import Checks, RefusedError
from edge_agent.processing.settings import CheckSettings
from edge_agent.stamps import marked
from tests.unit.edge_agent.processing.streams import NOON, STREAMS, reading

OUT, SUSPECT = Quality.OUT_OF_RANGE, Quality.SUSPECT


def flags(readings: list[Reading], **settings: float) -> list[int]:
    """Return what is found against each reading, all checks of its datastream being these."""
    checks = Checks(STREAMS, {readings[0].name: CheckSettings(**settings)})
    return [int(checks.check(each).quality) for each in readings]


@pytest.mark.parametrize(
    "wrong",
    [
        reading(1.0, unit="mg/m3"),
        reading(1.0, unit=""),
        reading(1.0, name="no3", unit="ug/m3"),
        reading(True, unit="ug/m3"),  # noqa: FBT003
        reading("high", unit=""),
        reading(1.0, name="bay"),
        reading("yes", name="bay"),
        reading(1.0, name="tag", unit="%"),
        reading("A1", name="tag", unit="%"),
    ],
)
def test_what_is_no_result_of_its_datastream_is_refused(wrong: Reading) -> None:
    with pytest.raises(RefusedError):
        Checks(STREAMS, {}).check(wrong)


@pytest.mark.parametrize(
    "right",
    [
        reading(1.0),
        reading(True, name="bay"),  # noqa: FBT003
        reading("A1", name="tag", unit=""),
        reading("A1", name="tag", unit="/"),
        reading(0.5, name="tag", unit="/"),
        reading(60.0, name="sound", unit="dB"),
    ],
)
def test_a_result_in_the_unit_of_its_datastream_passes_as_it_is(right: Reading) -> None:
    assert Checks(STREAMS, {}).check(right) is right


def test_the_range_of_the_sensor_and_the_narrower_one_of_its_place_both_hold() -> None:
    results = [-1.0, 0.0, 4.9, 5.0, 200.0, 200.1, 1001.0]
    readings = [reading(result, at=i) for i, result in enumerate(results)]
    assert flags(readings) == [OUT, 0, 0, 0, 0, 0, OUT]
    assert flags(readings, minimum=5.0, maximum=200.0) == [OUT, OUT, OUT, 0, 0, OUT, OUT]
    assert flags(readings, maximum=2000.0)[-1] == OUT, "no setting widens what the sensor can do"


def test_a_leap_is_suspect_and_what_follows_it_is_not() -> None:
    readings = [reading(result, at=10 * i) for i, result in enumerate([20.0, 90.0, 22.0, 25.0])]
    assert flags(readings, most_change=1.0) == [0, SUSPECT, 0, 0]


def test_a_lasting_change_is_believed_once_it_could_have_come_about() -> None:
    readings = [reading(20.0), *(reading(90.0, at=10.0 * i) for i in range(1, 10))]
    assert flags(readings, most_change=1.0) == [0, *[SUSPECT] * 6, 0, 0, 0]


def test_a_direction_changes_by_the_shorter_way_round() -> None:
    readings = [reading(result, name="wind", at=i) for i, result in enumerate([359.0, 1.0, 180.0])]
    assert flags(readings, most_change=5.0) == [0, 0, SUSPECT]


def test_out_of_range_is_nothing_to_compare_a_change_with() -> None:
    readings = [reading(result, at=i) for i, result in enumerate([10.0, 1500.0, 10.5])]
    assert flags(readings, most_change=1.0) == [0, OUT | SUSPECT, 0]
    assert flags([reading(1500.0), reading(10.0, at=1)], most_change=1.0) == [OUT, 0]


def test_a_sensor_that_warms_up_is_nothing_to_compare_a_change_with() -> None:
    warming = reading(900.0, quality=Quality.WARMING_UP)
    assert flags([warming, reading(10.0, at=1)], most_change=1.0) == [Quality.WARMING_UP, 0]


def test_what_comes_late_is_not_compared_with_what_is_newer() -> None:
    readings = [reading(10.0, at=100), reading(90.0, at=40), reading(11.0, at=101)]
    assert flags(readings, most_change=1.0) == [0, 0, 0]


def test_a_result_that_has_not_moved_for_too_long_is_suspect_until_it_moves() -> None:
    results = [7.0, 8.0, 8.0, 8.0, 8.0, 9.0, 9.0]
    readings = [reading(result, at=60 * i) for i, result in enumerate(results)]
    assert flags(readings, stuck_seconds=120) == [0, 0, 0, SUSPECT, SUSPECT, 0, 0]


def test_times_of_an_unset_clock_are_not_compared_with_true_ones() -> None:
    unset = reading(10.0, time=marked(NOON - timedelta(seconds=1), ("boot", 1)))
    assert flags([unset, reading(500.0)], most_change=1.0) == [0, 0]
    assert flags([unset, reading(10.0)], stuck_seconds=1) == [0, 0]


def test_flags_of_the_adapter_stay() -> None:
    found = Checks(STREAMS, {}).check(reading(-5.0, quality=Quality.WARMING_UP))
    assert found.quality == OUT | Quality.WARMING_UP


@given(
    st.lists(
        st.tuples(
            st.floats(-2e3, 2e3), st.integers(0, 10_000), st.sampled_from(["no2", "wind", "sound"])
        ),
        max_size=30,
    ),
    st.floats(0, 100),
    st.integers(1, 1000),
)
def test_no_check_alters_a_result_or_its_time(
    told: list[tuple[float, int, str]], most_change: float, stuck_seconds: int
) -> None:
    settings = CheckSettings(
        minimum=-10.0, maximum=500.0, most_change=most_change, stuck_seconds=stuck_seconds
    )
    checks = Checks(STREAMS, dict.fromkeys(("no2", "wind", "sound"), settings))
    for result, at, name in told:
        before = reading(result, at=at, name=name)
        after = checks.check(before)
        assert (after.result, after.phenomenon_time, after.unit, after.name) == (
            before.result, before.phenomenon_time, before.unit, before.name,
        )  # fmt: skip
        assert after.phenomenon_time.tzinfo is UTC
        in_range = -10.0 <= result <= 500.0 and (name == "sound" or result >= 0)
        in_range = in_range and (name != "wind" or result <= 360)
        assert bool(after.quality & OUT) is not in_range
