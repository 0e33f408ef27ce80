"""The Smart Data Models that entities follow, and how entities are named and found again.

One entity stands for one site (Thing) and model: `urn:ngsi-ld:<Model>:<GSS>:<site>`, where <site>
is the site's own URN without its first word. So an id leads straight back to what is registered:
`parse_entity_id`. Where one site has several entities of a model, what tells them apart follows
a tilde: the vehicle type of counted cycles, the observed property of a DeviceMeasurement. Devices
stand for sensors, and are named by the sensor's URN.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, unquote

from standards_mapping.properties import PROPERTIES, Property
from standards_mapping.registry import Council, Datastream, Sensor, Thing

AIR_QUALITY: Final = "AirQualityObserved"
DEVICE: Final = "Device"
MEASUREMENT: Final = "DeviceMeasurement"
BICYCLE: Final = "bicycle"

_PREFIX: Final = "urn:ngsi-ld:"
_URN: Final = "urn:"
_ID: Final = re.compile(r"urn:ngsi-ld:([A-Za-z]+):([A-Za-z0-9]+):([^~]+)(?:~([A-Za-z0-9_.-]+))?")
_SAFE: Final = ":-._"  # of what may stand in a URN; the tilde is ours
_CONTROL: Final = re.compile(r"[\0-\x20\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A Smart Data Model.

    subject: the name of its group, and of its context.
    time: the attribute that says when its newest value was observed.
    intervals: whether it has dateObservedFrom and dateObservedTo.
    many_devices: whether its refDevice is a list.
    placed: whether it must have a location.
    """

    name: str
    subject: str
    time: str
    intervals: bool = False
    many_devices: bool = False
    placed: bool = True


_MODELS: Final = (
    Model(name=AIR_QUALITY, subject="Environment", time="dateObserved"),
    Model(name="NoiseLevelObserved", subject="Environment", time="dateObserved", intervals=True),
    Model(name="FloodMonitoring", subject="Environment", time="observationDateTime", placed=False),
    Model(name="WeatherObserved", subject="Weather", time="dateObserved"),
    Model(
        name="TrafficFlowObserved",
        subject="Transportation",
        time="dateObserved",
        intervals=True,
        placed=False,
    ),
    Model(
        name="CrowdFlowObserved",
        subject="Transportation",
        time="dateObserved",
        intervals=True,
        placed=False,
    ),
    Model(name="ParkingSpot", subject="Parking", time="timeInstant", many_devices=True),
    Model(name="WasteContainer", subject="WasteManagement", time="timeInstant", many_devices=True),
    Model(
        name="Streetlight",
        subject="Streetlighting",
        time="observationDateTime",
        many_devices=True,
    ),
    Model(name=DEVICE, subject="Device", time="dateLastValueReported", placed=False),
    Model(name=MEASUREMENT, subject="Device", time="dateObserved", placed=False),
)

MODELS: Final[Mapping[str, Model]] = MappingProxyType({model.name: model for model in _MODELS})
"""The models entities are emitted in, by name."""


@dataclass(frozen=True, slots=True)
class EntityKey:
    """What an entity id says.

    urn: of the Thing or, where the model is Device, of the Sensor.
    variant: what tells it from others of its site and model; empty where nothing does.
    """

    model: str
    gss: str
    urn: str
    variant: str = ""


def variant_of(observed: Property) -> str:
    """Return what tells apart the entity with this property from others of the same model."""
    if observed.model == MEASUREMENT:
        return observed.key
    return BICYCLE if observed.key == "cycle_count" else ""


def properties_of(model: str, variant: str = "", attribute: str = "") -> tuple[Property, ...]:
    """Return the observed properties whose values stand in such entities.

    attribute: of which the value is asked for; empty for all.
    """
    return tuple(
        observed
        for observed in PROPERTIES.values()
        if observed.model == model
        and ((model == MEASUREMENT and not variant) or variant_of(observed) == variant)
        and attribute in ("", observed.attribute)
    )


def key_of(datastream: Datastream) -> EntityKey:
    """Return which entity the results of a datastream stand in."""
    observed = datastream.observed_property
    about: Thing | Sensor = datastream.sensor if observed.model == DEVICE else datastream.thing
    gss = datastream.thing.council.gss
    return EntityKey(observed.model, gss, about.urn, variant_of(observed))


def entity_id(key: EntityKey) -> str:
    """Return the id of an entity."""
    ending = f"~{key.variant}" if key.variant else ""
    return f"{_PREFIX}{key.model}:{key.gss}:{_written(key.urn)}{ending}"


def device_id(council: Council, sensor: Sensor) -> str:
    """Return the id of the Device that a sensor is."""
    return entity_id(EntityKey(DEVICE, council.gss, sensor.urn))


def dataset_id(datastream: Datastream) -> str:
    """Return the datasetId that tells one of several values of an attribute from the others."""
    key = EntityKey("Dataset", datastream.thing.council.gss, datastream.sensor.urn)
    return f"{entity_id(key)}~{quote(datastream.short_name, safe=_SAFE)}"


def parse_entity_id(text: str) -> EntityKey | None:
    """Return what an entity id says; None if no entity can have it."""
    match = _ID.fullmatch(text)
    if match is None or match[1] not in MODELS:
        return None
    model, gss, site, variant = match.groups(default="")
    key = EntityKey(model, gss, _read(site), variant)
    if _CONTROL.search(key.urn) or entity_id(key) != text:
        return None
    return key if variant in _variants(model) else None


def _variants(model: str) -> frozenset[str]:
    if model == DEVICE:
        return frozenset({""})
    return frozenset(map(variant_of, properties_of(model))) | frozenset(
        variant_of(observed) for observed in PROPERTIES.values() if observed.model == model
    )


@lru_cache(maxsize=65_536)
def _written(urn: str) -> str:
    """Return a URN as the end of another; what is no URN is marked by an empty first word."""
    rest = urn.removeprefix(_URN)
    is_urn = rest != urn and rest[:1] not in ("", ":")
    return quote(rest if is_urn else f":{urn}", safe=_SAFE).replace("~", "%7E")


def _read(site: str) -> str:
    rest = unquote(site)
    return rest[1:] if rest.startswith(":") else _URN + rest
