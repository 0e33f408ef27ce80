from datetime import UTC, datetime

import pytest

from command_line.data.proof import Key, Reported, Signed, Tally, tally

NOON = 1_780_315_200_000_000
AT_NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def signed(*results: Reported) -> list[Signed]:
    return [Signed("urn:x:no2", (1, NOON + row), result) for row, result in enumerate(results)]


def stored(*results: Reported) -> dict[Key, Reported]:
    return {(1, NOON + row): result for row, result in enumerate(results)}


def test_a_readings_time_is_exact() -> None:
    assert signed(1.0)[0].time == AT_NOON


@pytest.mark.parametrize(
    ("was", "found", "same"),
    [
        (1.0, 1.0, True),
        (0.1 + 0.2, 0.3, True),  # rounded another way
        (1.0, 1.000001, False),
        (0.0, 1e-300, False),
        (True, True, True),
        (True, 1.0, False),
        ("ajar", "ajar", True),
        ("ajar", None, False),
        (1.0, None, False),
    ],
)
def test_a_result_is_stored_as_signed_or_not(was: Reported, found: Reported, same: bool) -> None:  # noqa: FBT001 - a case
    counted = tally(signed(was), "x", stored(found), {}, set())
    assert (counted.stored, counted.other) == (int(same), int(not same))


def test_what_is_not_there_was_dropped_only_below_the_floor() -> None:
    readings = signed(1.0, 2.0)
    floor = readings[1].time
    assert tally(readings, "x", {}, {1: floor}, set()) == Tally(0, 0, 1, 0, 1)
    assert tally(readings, "x", {}, {2: floor}, set()) == Tally(0, 0, 0, 0, 2)


def test_a_contradiction_counts_where_it_was_noted_of_this_gateway() -> None:
    noted = {("x", "urn:x:no2", AT_NOON)}
    assert tally(signed(1.0), "x", stored(2.0), {}, noted).contradicted == 1
    assert tally(signed(1.0), "y", stored(2.0), {}, noted).other == 1


def test_what_was_refused_when_it_came_may_be_absent() -> None:
    found = Tally(stored=2, contradicted=1, dropped=1, other=0, absent=3)
    assert found.differs(4) is None
    assert found.differs(5) == (
        "of 5 readings stored when it came 1 are not as signed; 3 are not there"
    )
