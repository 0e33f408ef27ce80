"""Observations as SOSA: every term exists, nothing is lost in reading, places stay as they were."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pyld import jsonld
from rdflib import Graph, Literal, URIRef
from rdflib.compare import isomorphic
from rdflib.namespace import RDF, XSD

from device_protocol.reading import Quality
from standards_mapping import sosa
from standards_mapping.linked_data import Json, turtle
from standards_mapping.properties import PROPERTIES
from tests.simulators.moved_site import (
    BAY,
    MEANS,
    MOVED_AT,
    NEW,
    NO2,
    OLD,
    ROOT,
    STATES,
    THING,
)

ONTOLOGY = Path(__file__).parents[2] / "data" / "sosa-ssn"
SOSA = "http://www.w3.org/ns/sosa/"
STA = f"{ROOT}/sensorthings/v1.1"

# What is written of vocabularies other than SOSA: from QUDT 2.1, OWL-Time, GeoSPARQL 1.1, Dublin
# Core terms, RDF Schema and SKOS.
OTHERS = {
    "http://qudt.org/schema/qudt/": {"QuantityValue", "numericValue", "unit", "hasQuantityKind"},
    "http://www.w3.org/2006/time#": {
        "Instant",
        "ProperInterval",
        "hasBeginning",
        "hasEnd",
        "hasTime",
        "inXSDDateTimeStamp",
    },
    "http://www.opengis.net/ont/geosparql#": {"Feature", "Geometry", "hasGeometry", "asWKT"},
    "http://purl.org/dc/terms/": {"identifier", "license", "rights", "spatial"},
    "http://www.w3.org/2000/01/rdf-schema#": {"label", "comment", "seeAlso"},
    "http://www.w3.org/2004/02/skos/core#": {"Concept", "prefLabel", "definition", "exactMatch"},
    "http://www.w3.org/ns/prov#": {"hadRevision"},
    str(RDF): {"type", "value"},
}


CORRECTED = [
    replace(MEANS[0], quality=Quality.CORRECTED, corrected=25.5),
    replace(STATES[0], quality=Quality.CORRECTED, corrected=False),
]


def documents() -> dict[str, Json]:
    found: dict[str, Json | None] = {
        "observations": sosa.observations_document([NO2, BAY], [*MEANS, *STATES], ROOT),
        "corrected": sosa.observations_document([NO2, BAY], CORRECTED, ROOT),
        "platform": sosa.platform_document(THING, [NO2, BAY], ROOT),
        "sensor": sosa.sensor_document([NO2, BAY], ROOT),
        "property": sosa.property_document(PROPERTIES["no2"], ROOT),
        "procedure": sosa.procedure_document("interval-3600", ROOT),
        "quality": sosa.quality_document("suspect", ROOT),
    }
    return {name: document for name, document in found.items() if document is not None}


NAMES = sorted(documents())


@cache
def ontology() -> frozenset[str]:
    graph = Graph()
    for path in ONTOLOGY.glob("*.ttl"):
        graph.parse(path)
    return frozenset(str(subject) for subject in graph.subjects() if isinstance(subject, URIRef))


def graph_of(document: Json) -> Graph:
    return Graph().parse(data=turtle(document, sosa.CONTEXT), format="turtle")


def refuse(url: str, _: object) -> None:
    raise AssertionError(f"{url} was to be fetched")


def lost(name: str) -> None:
    raise AssertionError(f"{name} is dropped")


@pytest.mark.parametrize("name", NAMES)
def test_every_term_is_of_the_ontology_or_of_a_vocabulary_listed_here(name: str) -> None:
    assert len(NAMES) == 7
    graph = graph_of(documents()[name])
    terms = {str(term) for term in graph.predicates()}
    terms |= {str(kind) for kind in graph.objects(predicate=RDF.type)}
    known = {namespace + term for namespace, some in OTHERS.items() for term in some}
    assert {term for term in terms if term.startswith(SOSA)} <= ontology()
    assert {term for term in terms if not term.startswith(SOSA)} <= known
    assert any(term.startswith(SOSA) for term in terms) or name == "quality"


def test_the_context_names_nothing_that_the_ontology_does_not_have() -> None:
    named = {
        entry["@id"] if isinstance(entry, dict) else entry
        for entry in sosa.CONTEXT.values()
        if entry != 1.1
    }
    ours = {f"{SOSA}{name.removeprefix('sosa:')}" for name in named if name.startswith("sosa:")}
    assert len(ours) > 20
    assert ours <= ontology()


@pytest.mark.parametrize("name", NAMES)
def test_expansion_needs_no_network_and_loses_nothing(name: str) -> None:
    document = documents()[name]
    options: dict[str, Any] = {"documentLoader": refuse}
    expanded = jsonld.expand(document, options, on_property_dropped=lost)
    back = jsonld.compact(expanded, {"@context": sosa.CONTEXT}, {**options, "graph": True})
    assert in_order(back["@graph"]) == in_order(document["@graph"])


def in_order(value: Any) -> Any:
    """Return JSON-LD so that two that say the same are equal: lists of one are their member.

    What is no number is compacted to a property without the type that its term states.
    """
    if isinstance(value, dict):
        kept = {key: in_order(member) for key, member in value.items()}
        if "sosa:hasSimpleResult" in kept:
            kept["hasSimpleResult"] = {"@value": kept.pop("sosa:hasSimpleResult")}
        return {key: member for key, member in kept.items() if member != []}
    if isinstance(value, list):
        members = [in_order(member) for member in value]
        if len(members) == 1:
            return members[0]
        return sorted(members, key=lambda member: json.dumps(member, sort_keys=True))
    return value


@pytest.mark.parametrize("name", NAMES)
def test_turtle_and_json_ld_say_the_same(name: str) -> None:
    document = documents()[name]
    graph = graph_of(document)
    again = Graph().parse(
        data=jsonld.to_rdf(document, {"documentLoader": refuse, "format": "application/n-quads"}),
        format="nt",
    )
    assert len(graph) >= 2
    assert isomorphic(normal(graph), normal(again))


def normal(graph: Graph) -> Graph:
    """Return the graph with literals as values: 2.01E1 is 20.1."""
    found = Graph()
    for subject, predicate, value in graph:
        if isinstance(value, Literal) and value.datatype in (XSD.double, XSD.dateTime):
            value = Literal(value.toPython())  # noqa: PLW2901
        found.add((subject, predicate, value))
    return found


def test_an_observation_bears_its_result_unit_interval_sensor_and_quality() -> None:
    (first, second, *_) = documents()["observations"]["@graph"][0]["hasMember"]
    assert first["id"] == f"{STA}/Observations('7-1774746000000000')"
    assert first["hasSimpleResult"] == first["hasResult"]["numericValue"] == 20.1
    assert first["hasResult"]["unit"] == "http://qudt.org/vocab/unit/MicroGM-PER-M3"
    assert first["phenomenonTime"]["type"] == "Interval"
    assert first["phenomenonTime"]["hasBeginning"]["inXSDDateTimeStamp"] == "2026-03-29T00:00:00Z"
    assert first["phenomenonTime"]["hasEnd"]["inXSDDateTimeStamp"] == "2026-03-29T01:00:00Z"
    assert first["resultTime"] == "2026-03-29T01:00:00Z"
    assert first["madeBySensor"] == f"{STA}/Sensors(3)"
    assert first["usedProcedure"] == f"{ROOT}/sosa/procedures/interval-3600"
    assert "resultQuality" not in first
    assert second["resultQuality"] == [
        f"{ROOT}/sosa/qualities/out-of-range",
        f"{ROOT}/sosa/qualities/replayed",
    ]


def test_states_and_texts_are_simple_results_and_no_result_is_none() -> None:
    graph = documents()["observations"]["@graph"]
    states = [each["hasSimpleResult"] for each in graph[1]["hasMember"]]
    assert states == [{"@value": True}, {"@value": False}, {"@value": "=fault()"}]
    assert all("hasResult" not in each for each in graph[1]["hasMember"])
    assert all(each["phenomenonTime"]["type"] == "Instant" for each in graph[1]["hasMember"])
    nothing = graph[0]["hasMember"][3]
    assert "hasSimpleResult" not in nothing
    assert "hasResult" not in nothing


def test_what_was_observed_before_a_move_keeps_its_place() -> None:
    graph = documents()["observations"]["@graph"]
    places = [each["hasFeatureOfInterest"] for each in graph[0]["hasMember"]]
    assert places == [f"{STA}/Locations({number})" for number in (1, 1, 2, 2)]
    features = {node["id"]: node["hasGeometry"]["asWKT"] for node in graph if "hasGeometry" in node}
    assert features[f"{STA}/Locations(1)"].endswith(f"POINT({OLD[0]} {OLD[1]})")
    assert features[f"{STA}/Locations(2)"].endswith(f"POINT({NEW[0]} {NEW[1]})")


def test_a_platform_tells_where_it_was_deployed_until_when() -> None:
    graph = documents()["platform"]["@graph"]
    first, second = (node for node in graph if node["type"] == "Deployment")
    moved = f"{MOVED_AT:%Y-%m-%dT%H:%M:%SZ}"
    assert first["hasTime"]["hasEnd"]["inXSDDateTimeStamp"] == moved
    assert second["hasTime"]["hasBeginning"]["inXSDDateTimeStamp"] == moved
    assert "hasEnd" not in second["hasTime"]
    assert graph[0]["hosts"] == [f"{STA}/Sensors(3)"]
    assert graph[0]["inDeployment"] == [first["id"], second["id"]]


@pytest.mark.parametrize(
    "name", ["interval-", "interval-0", "interval-1x", "mean", "interval-٣", ""]
)
def test_there_is_no_such_procedure(name: str) -> None:
    assert sosa.procedure_document(name, ROOT) is None


def test_a_document_may_refer_to_its_context() -> None:
    address = f"{ROOT}/sosa/context.jsonld"
    document = sosa.observations_document([NO2], MEANS, ROOT, address)
    assert document["@context"] == address
    assert len(graph_of(document)) > 50
