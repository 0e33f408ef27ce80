"""What is made of frames, and when a sensor counts as silent."""

import asyncio
from pathlib import Path

import pytest

from device_protocol.reading import Quality
from edge_agent.inputs.frames import FrameReader, Gathering
from edge_agent.inputs.serial_line import SerialLineError

NONE = Quality(0)


class Line:
    """A serial line that brings pieces at set times, on a clock of its own."""

    port = Path("/dev/ttyUSB0")

    def __init__(self, *pieces: tuple[float, bytes]) -> None:
        self.now = 0.0
        self._pieces = list(pieces)

    async def read_for(self, seconds: float) -> bytes:
        await asyncio.sleep(0)
        seconds = max(0.0, seconds)
        if self._pieces and self._pieces[0][0] <= self.now + seconds:
            at, piece = self._pieces.pop(0)
            self.now = max(self.now, at)
            return piece
        self.now += seconds
        return b""


def take(buffer: bytearray) -> str | None:
    """Take a line of text."""
    end = buffer.find(b"\n")
    if end < 0:
        return None
    text = buffer[:end].decode()
    del buffer[: end + 1]
    return text


def reader(line: Line) -> FrameReader[str]:
    return FrameReader(
        line,  # type: ignore[arg-type]
        take,
        silence_seconds=10.0,
        remedy="look at the cable",
        monotonic=lambda: line.now,
    )


async def test_frames_come_one_by_one_until_the_time_is_up() -> None:
    line = Line((1.0, b"a\nb\nc"), (2.0, b"\n"), (5.0, b"d\n"))
    frames = reader(line)
    assert [await frames.next(4.0) for _ in range(4)] == ["a", "b", "c", None]
    assert line.now == 4.0
    assert await frames.next(8.0) == "d"


async def test_a_line_that_falls_silent_fails_although_its_time_is_not_up() -> None:
    line = Line((3.0, b"a\n"))
    frames = reader(line)
    assert await frames.next(60.0) == "a"
    with pytest.raises(SerialLineError, match="/dev/ttyUSB0: nothing for 10 s; look at the cable"):
        await frames.next(60.0)
    assert line.now == 13.0


async def test_bytes_without_sense_are_no_frames() -> None:
    line = Line(*((float(second), b"??") for second in range(1, 100)))
    with pytest.raises(SerialLineError, match="20 bytes in 10 s, none of them makes sense"):
        await reader(line).next(60.0)


async def test_a_sensor_that_may_be_silent_is_missed_only_afterwards() -> None:
    line = Line((100.0, b"a\n"))
    frames = reader(line)
    assert await frames.next(95.0, may_be_silent=True) is None
    assert line.now == 95.0
    assert await frames.next(120.0) == "a"


async def test_whoever_comes_late_finds_what_came_meanwhile_before_anything_is_missed() -> None:
    line = Line((1.0, b"a\n"), (2.0, b"b\n"))
    frames = reader(line)
    line.now = 60.0
    assert [await frames.next(60.0) for _ in range(3)] == ["a", "b", None]


def test_without_frames_there_is_no_result() -> None:
    assert Gathering("mean").harvest() == ({}, NONE)


def test_one_frame_is_its_own_mean_to_the_last_digit() -> None:
    gathering = Gathering("mean")
    gathering.add({"pm25": 0.1 + 0.2}, NONE)
    assert gathering.harvest() == ({"pm25": 0.1 + 0.2}, NONE)


def test_a_mean_is_of_all_frames_since_the_last() -> None:
    gathering = Gathering("mean")
    for pm25, pm10 in ((0.8, 1.0), (0.9, 2.0), (0.9, 6.0)):
        gathering.add({"pm25": pm25, "pm10": pm10}, NONE)
    assert gathering.harvest() == ({"pm25": 0.867, "pm10": 3.0}, NONE)
    assert gathering.harvest() == ({}, NONE)


def test_the_newest_frame_stands_for_itself() -> None:
    gathering = Gathering("newest")
    gathering.add({"pm25": 1.0}, Quality.SUSPECT)
    gathering.add({"pm25": 3.0}, NONE)
    assert gathering.harvest() == ({"pm25": 3.0}, NONE)


def test_a_mean_leaves_out_what_was_measured_while_it_warmed_up() -> None:
    gathering = Gathering("mean")
    gathering.add({"pm25": 100.0}, Quality.WARMING_UP)
    gathering.add({"pm25": 2.0}, NONE)
    gathering.add({"pm25": 4.0}, NONE)
    assert gathering.harvest() == ({"pm25": 3.0}, NONE)


def test_if_there_is_nothing_else_it_is_flagged() -> None:
    gathering = Gathering("mean")
    gathering.add({"pm25": 100.0}, Quality.WARMING_UP | Quality.SUSPECT)
    gathering.add({"pm25": 50.0}, Quality.WARMING_UP)
    assert gathering.harvest() == ({"pm25": 75.0}, Quality.WARMING_UP | Quality.SUSPECT)


def test_a_mean_with_a_doubtful_frame_is_doubtful() -> None:
    gathering = Gathering("mean")
    gathering.add({"pm25": 1.0}, NONE)
    gathering.add({"pm25": 999.9}, Quality.SUSPECT)
    assert gathering.harvest()[1] == Quality.SUSPECT
