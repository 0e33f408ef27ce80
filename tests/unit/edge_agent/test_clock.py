"""Time never stands before what this machine has already seen."""

from pathlib import Path

from edge_agent.clock import Clock, ClockQuality, machine_clock_quality
from tests.unit.edge_agent.conftest import NOW, FakeTime


def new_clock(path: Path, fake_time: FakeTime) -> Clock:
    return Clock(
        path,
        wall=lambda: fake_time.wall,
        monotonic=lambda: fake_time.monotonic,
        source=lambda: fake_time.quality,
    )


def test_a_machine_that_wakes_in_1970_goes_on_from_its_last_time(
    tmp_path: Path, fake_time: FakeTime
) -> None:
    new_clock(tmp_path / "clock", fake_time).save_floor()
    fake_time.wall, fake_time.quality = 17.0, ClockQuality.HARDWARE
    clock = new_clock(tmp_path / "clock", fake_time)
    assert clock.unix() == NOW
    assert clock.quality() is ClockQuality.NONE
    fake_time.advance(5)
    assert clock.unix() == NOW + 5
    fake_time.wall = NOW + 3600
    assert clock.unix() == NOW + 3600
    assert clock.quality() is ClockQuality.HARDWARE


def test_a_synchronised_clock_is_believed_even_before_the_floor(
    tmp_path: Path, fake_time: FakeTime
) -> None:
    fake_time.wall += 10 * 365 * 86_400  # a time server was wrong once
    new_clock(tmp_path / "clock", fake_time).save_floor()
    fake_time.wall = NOW
    clock = new_clock(tmp_path / "clock", fake_time)
    assert clock.unix() == NOW
    assert clock.quality() is ClockQuality.NETWORK


def test_it_cannot_be_before_the_certificate_was_made(tmp_path: Path, fake_time: FakeTime) -> None:
    fake_time.quality = ClockQuality.NONE
    clock = new_clock(tmp_path / "clock", fake_time)
    clock.raise_floor(NOW + 1000)
    assert clock.unix() == NOW + 1000
    clock.raise_floor(NOW - 1000)
    assert clock.unix() == NOW + 1000


def test_it_cannot_be_before_this_program_was_made(tmp_path: Path, fake_time: FakeTime) -> None:
    fake_time.wall, fake_time.quality = 0.0, ClockQuality.NONE
    assert new_clock(tmp_path / "clock", fake_time).unix() > 1_700_000_000


def test_a_damaged_floor_is_no_floor(tmp_path: Path, fake_time: FakeTime) -> None:
    (tmp_path / "clock").write_bytes(b"\xff\x00")
    clock = new_clock(tmp_path / "clock", fake_time)
    assert clock.unix() == NOW
    assert clock.now().timestamp() == NOW


def test_the_kernel_is_asked_about_its_clock() -> None:
    assert machine_clock_quality() in ClockQuality


def test_a_floor_that_rises_later_counts_from_then(clock: Clock, fake_time: FakeTime) -> None:
    fake_time.quality = ClockQuality.NONE
    fake_time.advance(1000)
    clock.raise_floor(NOW + 1000)
    assert clock.unix() == NOW + 1000  # and not the time since the start on top of it
    fake_time.wall = 0.0
    assert clock.unix() == NOW + 1000
    fake_time.monotonic += 5
    assert clock.unix() == NOW + 1005


def test_an_unsure_clock_says_no_more_than_at_least(clock: Clock, fake_time: FakeTime) -> None:
    assert not clock.is_floor_only()
    fake_time.quality = ClockQuality.NONE
    assert clock.is_floor_only()
