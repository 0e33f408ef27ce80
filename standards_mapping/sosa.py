"""Observations and what made them as SOSA and SSN tell it, in JSON-LD. Pure.

Terms are those of the 2023 edition, which has the namespace of that of 2017; where both name a
thing differently it bears both names. Results and units are those of QUDT, times of OWL-Time,
geometries of GeoSPARQL. Every function returns JSON-LD whose `@context` is `CONTEXT`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from device_protocol.reading import Quality
from standards_mapping.linked_data import (
    Json,
    area_iri,
    datastream_iri,
    duration,
    instant,
    observation_iri,
    place_iri,
    property_iri,
    sensor_iri,
    thing_iri,
)
from standards_mapping.observation import Observation
from standards_mapping.open_licence import attribution_of, licence_of
from standards_mapping.properties import Property
from standards_mapping.registry import Datastream, Place, Thing

_SOSA: Final = "http://www.w3.org/ns/sosa/"
_IRI: Final = {"@type": "@id"}
_XSD: Final = "http://www.w3.org/2001/XMLSchema#"


def _sosa_terms() -> Json:
    links = [
        "madeBySensor",
        "observedProperty",
        "hasFeatureOfInterest",
        "hasUltimateFeatureOfInterest",
        "usedProcedure",
        "resultQuality",
        "hasResult",
        "phenomenonTime",
        "hasMember",
        "observes",
        "hosts",
        "isHostedBy",
        "implements",
        "inDeployment",
        "deployedOnPlatform",
        "deployedSystem",
        "isSampleOf",
    ]
    classes = [
        "Observation",
        "ObservationCollection",
        "Sensor",
        "System",
        "Platform",
        "Deployment",
        "Property",
        "ObservableProperty",
        "FeatureOfInterest",
        "Sample",
        "SpatialSample",
        "Procedure",
        "Result",
    ]
    return {
        **{name: f"sosa:{name}" for name in classes},
        **{name: {"@id": f"sosa:{name}", **_IRI} for name in links},
        "hasSimpleResult": {"@id": "sosa:hasSimpleResult", "@type": "xsd:double"},
        "resultTime": {"@id": "sosa:resultTime", "@type": "xsd:dateTime"},
    }


CONTEXT: Final[Mapping[str, Any]] = {
    "@version": 1.1,
    "sosa": _SOSA,
    "qudt": "http://qudt.org/schema/qudt/",
    "time": "http://www.w3.org/2006/time#",
    "geo": "http://www.opengis.net/ont/geosparql#",
    "dct": "http://purl.org/dc/terms/",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": _XSD,
    "prov": "http://www.w3.org/ns/prov#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "id": "@id",
    "type": "@type",
    **_sosa_terms(),
    "label": "rdfs:label",
    "comment": "rdfs:comment",
    "seeAlso": {"@id": "rdfs:seeAlso", **_IRI},
    "identifier": "dct:identifier",
    "license": {"@id": "dct:license", **_IRI},
    "rights": "dct:rights",
    "spatial": {"@id": "dct:spatial", **_IRI},
    "Concept": "skos:Concept",
    "prefLabel": "skos:prefLabel",
    "definition": "skos:definition",
    "exactMatch": {"@id": "skos:exactMatch", **_IRI},
    "hadRevision": {"@id": "prov:hadRevision", **_IRI},
    "value": "rdf:value",
    "QuantityValue": "qudt:QuantityValue",
    "numericValue": {"@id": "qudt:numericValue", "@type": "xsd:double"},
    "unit": {"@id": "qudt:unit", **_IRI},
    "hasUnit": {"@id": "qudt:hasUnit", **_IRI},
    "hasQuantityKind": {"@id": "qudt:hasQuantityKind", **_IRI},
    "Instant": "time:Instant",
    "Interval": "time:ProperInterval",
    "hasTime": {"@id": "time:hasTime", **_IRI},
    "hasBeginning": {"@id": "time:hasBeginning", **_IRI},
    "hasEnd": {"@id": "time:hasEnd", **_IRI},
    "inXSDDateTimeStamp": {"@id": "time:inXSDDateTimeStamp", "@type": "xsd:dateTimeStamp"},
    "Feature": "geo:Feature",
    "Geometry": "geo:Geometry",
    "hasGeometry": {"@id": "geo:hasGeometry", **_IRI},
    "asWKT": {"@id": "geo:asWKT", "@type": "geo:wktLiteral"},
}
"""The context of every document of this module; kept by the service below its own address."""

_CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_FLAGS: Final[Mapping[str, str]] = {
    "out-of-range": "Outside the range that the sensor can measure.",
    "clock-unsynchronised": "The gateway's clock was not known to be right.",
    "replayed": "A recording played back, not a measurement of its time.",
    "suspect": "A check doubts it.",
    "warming-up": "The sensor had not been on for as long as it needs.",
    "time-reconstructed": "Its time was worked out once the gateway had a time of day.",
    "corrected": "Signed, and found to be wrong later: a correction is kept beside it.",
}
INSTANT: Final = "instant"
"""The procedure of results that hold at an instant."""

_INTERVAL: Final = "interval-"
_LONGEST_NAME: Final = 9


def observations_document(
    datastreams: Iterable[Datastream],
    observations: Iterable[Observation],
    root: str,
    context: str | Mapping[str, Any] = CONTEXT,
) -> Json:
    """Return observations with all that they refer to.

    Each datastream is an ObservationCollection of those of its observations that are given, and
    each observation has the place where its Thing was as its interval began.

    root: of the service, without a slash at its end. context: the address of `CONTEXT`, if the
    document shall refer to it.
    """
    chosen = {each.id: each for each in datastreams}
    members: dict[int, list[Json]] = {number: [] for number in chosen}
    places: dict[int, tuple[Place, Thing]] = {}
    flags: set[str] = set()
    for each in observations:
        datastream = chosen[each.datastream]
        members[datastream.id].append(observation(datastream, each, root))
        flags.update(each.quality.flags)
        place = datastream.thing.place_at(each.phenomenon_start)
        if place is not None:
            places[place.id] = (place, datastream.thing)
    graph = [_collection(each, members[each.id], root) for each in chosen.values()]
    graph += [_feature(place, thing, root) for place, thing in places.values()]
    graph += [_flag(name, root) for name in _FLAGS if name in flags]
    graph += _described(list(chosen.values()), root)
    return {"@context": context, "@graph": graph}


def platform_document(
    thing: Thing,
    datastreams: Sequence[Datastream],
    root: str,
    context: str | Mapping[str, Any] = CONTEXT,
) -> Json:
    """Return a Thing as a Platform: what it hosts, and where it was deployed since when."""
    features = {stay.place.id: _feature(stay.place, thing, root) for stay in thing.stays}
    graph = [_platform(thing, datastreams, root), *_deployments(thing, datastreams, root)]
    graph += [*features.values(), *_sensors(datastreams, root)]
    return {"@context": context, "@graph": graph}


def sensor_document(
    datastreams: Sequence[Datastream], root: str, context: str | Mapping[str, Any] = CONTEXT
) -> Json:
    """Return the sensor of these datastreams, with what it observes, how, and what hosts it."""
    return {"@context": context, "@graph": _described(datastreams, root)}


def property_document(
    found: Property, root: str, context: str | Mapping[str, Any] = CONTEXT
) -> Json:
    """Return what can be observed."""
    return {"@context": context, "@graph": [_property(found, root)]}


def procedure_document(
    name: str, root: str, context: str | Mapping[str, Any] = CONTEXT
) -> Json | None:
    """Return how results come about by the name of the procedure; None if none has that name."""
    seconds = 0
    if name != INSTANT:
        digits = name.removeprefix(_INTERVAL)
        if digits == name or not (digits.isascii() and digits.isdecimal()):
            return None
        if len(digits) > _LONGEST_NAME or digits.startswith("0"):
            return None
        seconds = int(digits)
    return {"@context": context, "@graph": [_procedure(timedelta(seconds=seconds), root)]}


def quality_document(
    name: str, root: str, context: str | Mapping[str, Any] = CONTEXT
) -> Json | None:
    """Return what a flag against a result means; None if there is none of that name."""
    return {"@context": context, "@graph": [_flag(name, root)]} if name in _FLAGS else None


def observation(datastream: Datastream, seen: Observation, root: str) -> Json:
    """Return one observation. A result that there explicitly is none of is left out.

    The result is what was signed; what its newest correction says is a revision of it (PROV-O).
    """
    found: Json = {
        "id": observation_iri(seen.datastream, seen.time, root),
        "type": "Observation",
        "madeBySensor": sensor_iri(datastream.sensor, root),
        "observedProperty": property_iri(datastream.observed_property.key, root),
        "usedProcedure": _procedure_iri(seen.averaging, root),
        "hasUltimateFeatureOfInterest": area_iri(datastream.thing.council),
        "phenomenonTime": _period(seen.phenomenon_start, seen.time),
        "resultTime": instant(seen.time),
    }
    place = datastream.thing.place_at(seen.phenomenon_start)
    if place is not None:
        found["hasFeatureOfInterest"] = place_iri(place, root)
    if isinstance(seen.result, bool | str):
        found["hasSimpleResult"] = {"@value": seen.result}
    elif seen.result is not None:
        number = float(seen.result)
        found["hasSimpleResult"] = number
        found["hasResult"] = _quantity(number, datastream)
    if seen.corrected is not None:
        said = seen.corrected
        found["hadRevision"] = (
            {"type": "Result", "value": said}
            if isinstance(said, bool | str)
            else _quantity(float(said), datastream)
        )
    if seen.quality != Quality(0):
        found["resultQuality"] = [_flag_iri(name, root) for name in seen.quality.flags]
    return found


def _quantity(number: float, datastream: Datastream) -> Json:
    return {
        "type": ["Result", "QuantityValue"],
        "numericValue": number,
        "unit": datastream.unit.qudt,
    }


def _collection(datastream: Datastream, members: list[Json], root: str) -> Json:
    return {
        "id": datastream_iri(datastream, root),
        "type": "ObservationCollection",
        "label": datastream.name,
        "comment": datastream.description,
        "madeBySensor": sensor_iri(datastream.sensor, root),
        "observedProperty": property_iri(datastream.observed_property.key, root),
        "usedProcedure": _procedure_iri(datastream.averaging, root),
        "license": licence_of(datastream) if "://" in licence_of(datastream) else [],
        "rights": attribution_of(datastream),
        "hasMember": members,
    }


def _described(datastreams: Sequence[Datastream], root: str) -> list[Json]:
    """Return sensors, platforms, properties and procedures of datastreams, each once."""
    things = {each.thing.id: each.thing for each in datastreams}
    properties = {each.observed_property.key: each.observed_property for each in datastreams}
    spans = sorted({each.averaging for each in datastreams})
    return [
        *_sensors(datastreams, root),
        *(_platform(thing, datastreams, root) for thing in things.values()),
        *(_property(found, root) for found in properties.values()),
        *(_procedure(span, root) for span in spans),
    ]


def _sensors(datastreams: Sequence[Datastream], root: str) -> list[Json]:
    grouped: dict[int, list[Datastream]] = {}
    for each in datastreams:
        grouped.setdefault(each.sensor.id, []).append(each)
    return [_sensor(each, root) for each in grouped.values()]


def _sensor(datastreams: Sequence[Datastream], root: str) -> Json:
    sensor = datastreams[0].sensor
    things = {each.thing.id: each.thing for each in datastreams}
    found: Json = {
        "id": sensor_iri(sensor, root),
        "type": ["Sensor", "System"],
        "label": sensor.name,
        "comment": sensor.description,
        "identifier": sensor.urn,
        "observes": _once(property_iri(each.observed_property.key, root) for each in datastreams),
        "implements": _once(_procedure_iri(each.averaging, root) for each in datastreams),
        "isHostedBy": [thing_iri(thing, root) for thing in things.values()],
    }
    if sensor.metadata.startswith(("http://", "https://")):
        found["seeAlso"] = sensor.metadata
    return found


def _platform(thing: Thing, datastreams: Sequence[Datastream], root: str) -> Json:
    return {
        "id": thing_iri(thing, root),
        "type": "Platform",
        "label": thing.name,
        "comment": thing.description,
        "identifier": thing.urn,
        "hosts": _hosted(thing, datastreams, root),
        "inDeployment": [_deployment_iri(thing, stay.since, root) for stay in thing.stays],
    }


def _hosted(thing: Thing, datastreams: Sequence[Datastream], root: str) -> list[str]:
    return _once(sensor_iri(each.sensor, root) for each in datastreams if each.thing.id == thing.id)


def _deployments(thing: Thing, datastreams: Sequence[Datastream], root: str) -> list[Json]:
    """Return one Deployment for each stay, until the next began."""
    ends = [stay.since for stay in thing.stays[1:]]
    found = []
    for stay, end in zip(thing.stays, [*ends, None], strict=True):
        time: Json = {"type": "Interval", "hasBeginning": _instant(stay.since)}
        if end is not None:
            time["hasEnd"] = _instant(end)
        found.append(
            {
                "id": _deployment_iri(thing, stay.since, root),
                "type": "Deployment",
                "label": f"{thing.name} at {stay.place.name}",
                "deployedOnPlatform": thing_iri(thing, root),
                "deployedSystem": _hosted(thing, datastreams, root),
                "hasTime": time,
                "spatial": place_iri(stay.place, root),
            }
        )
    return found


def _property(found: Property, root: str) -> Json:
    return {
        "id": property_iri(found.key, root),
        "type": ["Property", "ObservableProperty"],
        "label": found.label,
        "identifier": found.key,
        "hasQuantityKind": found.quantity_kind,
        **({"exactMatch": found.external} if found.external else {}),
    }


def _feature(place: Place, thing: Thing, root: str) -> Json:
    """Return a place as what was observed: a sample of the council's area."""
    wkt = f"<{_CRS84}> POINT({place.longitude!r} {place.latitude!r})"
    return {
        "id": place_iri(place, root),
        "type": ["FeatureOfInterest", "Sample", "SpatialSample", "Feature"],
        "label": place.name,
        "comment": place.description,
        "isSampleOf": area_iri(thing.council),
        "hasGeometry": {"type": "Geometry", "asWKT": wkt},
    }


def _procedure(averaging: timedelta, root: str) -> Json:
    found: Json = {"id": _procedure_iri(averaging, root), "type": "Procedure"}
    if not averaging:
        return {**found, "label": "Reading at an instant"}
    span = duration(averaging)
    return {**found, "label": f"Result over the interval of {span} that ends at its time"}


def _flag(name: str, root: str) -> Json:
    return {
        "id": _flag_iri(name, root),
        "type": "Concept",
        "prefLabel": name.replace("-", " "),
        "definition": _FLAGS[name],
    }


def _period(start: datetime, end: datetime) -> Json:
    if start == end:
        return _instant(end)
    return {"type": "Interval", "hasBeginning": _instant(start), "hasEnd": _instant(end)}


def _instant(time: datetime) -> Json:
    return {"type": "Instant", "inXSDDateTimeStamp": instant(time)}


def _procedure_iri(averaging: timedelta, root: str) -> str:
    name = f"{_INTERVAL}{averaging.total_seconds():.0f}" if averaging else INSTANT
    return f"{root}/sosa/procedures/{name}"


def _flag_iri(name: str, root: str) -> str:
    return f"{root}/sosa/qualities/{name}"


def _deployment_iri(thing: Thing, since: datetime, root: str) -> str:
    return f"{root}/sosa/platforms/{thing.id}#since-{since:%Y%m%dT%H%M%SZ}"


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
