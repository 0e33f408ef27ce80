"""The catalogue: valid by the shapes of DCAT-AP, whole in itself, and of open data only."""

from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pyshacl
import pytest
from rdflib import Graph, Namespace, URIRef
from rdflib.namespace import DCAT, DCTERMS, RDF

from standards_mapping import dcat
from standards_mapping.datasets import Contact, Coverage, datasets
from standards_mapping.linked_data import turtle
from standards_mapping.project_open_data import data_json
from standards_mapping.registry import FormerCode
from tests.simulators.moved_site import BAY, HIDDEN, HOUR, NO2, ROOT, START

# pyshacl itself still uses what rdflib has renamed.
pytestmark = pytest.mark.filterwarnings(r"ignore:Dataset\..* is deprecated:DeprecationWarning")

SHAPES = Path(__file__).parents[2] / "data" / "dcat-ap"
SH = Namespace("http://www.w3.org/ns/shacl#")
AREA = "http://statistics.data.gov.uk/id/statistical-geography/E09000007"
CONTACT = Contact("The operator", "data@kerb.example")
COVERAGE = {
    NO2.id: Coverage(START, START + 9 * HOUR, START + 10 * HOUR),
    HIDDEN.id: Coverage(START - 99 * HOUR, START + 99 * HOUR, START + 99 * HOUR),
}


@cache
def catalogue() -> Graph:
    document = dcat.catalogue_document(
        [NO2, BAY, HIDDEN], ROOT, coverage=COVERAGE, contact=CONTACT, tenant="camden"
    )
    return Graph().parse(data=turtle(document, dcat.CONTEXT), format="turtle")


def report(graph: Graph, shapes: str) -> Any:
    _, found, _ = pyshacl.validate(graph, shacl_graph=str(SHAPES / shapes))
    return found


@pytest.mark.parametrize("shapes", ["shapes.ttl", "range.ttl"])
def test_an_area_tells_the_codes_that_it_had_before(shapes: str) -> None:
    codes = ("E09000007", "E09000097", "E09000098")
    former = tuple(FormerCode(code, None, date(2026, 1, day)) for day, code in enumerate(codes, 1))
    council = replace(NO2.thing.council, gss="E09000099", former=former)
    datastream = replace(NO2, thing=replace(NO2.thing, council=council))
    document = dcat.catalogue_document(
        [datastream], ROOT, coverage=COVERAGE, contact=CONTACT, tenant="camden"
    )
    graph = Graph().parse(data=turtle(document, dcat.CONTEXT), format="turtle")
    areas = [URIRef(AREA.replace(codes[0], code)) for code in (*codes, council.gss)]
    assert set(graph.subject_objects(DCTERMS.replaces)) == set(zip(areas[1:], areas, strict=False))
    assert set(report(graph, shapes).objects(predicate=SH.resultMessage)) == set()


@pytest.mark.parametrize("shapes", ["shapes.ttl", "range.ttl"])
def test_the_catalogue_is_valid(shapes: str) -> None:
    assert set(report(catalogue(), shapes).objects(predicate=SH.resultMessage)) == set()
    broken = Graph() + catalogue()
    broken.remove((None, DCTERMS.title, None))
    broken.remove((None, RDF.type, DCTERMS.LicenseDocument))
    assert len(set(report(broken, shapes).subjects(RDF.type, SH.ValidationResult))) > 0


def test_all_that_is_recommended_is_there_but_the_outline_of_the_council() -> None:
    """Which GSS IRIs name, and the Office for National Statistics publishes."""
    found = report(catalogue(), "shapes_recommended.ttl")
    missing = {
        (found.value(result, SH.focusNode), found.value(result, SH.resultPath))
        for result in found.subjects(RDF.type, SH.ValidationResult)
    }
    bay = URIRef(f"{ROOT}/catalogue/camden/bay_occupied")  # it has no observations yet
    assert missing == {
        (URIRef(AREA), DCAT.bbox),
        (URIRef(AREA), DCAT.centroid),
        (bay, DCTERMS.temporal),
    }


def test_there_is_a_dataset_for_each_open_property_of_a_council() -> None:
    found = {str(each) for each in catalogue().subjects(RDF.type, DCAT.Dataset)}
    assert found == {f"{ROOT}/catalogue/camden/{key}" for key in ("no2", "bay_occupied")}
    assert "laeq" not in catalogue().serialize(format="turtle")
    assert datasets([HIDDEN]) == []


def test_a_dataset_says_where_when_how_often_and_under_which_licence() -> None:
    graph = catalogue()
    found = URIRef(f"{ROOT}/catalogue/camden/no2")
    period = graph.value(found, DCTERMS.temporal)
    assert str(graph.value(period, DCAT.startDate)) == "2026-03-29T00:00:00+00:00"
    assert str(graph.value(period, DCAT.endDate)) == "2026-03-29T09:00:00+00:00"
    assert str(graph.value(found, DCAT.temporalResolution)) == "PT1H"
    assert URIRef(AREA) in set(graph.objects(found, DCTERMS.spatial))
    (box,) = (
        graph.value(place, DCAT.bbox)
        for place in graph.objects(found, DCTERMS.spatial)
        if graph.value(place, DCAT.bbox)
    )
    assert str(box).startswith("POLYGON((-0.1309 51.5222, -0.1258 51.5222,")
    files = {
        str(graph.value(each, DCAT.downloadURL))
        for each in graph.objects(found, DCAT.distribution)
        if graph.value(each, DCAT.downloadURL)
    }
    assert files == {f"{ROOT}/data/camden/no2.{end}" for end in ("csv", "geojson", "parquet")}
    licences = {
        str(graph.value(each, DCTERMS.license)) for each in graph.objects(found, DCAT.distribution)
    }
    assert licences == {
        "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/"
    }
    bay = URIRef(f"{ROOT}/catalogue/camden/bay_occupied")
    assert str(graph.value(bay, DCTERMS.license)) == "https://example.org/licence"


def test_data_json_has_what_its_schema_requires() -> None:
    document = data_json([NO2, BAY, HIDDEN], ROOT, coverage=COVERAGE, contact=CONTACT)
    assert document["conformsTo"] == "https://project-open-data.cio.gov/v1.1/schema"
    assert [each["identifier"] for each in document["dataset"]] == [
        f"{ROOT}/catalogue/camden/{key}" for key in ("bay_occupied", "no2")
    ]
    for each in document["dataset"]:
        assert all(each[name] for name in ("title", "description", "keyword", "modified"))
        assert each["accessLevel"] == "public"
        assert each["publisher"]["name"] == "Camden"
        assert each["contactPoint"]["hasEmail"] == "mailto:data@kerb.example"
        for offered in each["distribution"]:
            assert ("downloadURL" in offered) == ("mediaType" in offered)
            assert offered.get("downloadURL") or offered["accessURL"]
    no2 = document["dataset"][1]
    assert no2["accrualPeriodicity"] == "R/PT1H"
    assert no2["temporal"] == "2026-03-29T00:00:00Z/2026-03-29T09:00:00Z"
    assert no2["spatial"] == "-0.1309,51.5222,-0.1258,51.5243"


def test_without_an_operator_there_is_still_somewhere_to_ask() -> None:
    document = dcat.catalogue_document([NO2], ROOT)
    graph = Graph().parse(data=turtle(document, dcat.CONTEXT), format="turtle")
    for shapes in ("shapes.ttl", "range.ttl"):
        assert set(report(graph, shapes).subjects(RDF.type, SH.ValidationResult)) == set()
    assert f"{ROOT}/about-data" in graph.serialize(format="turtle")
