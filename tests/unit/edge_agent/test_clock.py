"""Time never stands before what this machine has already seen, and says how it is known."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_protocol.reading import UNFLAGGED, Quality, Reading
from edge_agent.clock import Clock, ClockQuality, machine_clock_quality, machine_keeps_time
from edge_agent.stamps import UnsetClock, corrected, mark_of, marked
from tests.unit.edge_agent.conftest import NOW, FakeTime

BOOT = "01db6ff1-fd48-42c3-ae1e-040628131f6e"
EPOCH = round((NOW - 1000) * 1_000_000)


def new_clock(path: Path, fake_time: FakeTime, boot: str = BOOT) -> Clock:
    return Clock(
        path,
        wall=lambda: fake_time.wall,
        monotonic=lambda: fake_time.monotonic,
        source=lambda: fake_time.quality,
        boot_id=boot,
        may_be_set=lambda: True,
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


def test_an_unsure_clock_says_no_more_than_at_least(tmp_path: Path, fake_time: FakeTime) -> None:
    assert not new_clock(tmp_path / "clock", fake_time).is_floor_only()
    fake_time.quality = ClockQuality.NONE
    assert new_clock(tmp_path / "clock", fake_time).is_floor_only()


@pytest.fixture
def unset(tmp_path: Path, fake_time: FakeTime) -> Clock:
    """A machine without a clock chip, just started, 90 days after it was last on."""
    new_clock(tmp_path / "clock", fake_time, "an earlier boot").save_floor()
    fake_time.quality, fake_time.wall = ClockQuality.NONE, 0.0
    return new_clock(tmp_path / "clock", fake_time)


def reading_of(time: datetime, quality: Quality = UNFLAGGED) -> Reading:
    return Reading(
        sensor="urn:a", name="no2", phenomenon_time=time, result=1.0, unit="", quality=quality
    )


def synchronise(fake_time: FakeTime, true_now: float) -> None:
    fake_time.wall, fake_time.quality = true_now, ClockQuality.NETWORK


def test_a_reading_from_an_unset_clock_gets_its_true_time_once_that_is_known(
    unset: Clock, fake_time: FakeTime
) -> None:
    taken = reading_of(unset.now(), Quality.SUSPECT)
    assert mark_of(taken.phenomenon_time) == (BOOT, EPOCH)
    assert unset.true_epoch_microseconds() is None
    assert unset.is_to_be_set()
    fake_time.advance(60)
    synchronise(fake_time, NOW + 90 * 86_400)
    assert not unset.is_to_be_set()
    settled = unset.settled(taken)
    assert settled.phenomenon_time == datetime.fromtimestamp(NOW + 90 * 86_400 - 60, UTC)
    assert settled.phenomenon_time.tzinfo is UTC
    assert settled.quality == Quality.SUSPECT | Quality.TIME_RECONSTRUCTED
    assert mark_of(unset.now()) is None


def test_a_reading_sent_before_the_clock_is_set_is_flagged_and_not_moved(unset: Clock) -> None:
    taken = reading_of(unset.now())
    settled = unset.settled(taken)
    assert settled.phenomenon_time == taken.phenomenon_time
    assert settled.phenomenon_time.tzinfo is UTC
    assert settled.quality == Quality.CLOCK_UNSYNCHRONISED


def test_a_time_that_the_sensor_gave_is_never_touched(unset: Clock, fake_time: FakeTime) -> None:
    told = reading_of(unset.now().astimezone(UTC))  # the very same moment, from elsewhere
    assert unset.settled(told) is told
    synchronise(fake_time, NOW + 86_400)
    assert unset.settled(told) is told


def test_a_boot_that_learned_the_time_tells_it_after_the_next(
    unset: Clock, tmp_path: Path, fake_time: FakeTime
) -> None:
    taken = reading_of(unset.now())
    synchronise(fake_time, NOW + 500)
    unset.save_boot()
    fake_time.wall, fake_time.monotonic, fake_time.quality = 0.0, 5.0, ClockQuality.NONE
    later = new_clock(tmp_path / "clock", fake_time, "the next boot")
    settled = later.settled(taken)
    assert settled.phenomenon_time == datetime.fromtimestamp(NOW + 500, UTC)
    assert settled.quality == Quality.TIME_RECONSTRUCTED


def test_a_boot_that_never_learned_it_is_sent_as_it_was(
    unset: Clock, tmp_path: Path, fake_time: FakeTime
) -> None:
    taken = reading_of(unset.now())
    unset.save_boot()
    synchronise(fake_time, NOW + 500)
    later = new_clock(tmp_path / "clock", fake_time, "the next boot")
    assert later.settled(taken).quality == Quality.CLOCK_UNSYNCHRONISED
    assert later.settled(taken).phenomenon_time == taken.phenomenon_time


def test_only_the_last_boots_are_kept(tmp_path: Path, fake_time: FakeTime) -> None:
    for boot in range(40):
        new_clock(tmp_path / "clock", fake_time, f"boot {boot}").save_boot()
    clock = new_clock(tmp_path / "clock", fake_time, "another")
    assert clock.true_epoch_microseconds("boot 7") is None
    assert clock.true_epoch_microseconds("boot 8") == EPOCH


def test_a_boot_is_written_once(tmp_path: Path, fake_time: FakeTime) -> None:
    clock = new_clock(tmp_path / "clock", fake_time)
    clock.save_boot()
    (tmp_path / "clock-boots.json").unlink()
    fake_time.advance(3600)
    fake_time.wall += 0.25  # a synchronised clock is nudged now and then
    clock.save_boot()
    assert not (tmp_path / "clock-boots.json").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"a": "b"}'])
def test_a_damaged_account_of_boots_is_none(
    tmp_path: Path, fake_time: FakeTime, content: bytes
) -> None:
    (tmp_path / "clock-boots.json").write_bytes(content)
    assert new_clock(tmp_path / "clock", fake_time).true_epoch_microseconds("a") is None


def test_a_provisional_clock_runs_on_evenly_whatever_the_wall_clock_does_by_itself(
    unset: Clock, fake_time: FakeTime
) -> None:
    first = unset.now()
    fake_time.advance(30)
    assert unset.now() - first == timedelta(seconds=30)
    assert mark_of(unset.now()) == mark_of(first)


def test_a_clock_set_by_hand_gives_a_new_guess_and_both_are_corrected_alike(
    unset: Clock, fake_time: FakeTime
) -> None:
    before = reading_of(unset.now())
    fake_time.wall = NOW + 3600  # `date -s`: the kernel is told of no synchronisation
    after = reading_of(unset.now())
    assert after.phenomenon_time - before.phenomenon_time == timedelta(hours=1)
    synchronise(fake_time, NOW + 7200)
    assert (
        unset.settled(before).phenomenon_time
        == unset.settled(after).phenomenon_time
        == datetime.fromtimestamp(NOW + 7200, UTC)
    )


def test_a_clock_that_was_set_is_still_trusted_when_its_source_has_long_been_silent(
    clock: Clock, fake_time: FakeTime
) -> None:
    assert clock.quality() is ClockQuality.NETWORK
    fake_time.advance(9 * 3600)  # after which the kernel no longer calls it synchronised
    fake_time.quality = ClockQuality.NONE
    assert clock.quality() is ClockQuality.HARDWARE
    assert mark_of(clock.now()) is None
    fake_time.wall += 3600  # somebody has set it meanwhile
    assert clock.quality() is ClockQuality.NONE


def test_trust_in_a_clock_that_was_set_outlasts_a_restart_of_the_agent(
    tmp_path: Path, fake_time: FakeTime
) -> None:
    new_clock(tmp_path / "clock", fake_time).save_boot()
    fake_time.quality = ClockQuality.NONE
    assert new_clock(tmp_path / "clock", fake_time).quality() is ClockQuality.HARDWARE
    assert new_clock(tmp_path / "clock", fake_time, "next").quality() is ClockQuality.NONE


def test_time_from_a_satellite_counts_though_nobody_sets_the_machine_by_it(
    unset: Clock, fake_time: FakeTime
) -> None:
    taken = reading_of(unset.now())
    assert unset.is_floor_only()
    fake_time.advance(10)
    unset.hint(NOW + 5000.0, fake_time.monotonic - 0.5)
    assert unset.quality() is ClockQuality.HARDWARE
    assert unset.unix() == NOW + 5000.5
    assert unset.settled(taken).phenomenon_time == datetime.fromtimestamp(NOW + 4990.5, UTC)
    assert unset.is_floor_only()  # TLS goes by the machine's own clock
    unset.save_floor()
    assert (unset._floor_file.read_text()) == f"{NOW + 10:.0f}\n"
    synchronise(fake_time, NOW + 5000)
    assert unset.unix() == NOW + 5000
    assert not unset.is_floor_only()


def test_of_satellite_times_that_agree_the_least_delayed_counts(
    unset: Clock, fake_time: FakeTime
) -> None:
    for late in (0.5, 0.25, 0.75):
        unset.hint(NOW + 100.0, fake_time.monotonic + late)
    assert unset.unix() == NOW + 99.75
    unset.hint(NOW + 50.0, fake_time.monotonic)
    assert unset.unix() == NOW + 50


def test_a_receiver_that_is_1024_weeks_behind_is_not_believed(
    unset: Clock, fake_time: FakeTime
) -> None:
    unset.hint(NOW - 1024 * 7 * 86_400, fake_time.monotonic)
    assert unset.quality() is ClockQuality.NONE


def test_a_small_step_back_never_makes_time_run_twice(clock: Clock, fake_time: FakeTime) -> None:
    first = clock.now()
    fake_time.wall -= 0.5
    second, third = clock.now(), clock.now()
    assert first < second < third < first + timedelta(milliseconds=1)
    fake_time.advance(0.75)
    assert clock.now() == datetime.fromtimestamp(NOW + 0.25, UTC)


def test_a_large_step_back_is_the_truth_at_last(clock: Clock, fake_time: FakeTime) -> None:
    clock.now()
    fake_time.wall -= 3600
    assert clock.now() == datetime.fromtimestamp(NOW - 3600, UTC)


def test_nobody_sets_the_clock_of_a_machine_without_time_service(
    tmp_path: Path, fake_time: FakeTime
) -> None:
    fake_time.quality = ClockQuality.NONE
    clock = Clock(
        tmp_path / "clock",
        wall=lambda: fake_time.wall,
        monotonic=lambda: fake_time.monotonic,
        source=lambda: fake_time.quality,
        may_be_set=lambda: False,
    )
    assert not clock.is_to_be_set()
    assert machine_keeps_time() is Path("/run/systemd/system").is_dir()


def test_a_mark_survives_arithmetic_copies_and_its_own_encoding(unset: Clock) -> None:
    time = unset.now()
    mark = mark_of(time)
    assert mark is not None
    assert mark_of((time - timedelta(minutes=1)).replace(microsecond=0)) == mark
    assert mark_of(deepcopy(time)) == mark
    assert time == time.astimezone(UTC)
    assert marked(time.astimezone(UTC), mark).tzinfo == UnsetClock(mark) == time.tzinfo
    assert hash(time.tzinfo) == hash(UnsetClock(mark))
    assert f"{time:%H:%M %Z}".endswith("UTC (clock unset)")
    assert (time.utcoffset(), time.dst()) == (timedelta(0), timedelta(0))


def test_a_time_without_mark_is_not_corrected() -> None:
    time = datetime(2030, 1, 1, tzinfo=UTC)
    assert corrected(time, 0) is time


def test_the_machine_tells_its_boot(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    assert len(clock.boot_id) == len(BOOT)
    assert clock.monotonic() <= clock.monotonic()
