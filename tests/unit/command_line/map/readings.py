"""Records of a pack as the readings they were, so that they can be encoded again."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from device_protocol.reading import Reading
from device_protocol.senml import Record


def readings_of(records: Iterable[Record]) -> list[Reading]:
    found = []
    for record in records:
        sensor, _, name = record.name.rpartition(":")
        assert isinstance(record.value, float | bool | str)
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=record.time_microseconds)
        found.append(
            Reading(
                sensor=sensor,
                name=name,
                phenomenon_time=time,
                result=record.value,
                unit=record.unit,
            )
        )
    return found
