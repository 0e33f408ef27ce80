"""What a record of a SenML pack becomes: an Observation of its datastream. Pure.

The rules are those by which ingest admits readings; there they run over whole columns at once,
here one by one, for whoever has a pack and no server.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

from device_protocol.errors import (
    ConflictingResultError,
    OutOfRangeError,
    PayloadError,
    RejectionError,
    UnitMismatchError,
    UnknownDatastreamError,
)
from device_protocol.reading import Quality
from device_protocol.senml import Record
from device_protocol.unit_table import BOOLEAN_UNIT, nearest
from standards_mapping.observation import Observation, Result
from standards_mapping.registry import Datastream
from standards_mapping.units import converter

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIMENSIONLESS: Final = "1"


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is no observation of any datastream, by its position from 0, and why."""

    position: int
    record: Record
    error: RejectionError


def senml_name(datastream: Datastream) -> str:
    """Return the full name of a datastream's records (RFC 8428, section 4.5.1)."""
    return f"{datastream.sensor.urn}:{datastream.short_name}"


def observe_all(
    records: Iterable[Record], datastreams: Iterable[Datastream]
) -> tuple[list[Observation], list[Refused]]:
    """Return what the records of a pack observed, in their order, and the refused ones.

    A record that says again what another said is dropped; one that says something else of the
    same datastream and time is refused.
    """
    known = {senml_name(each): each for each in datastreams}
    found: dict[tuple[int, datetime], Observation] = {}
    refused: list[Refused] = []
    for position, record in enumerate(records):
        try:
            observation = observe(record, known)
            key = (observation.datastream, observation.time)
            kept = found.setdefault(key, observation)
            if kept.result != observation.result:
                raise ConflictingResultError(f"{observation.result!r} after {kept.result!r}")
        except RejectionError as error:
            refused.append(Refused(position, record, error))
    return list(found.values()), refused


def observe(record: Record, datastreams: Mapping[str, Datastream]) -> Observation:
    """Return what a record observed; datastreams: by the full name of their records.

    Raises:
        RejectionError: it is no observation of any of them.
    """
    datastream = datastreams.get(record.name)
    if datastream is None:
        raise UnknownDatastreamError(
            f"no datastream has this name{nearest(record.name, datastreams)}"
        )
    return Observation(
        datastream=datastream.id,
        time=_EPOCH + timedelta(microseconds=record.time_microseconds),
        averaging=datastream.averaging,
        result=_result(record, datastream),
        quality=Quality(record.quality),
    )


def _result(record: Record, datastream: Datastream) -> Result:
    value, unit = record.value, datastream.unit.key
    if isinstance(value, bool):
        if unit != BOOLEAN_UNIT:
            raise UnitMismatchError(f"a truth value for {unit!r}")
        return value
    if isinstance(value, str):
        if unit != _DIMENSIONLESS:
            raise UnitMismatchError(f"a text for {unit!r}")
        return value
    if not isinstance(value, int | float):
        raise PayloadError("a record without a number, truth value or text")
    if unit == BOOLEAN_UNIT:
        raise UnitMismatchError(f"a number for {unit!r}")
    result = converter(record.unit, unit).apply(float(value))
    flagged = record.quality & Quality.OUT_OF_RANGE and isfinite(result)
    if not (flagged or _in_range(result, datastream)):
        raise OutOfRangeError(f"{result:g} {unit} is outside what the sensor can measure")
    return result


def _in_range(result: float, datastream: Datastream) -> bool:
    least, most = datastream.valid_minimum, datastream.valid_maximum
    return (
        isfinite(result) and (least is None or result >= least) and (most is None or result <= most)
    )
