import cmath
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.reading import Quality, Reading
from edge_agent.processing.aggregation import Aggregation, aggregates
from edge_agent.processing.settings import AggregateSettings, FunctionName
from edge_agent.stamps import mark_of, marked
from tests.unit.edge_agent.processing.streams import (
    BAY,
    LONGITUDE,
    NO2,
    NOON,
    SENSOR,
    STREAMS,
    WIND,
    reading,
)

ALL: tuple[FunctionName, ...] = ("mean", "max", "min", "sum")
NOON_SECONDS = NOON.timestamp()
Told = dict[tuple[str, float], float]


def new(*functions: FunctionName, seconds: int = 600, wait_seconds: float = 30.0) -> Aggregation:
    settings = AggregateSettings(
        interval_seconds=seconds, functions=functions or ALL, wait_seconds=wait_seconds
    )
    return Aggregation(SENSOR, STREAMS, settings)


def tell(aggregation: Aggregation, at: float) -> list[Reading]:
    """Return what fell due `at` seconds after noon, which is then on the disk."""
    closing = aggregation.due(NOON_SECONDS + at)
    aggregation.settle(closing)
    return [told for told, _ in closing.readings]


def add(aggregation: Aggregation, readings: Iterable[Reading], at: float = 0.0) -> list[bool]:
    return [aggregation.add(each, NOON_SECONDS + at) for each in readings]


def results(told: Iterable[Reading]) -> dict[str, float]:
    return {each.name: float(each.result) for each in told}


def test_an_interval_is_told_by_its_mean_extremes_sum_and_number() -> None:
    aggregation = new()
    add(aggregation, [reading(value, at=60 * i) for i, value in enumerate([4.0, 1.0, 7.0], 1)])
    told = tell(aggregation, 630)
    assert results(told) == {
        "no2.mean": 4.0, "no2.max": 7.0, "no2.min": 1.0, "no2.sum": 12.0, "no2.n": 3.0,
    }  # fmt: skip
    assert {each.phenomenon_time for each in told} == {NOON + timedelta(minutes=10)}
    assert {each.unit for each in told} == {"ug/m3", "count"}
    assert tell(aggregation, 1300) == []


def test_a_reading_at_the_end_of_an_interval_belongs_to_it() -> None:
    aggregation = new("sum")
    add(aggregation, [reading(1.0), reading(2.0, at=0.000001), reading(4.0, at=600)])
    told = tell(aggregation, 2000)
    assert [(each.name, each.result, each.phenomenon_time - NOON) for each in told] == [
        ("no2.sum", 1.0, timedelta(0)),
        ("no2.n", 1.0, timedelta(0)),
        ("no2.sum", 6.0, timedelta(minutes=10)),
        ("no2.n", 2.0, timedelta(minutes=10)),
    ]


def test_directions_are_averaged_round_the_circle_and_have_no_extremes() -> None:
    aggregation = new()
    add(
        aggregation, [reading(value, name="wind", at=i) for i, value in enumerate([350.0, 20.0], 1)]
    )
    told = results(tell(aggregation, 1000))
    assert told == {"wind.mean": pytest.approx(5.0), "wind.n": 2.0}


def test_what_the_centre_adds_up_is_told_by_its_sum_alone() -> None:
    aggregation = new("mean", "max")
    add(aggregation, [reading(value, name="people", at=i) for i, value in enumerate([2.0, 5.0], 1)])
    assert results(tell(aggregation, 1000)) == {"people.sum": 7.0, "people.n": 2.0}


def test_opposite_directions_have_a_number_and_no_mean() -> None:
    aggregation = new()
    add(
        aggregation, [reading(value, name="wind", at=i) for i, value in enumerate([90.0, 270.0], 1)]
    )
    assert results(tell(aggregation, 1000)) == {"wind.n": 2.0}


def test_levels_are_averaged_by_their_energy() -> None:
    aggregation = new("mean", "max")
    add(
        aggregation, [reading(value, name="sound", at=i) for i, value in enumerate([60.0, 70.0], 1)]
    )
    told = results(tell(aggregation, 1000))
    assert told["sound.mean"] == pytest.approx(10 * math.log10((1e6 + 1e7) / 2))
    assert told["sound.max"] == 70.0


def test_a_longitude_is_no_direction() -> None:
    aggregation = new("mean")
    add(aggregation, [reading(value, name="lon", at=i) for i, value in enumerate([-0.2, 0.1], 1)])
    assert results(tell(aggregation, 1000))["lon.mean"] == pytest.approx(-0.05)


def test_out_of_range_is_left_out_and_all_other_flags_are_handed_on() -> None:
    aggregation = new("mean")
    flagged = [
        reading(10.0, at=1, quality=Quality.SUSPECT),
        reading(9000.0, at=2, quality=Quality.OUT_OF_RANGE | Quality.WARMING_UP),
        reading(20.0, at=3, quality=Quality.REPLAYED),
    ]
    add(aggregation, flagged)
    told = tell(aggregation, 1000)
    assert results(told) == {"no2.mean": 15.0, "no2.n": 2.0}
    assert {each.quality for each in told} == {Quality.SUSPECT | Quality.REPLAYED}


def test_an_interval_of_nothing_in_range_says_that_there_was_none() -> None:
    aggregation = new("mean")
    add(aggregation, [reading(9000.0, at=2, quality=Quality.OUT_OF_RANGE)])
    assert results(tell(aggregation, 1000)) == {"no2.n": 0.0}


def test_truth_values_and_texts_are_counted_where_asked_and_else_not_taken() -> None:
    assert not new("mean").takes(reading(True, name="bay"))  # noqa: FBT003
    aggregation = new("mean", "count")
    occupied = [reading(state, name="bay", at=i) for i, state in enumerate([True, False], 1)]
    assert all(aggregation.takes(each) for each in occupied)
    add(aggregation, [*occupied, reading("A1", name="tag", at=5)])
    assert results(tell(aggregation, 1000)) == {"bay.n": 2.0, "tag.n": 1.0}


def test_an_interval_waits_for_what_comes_late_and_is_never_told_again() -> None:
    aggregation = new("mean", wait_seconds=60)
    add(aggregation, [reading(1.0, at=10)], at=10)
    assert tell(aggregation, 659) == []
    assert add(aggregation, [reading(3.0, at=20)], at=599) == [True]
    assert results(tell(aggregation, 660)) == {"no2.mean": 2.0, "no2.n": 2.0}
    assert add(aggregation, [reading(9.0, at=30)], at=670) == [False]
    assert tell(aggregation, 9999) == []


def test_the_past_filled_in_portions_is_told_once_each_interval_is_whole() -> None:
    aggregation = new("sum")
    old = [reading(1.0, at=-7200 + 60 * i) for i in range(1, 16)]
    add(aggregation, old[:5], at=0)
    assert tell(aggregation, 1) == []
    add(aggregation, old[5:], at=20)
    told = tell(aggregation, 51)
    assert [each.result for each in told if each.name == "no2.sum"] == [10.0, 5.0]


def test_it_is_said_when_something_may_fall_due() -> None:
    aggregation = new("mean")
    assert aggregation.next_due(NOON_SECONDS) is None
    add(aggregation, [reading(1.0, at=10)], at=10)
    assert aggregation.next_due(NOON_SECONDS + 10) == NOON_SECONDS + 630
    assert aggregation.due(NOON_SECONDS + 629).intervals == []
    assert aggregation.due(NOON_SECONDS + 630).intervals


def test_a_clock_that_is_set_back_does_not_hold_an_interval_for_ever() -> None:
    aggregation = new("mean")
    add(aggregation, [reading(1.0, at=10)], at=9e6)
    assert results(tell(aggregation, 660)) == {"no2.mean": 1.0, "no2.n": 1.0}


def test_what_is_due_stays_open_until_it_is_on_the_disk() -> None:
    aggregation = new("mean")
    add(aggregation, [reading(1.0, at=10)])
    assert aggregation.due(NOON_SECONDS + 700).readings
    restored = new("mean")
    assert restored.restore(aggregation.state()) == 0
    assert results(tell(restored, 700)) == {"no2.mean": 1.0, "no2.n": 1.0}


def test_what_comes_while_an_interval_is_written_is_late_and_not_lost_with_it() -> None:
    aggregation = new("mean")
    add(aggregation, [reading(1.0, at=60)])
    closing = aggregation.due(NOON_SECONDS + 630)
    assert add(aggregation, [reading(5.0, at=120)], at=631) == [False]
    assert [told for told, _ in aggregation.due(NOON_SECONDS + 640).readings] == [
        told for told, _ in closing.readings
    ], "until it is on the disk it is told as it was"
    aggregation.settle(closing)
    assert add(aggregation, [reading(5.0, at=120)], at=641) == [False]
    assert tell(aggregation, 2000) == []


def test_times_of_an_unset_clock_make_intervals_of_their_own_with_its_mark() -> None:
    aggregation = new("sum")
    mark = ("boot", 17)
    add(aggregation, [reading(1.0, at=10), reading(2.0, time=marked(NOON, mark))])
    add(aggregation, [reading(4.0, time=marked(NOON - timedelta(seconds=5), mark))])
    told = {mark_of(each.phenomenon_time): each.result for each in tell(aggregation, 700)[::2]}
    assert told == {None: 1.0, mark: 6.0}


def test_a_restart_goes_on_where_it_was() -> None:
    before = new("mean")
    add(before, [reading(1.0, at=10), reading(2.0, name="wind", at=10)])
    add(before, [reading(5.0, at=-3000)])
    assert results(tell(before, 40)) == {"no2.mean": 5.0, "no2.n": 1.0}
    after = new("mean")
    assert after.restore(before.state()) == 0
    assert add(after, [reading(9.0, at=-3000)]) == [False], "told before the restart"
    add(after, [reading(3.0, at=20)])
    assert results(tell(after, 700)) == {
        "no2.mean": 2.0, "no2.n": 2.0, "wind.mean": pytest.approx(2.0), "wind.n": 1.0,
    }  # fmt: skip


def test_what_was_open_under_other_settings_is_given_up() -> None:
    before = new("mean")
    add(before, [reading(1.0, at=10)])
    after = new("mean", seconds=300)
    assert after.restore(before.state()) == 1
    assert tell(after, 9999) == []


@pytest.mark.parametrize(
    "state", [b"", b"{}", b"[]", b'{"settings": {}, "open": [[1]], "told": []}']
)
def test_what_is_no_state_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        new().restore(state)


def test_what_is_described_is_what_is_told() -> None:
    for stream in STREAMS:
        settings = AggregateSettings(interval_seconds=600, functions=(*ALL, "count"))
        described = {each.name: each for each in aggregates(stream, settings)}
        aggregation = new(*ALL, "count")
        result = True if stream is BAY else 7.0
        add(aggregation, [reading(result, name=stream.name, at=1)])
        assert set(results(tell(aggregation, 1000))) == set(described)
        assert {(each.period_seconds, each.averaging_seconds) for each in described.values()} == {
            (600, 600)
        }
    assert described  # the last one's
    [mean, *_] = aggregates(NO2, AggregateSettings(interval_seconds=600))
    assert (mean.unit, mean.observed_property, mean.valid_maximum) == ("ug/m3", "no2", 1000.0)
    names = [each.name for each in aggregates(WIND, settings)]
    assert names == ["wind.mean", "wind.n"]
    assert "lon.max" in [each.name for each in aggregates(LONGITUDE, settings)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["no2", "wind", "sound", "lon"]),
            st.floats(-200, 200),
            st.integers(1, 2_000_000_000),
            st.sampled_from([0, 0, 0, 1, 8, 9, 16]),
        ),
        max_size=60,
    ),
    st.sampled_from([1, 60, 900, 3600]),
    st.integers(1, 8),
)
def test_aggregates_are_what_a_plain_computation_gives(
    told: list[tuple[str, float, int, int]], seconds: int, restarts: int
) -> None:
    """However many restarts there are between."""
    readings = [
        reading(result, name=name, time=NOON + timedelta(microseconds=at), quality=Quality(mask))
        for name, result, at, mask in told
    ]
    aggregation = new(*ALL, seconds=seconds)
    for position, each in enumerate(readings):
        assert aggregation.add(each, NOON_SECONDS)
        if position % restarts == 0:
            state, aggregation = aggregation.state(), new(*ALL, seconds=seconds)
            assert aggregation.restore(state) == 0
    found: Told = {
        (each.name, each.phenomenon_time.timestamp()): float(each.result)
        for each in tell(aggregation, 10_000)
    }
    expected = _plainly(readings, seconds)
    directions = {key for key in found.keys() | expected.keys() if key[0] == "wind.mean"}
    for key in directions:
        one, other = found.pop(key, None), expected.pop(key, None)
        if other is not None:  # else the results point nearly nowhere, and rounding decides
            assert one is not None
            assert abs((one - other + 180) % 360 - 180) < 1e-3
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def _plainly(readings: list[Reading], seconds: int) -> Told:
    groups: dict[tuple[str, float], list[float]] = defaultdict(list)
    for each in readings:
        intervals = math.ceil((each.phenomenon_time - NOON) / timedelta(seconds=seconds))
        values = groups[each.name, NOON_SECONDS + intervals * seconds]
        if not each.quality & Quality.OUT_OF_RANGE:
            values.append(float(each.result))
    expected: Told = {}
    for (name, end), values in groups.items():
        expected[f"{name}.n", end] = float(len(values))
        if not values:
            continue
        if name == "wind":
            vector = sum(cmath.rect(1, math.radians(value)) for value in values) / len(values)
            if abs(vector) >= 1e-6:
                expected["wind.mean", end] = math.degrees(cmath.phase(vector)) % 360
            continue
        expected[f"{name}.mean", end] = (
            10 * math.log10(math.fsum(10 ** (value / 10) for value in values) / len(values))
            if name == "sound"
            else math.fsum(values) / len(values)
        )
        for function, result in (("max", max), ("min", min), ("sum", math.fsum)):
            expected[f"{name}.{function}", end] = result(values)
    return expected


def test_every_pair_of_functions_is_told_in_the_order_asked() -> None:
    for pair in itertools.permutations(ALL, 2):
        aggregation = new(*pair)
        add(aggregation, [reading(1.0, at=1)])
        assert [each.name for each in tell(aggregation, 1000)] == [
            *(f"no2.{function}" for function in pair),
            "no2.n",
        ]


def test_of_too_many_open_intervals_the_oldest_wait_no_longer() -> None:
    """A sensor that tells the times itself could open one with each message, and fill memory."""
    aggregation = new("sum", seconds=1, wait_seconds=86_400.0)
    add(aggregation, [reading(1.0, at=at) for at in range(2_000)], at=2_000)
    assert tell(aggregation, 2_000) == []
    add(aggregation, [reading(1.0, at=at) for at in range(2_000, 2_010)], at=2_010)
    assert aggregation.next_due(NOON_SECONDS + 2_010) == NOON_SECONDS + 2_010
    told = tell(aggregation, 2_010)
    assert [each.phenomenon_time for each in told if each.name == "no2.sum"] == [
        NOON + timedelta(seconds=at) for at in range(10)
    ]
    assert tell(aggregation, 2_010) == []
