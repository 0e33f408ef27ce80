"""The schedule of faults is drawn from its seed alone, complete, and possible."""

from itertools import combinations

import pytest

from command_line.testing import _CHAOS_SEED
from tests.chaos.schedule import DECK, GATEWAY, Fault, Kind, Stage, schedule

STAGE = Stage(gateways=4)


@pytest.mark.parametrize("minutes", [1, 10])
def test_a_seed_gives_the_same_faults_again_and_another_gives_others(minutes: float) -> None:
    assert schedule(7, minutes, STAGE) == schedule(7, minutes, STAGE)
    assert schedule(7, minutes, STAGE) != schedule(8, minutes, STAGE)


def test_the_first_faults_of_a_known_seed() -> None:
    """Seeds that were written down must mean the same for ever."""
    first = [(fault.at, str(fault)) for fault in schedule(1, 1, STAGE)[:3]]
    assert first == [
        (3.0, "broker killed"),
        (3.626, "analytics killed"),
        (6.939, "ingest network late by 0.8 s"),
    ]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("minutes", [0.5, 1, 10])
def test_faults_come_in_order_and_end_before_the_run_does(seed: int, minutes: float) -> None:
    faults = schedule(seed, minutes, STAGE)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(fault.seconds >= 0 and fault.ends <= minutes * 60 for fault in faults)


@pytest.mark.parametrize("seed", range(20))
def test_a_resource_is_broken_by_one_fault_at_a_time(seed: int) -> None:
    for one, other in combinations(schedule(seed, 10, STAGE), 2):
        if one.resource == other.resource:
            assert one.ends < other.at


@pytest.mark.parametrize("seed", range(5))
def test_faults_of_different_resources_overlap(seed: int) -> None:
    faults = schedule(seed, 10, STAGE)
    assert any(one.at < other.at < one.ends for one, other in combinations(faults, 2))
    assert any(one.at == other.at for one, other in combinations(faults, 2))


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_bring_every_kind_of_fault_to_all_it_is_for(seed: int) -> None:
    faults = schedule(seed, 10, STAGE)
    assert {(fault.target.split()[0], fault.kind) for fault in faults} == set(DECK)


def test_workers_are_targets_where_there_are_several() -> None:
    targets = {fault.target for fault in schedule(1, 20, Stage(gateways=2, workers=3))}
    assert {"worker 0", "worker 1", "worker 2"} <= targets
    assert not any("worker" in fault.target for fault in schedule(1, 20, STAGE))


def test_what_a_machine_gives_no_right_to_is_left_out() -> None:
    without = frozenset({Kind.FULL, Kind.CLOCK})
    kinds = {fault.kind for fault in schedule(1, 10, Stage(gateways=2, without=without))}
    assert kinds == set(Kind) - without


def test_only_one_gateway_has_a_clock_to_be_set_and_one_a_small_disk() -> None:
    faults = [fault for fault in schedule(3, 30, STAGE) if fault.target.startswith(GATEWAY)]
    assert {fault.target for fault in faults if fault.kind is Kind.CLOCK} == {"gateway 0"}
    assert {fault.target for fault in faults if fault.kind is Kind.FULL} == {"gateway 3"}


def test_a_fault_says_what_it_does() -> None:
    assert str(Fault(1, Kind.DELAY, "ingest", 2, 0.25)) == "ingest network late by 0.2 s"
    assert str(Fault(1, Kind.SLOW, "database", 2, 5000)) == "database network slow, 5 kB/s"
    assert str(Fault(1, Kind.CLOCK, "gateway 0", 2, -600)) == "gateway 0 clock jumps by -600 s"
    assert str(Fault(1, Kind.KILL, "broker", 2)) == "broker killed"


def test_the_run_of_every_day_brings_every_kind_of_fault_within_its_minute() -> None:
    faults = schedule(_CHAOS_SEED, 1, STAGE)
    assert {(fault.target.split()[0], fault.kind) for fault in faults} == set(DECK)
