"""What is kept of a refusal: the rows of the quarantine, for messages and single readings. Pure."""

from typing import Final

from device_protocol.errors import RejectionError
from device_protocol.senml import Record
from ingest.admission.readings import Contradiction, Origin, conflicting_result
from ingest.receiving.delivery import Delivery
from storage.quarantine import QuarantineRow

_MAX_CHARACTERS: Final = 500


def clipped(text: str) -> str:
    """Return the beginning of a text that a sender could have made as long as it liked."""
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "…"


def refused_message(
    tenant: str, device: str, delivery: Delivery, error: RejectionError
) -> QuarantineRow:
    """Return the row that keeps a whole message, as it was received."""
    return QuarantineRow(
        received_at=delivery.received_at,
        tenant=tenant,
        device=device,
        reason=error.reason,
        detail=clipped(str(error)),
        topic=delivery.topic,
        message=delivery.message,
    )


def refused_reading(origin: Origin, record: Record, error: RejectionError) -> QuarantineRow:
    """Return the row that keeps one reading of an accepted message, as it was reported."""
    value = record.value
    return QuarantineRow(
        received_at=origin.received_at,
        tenant=origin.tenant,
        device=origin.device,
        reason=error.reason,
        detail=clipped(str(error)),
        topic=origin.topic,
        senml_name=clipped(record.name),
        phenomenon_time=record.time_microseconds,
        result=value.hex() if isinstance(value, bytes) else value,
        unit=clipped(record.unit),
        quality=record.quality,
    )


def refused_part(origin: Origin, name: str, error: RejectionError) -> QuarantineRow:
    """Return the row that keeps the name of what was left out of a description, and why."""
    return QuarantineRow(
        received_at=origin.received_at,
        tenant=origin.tenant,
        device=origin.device,
        reason=error.reason,
        detail=clipped(str(error)),
        topic=origin.topic,
        senml_name=name,
    )


def contradicting_reading(found: Contradiction) -> QuarantineRow:
    """Return the row that keeps a reading whose place is taken, in its datastream's unit."""
    name, unit = next(
        (
            (name, stream.unit)
            for name, stream in found.origin.gateway.streams.items()
            if stream.datastream_id == found.datastream_id
        ),
        ("", ""),
    )
    error = conflicting_result(found)
    return QuarantineRow(
        received_at=found.origin.received_at,
        tenant=found.origin.tenant,
        device=found.origin.device,
        reason=error.reason,
        detail=clipped(str(error)),
        topic=found.origin.topic,
        senml_name=name,
        phenomenon_time=found.time,
        result=found.reported,
        unit=unit,
    )
