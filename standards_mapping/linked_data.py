"""What all our linked data shares: IRIs of what is registered, and JSON-LD written as Turtle. Pure.

An entity of SensorThings is named by its address there (its selfLink); only what SensorThings does
not have gets an IRI of its own. What is said of the entities is the business of the standards'
modules.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from rdflib import Graph
from rdflib.plugins.parsers.jsonld import to_rdf

from standards_mapping.registry import Council, Datastream, Place, Sensor, Thing
from standards_mapping.sensorthings.model import ObservationId

Json: TypeAlias = dict[str, Any]

JSON_LD: Final = "application/ld+json"
TURTLE: Final = "text/turtle"
SENSORTHINGS: Final = "/sensorthings/v1.1"
"""Where below the service's root SensorThings is."""

_AREAS: Final = "http://statistics.data.gov.uk/id/statistical-geography/"


def thing_iri(thing: Thing, root: str) -> str:
    """Return the IRI of a Thing; root: of the service, without a slash at its end."""
    return f"{root}{SENSORTHINGS}/Things({thing.id})"


def sensor_iri(sensor: Sensor, root: str) -> str:
    """Return the IRI of a Sensor."""
    return f"{root}{SENSORTHINGS}/Sensors({sensor.id})"


def datastream_iri(datastream: Datastream, root: str) -> str:
    """Return the IRI of a datastream: of the collection of its observations."""
    return f"{root}{SENSORTHINGS}/Datastreams({datastream.id})"


def place_iri(place: Place, root: str) -> str:
    """Return the IRI of a place."""
    return f"{root}{SENSORTHINGS}/Locations({place.id})"


def observation_iri(datastream: int, time: datetime, root: str) -> str:
    """Return the IRI of a datastream's observation of a time."""
    return f"{root}{SENSORTHINGS}/Observations('{ObservationId.of(datastream, time)}')"


def property_iri(key: str, root: str) -> str:
    """Return the IRI of an observed property."""
    return f"{root}/sosa/properties/{key}"


def area_iri(council: Council) -> str:
    """Return the IRI of a council's area: that of the Office for National Statistics."""
    return _AREAS + council.gss


def instant(time: datetime) -> str:
    """Return a time as xsd:dateTime in UTC."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration(span: timedelta) -> str:
    """Return a span as xsd:duration, in the largest unit that it is whole multiples of."""
    seconds = span.total_seconds()
    for size, before, letter in ((86400, "P", "D"), (3600, "PT", "H"), (60, "PT", "M")):
        if seconds >= size and seconds % size == 0:
            return f"{before}{seconds // size:.0f}{letter}"
    return f"PT{seconds:g}S"


def turtle(document: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """Return a JSON-LD document as Turtle.

    context: stands for the document's own, so that none is ever fetched.
    """
    graph = Graph()
    to_rdf({**document, "@context": context}, graph)
    for prefix, namespace in context.items():
        if isinstance(namespace, str) and namespace.endswith(("/", "#")):
            graph.bind(prefix, namespace, override=True)
    return graph.serialize(format="turtle")
