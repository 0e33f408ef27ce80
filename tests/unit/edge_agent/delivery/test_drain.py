"""What is sealed next: every row once, live ones beside the backlog, each in its order."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.reading import Reading
from edge_agent.delivery.drain import Lanes, Pace
from edge_agent.spool.rows import HIGHEST_NUMBER, Priority, Span, Waiting

READING = Reading(
    sensor="urn:dev:example:no2",
    name="no2",
    phenomenon_time=datetime(2030, 3, 17, tzinfo=UTC),
    result=1.0,
    unit="ug/m3",
)


def rows(priority: Priority, *numbers: int) -> list[Waiting]:
    return [Waiting(priority, number, READING) for number in numbers]


def test_before_any_outage_all_is_live() -> None:
    lanes = Lanes()
    assert lanes.backlog() == []
    assert lanes.live() == [
        Span(Priority.NORMAL, 1, HIGHEST_NUMBER),
        Span(Priority.LOW, 1, HIGHEST_NUMBER),
    ]


def test_live_rows_are_sealed_past_a_backlog_that_stays_whole() -> None:
    lanes = Lanes()
    lanes.seal(rows(Priority.NORMAL, 1, 2))
    lanes.split(100)
    assert lanes.seal(rows(Priority.NORMAL, 101, 103, 3, 4)) == (
        Span(Priority.NORMAL, 101, 103),
        Span(Priority.NORMAL, 3, 4),
    )
    assert lanes.backlog() == [Span(Priority.NORMAL, 5, 100), Span(Priority.LOW, 1, 100)]
    assert lanes.live()[0] == Span(Priority.NORMAL, 104, HIGHEST_NUMBER)


def test_alarms_have_no_backlog() -> None:
    lanes = Lanes()
    lanes.split(100)
    assert lanes.alarms() == [Span(Priority.ALARM, 1, HIGHEST_NUMBER)]
    assert not lanes.is_backlog(rows(Priority.ALARM, 5)[0])
    assert lanes.seal(rows(Priority.ALARM, 5, 105)) == (Span(Priority.ALARM, 5, 105),)


def test_a_second_outage_makes_backlog_of_what_was_live_and_is_not_sealed() -> None:
    lanes = Lanes()
    lanes.split(100)
    lanes.seal(rows(Priority.NORMAL, 101, 110, 1, 20))
    lanes.split(200)
    assert lanes.backlog()[:2] == [Span(Priority.NORMAL, 21, 100), Span(Priority.NORMAL, 111, 200)]


def test_what_is_given_back_is_wanted_again_and_nothing_else() -> None:
    lanes = Lanes()
    first = lanes.seal(rows(Priority.NORMAL, 1, 2, 5))
    second = lanes.seal(rows(Priority.NORMAL, 7, 9))
    lanes.seal(rows(Priority.NORMAL, 10))
    lanes.split(50)
    lanes.has_backlog = False
    lanes.give_back(second)
    assert lanes.has_backlog
    assert lanes.backlog()[:2] == [Span(Priority.NORMAL, 7, 9), Span(Priority.NORMAL, 11, 50)]
    lanes.give_back(first)
    assert [span.first for span in lanes.backlog()[:3]] == [1, 7, 11]


def test_a_row_is_not_sealed_twice() -> None:
    lanes = Lanes()
    lanes.seal(rows(Priority.NORMAL, 4))
    with pytest.raises(RuntimeError, match="sealed before"):
        lanes.seal(rows(Priority.NORMAL, 3))


@given(st.data())
def test_every_row_is_sealed_once_whatever_comes_between(data: st.DataObject) -> None:
    """A model: rows as a list, sealed and outstanding ones as sets; read order as the lanes'."""
    lanes = Lanes()
    stored: list[Waiting] = []
    sealed: set[int] = set()
    outstanding: list[tuple[Span, ...]] = []
    numbers = 0
    for step in data.draw(st.lists(st.sampled_from("pppsssaaxg"), max_size=60)):
        if step == "p":
            for priority in data.draw(st.lists(st.sampled_from(Priority), min_size=1, max_size=5)):
                numbers += 1
                stored += rows(priority, numbers)
        elif step == "x":
            lanes.split(numbers)
        elif step == "s":
            wanted = [*lanes.alarms(), *lanes.live(), *lanes.backlog()]
            found = [
                row
                for span in wanted
                for row in stored
                if row.priority is span.priority and span.first <= row.number <= span.last
            ]
            assert {row.number for row in found} == {row.number for row in stored} - sealed
            taken = found[: data.draw(st.integers(0, 7))]
            spans = lanes.seal(taken)
            covered = covered_by(spans, stored)
            assert covered == {row.number for row in taken}
            sealed |= covered
            outstanding.append(spans)
        elif step == "a" and outstanding:
            gone = covered_by(outstanding.pop(0), stored)
            stored = [row for row in stored if row.number not in gone]
        elif step == "g":
            for spans in outstanding:
                sealed -= covered_by(spans, stored)
                lanes.give_back(spans)
            outstanding.clear()


def covered_by(spans: tuple[Span, ...], stored: list[Waiting]) -> set[int]:
    """What a deletion of these spans would delete."""
    return {
        row.number
        for row in stored
        for span in spans
        if row.priority is span.priority and span.first <= row.number <= span.last
    }


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_pace_is_kept_and_a_pause_saves_up_no_more_than_a_burst() -> None:
    now = Now()
    pace = Pace(50.0, 100, now)
    assert pace.allowance() == 100
    pace.spend(100)
    assert pace.allowance() == 0
    assert pace.seconds_until(100) == pytest.approx(2.0)
    now.seconds = 1.0
    assert pace.allowance() == 50
    now.seconds = 1000.0
    assert pace.allowance() == 100
    assert pace.seconds_until(100) == 0.0


def test_no_pace_is_no_limit() -> None:
    pace = Pace(0.0, 100, Now())
    pace.spend(1_000_000)
    assert pace.allowance() > 1_000_000
    assert pace.seconds_until(100) == 0.0
