"""A satellite receiver that speaks NMEA 0183: where the gateway is, and what time it is.

Sentences RMC, GGA and GNS of any talker (GP, GN, GL, GA, GB …), each with its checksum, which is
demanded. pynmea2 takes them apart; what they say is judged here. A position counts when the
receiver measured it: not while it warns (status V), estimates, simulates or was told by hand.
The navigational status of newer receivers (last field of RMC) is not asked: it speaks of safety
at sea, and most receivers put V there always.

Time comes with a date only in RMC. It is offered to `edge_agent.clock`, which decides; the
machine's own clock is never set. A date before this adapter was written is refused: a receiver
without a fix begins in 1980, and an old one counts its weeks anew every 1024, 19.6 years.

The readings say how well the receiver sees. Where it is stays in the gateway unless `position`
is set: the place of the thing is in the settings, and a gateway that moves would tell of people.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from math import isfinite
from typing import Any, Final, Literal

import pynmea2

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.adapter import Adapter, Harvest, Surroundings
from edge_agent.inputs.frames import FramedSensorSettings, FrameReader
from edge_agent.inputs.serial_line import open_line
from edge_agent.inputs.whereabouts import Position
from runtime.settings import setting

log = logging.getLogger(__name__)

EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No date before this is believed: then this adapter did not exist."""

_MOST_BYTES: Final = 256  # of a line; the standard allows 82, makers take more
_MEASURED_MODES: Final = frozenset("ADPRF")  # autonomous, differential, precise, RTK, float RTK
_MEASURED_QUALITIES: Final = range(1, 6)  # of GGA: the same five
_DECIMALS: Final = 7  # of a degree: a centimetre
_MOST_LATITUDE: Final = 90.0
_MOST_LONGITUDE: Final = 180.0
_REMEDY: Final = "has the receiver power, and is its TX wired to the adaptor's RX?"


@dataclass(frozen=True, slots=True, kw_only=True)
class NmeaSettings(FramedSensorSettings):
    """Position and time from a satellite receiver (NMEA 0183) at a serial port."""

    adapter: Literal["nmea"] = "nmea"
    baud_rate: int = setting(
        "Its speed; 4800 by the standard, 9600 or 38400 with most receivers.",
        default=9600,
        minimum=300,
        maximum=4_000_000,
    )
    interval_seconds: float = setting(
        "Time between two results.", default=60.0, minimum=0.1, maximum=86_400.0
    )
    position: bool = setting(
        "Report latitude and longitude, too. Where a gateway is that moves may tell where "
        "somebody is.",
        default=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one sentence says; None for what it does not say or the receiver does not vouch for.

    time: UTC, perhaps long before `EARLIEST`. position: degrees north and east, WGS 84.
    satellites: used for the position, 0 without one. hdop: horizontal dilution of precision.
    """

    time: datetime | None = None
    position: tuple[float, float] | None = None
    satellites: int | None = None
    hdop: float | None = None


def take(buffer: bytearray) -> Told | None:
    """Remove and return the first sentence of use, with all before it; None if there is none yet.

    What is no sentence, or has no or a wrong checksum, is passed over.
    """
    while (end := buffer.find(b"\n")) >= 0:
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        told = read(line)
        if told is not None:
            return told
    del buffer[:-_MOST_BYTES]
    return None


def read(line: bytes) -> Told | None:
    """Return what a line says, None if it is not a sound RMC, GGA or GNS sentence.

    Text before the `$` is passed over: the end of a sentence whose line end was lost.
    """
    if len(line) > _MOST_BYTES:
        return None
    try:
        sentence = pynmea2.parse(line[line.rfind(b"$") :].decode("ascii"), check=True)
    except ValueError:  # pynmea2.ParseError and UnicodeDecodeError are such
        return None
    readers = {"RMC": _read_rmc, "GGA": _read_gga, "GNS": _read_gns}
    reader = readers.get(getattr(sentence, "sentence_type", ""))
    return None if reader is None else reader(sentence)


def _read_rmc(rmc: Any) -> Told:
    """Read recommended minimum data; its mode came with version 2.3 of the standard."""
    if rmc.status != "A" or (rmc.mode_indicator or "A") not in _MEASURED_MODES:
        return Told()
    day, moment = rmc.datestamp, rmc.timestamp  # pynmea2 leaves text where it is not one
    known = isinstance(day, date) and isinstance(moment, time)
    return Told(
        time=datetime.combine(day, moment) if known else None,
        position=_position(rmc),
    )


def _read_gga(gga: Any) -> Told:
    if gga.gps_qual not in _MEASURED_QUALITIES:
        return Told(satellites=0)
    return Told(
        position=_position(gga),
        satellites=_count(gga.num_sats),
        hdop=_number(gga.horizontal_dil),
    )


def _read_gns(gns: Any) -> Told:
    """Read a fix of several systems.

    The sentences that may follow it for each single system name no position, and the
    satellites of that system only.
    """
    if not gns.lat and gns.mode_indicator.strip("N"):
        return Told()
    if not gns.mode_indicator:
        return Told()
    if not _MEASURED_MODES.intersection(gns.mode_indicator):
        return Told(satellites=0)
    return Told(position=_position(gns), satellites=_count(gns.num_sats), hdop=_number(gns.hdop))


def _position(sentence: Any) -> tuple[float, float] | None:
    """Return degrees north and east, None if they are not on the Earth."""
    if sentence.lat_dir not in ("N", "S") or sentence.lon_dir not in ("E", "W"):
        return None
    with suppress(ValueError):
        latitude, longitude = sentence.latitude, sentence.longitude
        if abs(latitude) <= _MOST_LATITUDE and abs(longitude) <= _MOST_LONGITUDE:
            return round(latitude, _DECIMALS), round(longitude, _DECIMALS)
    return None


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _number(text: str) -> float | None:
    with suppress(ValueError):
        number = float(text)
        return number if isfinite(number) and number >= 0 else None
    return None


def datastreams(settings: NmeaSettings) -> tuple[Datastream, ...]:
    """Return how well it sees, and where it is if that is to be told."""
    period = max(1, round(settings.interval_seconds))
    sight = (
        Datastream(
            name="satellites_used",
            title="Satellites used",
            description="Satellites the position was reckoned from; 0 while there is none.",
            observed_property="satellites_used",
            unit="count",
            period_seconds=period,
            valid_minimum=0.0,
            valid_maximum=99.0,
        ),
        Datastream(
            name="hdop",
            title="Dilution of precision",
            description="Horizontal dilution of precision; below 2 is good. None without a fix.",
            observed_property="hdop",
            unit="1",
            period_seconds=None,
            valid_minimum=0.0,
            valid_maximum=100.0,
        ),
    )
    place = tuple(
        Datastream(
            name=name,
            title=name.capitalize(),
            description=f"Degrees {direction}, WGS 84. None without a fix.",
            observed_property=name,
            unit="deg",
            period_seconds=None,
            valid_minimum=-most,
            valid_maximum=most,
        )
        for name, direction, most in (
            ("latitude", "north", _MOST_LATITUDE),
            ("longitude", "east", _MOST_LONGITUDE),
        )
    )
    return (*sight, *(place if settings.position else ()))


async def harvests(
    settings: NmeaSettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield one harvest at every interval: the newest of what was told since the last."""
    monotonic = surroundings.clock.monotonic
    async with open_line(settings.device, settings.baud_rate) as line:
        reader = FrameReader(
            line,
            take,
            silence_seconds=settings.silence_seconds,
            remedy=_REMEDY,
            monotonic=monotonic,
        )
        offering = _Offering(settings.urn, surroundings)
        due = monotonic()
        while True:
            due = max(due + settings.interval_seconds, monotonic())
            results: dict[str, tuple[float, str]] = {}
            while (told := await reader.next(due)) is not None:
                offering.offer(told)
                results.update(_results(told, position=settings.position))
            now = surroundings.clock.now()
            yield Harvest(
                tuple(
                    Reading(
                        sensor=settings.urn,
                        name=name,
                        phenomenon_time=now,
                        result=result,
                        unit=unit,
                    )
                    for name, (result, unit) in results.items()
                )
            )


def _results(told: Told, *, position: bool) -> dict[str, tuple[float, str]]:
    """Return result and SenML unit by name."""
    found: dict[str, tuple[float, str]] = {}
    if told.satellites is not None:
        found["satellites_used"] = (float(told.satellites), "count")
    if told.hdop is not None:
        found["hdop"] = (told.hdop, "/")
    if told.position is not None and position:
        found["latitude"] = (told.position[0], "deg")
        found["longitude"] = (told.position[1], "deg")
    return found


class _Offering:
    """Passes time and place on to the gateway; of a date that is refused it says so once."""

    def __init__(self, urn: str, surroundings: Surroundings) -> None:
        self._urn = urn
        self._surroundings = surroundings
        self._complained = False

    def offer(self, told: Told) -> None:
        """Offer what a sentence told."""
        clock = self._surroundings.clock
        if told.position is not None:
            position = Position(*told.position, clock.monotonic())
            self._surroundings.whereabouts.newest = position
        if told.time is None:
            return
        if told.time >= EARLIEST:
            clock.hint(told.time.timestamp(), clock.monotonic())
        elif not self._complained:
            self._complained = True
            log.warning(
                "satellite receiver tells an impossible date",
                extra={"sensor": self._urn, "date": told.time.date().isoformat()},
            )


ADAPTER: Final = Adapter(NmeaSettings, datastreams, harvests)
