"""Which entities there are, and what makes up each: told from the registry and newest results.

One statement whatever their number, and no entity is put together for it. What is asked of those
found here is the business of `examined` and `census`; whole entities are made by `reader`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple

from device_protocol.reading import Quality
from standards_mapping.air_quality_index import RULES
from standards_mapping.ngsi_ld import models
from standards_mapping.ngsi_ld.entity import HEALTH
from standards_mapping.ngsi_ld.models import AIR_QUALITY, DEVICE, MODELS, EntityKey
from standards_mapping.ngsi_ld.rules import valid_value
from standards_mapping.properties import PROPERTIES
from standards_mapping.units import UNITS

_OUT_OF_RANGE: Final = int(Quality.OUT_OF_RANGE)


class Stream(NamedTuple):
    """What is known of a datastream from the statement that found it.

    sensor, urn: the URNs of its Sensor and of its Thing. placed: whether the Thing has a place.
    value, result, quality: of its newest result; quality is None where there is none.
    """

    id: int
    thing: int
    gss: str
    sensor: str
    key: str
    unit: str
    short_name: str
    averaging_seconds: int
    urn: str
    placed: bool
    value: float | None
    result: Any
    quality: int | None


@dataclass(slots=True)
class Member:
    """What makes up an entity.

    streams: the datastreams whose results stand in it, and what they observe, by their numbers.
    told: those of them whose newest result can be told. of_sensor: of a Device every datastream of
    its sensor. present: whether it is there, and not just registered.
    """

    key: EntityKey
    streams: dict[int, str] = field(default_factory=dict)
    told: list[int] = field(default_factory=list)
    of_sensor: dict[int, None] | None = None
    present: bool = False

    @property
    def type(self) -> str:
        """The name of its model."""
        return self.key.model

    @property
    def known_by(self) -> Collection[int]:
        """The datastreams without which it is not known."""
        return self.streams if self.of_sensor is None else self.of_sensor


class Members:
    """The entities found so far, by id, and the datastreams in them, by number.

    reported: numbers of those with a result, be it one that cannot be told.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Member] = {}
        self.streams: dict[int, Stream] = {}
        self.reported: set[int] = set()
        self._by_key: dict[tuple[str, str, str, str], Member] = {}

    def note(self, row: Sequence[Any], chosen: set[str]) -> None:
        """Take in a row of `ngsi_ld_newest`. chosen: of which models alone."""
        stream = Stream._make(row)
        if stream.unit not in UNITS:
            return
        self.streams[stream.id] = stream
        if stream.quality is not None:
            self.reported.add(stream.id)
        if DEVICE in chosen:
            self._note_device(stream)
        member = self._part_of(stream, chosen)
        if member is None or stream.id in member.streams:
            return
        member.streams[stream.id] = stream.key
        if stream.quality is None or stream.quality & _OUT_OF_RANGE:
            return
        observed = PROPERTIES[stream.key]
        newest = stream.value if stream.value is not None else stream.result
        if valid_value(observed, stream.unit, newest) is not None:
            member.told.append(stream.id)
            member.present = member.present or stream.placed or not MODELS[observed.model].placed

    def _note_device(self, stream: Stream) -> None:
        device = self._member(DEVICE, stream.gss, stream.sensor, "")
        device.present = True
        if device.of_sensor is None:
            device.of_sensor = {}
        device.of_sensor[stream.id] = None

    def _part_of(self, stream: Stream, chosen: set[str]) -> Member | None:
        """Return the entity that results of a datastream stand in; None: in none that is chosen."""
        model = PROPERTIES[stream.key].model
        if model not in chosen:
            return None
        if model == DEVICE:
            return self._member(DEVICE, stream.gss, stream.sensor, "")
        if stream.urn.endswith(HEALTH):
            return None
        return self._member(model, stream.gss, stream.urn, _variant(stream.key))

    def things(self, member: Member) -> set[int]:
        """Return the Things that an entity stands for; of a Device those that its sensor is at."""
        return {self.streams[number].thing for number in member.known_by}

    def with_indices(self, ids: Iterable[str]) -> set[int]:
        """Return the Things, of these entities, that may have an air quality index."""
        return {
            self.streams[number].thing
            for one in ids
            if (member := self.by_id.get(one)) and member.type == AIR_QUALITY
            for number, key in member.streams.items()
            if key in RULES
        }

    def _member(self, model: str, gss: str, urn: str, variant: str) -> Member:
        key = (model, gss, urn, variant)
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = Member(EntityKey(*key))
            self.by_id[models.entity_id(found.key)] = found
        return found


@cache
def _variant(key: str) -> str:
    return models.variant_of(PROPERTIES[key])
