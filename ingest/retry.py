"""A second chance for readings that came before the description of their datastream. Pure.

A broker may lose a description and deliver the readings after it. They wait in quarantine; once
the description has come they are checked again as if they came now, with the flags they
carried themselves; what the quality of their gateway's clock was is not kept with them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from device_protocol.errors import RejectionError, UnknownDatastreamError
from device_protocol.senml import Record
from ingest.admission import MAX_AHEAD_SECONDS, Rules
from ingest.readings import Columns, Contradiction, Origin, ReadingTable
from ingest.snapshot import DeviceKey, Gateway
from storage.quarantine import HeldReading, Reported

REASON: Final = UnknownDatastreamError.reason
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Retried:
    """Held readings that can be stored now. ids: their rows in quarantine."""

    columns: Columns
    contradictions: list[Contradiction]
    ids: list[int]


def readmit(
    held: Iterable[HeldReading], device: DeviceKey, gateway: Gateway, rules: Rules
) -> Retried:
    """Return what of `held` has a datastream by now; the rest stays where it is."""
    table = ReadingTable()
    taken = []
    for reading in held:
        origin = Origin(*device, reading.topic, reading.received_at, gateway)
        if reading.senml_name in gateway.streams and _take(table, reading, origin, rules):
            taken.append(reading.id)
    columns, contradictions = table.columns()
    return Retried(columns, contradictions, taken)


def _take(table: ReadingTable, reading: HeldReading, origin: Origin, rules: Rules) -> bool:
    """Add a reading to the table; return whether it could be."""
    record = Record(
        reading.senml_name,
        reading.unit,
        reading.phenomenon_time,
        _as_decoded(reading.result),
        None,
        reading.quality,
    )
    span = table.take(
        [record],
        origin,
        earliest=rules.earliest * _MICROSECONDS,
        latest=(reading.received_at + MAX_AHEAD_SECONDS) * _MICROSECONDS,
        quality=0,
        refuse=_stays,
    )
    return span.readings > 0


def _stays(_record: Record, _error: RejectionError) -> None:
    """Leave a reading in quarantine, under the reason it came there for."""


def _as_decoded(result: Reported) -> Reported:
    """Return a number as SenML gives it; JSON has made a whole one an integer."""
    return float(result) if type(result) is int else result
