"""Entities of NGSI-LD: put together from what is registered and its newest results. Pure.

An entity has the place where its Thing was when the interval of its newest value began, as in
every other standard, so that a value never moves along. How entities are written as JSON:
`representation`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from standards_mapping.air_quality_index import Index
from standards_mapping.linked_data import instant
from standards_mapping.ngsi_ld.devices import controlled_properties
from standards_mapping.ngsi_ld.models import (
    AIR_QUALITY,
    DEVICE,
    MEASUREMENT,
    MODELS,
    EntityKey,
    Model,
    dataset_id,
    device_id,
    entity_id,
    key_of,
)
from standards_mapping.ngsi_ld.rules import Value, value_of
from standards_mapping.observation import Observation
from standards_mapping.properties import PROPERTIES
from standards_mapping.registry import Datastream, Place, Sensor, Stay, Thing
from standards_mapping.units import UNITS

HEALTH: Final = ":health"
"""How the URN of a Thing ends that is a gateway's own health."""

CORRECTED: Final = "corrected"
"""The attribute of a value that tells what its newest correction says; the value was signed."""

STATED: Final = frozenset(
    {
        "alternateName",
        "areaServed",
        "category",
        "controlledProperty",
        "dataProvider",
        "dateLastValueReported",
        "dateObservedFrom",
        "dateObservedTo",
        "description",
        "deviceCategory",
        "location",
        "name",
        "refDevice",
        "refParkingSite",
        "serialNumber",
        "source",
        "status",
        "typeofLocation",
        "unit",
        "vehicleType",
        *(model.time for model in MODELS.values()),
    }
)
"""The attributes that an entity may have though no result became them."""

_REGISTERED: Final = frozenset(
    {"name", "description", "alternateName", "source", "dataProvider", "areaServed"}
)
_PLACED: Final = frozenset({"location"})
_DEVICES: Final = frozenset({"refDevice"})
_TIMES: Final = frozenset(
    {"dateObservedFrom", "dateObservedTo", *(model.time for model in MODELS.values())}
)
NO_INDICES: Final[Mapping[int, Index]] = MappingProxyType({})
_LOCATIONS: Final = ("indoor", "outdoor")

TIMELESS: Final = (
    STATED - _PLACED - _TIMES - {observed.attribute for observed in PROPERTIES.values()}
)
"""The attributes that do not depend on when the newest results were observed."""


INDEXED: Final = frozenset({"airQualityIndex", "airQualityLevel"})
"""The attributes that a site's air quality index becomes; no single result does."""


class Kind(Enum):
    """The kinds of attributes (ETSI GS CIM 009, clause 4.2)."""

    PROPERTY = "Property"
    GEO_PROPERTY = "GeoProperty"
    RELATIONSHIP = "Relationship"
    LANGUAGE_PROPERTY = "LanguageProperty"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One instance of an attribute.

    value: of a Property; a GeoJSON geometry; the id or ids of entities; texts by language.
    unit_code: UN/CEFACT; empty where there is none.
    observed_at: when the value held or, for a mean, the end of its interval.
    sub: attributes of the attribute, by name.
    dataset_id: tells it from others of the same name; empty for the first.
    """

    name: str
    value: Any
    unit_code: str = ""
    observed_at: datetime | None = None
    kind: Kind = Kind.PROPERTY
    sub: Mapping[str, "Attribute"] = field(default_factory=dict)
    dataset_id: str = ""


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity; attributes of one name stand next to each other, the first without datasetId.

    created_at: since when it is known, if that is known. modified_at: of its newest value.
    """

    id: str
    type: str
    attributes: tuple[Attribute, ...]
    created_at: datetime | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """A result that the model can say, with its datastream."""

    datastream: Datastream
    observation: Observation
    value: Value


def entities_of(
    things: Iterable[Thing],
    datastreams: Iterable[Datastream],
    latest: Mapping[int, Observation],
    indices: Mapping[int, Index] = NO_INDICES,
) -> list[Entity]:
    """Return the entities of these sites, and the Devices of their sensors, by id.

    latest: the newest observation by datastream. indices: the air quality index now of those
    Things that have one, by their ids. A site has an entity of a model once it has a
    valid result for it and, where the model demands one, a place; a Device is there from the
    start. Of a gateway's own health there is the Device alone.
    """
    chosen = {thing.id for thing in things}
    rows = sorted((each for each in datastreams if each.thing.id in chosen), key=lambda row: row.id)
    grouped: dict[EntityKey, list[_Told]] = {}
    sensors: dict[str, list[Datastream]] = {}
    for row in rows:
        device = device_id(row.thing.council, row.sensor)
        sensors.setdefault(device, []).append(row)
        observation = latest.get(row.id)
        told = _told(row, observation) if observation is not None else None
        of_device = row.observed_property.model == DEVICE
        if told is not None and not of_device and not row.thing.urn.endswith(HEALTH):
            grouped.setdefault(key_of(row), []).append(told)
    found = [
        _site_entity(key, told, indices.get(told[0].datastream.thing.id))
        for key, told in grouped.items()
    ]
    devices = [_device(rows_of_it, latest) for rows_of_it in sensors.values()]
    return sorted((each for each in (*found, *devices) if each is not None), key=lambda e: e.id)


def attribute_history(
    datastream: Datastream, observations: Iterable[Observation]
) -> list[Attribute]:
    """Return each observation of a datastream that its model can say as an attribute instance."""
    found = (_told(datastream, each) for each in observations)
    return [_measured(each) for each in found if each is not None]


def location_history(thing: Thing) -> list[Attribute]:
    """Return where a Thing was, as instances of `location` since when it was there."""
    return [_location(stay) for stay in thing.stays]


def _told(datastream: Datastream, observation: Observation) -> _Told | None:
    value = value_of(datastream, observation)
    return None if value is None else _Told(datastream, observation, value)


def _measured(told: _Told) -> Attribute:
    observed = told.datastream.observed_property
    seen = told.observation
    measured = Attribute(observed.attribute, told.value, observed.unece, seen.time)
    if seen.corrected is None:
        return measured
    said = value_of(told.datastream, replace(seen, result=seen.corrected))
    if said is None:
        return measured
    return replace(measured, sub={CORRECTED: Attribute(CORRECTED, said, observed.unece)})


def some_attributes(
    key: EntityKey,
    rows: Sequence[Datastream],
    latest: Mapping[int, Observation],
    names: Collection[str],
    index: Index | None = None,
) -> list[Attribute]:
    """Return those attributes of these names that an entity has which is known to be there.

    rows: in order of their ids; for what results become those that these attributes come from are
    enough, for all else it takes every one in the entity or, of a Device, of its sensor. index: of
    the site.
    """
    if key.model == DEVICE:
        found = _device_attributes(rows, latest) if rows else []
    else:
        pairs = ((row, latest[row.id]) for row in rows if row.id in latest)
        told = [each for row, seen in pairs if (each := _told(row, seen)) is not None]
        found = _site_attributes(key, told, index, names) if told else []
    return [each for each in found if each.name in names]


def _site_entity(key: EntityKey, told: Sequence[_Told], index: Index | None) -> Entity | None:
    """Return the entity of a site and model; None where it lacks a place that it must have."""
    model = MODELS[key.model]
    thing = told[0].datastream.thing
    newest = _newest(told)
    if model.placed and _stay_at(thing, _began(told, newest)) is None:
        return None
    attributes = tuple(_site_attributes(key, told, index))
    since = thing.stays[0].since if thing.stays else None
    return Entity(entity_id(key), model.name, attributes, since, newest)


def _site_attributes(
    key: EntityKey,
    told: Sequence[_Told],
    index: Index | None,
    names: Collection[str] | None = None,
) -> list[Attribute]:
    """Return the attributes of a site. names: those at least; None: all."""
    model = MODELS[key.model]
    thing = told[0].datastream.thing
    newest = _newest(told)
    found = _registered(thing) if _any_of(names, _REGISTERED) else []
    if _any_of(names, _PLACED):
        stay = _stay_at(thing, _began(told, newest))
        found += [_location(stay)] if stay is not None else []
    if _any_of(names, _TIMES):
        found += _times(model, told, newest)
    found += _particular(model, key, told[0].datastream)
    if _any_of(names, _DEVICES):
        found += _devices(model, told)
    if index is not None and model.name == AIR_QUALITY:
        found += _indexed(index)
    return [*found, *_instances(told)]


def _any_of(names: Collection[str] | None, some: frozenset[str]) -> bool:
    return names is None or not some.isdisjoint(names)


def _newest(told: Sequence[_Told]) -> datetime:
    return max(each.observation.time for each in told)


def _registered(thing: Thing) -> list[Attribute]:
    """Return what the registry knows of a site, whatever its model."""
    stated = {
        "name": thing.name,
        "description": thing.description,
        "alternateName": thing.urn,
        "source": thing.properties.get("source"),
        "dataProvider": thing.council.name,
        "areaServed": thing.council.gss,
    }
    return [Attribute(name, text) for name, text in stated.items() if text and _is_text(text)]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _stay_at(thing: Thing, time: datetime) -> Stay | None:
    place = thing.place_at(time)
    stays = [stay for stay in thing.stays if stay.place is place]
    return stays[-1] if stays else None


def _location(stay: Stay) -> Attribute:
    return Attribute(
        "location", _geometry(stay.place), observed_at=stay.since, kind=Kind.GEO_PROPERTY
    )


def _geometry(place: Place) -> Mapping[str, Any]:
    """Return a place as a plain geometry: only that may stand in a GeoProperty (clause 4.7)."""
    if "coordinates" in place.geometry:
        return {key: place.geometry[key] for key in ("type", "coordinates")}
    return {"type": "Point", "coordinates": [place.longitude, place.latitude]}


def _times(model: Model, told: Sequence[_Told], newest: datetime) -> list[Attribute]:
    """Return when the newest value was observed, from when to when if the model asks for it."""
    found = [Attribute(model.time, instant(newest))]
    if model.intervals:
        found += [
            Attribute("dateObservedFrom", instant(_began(told, newest))),
            Attribute("dateObservedTo", instant(newest)),
        ]
    return found


def _began(told: Sequence[_Told], newest: datetime) -> datetime:
    """Return when the interval of the newest value began."""
    return min(
        each.observation.phenomenon_start for each in told if each.observation.time == newest
    )


def _particular(model: Model, key: EntityKey, datastream: Datastream) -> list[Attribute]:
    """Return what one model alone has, of which some must be there."""
    thing = datastream.thing
    if model.name == AIR_QUALITY:
        kind = thing.properties.get("typeofLocation")
        return [Attribute("typeofLocation", kind)] if kind in _LOCATIONS else []
    if model.name == "TrafficFlowObserved" and key.variant:
        return [Attribute("vehicleType", key.variant)]
    if model.name == "ParkingSpot":
        kind = "offStreet" if thing.properties.get("category") == "offStreet" else "onStreet"
        site = thing.properties.get("refParkingSite")
        if not isinstance(site, str) or ":" not in site:
            name = "OffStreetParking" if kind == "offStreet" else "OnStreetParking"
            site = entity_id(replace(key, model=name))
        return [
            Attribute("category", (kind,)),
            Attribute("refParkingSite", site, kind=Kind.RELATIONSHIP),
        ]
    if model.name == "Streetlight":  # must say one; nothing known against a lamp means "ok"
        stated = thing.properties.get("status")
        faults = ("brokenLantern", "columnIssue", "defectiveLamp")
        return [Attribute("status", stated if stated in faults else "ok")]
    if model.name == MEASUREMENT:
        observed = datastream.observed_property
        named = [Attribute("controlledProperty", observed.key)]
        ucum = UNITS[observed.unit].ucum
        return [*named, Attribute("unit", ucum)] if ucum else named
    return []


def _indexed(index: Index) -> list[Attribute]:
    """Return an air quality index and its band, as of the end of the period that it is of."""
    return [
        Attribute("airQualityIndex", index.index, observed_at=index.end),
        Attribute("airQualityLevel", index.band, observed_at=index.end),
    ]


def _devices(model: Model, told: Sequence[_Told]) -> list[Attribute]:
    """Return the relations to the Devices that observed the values."""
    ids = list(
        dict.fromkeys(
            device_id(each.datastream.thing.council, each.datastream.sensor) for each in told
        )
    )
    if model.many_devices:
        return [Attribute("refDevice", tuple(ids), kind=Kind.RELATIONSHIP)]
    return [
        Attribute("refDevice", one, kind=Kind.RELATIONSHIP, dataset_id=one if number else "")
        for number, one in enumerate(ids)
    ]


def _instances(told: Sequence[_Told]) -> list[Attribute]:
    """Return the values; of several of one attribute all but the first have a datasetId."""
    by_name: dict[str, list[Attribute]] = {}
    for each in told:
        attribute = _measured(each)
        same = by_name.setdefault(attribute.name, [])
        same.append(
            replace(attribute, dataset_id=dataset_id(each.datastream)) if same else attribute
        )
    return [attribute for same in by_name.values() for attribute in same]


def _device(datastreams: Sequence[Datastream], latest: Mapping[int, Observation]) -> Entity:
    """Return the Device that the sensor of these datastreams is."""
    thing, sensor = datastreams[0].thing, datastreams[0].sensor
    newest = max((latest[each.id].time for each in datastreams if each.id in latest), default=None)
    since = thing.stays[0].since if thing.stays else None
    attributes = tuple(_device_attributes(datastreams, latest))
    return Entity(device_id(thing.council, sensor), DEVICE, attributes, since, newest)


def _device_attributes(
    datastreams: Sequence[Datastream], latest: Mapping[int, Observation]
) -> list[Attribute]:
    thing, sensor = datastreams[0].thing, datastreams[0].sensor
    newest = max((latest[each.id].time for each in datastreams if each.id in latest), default=None)
    words = controlled_properties(each.observed_property for each in datastreams)
    own = (each for each in datastreams if each.observed_property.model == DEVICE)
    told = [_told(each, latest[each.id]) for each in own if each.id in latest]
    stay = _stay_at(thing, newest) if newest is not None else (thing.stays or (None,))[-1]
    return [
        *_described(sensor, thing),
        Attribute("deviceCategory", ("network" if thing.urn.endswith(HEALTH) else "sensor",)),
        Attribute("controlledProperty", words),
        *([_location(stay)] if stay is not None else []),
        *([Attribute("dateLastValueReported", instant(newest))] if newest is not None else []),
        *_instances([each for each in told if each is not None]),
    ]


def _described(sensor: Sensor, thing: Thing) -> list[Attribute]:
    stated = {
        "name": sensor.name,
        "description": sensor.description,
        "alternateName": sensor.urn,
        "serialNumber": sensor.properties.get("serialNumber"),
        "dataProvider": thing.council.name,
        "areaServed": thing.council.gss,
    }
    return [Attribute(name, text) for name, text in stated.items() if text and _is_text(text)]
