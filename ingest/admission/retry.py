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
from ingest.admission.decision import MAX_AHEAD_SECONDS, Rules
from ingest.admission.readings import Columns, Contradiction, Origin, ReadingTable
from ingest.admission.snapshot import DeviceKey, Gateway
from storage.quarantine import HeldReading, Reported

REASON: Final = UnknownDatastreamError.reason
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Retried:
    """Held readings tried again.

    ids: rows in quarantine of those that can be stored now, in the order of `origins`. refused:
    the rows of the others, and why.
    """

    columns: Columns
    contradictions: list[Contradiction]
    ids: list[int]
    origins: list[Origin]
    refused: list[tuple[int, RejectionError]]

    def row_of(self, contradiction: Contradiction) -> int:
        """Return the row in quarantine of a reading whose place is taken."""
        rows = zip(self.origins, self.ids, strict=True)
        return next(row for origin, row in rows if origin is contradiction.origin)


def readmit(
    held: Iterable[HeldReading], device: DeviceKey, gateway: Gateway, rules: Rules
) -> Retried:
    """Return what of `held` can be stored by now; the rest stays where it is."""
    table = ReadingTable()
    taken: list[int] = []
    origins: list[Origin] = []
    refused: list[tuple[int, RejectionError]] = []
    for reading in held:
        origin = Origin(*device, reading.topic, reading.received_at, gateway)
        error = _take(table, reading, origin, rules)
        if error is None:
            taken.append(reading.id)
            origins.append(origin)
        else:
            refused.append((reading.id, error))
    columns, contradictions = table.columns()
    return Retried(columns, contradictions, taken, origins, refused)


def _take(
    table: ReadingTable, reading: HeldReading, origin: Origin, rules: Rules
) -> RejectionError | None:
    """Add a reading to the table, or return why it cannot be."""
    errors: list[RejectionError] = []
    record = Record(
        reading.senml_name,
        reading.unit,
        reading.phenomenon_time,
        _as_decoded(reading.result),
        None,
        reading.quality,
    )
    table.take(
        [record],
        origin,
        earliest=rules.earliest * _MICROSECONDS,
        latest=(reading.received_at + MAX_AHEAD_SECONDS) * _MICROSECONDS,
        quality=0,
        refuse=lambda _, error: errors.append(error),
    )
    return errors[0] if errors else None


def _as_decoded(result: Reported) -> Reported:
    """Return a number as SenML gives it; JSON has made a whole one an integer."""
    return float(result) if type(result) is int else result
