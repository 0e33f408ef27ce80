"""What is registered and observed as one SensorThings document, without a server. Pure.

It is what a server answers to
`Things?$expand=Locations,Datastreams($expand=Sensor,ObservedProperty,Observations($expand=
FeatureOfInterest))` with the same things in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from standards_mapping.observation import Observation
from standards_mapping.properties import PROPERTIES, Property
from standards_mapping.registry import Datastream, Place, Sensor, Thing
from standards_mapping.sensorthings.entity import EntityWriter, Row
from standards_mapping.sensorthings.model import ENTITY_TYPES, Key, ObservationId
from standards_mapping.sensorthings.options import Expand, Options

Json: TypeAlias = dict[str, Any]

_GEOJSON: Final = "application/geo+json"
_OBSERVATION_TYPE: Final = "http://www.opengis.net/def/observationType/OGC-OM/2.0/"
_TYPE_OF_UNIT: Final = {"bool": "OM_TruthObservation", "count": "OM_CountObservation"}
_EXPANDED: Final[Mapping[str, tuple[str, ...]]] = {
    "Thing": ("Locations", "Datastreams"),
    "Datastream": ("Sensor", "ObservedProperty", "Observations"),
    "Observation": ("FeatureOfInterest",),
}


def things_document(
    things: Iterable[Thing],
    datastreams: Iterable[Datastream],
    observations: Iterable[Observation],
    root: str,
) -> Json:
    """Return the things with all that hangs on them.

    root: of the SensorThings service, without a slash at its end.
    """
    return _Document(root, observations).things(things, list(datastreams))


class _Document:
    """Writes entities with the writers of the service, one inside the other."""

    def __init__(self, root: str, observations: Iterable[Observation]) -> None:
        self._writers = {
            name: EntityWriter(entity_type, root, _expanding(name))
            for name, entity_type in ENTITY_TYPES.items()
        }
        self._observations: dict[int, list[Observation]] = {}
        for each in observations:
            self._observations.setdefault(each.datastream, []).append(each)

    def things(self, things: Iterable[Thing], datastreams: Sequence[Datastream]) -> Json:
        return {
            "value": [
                self._thing(thing, [each for each in datastreams if each.thing.id == thing.id])
                for thing in things
            ]
        }

    def _write(self, name: str, key: Key, /, **values: object) -> Json:
        return self._writers[name].write(Row(key, values, {}))

    def _thing(self, thing: Thing, datastreams: Iterable[Datastream]) -> Json:
        found = self._write(
            "Thing",
            thing.id,
            name=thing.name,
            description=thing.description,
            properties={**thing.properties, "urn": thing.urn, "council": thing.council.gss},
        )
        place = thing.place
        found["Locations"] = [] if place is None else [self._location(place)]
        found["Datastreams"] = [self._datastream(each) for each in datastreams]
        return found

    def _location(self, place: Place) -> Json:
        return self._write(
            "Location",
            place.id,
            name=place.name,
            description=place.description,
            encodingType=_GEOJSON,
            location=place.geometry,
        )

    def _datastream(self, datastream: Datastream) -> Json:
        seen = self._observations.get(datastream.id, [])
        times = [each.time for each in seen]
        starts = [each.phenomenon_start for each in seen]
        unit = datastream.unit.key
        found = self._write(
            "Datastream",
            datastream.id,
            name=datastream.name,
            description=datastream.description,
            unitOfMeasurement=unit,
            observationType=_OBSERVATION_TYPE + _TYPE_OF_UNIT.get(unit, "OM_Measurement"),
            phenomenonTime=(min(starts), max(times)) if seen else None,
            resultTime=(min(times), max(times)) if seen else None,
            properties=dict(datastream.properties),
        )
        found["Sensor"] = self._sensor(datastream.sensor)
        found["ObservedProperty"] = self._property(datastream.observed_property)
        found["Observations"] = [self._observation(each, datastream.thing) for each in seen]
        return found

    def _sensor(self, sensor: Sensor) -> Json:
        return self._write(
            "Sensor",
            sensor.id,
            name=sensor.name,
            description=sensor.description,
            encodingType=sensor.encoding_type,
            metadata=sensor.metadata,
            properties={**sensor.properties, "urn": sensor.urn},
        )

    def _property(self, observed: Property) -> Json:
        return self._write(
            "ObservedProperty",
            list(PROPERTIES).index(observed.key) + 1,
            name=observed.label,
            definition=observed.definition,
            description=observed.label,
            properties={"key": observed.key},
        )

    def _observation(self, seen: Observation, thing: Thing) -> Json:
        found = self._write(
            "Observation",
            ObservationId.of(seen.datastream, seen.time),
            phenomenonTime=(seen.phenomenon_start, seen.time),
            result=seen.result,
            resultTime=seen.time,
            resultQuality=int(seen.quality),
        )
        place = thing.place_at(seen.phenomenon_start)
        if place is not None:
            found["FeatureOfInterest"] = self._feature(place)
        return found

    def _feature(self, place: Place) -> Json:
        return self._write(
            "FeatureOfInterest",
            place.id,
            name=place.name,
            description=f"The surroundings of {place.name}",
            encodingType=_GEOJSON,
            feature=place.geometry,
        )


def _expanding(name: str) -> Options:
    links = ENTITY_TYPES[name].navigations
    return Options(expand=tuple(Expand(links[to], Options()) for to in _EXPANDED.get(name, ())))
