"""Nova Fitness SDS011 (and SDS018, SDS021): particulate matter over a serial port.

Frames, commands and the 30 s until results are stable follow the maker's "Laser Dust Sensor
Control Protocol V1.3" (2015); range and service life its "Laser PM2.5 Sensor specification V1.3"
(2015). It reports once a second. Its laser is made for 8000 hours, less than a year: with
`sleep_seconds` it is asleep most of the time, and each time of work gives one result.

Implausible results are neither changed nor left out. The maker's range begins at 0.0 and ends at
999.9; it says nothing of an error code. A frame in which both results are 0.0 (no particle at
all: a stopped fan or a dead laser looks like that) or either is at or above 999.9 (the result is
at least that) is flagged `Quality.SUSPECT`.
"""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from device_protocol.description import Datastream
from device_protocol.reading import UNFLAGGED, Quality, Reading
from edge_agent.adapter import (
    Adapter,
    AdapterError,
    Harvest,
    Surroundings,
)
from edge_agent.clock import Clock
from edge_agent.inputs.frames import FramedSensorSettings, FrameReader, Gathering, Statistic
from edge_agent.inputs.serial_line import SerialLine, open_line
from runtime.settings import KeyPath, setting

_BAUD: Final = 9600
_HEAD: Final = 0xAA
_TAIL: Final = 0xAB
_REPORT: Final = 0xC0
_REPLY: Final = 0xC5
_COMMAND: Final = 0xB4
_FRAME_BYTES: Final = 10
_ANY_DEVICE: Final = b"\xff\xff"
_SLEEP_OR_WORK: Final = 6  # section 3.4 of the protocol
_SET: Final = 1
_STEPS_PER_UNIT: Final = 10  # results are in 0.1 ug/m3
_TOP: Final = 999.9
_REPLY_SECONDS: Final = 2.0
_MOST_TRIES: Final = 3
_REMEDY: Final = (
    "has it power, and is its TXD wired to the adaptor's RXD? If it was once set to report only "
    "when asked, set it back to active reporting"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sds011Settings(FramedSensorSettings):
    """Particulate matter measured by a Nova SDS011 at a serial port."""

    adapter: Literal["sds011"] = "sds011"
    interval_seconds: float = setting(
        "Time between two results, where it never sleeps.",
        default=60.0,
        minimum=0.1,
        maximum=86_400.0,
    )
    statistic: Statistic = setting(
        "Whether a result is the mean of the frames since the last one, or the newest frame.",
        default="mean",
    )
    sleep_seconds: float = setting(
        "It sleeps so long between two times of work, to spare its laser; 0: never.",
        default=0.0,
        minimum=0.0,
        maximum=86_400.0,
    )
    work_seconds: float = setting(
        "Where it sleeps: how long it works; at the end there is one result, of what was measured "
        "after it had warmed up.",
        default=60.0,
        minimum=0.1,
        maximum=86_400.0,
    )
    warm_up_seconds: float = setting(
        "Results so soon after power-up or waking are flagged as not yet stable.",
        default=30.0,
        minimum=0.0,
        maximum=600.0,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a time of work that ends before the results are stable."""
        if self.sleep_seconds and self.work_seconds <= self.warm_up_seconds:
            least = f"must be more than warm_up_seconds ({self.warm_up_seconds:g})"
            yield ("work_seconds",), f"{least}: results before that are not stable"


@dataclass(frozen=True, slots=True)
class Report:
    """A measurement, sent once a second (protocol, section 3.2). pm25, pm10: ug/m3."""

    pm25: float
    pm10: float
    device: bytes

    @property
    def quality(self) -> Quality:
        """What is to be said of it; see the head of this file."""
        nothing = not self.pm25 and not self.pm10
        return Quality.SUSPECT if nothing or max(self.pm25, self.pm10) >= _TOP else UNFLAGGED


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a command: its number and three bytes of what holds now."""

    command: int
    state: bytes
    device: bytes

    def says(self, *, work: bool) -> bool:
        """Tell whether it confirms that the sensor was set to work, or to sleep."""
        return self.command == _SLEEP_OR_WORK and self.state[:2] == bytes((_SET, int(work)))


def take(buffer: bytearray) -> Report | Reply | None:
    """Remove and return the first whole frame, with all before it; None if there is none yet.

    What has no head, tail or right checksum is passed over byte by byte: no good frame that
    follows a damaged one is lost.
    """
    while (start := buffer.find(_HEAD)) >= 0:
        del buffer[:start]
        if len(buffer) < _FRAME_BYTES:
            if len(buffer) == 1 or buffer[1] in (_REPORT, _REPLY):
                return None
        elif _is_frame(buffer):
            frame = bytes(buffer[:_FRAME_BYTES])
            del buffer[:_FRAME_BYTES]
            return _read(frame)
        del buffer[:1]
    buffer.clear()
    return None


def _is_frame(buffer: bytearray) -> bool:
    """Tell whether a frame stands in front: the checksum is the sum of the six bytes between."""
    return (
        buffer[1] in (_REPORT, _REPLY)
        and buffer[9] == _TAIL
        and sum(buffer[2:8]) % 256 == buffer[8]
    )


def _read(frame: bytes) -> Report | Reply:
    if frame[1] == _REPLY:
        return Reply(frame[2], frame[3:6], frame[6:8])
    pm25 = int.from_bytes(frame[2:4], "little") / _STEPS_PER_UNIT
    pm10 = int.from_bytes(frame[4:6], "little") / _STEPS_PER_UNIT
    return Report(pm25, pm10, frame[6:8])


def sleep_or_work(*, work: bool) -> bytes:
    """Return the command to any SDS011 to work, or to stop laser and fan (section 3.4).

    It is forgotten when the power goes: a sensor that is switched on works.
    """
    body = bytes((_SLEEP_OR_WORK, _SET, int(work))).ljust(13, b"\0") + _ANY_DEVICE
    return bytes((_HEAD, _COMMAND)) + body + bytes((sum(body) % 256, _TAIL))


def datastreams(settings: Sds011Settings) -> tuple[Datastream, ...]:
    """Return PM2.5 and PM10."""
    if settings.sleep_seconds:
        period = settings.work_seconds + settings.sleep_seconds
        measured = settings.work_seconds - settings.warm_up_seconds
    else:
        period = measured = settings.interval_seconds
    return tuple(
        Datastream(
            name=name,
            title=title,
            description=f"Mass of particles up to {size} um, by light scattering.",
            observed_property=name,
            unit="ug/m3",
            period_seconds=max(1, round(period)),
            averaging_seconds=max(1, round(measured)) if settings.statistic == "mean" else 0,
            valid_minimum=0.0,
            valid_maximum=_TOP,
        )
        for name, title, size in (("pm25", "PM2.5", "2.5"), ("pm10", "PM10", "10"))
    )


async def harvests(
    settings: Sds011Settings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield one harvest at every interval, or at the end of every time of work."""
    monotonic = surroundings.clock.monotonic
    async with open_line(settings.device, _BAUD) as line:
        sensor = _Sensor(settings, surroundings.clock, line)
        opened = due = monotonic()
        if not settings.sleep_seconds:
            line.write(sleep_or_work(work=True))  # should somebody have left it asleep
        while not settings.sleep_seconds:
            due = max(due + settings.interval_seconds, monotonic())
            yield Harvest(await sensor.measure(due, woken=opened))
        while True:
            await sensor.command(work=True)
            woken = monotonic()
            asleep = woken + settings.work_seconds
            yield Harvest(await sensor.measure(asleep, woken))
            await sensor.command(work=False)
            await sensor.wait(asleep + settings.sleep_seconds)


class _Sensor:
    """One SDS011 at an open line."""

    def __init__(self, settings: Sds011Settings, clock: Clock, line: SerialLine) -> None:
        self._settings = settings
        self._clock = clock
        self._line = line
        self._reader = FrameReader(
            line,
            take,
            silence_seconds=settings.silence_seconds,
            remedy=_REMEDY,
            monotonic=clock.monotonic,
        )

    async def measure(self, until: float, woken: float) -> tuple[Reading, ...]:
        """Return the readings of what it reports until then; both times are monotonic."""
        gathering = Gathering(self._settings.statistic)
        warm = woken + self._settings.warm_up_seconds
        while (frame := await self._reader.next(until)) is not None:
            if isinstance(frame, Report):
                cold = self._clock.monotonic() < warm
                warming_up = Quality.WARMING_UP if cold else UNFLAGGED
                results = {"pm25": frame.pm25, "pm10": frame.pm10}
                gathering.add(results, frame.quality | warming_up)
        found, quality = gathering.harvest()
        now = self._clock.now()
        return tuple(
            Reading(
                sensor=self._settings.urn,
                name=name,
                phenomenon_time=now,
                result=result,
                unit="ug/m3",
                quality=quality,
            )
            for name, result in found.items()
        )

    async def command(self, *, work: bool) -> None:
        """Make it work or sleep, and see that it says so.

        A report under way may hide the reply; then it is asked again.

        Raises:
            AdapterError: it does not say so.
            SerialLineError: the port is gone.
        """
        for _ in range(_MOST_TRIES):
            self._line.write(sleep_or_work(work=work))
            until = self._clock.monotonic() + _REPLY_SECONDS
            while (frame := await self._reader.next(until, may_be_silent=True)) is not None:
                if isinstance(frame, Reply) and frame.says(work=work):
                    return
        raise AdapterError(
            f"{self._line.port}: the sensor does not answer the command to "
            f"{'work' if work else 'sleep'}; is its RXD wired to the adaptor's TXD? "
            "Without that, set sleep_seconds to 0"
        )

    async def wait(self, until: float) -> None:
        """Let it sleep; frames that still come are of no use."""
        while await self._reader.next(until, may_be_silent=True) is not None:
            pass


ADAPTER: Final = Adapter(Sds011Settings, datastreams, harvests)
