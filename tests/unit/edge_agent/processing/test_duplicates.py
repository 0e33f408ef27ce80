from device_protocol.reading import Reading
from edge_agent.processing.duplicates import Duplicates
from tests.unit.edge_agent.processing.streams import reading


def kept(*readings: Reading, repeat_seconds: float = 0.0) -> list[tuple[float, object]]:
    """Return the minute and result of what is no repetition."""
    duplicates = Duplicates({"no2": repeat_seconds})
    return [
        (each.phenomenon_time.minute, each.result)
        for each in readings
        if not duplicates.is_repeated(each)
    ]


def test_the_same_name_time_and_result_is_told_once() -> None:
    assert kept(reading(1.0), reading(2.0, at=60), reading(1.0), reading(2.0, at=60)) == [
        (0, 1.0),
        (1, 2.0),
    ]


def test_the_same_result_at_another_time_is_another_reading() -> None:
    assert len(kept(reading(1.0), reading(1.0, at=60))) == 2


def test_another_result_for_the_same_time_is_left_for_the_centre_to_judge() -> None:
    assert kept(reading(1.0), reading(2.0)) == [(0, 1.0), (0, 2.0)]


def test_datastreams_and_kinds_of_results_are_told_apart() -> None:
    duplicates = Duplicates({})
    truth = reading(True, name="bay")  # noqa: FBT003
    assert not duplicates.is_repeated(reading(1.0, name="people"))
    assert not duplicates.is_repeated(truth)
    assert not duplicates.is_repeated(reading(1.0, name="bay", unit=""))


def test_one_event_that_a_radio_repeats_is_told_once_though_each_has_its_own_time() -> None:
    burst = [reading(1.0, at=second) for second in (0, 2, 4)]
    later = [reading(1.0, at=60 + second) for second in (0, 2)]
    assert kept(*burst, *later, repeat_seconds=10) == [(0, 1.0), (1, 1.0)]


def test_a_change_within_the_time_of_a_burst_is_no_repetition() -> None:
    states = [reading(1.0), reading(0.0, at=60), reading(1.0, at=120)]
    assert len(kept(*states, repeat_seconds=1000)) == 3


def test_a_state_that_lasts_is_told_anew_from_time_to_time() -> None:
    lasting = [reading(1.0, at=60 * minute) for minute in range(10)]
    assert [minute for minute, _ in kept(*lasting, repeat_seconds=150)] == [0, 3, 6, 9]


def test_what_is_remembered_has_a_bound() -> None:
    duplicates = Duplicates({})
    first = reading(0.0)
    assert not duplicates.is_repeated(first)
    assert not any(duplicates.is_repeated(reading(float(i), at=i)) for i in range(1, 65))
    assert not duplicates.is_repeated(first), "forgotten"
