"""Frames of an SDS011: recorded ones, and what a bad line makes of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.reading import Quality
from edge_agent.sensors.sds011 import (
    Reply,
    Report,
    Sds011Settings,
    datastreams,
    sleep_or_work,
    take,
)
from tests.unit.edge_agent.particulate_recordings import hexdump, rows, texts


def frames(*pieces: bytes) -> list[Report | Reply]:
    """Return what is taken from a line on which these pieces come one after the other."""
    buffer = bytearray()
    found = []
    for piece in pieces:
        buffer += piece
        while (frame := take(buffer)) is not None:
            found.append(frame)
        assert len(buffer) < 10
    return found


STREAM = hexdump("SDS01x")
FRAME = STREAM[:10]
EXPECTED = [Report(row["pm25"], row["pm10"], b"\x58\xd9") for row in rows("SDS01x")]


def settings(**more: object) -> Sds011Settings:
    return Sds011Settings(
        urn="urn:dev:example:dust",
        thing="urn:dev:example:lamp-1",
        name="Dust",
        description="At the lamp.",
        device=Path("/dev/ttyUSB0"),
        **more,  # type: ignore[arg-type]
    )


def test_every_recorded_frame_gives_the_recorded_results() -> None:
    assert len(EXPECTED) == 10
    assert frames(STREAM) == EXPECTED


def test_every_recorded_frame_gives_what_was_printed_of_it() -> None:
    printed = [
        f"PM2.5 {frame.pm25:.1f}, PM10 {frame.pm10:.1f} μg/m3"
        for frame in frames(STREAM)
        if isinstance(frame, Report)
    ]
    assert printed == texts("SDS01x")


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_it_does_not_matter_where_the_line_pauses(cut: int) -> None:
    assert frames(STREAM[:cut], STREAM[cut:]) == EXPECTED


@pytest.mark.parametrize("begin", range(1, 10))
def test_a_frame_that_was_under_way_is_passed_over(begin: int) -> None:
    assert frames(STREAM[begin:]) == EXPECTED[1:]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
def test_anything_may_come(pieces: list[bytes]) -> None:
    for frame in frames(*pieces):
        assert isinstance(frame, Report | Reply)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_after_garbage_no_more_than_one_frame_is_lost(before: bytes, between: bytes) -> None:
    found = frames(before, FRAME * 3, between, FRAME * 3)
    assert found.count(EXPECTED[0]) >= 4
    assert found[-2:] == [EXPECTED[0]] * 2


@given(st.integers(0, 9), st.integers(1, 255))
def test_a_changed_byte_costs_its_own_frame_only(at: int, change: int) -> None:
    damaged = bytearray(FRAME)
    damaged[at] ^= change
    found = frames(STREAM + bytes(damaged) + STREAM)
    assert found[:10] == EXPECTED
    assert found[-10:] == EXPECTED
    # only the kind of a frame is outside its checksum: C0 may become C5
    assert len(found) == 20 + (at == 1 and change == 0xC0 ^ 0xC5)


@given(st.binary(min_size=6, max_size=6), st.integers(0, 255))
def test_a_wrong_checksum_is_never_a_frame(body: bytes, checksum: int) -> None:
    whole = b"\xaa\xc0" + body + bytes((checksum, 0xAB))
    assert bool(frames(whole)) == (sum(body) % 256 == checksum)


def test_commands_are_those_of_the_makers_document() -> None:
    assert sleep_or_work(work=False).hex(" ") == (
        "aa b4 06 01 00 00 00 00 00 00 00 00 00 00 00 ff ff 05 ab"
    )
    assert sleep_or_work(work=True).hex(" ") == (
        "aa b4 06 01 01 00 00 00 00 00 00 00 00 00 00 ff ff 06 ab"
    )


def test_replies_say_what_was_set() -> None:
    (asleep,) = frames(bytes.fromhex("aac506010000a16008ab"))
    (awake,) = frames(bytes.fromhex("aac506010100a16009ab"))
    assert isinstance(asleep, Reply)
    assert isinstance(awake, Reply)
    assert asleep.says(work=False)
    assert not asleep.says(work=True)
    assert awake.says(work=True)
    (other,) = frames(bytes.fromhex("aac508010100a1600bab"))  # a working period of one minute
    assert isinstance(other, Reply)
    assert not other.says(work=True)


@pytest.mark.parametrize(
    ("pm25", "pm10", "quality"),
    [
        (0.6, 0.6, Quality(0)),
        (0.0, 0.1, Quality(0)),
        (0.0, 0.0, Quality.SUSPECT),
        (999.9, 999.9, Quality.SUSPECT),
        (12.0, 999.9, Quality.SUSPECT),
        (6553.5, 6553.5, Quality.SUSPECT),
    ],
)
def test_what_cannot_be_is_flagged(pm25: float, pm10: float, quality: Quality) -> None:
    assert Report(pm25, pm10, b"ab").quality == quality


def test_the_description_says_what_a_result_is_a_mean_of() -> None:
    assert {each.averaging_seconds for each in datastreams(settings())} == {60}
    (first, _) = datastreams(settings(statistic="newest", interval_seconds=5.0))
    assert (first.averaging_seconds, first.period_seconds) == (0, 5)
    (first, _) = datastreams(settings(sleep_seconds=240.0, work_seconds=60.0))
    assert (first.averaging_seconds, first.period_seconds) == (30, 300)


def test_it_must_work_longer_than_it_warms_up() -> None:
    (mistake,) = settings(sleep_seconds=60.0, work_seconds=30.0).contradictions()
    assert mistake[0] == ("work_seconds",)
    assert not list(settings(work_seconds=30.0).contradictions())
