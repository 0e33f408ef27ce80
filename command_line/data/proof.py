"""What a signed message proves, held against what is stored. Pure.

The signature is checked under the registered key, and the readings are decoded anew from what was
signed. What is stored is looked up by `storage.evidence`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from device_protocol import associated_data, cbor, cose
from device_protocol.errors import RejectionError
from device_protocol.keys import VerifyingKey
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, Record, decode_cbor
from device_protocol.unit_table import BOOLEAN_UNIT
from standards_mapping.units import converter
from storage.evidence import RegisteredKey, SignedBatch

Reported: TypeAlias = float | bool | str | None
Key: TypeAlias = tuple[int, int]
"""Datastream and Unix microseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SAME: Final = 1e-12  # relative: a conversion may round one way or the other


@dataclass(frozen=True, slots=True)
class Place:
    """Where readings of one SenML name are stored, and in which unit."""

    datastream_id: int
    unit: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A reading as it was signed, in the unit that it is stored in."""

    name: str
    key: Key
    result: Reported

    @property
    def time(self) -> datetime:
        """When it was measured."""
        return _EPOCH + self.key[1] * _MICROSECOND


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a message's readings.

    stored: as signed. contradicted: kept out, and noted, because another result had their place.
    dropped: deleted since by retention. other: another result is stored, and no note of it is.
    absent: nothing is stored.
    """

    stored: int
    contradicted: int
    dropped: int
    other: int
    absent: int

    def differs(self, taken: int) -> str | None:
        """Say what is wrong, where `taken` readings were stored when the message came.

        The rest of its readings was refused then, and may be absent.
        """
        accounted = self.stored + self.contradicted + self.dropped
        if accounted >= taken:
            return None
        parts = [f"of {taken} readings stored when it came {taken - accounted} are not as signed"]
        if self.other:
            parts.append(f"{self.other} have another result")
        if self.absent:
            parts.append(f"{self.absent} are not there")
        return "; ".join(parts)


def check_signature(
    batch: SignedBatch, registered: Mapping[bytes, RegisteredKey], keys: dict[bytes, VerifyingKey]
) -> cose.Sign1:
    """Return what was signed, once the signature holds under the gateway's registered key.

    keys: those used before, by kid; grows.

    Raises:
        RejectionError: it does not, or is no such object.
    """
    signed = cose.decode_sign1(batch.signed, tagged=False)
    kid = cbor.octets(cose.protected_headers(signed.protected)[cose.KID])
    known = registered.get(kid)
    if known is None or known.device != batch.device or kid != bytes(batch.signer_kid):
        raise RejectionError(f"key {kid.hex()} is not registered for {batch.device}")
    if kid not in keys:
        keys[kid] = VerifyingKey.from_cose_key(known.cose_key)
    place = (batch.tenant, batch.device, batch.recipient_group)
    covered = associated_data.signed(*place, bytes(batch.epoch_id), batch.seq)
    keys[kid].verify(signed.signature, signed.to_be_signed(covered))
    return signed


def signed_readings(
    batch: SignedBatch, signed: cose.Sign1, places: Mapping[str, Place]
) -> list[Signed]:
    """Return the readings of a message that have a place; none of one that was refused whole."""
    if batch.content_format != CONTENT_FORMAT_SENML_CBOR or not batch.readings:
        return []
    found = []
    for record in decode_cbor(signed.payload):
        place = places.get(record.name)
        if place is None:
            continue
        try:
            result = _result(record, place.unit)
        except RejectionError:  # in a unit that it was refused for
            continue
        found.append(Signed(record.name, (place.datastream_id, record.time_microseconds), result))
    return found


def _result(record: Record, unit: str) -> Reported:
    value = record.value
    if isinstance(value, bool | str):
        return value
    if not isinstance(value, int | float) or unit == BOOLEAN_UNIT:
        return None
    return converter(record.unit, unit).apply(float(value))


def tally(
    readings: Sequence[Signed],
    device: str,
    stored: Mapping[Key, Reported],
    floors: Mapping[int, datetime],
    contradictions: set[tuple[str, str, datetime]],
) -> Tally:
    """Return what became of readings."""
    counts = dict.fromkeys(("stored", "contradicted", "dropped", "other", "absent"), 0)
    for reading in readings:
        floor = floors.get(reading.key[0])
        if reading.key in stored:
            if _same(reading.result, stored[reading.key]):
                counts["stored"] += 1
            elif (device, reading.name, reading.time) in contradictions:
                counts["contradicted"] += 1
            else:
                counts["other"] += 1
        elif floor is not None and reading.time < floor:
            counts["dropped"] += 1
        else:
            counts["absent"] += 1
    return Tally(**counts)


def _same(signed: Reported, stored: Reported) -> bool:
    if type(signed) is float and type(stored) is float:
        return math.isclose(signed, stored, rel_tol=_SAME, abs_tol=0.0)
    return type(signed) is type(stored) and signed == stored
