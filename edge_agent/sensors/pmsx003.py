"""Plantower PMS5003, PMS7003, PMSA003 and PMS3003: particulate matter over a serial port.

Frames follow the maker's "PMS5003 series data manual V2.3" (2016), appendix I, and, for the 24
bytes of the older model, its manual of the PMS3003. Results are those "under atmospheric
environment", in steps of 1 ug/m3; the maker's others (CF=1) are for factories. The sensor is
only listened to: when it is switched on it reports by itself, every 0.2 to 2.3 s. By the manual,
results are stable 30 s after its fan starts, and effective up to 500 ug/m3.

A result of 0 is an ordinary one: clean air holds less than one step.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from struct import unpack_from
from typing import Final, Literal

from device_protocol.description import Datastream
from device_protocol.reading import UNFLAGGED, Quality, Reading
from edge_agent.adapter import (
    Adapter,
    AdapterError,
    Harvest,
    Surroundings,
)
from edge_agent.inputs.frames import FramedSensorSettings, FrameReader, Gathering, Statistic
from edge_agent.inputs.serial_line import open_line
from runtime.settings import KeyPath, setting

Model = Literal["PMS5003", "PMS7003", "PMSA003", "PMS3003"]

_BAUD: Final = 9600
_HEAD: Final = b"BM"
_LENGTH_AT: Final = 2
_BODY_AT: Final = 4
_LENGTHS: Final = {20: "PMS3003", 28: "PMS5003, PMS7003 or PMSA003"}  # of body and checksum
_CHECKSUM_BYTES: Final = 2
_ATMOSPHERIC: Final = 3  # the first of three values of that kind; before it are those of CF=1
_COUNTS: Final = 6
_TOP: Final = 1000.0  # "maximum range >= 1000 ug/m3"
_REMEDY: Final = "has it power (5 V), and is its TX wired to the adaptor's RX?"

_MASSES: Final = {"pm1": ("PM1", "1"), "pm25": ("PM2.5", "2.5"), "pm10": ("PM10", "10")}
_NUMBERS: Final = {
    "particles_0_3": "0.3",
    "particles_0_5": "0.5",
    "particles_1": "1",
    "particles_2_5": "2.5",
    "particles_5": "5",
    "particles_10": "10",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pmsx003Settings(FramedSensorSettings):
    """Particulate matter measured by a Plantower sensor at a serial port."""

    adapter: Literal["pmsx003"] = "pmsx003"
    model: Model = setting("What is printed on it.")
    interval_seconds: float = setting(
        "Time between two results.", default=60.0, minimum=0.1, maximum=86_400.0
    )
    statistic: Statistic = setting(
        "Whether a result is the mean of the frames since the last one, or the newest frame.",
        default="mean",
    )
    particles: bool = setting(
        "Also report how many particles there are in 0.1 litre of air, by size; a PMS3003 does "
        "not tell.",
        default=False,
    )
    warm_up_seconds: float = setting(
        "Results so soon after the port is opened are flagged as not yet stable.",
        default=30.0,
        minimum=0.0,
        maximum=600.0,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse to promise what the model does not measure."""
        if self.particles and self.model == "PMS3003":
            yield ("particles",), "must be false for a PMS3003, which does not count them"


@dataclass(frozen=True, slots=True)
class Frame:
    """One report. models: who sends frames like it.

    masses: PM1, PM2.5 and PM10 in ug/m3. numbers: particles in 0.1 litre that are larger than 0.3,
    0.5, 1, 2.5, 5 and 10 um; empty where the model does not count.
    """

    models: str
    masses: tuple[float, ...]
    numbers: tuple[float, ...]

    def results(self, *, particles: bool) -> Mapping[str, float]:
        """Return the results by name."""
        found = dict(zip(_MASSES, self.masses, strict=True))
        if particles:
            found.update(zip(_NUMBERS, self.numbers, strict=True))
        return found


def take(buffer: bytearray) -> Frame | None:
    """Remove and return the first whole frame, with all before it; None if there is none yet.

    What has no head, known length or right checksum is passed over byte by byte: no good frame
    that follows a damaged one is lost.
    """
    while (start := buffer.find(_HEAD[:1])) >= 0:
        del buffer[:start]
        if not _HEAD.startswith(buffer[:2]):
            del buffer[:1]
            continue
        if len(buffer) < _BODY_AT:
            return None
        length = int.from_bytes(buffer[_LENGTH_AT:_BODY_AT], "big")
        end = _BODY_AT + length
        if length in _LENGTHS:
            if len(buffer) < end:
                return None
            if _is_sound(buffer[:end]):
                frame = _read(bytes(buffer[:end]))
                del buffer[:end]
                return frame
        del buffer[:1]
    buffer.clear()
    return None


def _is_sound(frame: bytearray) -> bool:
    """Tell whether the last two bytes are the sum of all before them, the head included."""
    told = int.from_bytes(frame[-_CHECKSUM_BYTES:], "big")
    return sum(frame[:-_CHECKSUM_BYTES]) == told


def _read(frame: bytes) -> Frame:
    length = len(frame) - _BODY_AT
    values = unpack_from(f">{length // 2 - 1}H", frame, _BODY_AT)
    masses = values[_ATMOSPHERIC : _ATMOSPHERIC + len(_MASSES)]
    counts = values[_ATMOSPHERIC + len(_MASSES) :][:_COUNTS]
    numbers = () if _LENGTHS[length] == "PMS3003" else counts
    return Frame(
        _LENGTHS[length],
        tuple(float(mass) for mass in masses),
        tuple(float(number) for number in numbers),
    )


def datastreams(settings: Pmsx003Settings) -> tuple[Datastream, ...]:
    """Return PM1, PM2.5 and PM10, and perhaps how many particles there are."""
    period = max(1, round(settings.interval_seconds))
    averaging = period if settings.statistic == "mean" else 0
    masses = [
        Datastream(
            name=name,
            title=title,
            description=f"Mass of particles up to {size} um, by light scattering.",
            observed_property=name,
            unit="ug/m3",
            period_seconds=period,
            averaging_seconds=averaging,
            valid_minimum=0.0,
            valid_maximum=_TOP,
        )
        for name, (title, size) in _MASSES.items()
    ]
    numbers = [
        Datastream(
            name=name,
            title=f"Particles larger than {size} um",
            description=f"Particles larger than {size} um in 0.1 litre, by light scattering.",
            observed_property=name,
            unit="count",
            period_seconds=period,
            averaging_seconds=averaging,
            valid_minimum=0.0,
        )
        for name, size in _NUMBERS.items()
    ]
    return (*masses, *(numbers if settings.particles else ()))


async def harvests(
    settings: Pmsx003Settings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield one harvest at every interval."""
    clock = surroundings.clock
    async with open_line(settings.device, _BAUD) as line:
        reader = FrameReader(
            line,
            take,
            silence_seconds=settings.silence_seconds,
            remedy=_REMEDY,
            monotonic=clock.monotonic,
        )
        due = clock.monotonic()
        warm = due + settings.warm_up_seconds
        gathering = Gathering(settings.statistic)
        while True:
            due = max(due + settings.interval_seconds, clock.monotonic())
            while (frame := await reader.next(due)) is not None:
                if settings.model not in frame.models:
                    raise AdapterError(
                        f"{settings.device}: the model is {settings.model}, but the frames are "
                        f"those of a {frame.models}; correct `model`"
                    )
                cold = clock.monotonic() < warm
                gathering.add(
                    frame.results(particles=settings.particles),
                    Quality.WARMING_UP if cold else UNFLAGGED,
                )
            found, quality = gathering.harvest()
            now = clock.now()
            yield Harvest(
                tuple(
                    Reading(
                        sensor=settings.urn,
                        name=name,
                        phenomenon_time=now,
                        result=result,
                        unit="ug/m3" if name in _MASSES else "count",
                        quality=quality,
                    )
                    for name, result in found.items()
                )
            )


ADAPTER: Final = Adapter(Pmsx003Settings, datastreams, harvests)
