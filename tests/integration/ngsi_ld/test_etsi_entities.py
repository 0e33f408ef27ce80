"""ETSI's cases 018 and 019: an entity by its id, and entities by a query. Names are ETSI's."""

from typing import Any

import pytest

from tests.integration.ngsi_ld.etsi import CONTEXT_URL, IRI, Etsi, load, plain

ONE, TWO, THREE = (f"urn:ngsi-ld:Building:{number}" for number in ("1", "2", "3"))
VEHICLE, PARKING = "urn:ngsi-ld:Vehicle:1", "urn:ngsi-ld:OffStreetParking:1"
SIMPLE = "entities/building-simple-attributes.jsonld"
MINIMAL = "entities/building-minimal.jsonld"
EXPECTED = "entities/expectations/"
LD = "application/ld+json"
GEO = "application/geo+json"


def expected(name: str, entity_id: str) -> Any:
    """Return an expectation for an entity of that id."""
    document = load(EXPECTED + name)
    return plain({**document, "id": entity_id} if "id" in document else document)


async def test_018_01_01_an_entity_by_its_id(etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    found = await etsi.get(f"entities/{ONE}", accept=LD)
    assert plain(found) == expected("building-simple-attributes.jsonld", ONE)
    assert found["@context"] == ["https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.7.jsonld"]


async def test_018_01_02_some_attributes_of_an_entity(etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    attrs = f"{IRI}airQualityLevel,{IRI}subCategory"
    found = await etsi.get(f"entities/{ONE}", accept=LD, attrs=attrs)
    assert plain(found) == expected("building-simple-attributes-query.jsonld", ONE)


async def test_018_02_an_id_that_is_no_uri(etsi: Etsi) -> None:
    await etsi.refused(400, "BadRequestData", "entities/thisisaninvaliduri", accept=LD)


async def test_018_03_01_an_id_that_is_not_known(etsi: Etsi) -> None:
    await etsi.refused(404, "ResourceNotFound", f"entities/{ONE}", accept=LD)


async def test_018_03_02_an_attribute_that_is_not_known(etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    attrs = "property_not_found"
    await etsi.refused(404, "ResourceNotFound", f"entities/{ONE}", accept=LD, attrs=attrs)


async def test_018_04_01_simplified(etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    found = await etsi.get(f"entities/{ONE}", accept=LD, options="keyValues")
    assert plain(found) == expected("building-simple-attributes-simplified.jsonld", ONE)


@pytest.mark.parametrize(
    ("case", "options", "geometry_property", "geometry"),
    [
        ("018_05_01", "keyValues", "", [13.3986, 52.5547]),
        ("018_05_02", "", "", [13.3986, 52.5547]),
        ("018_05_03", "", "observationSpace", [11.1111, 11.1111]),
        ("018_05_04", "", "operationSpace", None),
    ],
)
async def test_018_05_geojson(
    case: str, options: str, geometry_property: str, geometry: list[float] | None, etsi: Etsi
) -> None:
    document = load(SIMPLE) | {
        name: {"type": "GeoProperty", "value": {"type": "Point", "coordinates": position}}
        for name, position in (
            ("location", [13.3986, 52.5547]),
            ("observationSpace", [11.1111, 11.1111]),
        )
    }
    etsi.kept.add(document, ONE)
    found = await etsi.get(
        f"entities/{ONE}",
        accept=GEO,
        linked=True,
        options=options,
        geometryProperty=geometry_property,
    )
    assert (found["id"], found["type"]) == (ONE, "Feature"), case
    wanted = None if geometry is None else {"type": "Point", "coordinates": geometry}
    assert found["geometry"] == wanted
    name = found["properties"]["name"]
    assert name == ("Eiffel Tower" if options else {"type": "Property", "value": "Eiffel Tower"})
    assert found["properties"]["type"] == "Building"
    assert "id" not in found["properties"]
    assert CONTEXT_URL in found["@context"]


@pytest.mark.parametrize(
    ("case", "linked", "name"),
    [
        ("018_06_01", False, "building-simple-attributes-expanded.json"),
        ("018_06_02", True, "building-simple-attributes-compacted.json"),
    ],
)
async def test_018_06_names_are_those_of_the_context(
    *, case: str, linked: bool, name: str, etsi: Etsi
) -> None:
    etsi.add("entities/building-simple-attributes.json", ONE)
    response = await etsi.ask(f"entities/{ONE}", linked=linked)
    assert plain(response.json()) == expected(name, ONE), case
    assert ('rel="http://www.w3.org/ns/json-ld#context"') in response.headers["link"]


@pytest.mark.parametrize(
    ("case", "form", "options", "name"),
    [
        ("018_15_01", "keyValues", "", "building-simple-attributes-simplified.jsonld"),
        ("018_15_02", "simplified", "", "building-simple-attributes-simplified.jsonld"),
        ("018_15_03", "normalized", "", "building-simple-attributes.jsonld"),
        ("018_15_04", "", "keyValues", "building-simple-attributes-simplified.jsonld"),
        ("018_15_05", "", "simplified", "building-simple-attributes-simplified.jsonld"),
        ("018_15_06", "", "normalized", "building-simple-attributes.jsonld"),
        ("018_15_07", "keyValues", "normalized", "building-simple-attributes-simplified.jsonld"),
    ],
)
async def test_018_15_format_and_options(
    case: str, form: str, options: str, name: str, etsi: Etsi
) -> None:
    etsi.add(SIMPLE, ONE)
    found = await etsi.get(f"entities/{ONE}", accept=LD, format=form, options=options)
    assert plain(found) == expected(name, ONE), case


@pytest.mark.parametrize(
    ("form", "options"),
    [
        pytest.param("invalidFormat", "", id="018_16_01"),
        pytest.param("", "invalidOptions", id="018_16_02"),
        pytest.param("", "keyValues,invalid", id="018_16_03"),
        pytest.param("keyValues", "invalid", id="018_16_04"),
    ],
)
async def test_018_16_faulty_format_or_options(form: str, options: str, etsi: Etsi) -> None:
    await etsi.refused(
        400, "InvalidRequest", f"entities/{ONE}", accept=LD, format=form, options=options
    )


@pytest.mark.parametrize(
    ("case", "pick", "omit", "name"),
    [
        ("018_17_01", "name", "", "pick-name"),
        ("018_17_02", "", "name", "omit-name"),
        ("018_17_03", "id", "", "pick-id"),
        ("018_17_04", "", "id", "omit-id"),
        ("018_17_05", "id,name", "", "pick-id-name"),
        ("018_17_06", "", "type,name", "omit-type-name"),
    ],
)
async def test_018_17_pick_and_omit(case: str, pick: str, omit: str, name: str, etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    found = await etsi.get(f"entities/{ONE}", linked=True, pick=pick, omit=omit)
    wanted = expected(f"pick-omit/building-simple-attributes-{name}.json", ONE)
    assert plain(found) == wanted, case


BAD_MEMBERS = [
    pytest.param("name", "name", "", id="01"),
    pytest.param("name", "", "category", id="02"),
    pytest.param("", "name", "category", id="03"),
    pytest.param("id;name", "", "", id="04"),
    pytest.param("id,locatedAt{name", "", "", id="05"),
    pytest.param("id,locatedAt{{name}", "", "", id="06"),
    pytest.param("id,,name", "", "", id="07"),
    pytest.param("id,locatedAt{,name}", "", "", id="08"),
    pytest.param("id,locatedAt{}", "", "", id="09"),
]


@pytest.mark.parametrize(("pick", "omit", "attrs"), BAD_MEMBERS)
async def test_018_18_and_019_18_faulty_pick_or_omit(
    pick: str, omit: str, attrs: str, etsi: Etsi
) -> None:
    etsi.add(SIMPLE, ONE)
    given: dict[str, Any] = {"pick": pick, "omit": omit, "attrs": attrs}
    await etsi.refused(400, "BadRequestData", f"entities/{ONE}", linked=True, **given)
    await etsi.refused(
        400, "BadRequestData", "entities", linked=True, type="Building,Vehicle", **given
    )


async def test_019_01_01_by_ids(etsi: Etsi) -> None:
    etsi.add(MINIMAL, ONE, TWO, THREE)
    found = await etsi.get("entities", id=f"{ONE},{TWO}", type=f"{IRI}Building")
    assert plain(found) == plain([expected("building-minimal.json", one) for one in (ONE, TWO)])


async def test_019_01_02_by_types(etsi: Etsi) -> None:
    etsi.add(MINIMAL, ONE)
    etsi.add("entities/vehicle-simple-attributes.jsonld", VEHICLE)
    etsi.add("entities/parking-simple-attributes.jsonld", PARKING)
    found = await etsi.get("entities", accept=LD, type=f"{IRI}Vehicle,{IRI}OffStreetParking")
    vehicle, parking = load(EXPECTED + "two-types-vehicle-offstreetparking.jsonld")
    assert plain(found) == plain([vehicle | {"id": VEHICLE}, parking | {"id": PARKING}])


async def test_019_01_03_by_a_pattern_of_ids(etsi: Etsi) -> None:
    etsi.add(MINIMAL, ONE, TWO)
    found = await etsi.get("entities", idPattern="urn:ngsi-ld:Building:.*", type=f"{IRI}Building")
    assert [one["id"] for one in found] == [ONE, TWO]


async def test_019_01_04_by_attributes(etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    etsi.add(MINIMAL, TWO)
    found = await etsi.get("entities", attrs=f"{IRI}airQualityLevel,{IRI}subCategory")
    assert plain(found) == [expected("building-attributes-query.json", ONE)]


async def test_019_01_05_by_place(etsi: Etsi) -> None:
    etsi.add("entities/building-location-attribute.jsonld", ONE, TWO)
    found = await etsi.get(
        "entities",
        accept=LD,
        type=f"{IRI}Building",
        georel="equals",
        geometry="Point",
        coordinates="[13.3986, 52.5547]",
    )
    wanted = [expected("building-geoproperty-query.jsonld", one) for one in (ONE, TWO)]
    assert plain(found) == plain(wanted)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(
            {"id": "thisisaninvaliduri1,thisisaninvaliduri2", "type": f"{IRI}Building"},
            id="019_03_01",
        ),
        pytest.param(
            {"idPattern": "invalid_entity_id_pattern**", "type": f"{IRI}Building"}, id="019_03_02"
        ),
        pytest.param({"attrs": "id,type"}, id="019_03_03"),
        pytest.param(
            {
                "type": "Building",
                "geoproperty": "location",
                "georel": "invalid",
                "geometry": "Point",
                "coordinates": "[-8.503,41.202]",
            },
            id="019_03_04",
        ),
        pytest.param({"id": "urn:ngsi-ld:Entity:01,urn:ngsi-ld:Entity:02"}, id="019_03_05"),
    ],
)
async def test_019_03_faulty_queries(given: dict[str, Any], etsi: Etsi) -> None:
    etsi.add(MINIMAL, ONE)
    await etsi.refused(400, "BadRequestData", "entities", linked=True, **given)


async def test_019_04_01_simplified(etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE, TWO, THREE)
    found = await etsi.get(
        "entities", id=f"{ONE},{TWO}", type=f"{IRI}Building", options="keyValues"
    )
    wanted = [expected("building-simple-attributes-simplified.json", one) for one in (ONE, TWO)]
    assert plain(found) == plain(wanted)


async def test_019_05_01_geojson(etsi: Etsi) -> None:
    etsi.add("entities/building-location-attribute.jsonld", ONE, TWO)
    found = await etsi.get(
        "entities", accept=GEO, linked=True, id=f"{ONE},{TWO}", type=f"{IRI}Building"
    )
    assert found["type"] == "FeatureCollection"
    assert CONTEXT_URL in found["@context"]
    assert [one["id"] for one in found["features"]] == [ONE, TWO]
    for one in found["features"]:
        assert one["geometry"] == {"type": "Point", "coordinates": [13.3986, 52.5547]}
        assert one["properties"]["location"]["value"] == one["geometry"]
        assert one["properties"]["name"] == {"type": "Property", "value": "Eiffel Tower"}


async def test_019_06_01_a_page_has_at_most_limit_entities(etsi: Etsi) -> None:
    etsi.add(MINIMAL, ONE, TWO, THREE)
    given: dict[str, Any] = {"id": f"{ONE},{TWO},{THREE}", "type": f"{IRI}Building", "limit": "2"}
    response = await etsi.ask("entities", **given)
    assert [one["id"] for one in response.json()] == [ONE, TWO]
    following = await etsi.client.get(response.links["next"]["url"])
    assert [one["id"] for one in following.json()] == [THREE]
    assert "next" not in following.links
    before = await etsi.client.get(following.links["prev"]["url"])
    assert [one["id"] for one in before.json()] == [ONE, TWO]


@pytest.mark.parametrize(
    ("q", "number"),
    [
        pytest.param("", 2, id="019_07_01"),
        pytest.param("airQualityLevel==6", 1, id="019_07_02"),
    ],
)
async def test_019_07_count(q: str, number: int, etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    etsi.add("entities/building-simple-attributes-second.jsonld", TWO)
    assert await etsi.count("entities", linked=True, type="Building", q=q) == number


@pytest.mark.parametrize(
    ("q", "number"),
    [
        pytest.param('name=="Eiffel Tower"', 1, id="019_09_01"),
        pytest.param('name=="Pisa Tower";almostFull==false', 1, id="019_09_02_and_03"),
        pytest.param('name=="Pisa Tower"|almostFull==false', 3, id="019_09_04"),
        pytest.param(
            '(name=="Pisa Tower"|name=="Eiffel Tower");almostFull==false', 2, id="019_09_05"
        ),
        pytest.param("airQualityLevel==4", 1, id="019_09_06"),
        pytest.param("airQualityLevel>=4;airQualityLevel<7", 2, id="019_09_07"),
        pytest.param("locatedIn==urn:ngsi-ld:City:Pisa", 1, id="019_09_08"),
        pytest.param("locatedIn==urn:ngsi-ld:City:Paris", 0, id="019_09_09"),
        pytest.param(
            "locatedIn==urn:ngsi-ld:City:Pisa|locatedIn==urn:ngsi-ld:City:Paris", 1, id="019_09_10"
        ),
    ],
)
async def test_019_09_by_q(q: str, number: int, etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    etsi.add("entities/building-simple-attributes-second.jsonld", TWO)
    etsi.add("entities/building-simple-attributes-third.jsonld", THREE)
    assert await etsi.count("entities", linked=True, q=q) == number


POINT = "[13.3986, 52.5547]"
CENTRE = "[13.388930, 52.534473]"
POLYGON = (
    "[[[13.1616211,52.5438124],[13.597641,52.4840224],[13.5948944,52.3402782],"
    "[13.142395,52.386428],[13.1616211,52.5438124]]]"
)


@pytest.mark.parametrize(
    ("georel", "geometry", "coordinates", "number"),
    [
        pytest.param("equals", "Point", POINT, 1, id="019_10_01"),
        pytest.param("near;maxDistance==15000", "Point", CENTRE, 2, id="019_10_02"),
        pytest.param("near;minDistance==15000", "Point", CENTRE, 1, id="019_10_03"),
        pytest.param("within", "Polygon", POLYGON, 2, id="019_10_04"),
        pytest.param("disjoint", "Polygon", POLYGON, 1, id="019_10_05"),
        pytest.param("disjoint", "Point", POINT, 2, id="019_10_06"),
        pytest.param("contains", "Point", POINT, 1, id="019_10_07"),
        pytest.param("intersects", "Point", POINT, 1, id="019_10_08"),
    ],
)
async def test_019_10_by_geo_queries(
    georel: str, geometry: str, coordinates: str, number: int, etsi: Etsi
) -> None:
    etsi.add("entities/building-location-attribute.jsonld", ONE)
    etsi.add("entities/building-location-attribute-second.jsonld", TWO)
    etsi.add("entities/building-location-attribute-third.jsonld", THREE)
    given: dict[str, Any] = {"georel": georel, "geometry": geometry, "coordinates": coordinates}
    assert await etsi.count("entities", linked=True, type="Building", **given) == number


@pytest.mark.parametrize(
    ("pick", "omit", "name"),
    [
        pytest.param("name", "", "pick-name", id="019_17_01"),
        pytest.param("", "name", "omit-name", id="019_17_02"),
        pytest.param("id", "", "pick-id", id="019_17_03"),
        pytest.param("", "id", "omit-id", id="019_17_04"),
        pytest.param("id,name", "", "pick-id-name", id="019_17_05"),
        pytest.param("", "type,name", "omit-type-name", id="019_17_06"),
    ],
)
async def test_019_17_pick_and_omit(pick: str, omit: str, name: str, etsi: Etsi) -> None:
    etsi.add(SIMPLE, "urn:ngsi-ld:Building:019-17-1")
    etsi.add("entities/vehicle-simple-attributes.jsonld", "urn:ngsi-ld:Vehicle:019-17-2")
    etsi.add("entities/building-simple-attributes-third.jsonld", "urn:ngsi-ld:Building:019-17-3")
    found = await etsi.get("entities", linked=True, type="Building,Vehicle", pick=pick, omit=omit)
    assert plain(found) == plain(load(f"{EXPECTED}pick-omit/entities-{name}.json"))


async def test_018_19_nothing_is_left(etsi: Etsi) -> None:
    etsi.add(SIMPLE, ONE)
    omit = "id,type,name,subCategory,airQualityLevel,almostFull"
    for given in ({"pick": "unknown"}, {"omit": omit}):
        await etsi.refused(404, "ResourceNotFound", f"entities/{ONE}", linked=True, **given)


async def test_019_25_and_019_26_everything(etsi: Etsi) -> None:
    etsi.add(MINIMAL, ONE)
    etsi.add("entities/vehicle-simple-attributes.jsonld", VEHICLE)
    assert await etsi.count("entities", local="true") == 2
    assert await etsi.count("entities", type="*") == 2
