"""Frames cut out of a serial line, and what is made of those since the last harvest.

What a frame looks like is told by a function of the sensor's; it may be handed anything.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from device_protocol.reading import UNFLAGGED, Quality
from edge_agent.adapter import SensorSettings
from edge_agent.inputs.serial_line import SerialLine, SerialLineError
from runtime.settings import setting

F = TypeVar("F")

Statistic = Literal["mean", "newest"]
"""What a result is made of: the mean of all frames since the last result, or the newest one."""

_DECIMALS = 3  # of a mean; finer than any of these sensors resolves


@dataclass(frozen=True, slots=True, kw_only=True)
class FramedSensorSettings(SensorSettings):
    """What every sensor needs that sends frames over a serial port by itself."""

    device: Path = setting("The serial port; best its name under /dev/serial/by-id.")
    silence_seconds: float = setting(
        "It counts as failed after so long without a frame or sentence.",
        default=10.0,
        minimum=0.1,
        maximum=3600.0,
    )


class FrameReader(Generic[F]):
    """Cuts one line into frames, and notices when no more come.

    take: removes a frame from the front of a buffer, with whatever stood before it, and returns
        it; None if there is none yet. It leaves no more behind than an unfinished frame.
    silence_seconds: after so long without a frame the sensor counts as failed.
    remedy: what to look at then.
    monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        line: SerialLine,
        take: Callable[[bytearray], F | None],
        *,
        silence_seconds: float,
        remedy: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._line = line
        self._take = take
        self._silence_seconds = silence_seconds
        self._remedy = remedy
        self._monotonic = monotonic
        self._buffer = bytearray()
        self._heard = monotonic()
        self._bytes_since = 0

    async def next(self, until: float, *, may_be_silent: bool = False) -> F | None:
        """Return the next frame, or None if there is none until that time.

        until: by the monotonic clock. may_be_silent: for now no frames are to be expected.

        Raises:
            SerialLineError: there has been no frame for too long, or the port is gone.
        """
        while True:
            if (frame := self._taken()) is not None:
                return frame
            silent_at = math.inf if may_be_silent else self._heard + self._silence_seconds
            end = min(until, silent_at)
            # Also when the time is up: what has come meanwhile is taken before anything is missed.
            found = await self._line.read_for(end - self._monotonic())
            self._bytes_since += len(found)
            self._buffer += found
            now = self._monotonic()
            if now < end:
                continue
            if (frame := self._taken()) is not None:
                return frame
            if now >= silent_at:
                raise self._silence()
            if may_be_silent:
                self._heard, self._bytes_since = now, 0
            return None

    def _taken(self) -> F | None:
        frame = self._take(self._buffer)
        if frame is not None:
            self._heard, self._bytes_since = self._monotonic(), 0
        return frame

    def _silence(self) -> SerialLineError:
        seconds = f"{self._silence_seconds:g} s"
        if self._bytes_since:
            problem = f"{self._bytes_since} bytes in {seconds}, none of them makes sense"
            return SerialLineError(
                f"{self._line.port}: {problem}; is it that sensor's port, and the right speed?"
            )
        return SerialLineError(f"{self._line.port}: nothing for {seconds}; {self._remedy}")


class Gathering:
    """Results of the frames since the last harvest.

    A mean leaves out what was measured while the sensor warmed up, unless there is nothing else.
    """

    def __init__(self, statistic: Statistic) -> None:
        self._statistic = statistic
        self._frames: list[tuple[Mapping[str, float], Quality]] = []

    def add(self, results: Mapping[str, float], quality: Quality) -> None:
        """Add one frame: its results by name, and what is to be said of them."""
        if self._statistic == "newest":
            self._frames.clear()
        self._frames.append((results, quality))

    def harvest(self) -> tuple[dict[str, float], Quality]:
        """Return the results by name and their quality, none if there were no frames; begin anew.

        What is to be said of one frame is said of a mean that it is in.
        """
        warm = [each for each in self._frames if not each[1] & Quality.WARMING_UP]
        used = warm or self._frames
        self._frames = []
        if not used:
            return {}, UNFLAGGED
        if len(used) == 1:
            return dict(used[0][0]), used[0][1]
        quality = UNFLAGGED
        for _, each in used:
            quality |= each
        names = used[0][0]
        sums = {name: sum(results[name] for results, _ in used) for name in names}
        return {name: round(total / len(used), _DECIMALS) for name, total in sums.items()}, quality
