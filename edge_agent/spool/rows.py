"""What a row of the spool is: where its reading stands, how it is written down, its checksum.

Pure. The file that holds rows is `edge_agent.spool.store`'s, getting them out of a damaged one
`edge_agent.spool.salvage`'s.
"""

import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

from device_protocol.reading import Quality, Reading
from edge_agent.stamps import mark_of, marked

HIGHEST_NUMBER: Final = (1 << 48) - 1
_HELD: Final = 4  # a bit above those of a priority
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Priority(IntEnum):
    """What goes first when the spool is full, and last when it is emptied."""

    LOW = 0
    NORMAL = 1
    ALARM = 2


BANDS: Final = (*Priority, *(priority | _HELD for priority in Priority))
"""What may stand above the number in a place: a priority, or one whose rows are held."""

FIRST_HELD: Final = _HELD << 48
"""The lowest place of a row that is held until its time is known."""


@dataclass(frozen=True, slots=True)
class Span:
    """Every row of `priority` from number `first` to number `last`."""

    priority: Priority
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A reading with its place in the spool; `number` rises in the order of acceptance."""

    priority: Priority
    number: int
    reading: Reading


def place_of(band: int, number: int) -> int:
    """Return the key of a row: its priority, held or not, above its number."""
    return band << 48 | number


def number_of(place: int) -> int:
    """Return the number in a place."""
    return place & HIGHEST_NUMBER


def priority_of(place: int) -> Priority:
    """Return the priority in a place, whether its row is held or not."""
    return Priority(place >> 48 & ~_HELD)


def band_of(priority: Priority, reading: Reading) -> int:
    """Return where a reading belongs: held if its time may yet be corrected."""
    return priority if mark_of(reading.phenomenon_time) is None else priority | _HELD


def checksum_of(place: int, body: bytes) -> int:
    """Return the CRC-32 that a row keeps of its place and body."""
    return zlib.crc32(body, (place ^ place >> 32) & 0xFFFFFFFF)


def encode(reading: Reading) -> str:
    """Return a reading as the text of a row.

    A JSON array: sensor, name, microseconds since 1970 (so nothing is rounded), result, unit;
    then its quality if anything is known against it; then, if an unset clock gave the time, that
    time's mark (`edge_agent.stamps`).
    """
    mark = mark_of(reading.phenomenon_time)
    microseconds = (reading.phenomenon_time - _EPOCH) // _MICROSECOND
    row: list[object] = [reading.sensor, reading.name, microseconds, reading.result, reading.unit]
    if reading.quality or mark:
        row.append(int(reading.quality))
    if mark:
        row.append(mark)
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def decode(body: str) -> Reading:
    """Return the reading that `encode` wrote."""
    sensor, name, microseconds, result, unit, *further = json.loads(body)
    time = _EPOCH + timedelta(microseconds=microseconds)
    if further[1:]:
        boot_id, provisional_epoch = further[1]
        time = marked(time, (boot_id, provisional_epoch))
    return Reading(
        sensor=sensor,
        name=name,
        phenomenon_time=time,
        result=result,
        unit=unit,
        quality=Quality(further[0] if further else 0),
    )
