"""Addresses, entities, links in both directions, expansion and selection, over a database."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from api.sensorthings.routes import PREFIX
from standards_mapping.sensorthings.conformance import CONFORMANCE
from standards_mapping.sensorthings.model import ENTITY_SETS, ENTITY_TYPES
from tests.integration.sensorthings.conftest import Service, make_app
from tests.simulators.registry import City

ROOT = f"http://city.test{PREFIX}"
VISIBLE_THINGS = ("Bloomsbury", "Marylebone Road", "100% of O'Hara_\\ ")

Relation = set[tuple[Any, Any]]


def relations(city: City) -> Mapping[tuple[str, str], Relation]:
    """Return every link of the model as pairs of ids, worked out from what was stored."""
    things = {city.things[name]: name for name in VISIBLE_THINGS}
    streams = {
        stream_id: (name.rsplit(" ", 1)[0], name)
        for name, stream_id in city.datastreams.items()
        if name.rsplit(" ", 1)[0] in VISIBLE_THINGS
    }
    sensors = {"Bloomsbury no2": "NOx analyser", "Bloomsbury temp": "Thermometer"}
    keys = {"no2": "no2", "temp": "air_temperature", "bay": "bay_occupied", "laeq": "laeq"}
    places = {name: place.location_id for name, place in city.places.items()}
    (at_gordon, at_bloomsbury), (at_marylebone,) = (
        city.moves["Bloomsbury"],
        city.moves["Marylebone Road"],
    )
    now = {
        (city.things["Bloomsbury"], places["Bloomsbury"]),
        (city.things["Marylebone Road"], places["Marylebone Road"]),
    }
    moves = {
        (at_gordon, places["Gordon Square"]),
        (at_bloomsbury, places["Bloomsbury"]),
        (at_marylebone, places["Marylebone Road"]),
    }
    moved = {
        (at_gordon, city.things["Bloomsbury"]),
        (at_bloomsbury, city.things["Bloomsbury"]),
        (at_marylebone, city.things["Marylebone Road"]),
    }
    of_thing = {(stream_id, city.things[thing]) for stream_id, (thing, _) in streams.items()}
    assert {thing for _, thing in of_thing} <= set(things)
    forwards: dict[tuple[str, str], Relation] = {
        ("Thing", "Locations"): now,
        ("HistoricalLocation", "Locations"): moves,
        ("HistoricalLocation", "Thing"): moved,
        ("Datastream", "Thing"): of_thing,
        ("Datastream", "Sensor"): {
            (stream_id, city.sensors[sensors.get(name, "Kerb box")])
            for stream_id, (_, name) in streams.items()
        },
        ("Datastream", "ObservedProperty"): {
            (stream_id, city.properties[keys[name.rsplit(" ", 1)[1]]])
            for stream_id, (_, name) in streams.items()
        },
        ("Observation", "Datastream"): {
            (seen.id, seen.datastream_id) for seen in city.observations
        },
        ("Observation", "FeatureOfInterest"): {
            (seen.id, seen.place.feature_id) for seen in city.observations
        },
    }
    backs = {
        ("Location", "Things"): ("Thing", "Locations"),
        ("Location", "HistoricalLocations"): ("HistoricalLocation", "Locations"),
        ("Thing", "HistoricalLocations"): ("HistoricalLocation", "Thing"),
        ("Thing", "Datastreams"): ("Datastream", "Thing"),
        ("Sensor", "Datastreams"): ("Datastream", "Sensor"),
        ("ObservedProperty", "Datastreams"): ("Datastream", "ObservedProperty"),
        ("Datastream", "Observations"): ("Observation", "Datastream"),
        ("FeatureOfInterest", "Observations"): ("Observation", "FeatureOfInterest"),
    }
    return forwards | {
        link: {(target, source) for source, target in forwards[back]}
        for link, back in backs.items()
    }


LINKS = [
    (entity_type.name, link)
    for entity_type in ENTITY_TYPES.values()
    for link in entity_type.navigations
]
VISIBLE: Mapping[str, Callable[[City], set[Any]]] = {
    "Things": lambda city: {city.things[name] for name in VISIBLE_THINGS},
    "Locations": lambda city: {
        place.location_id for name, place in city.places.items() if name != "Back yard"
    },
    "HistoricalLocations": lambda city: {
        *city.moves["Bloomsbury"],
        *city.moves["Marylebone Road"],
    },
    "Datastreams": lambda city: {
        stream_id for name, stream_id in city.datastreams.items() if name != "Secret no2"
    },
    "Sensors": lambda city: {
        sensor_id for name, sensor_id in city.sensors.items() if name != "Secret box"
    },
    "ObservedProperties": lambda city: set(city.properties.values()),
    "Observations": lambda city: {seen.id for seen in city.observations},
    "FeaturesOfInterest": lambda city: {
        place.feature_id for name, place in city.places.items() if name != "Back yard"
    },
}


def quoted(key: Any) -> str:
    return f"'{key}'" if isinstance(key, str) else str(key)


def test_the_matrix_holds_every_link(city: City) -> None:
    assert set(relations(city)) == set(LINKS)


@pytest.mark.parametrize("path", ["", "/"])
async def test_the_landing_page_names_sets_and_conformance(path: str, service: Service) -> None:
    page = (await service.client.get(PREFIX + path)).json()
    assert {entry["name"]: entry["url"] for entry in page["value"]} == {
        name: f"{ROOT}/{name}" for name in ENTITY_SETS
    }
    assert page["serverSettings"]["conformance"] == list(CONFORMANCE)
    for entry in page["value"]:
        assert "value" in await service.follow(entry["url"])


@pytest.mark.parametrize("path", VISIBLE)
async def test_a_set_holds_what_may_be_seen_and_nothing_else(
    path: str, service: Service, city: City
) -> None:
    found = await service.ids(path)
    assert len(found) == len(set(found))
    assert set(found) == VISIBLE[path](city)


@pytest.mark.parametrize(
    "path",
    [
        "Things(4)",
        "Things(4)/Datastreams",
        "Datastreams(6)",
        "Datastreams(6)/Observations",
        "Sensors(4)",
        "Locations(4)",
        "FeaturesOfInterest(4)",
        "HistoricalLocations(4)",
        "Observations('6-1772326800000000')",
        "Datastreams(6)/Observations('6-1772326800000000')",
        "ObservedProperties(1)/Datastreams(6)",
    ],
)
async def test_what_awaits_approval_cannot_be_addressed(path: str, service: Service) -> None:
    await service.refused(404, path)


@pytest.mark.parametrize("path", ENTITY_SETS)
async def test_every_entity_is_found_behind_its_self_link_and_all_its_links(
    path: str, service: Service
) -> None:
    answer = await service.get(path, top="5")
    for entity in answer["value"]:
        assert entity["@iot.selfLink"] == f"{ROOT}/{path}({quoted(entity['@iot.id'])})"
        assert await service.follow(entity["@iot.selfLink"]) == entity
        for name in ENTITY_SETS[path].navigations:
            link = entity[f"{name}@iot.navigationLink"]
            assert link == f"{entity['@iot.selfLink']}/{name}"
            await service.follow(link)


@pytest.mark.parametrize(("owner", "link"), LINKS)
async def test_every_link_leads_where_it_should(
    owner: str, link: str, service: Service, city: City
) -> None:
    expected = relations(city)[owner, link]
    entity_type = ENTITY_TYPES[owner]
    sources = await service.ids(entity_type.set_name)
    if owner == "Observation":
        sources = sources[::7]
    found: Relation = set()
    for source in sources:
        path = f"{entity_type.set_name}({quoted(source)})/{link}"
        if entity_type.navigations[link].many:
            found |= {(source, target) for target in await service.ids(path)}
        else:
            found.add((source, (await service.get(path))["@iot.id"]))
    assert found == {pair for pair in expected if pair[0] in sources}


@pytest.mark.parametrize(("owner", "link"), LINKS)
async def test_every_link_expands_to_what_it_leads_to(
    owner: str, link: str, service: Service, city: City
) -> None:
    expected = relations(city)[owner, link]
    entity_type = ENTITY_TYPES[owner]
    many = entity_type.navigations[link].many
    inner = "($top=1000;$count=true)" if many else ""
    answer = await service.get(entity_type.set_name, top="1000", expand=f"{link}{inner}")
    for entity in answer["value"]:
        source = entity["@iot.id"]
        targets = {target for origin, target in expected if origin == source}
        assert f"{link}@iot.navigationLink" not in entity
        if many:
            assert {target["@iot.id"] for target in entity[link]} == targets
            assert entity[f"{link}@iot.count"] == len(targets)
        else:
            assert {entity[link]["@iot.id"]} == targets
        for target in entity[link] if many else [entity[link]]:
            assert target["@iot.selfLink"].startswith(ROOT)


@pytest.mark.parametrize(("owner", "link"), LINKS)
async def test_only_related_entities_are_found_below_another(
    owner: str, link: str, service: Service, city: City
) -> None:
    entity_type = ENTITY_TYPES[owner]
    if not entity_type.navigations[link].many:
        return
    expected = relations(city)[owner, link]
    target_set = ENTITY_TYPES[entity_type.navigations[link].target].set_name
    targets = (await service.ids(target_set))[::9]
    for source in await service.ids(entity_type.set_name):
        for target in targets:
            path = f"{entity_type.set_name}({quoted(source)})/{link}({quoted(target)})"
            response = await service.ask(path)
            assert response.status_code == (200 if (source, target) in expected else 404)


async def test_links_are_followed_to_any_depth(service: Service) -> None:
    path = "Datastreams(1)/Thing/HistoricalLocations(1)/Locations(1)"
    assert (await service.get(path))["name"] == "Gordon Square"
    path = "Observations('1-1772326800000000')/Datastream/Thing/Datastreams(2)/Observations"
    answer = await service.get(path, top="1", orderby="result desc")
    assert answer["value"][0]["result"] == 1e6


async def test_expansions_nest_with_options(service: Service) -> None:
    (thing,) = (
        await service.get(
            "Things",
            filter="name eq 'Bloomsbury'",
            select="name",
            expand="Datastreams($select=name;$orderby=name desc;$expand="
            "ObservedProperty($select=id),"
            "Observations($select=result;$orderby=phenomenonTime desc;$top=2)"
            "),Locations($select=name)",
        )
    )["value"]
    assert {name for name in thing if "@" not in name} == {"name", "Datastreams", "Locations"}
    assert thing["Locations"] == [{"name": "Bloomsbury"}]
    temperature, no2 = thing["Datastreams"]
    assert temperature["ObservedProperty"] == {"@iot.id": 2}
    assert temperature["Observations"] == [{"result": 41.4}, {"result": 20.1}]
    assert [round(seen["result"], 1) for seen in no2["Observations"]] == [81.2, 79.9]
    following = await service.follow(no2["Observations@iot.nextLink"])
    assert [round(seen["result"], 1) for seen in following["value"]] == [78.6, 77.3]


async def test_a_slash_in_expand_goes_on_from_the_entity(service: Service) -> None:
    answer = await service.get("Datastreams(1)", expand="Thing/Locations,Thing/Datastreams,Sensor")
    assert answer["Thing"]["Locations"][0]["name"] == "Bloomsbury"
    assert len(answer["Thing"]["Datastreams"]) == 2
    assert answer["Sensor"]["name"] == "NOx analyser"


async def test_what_is_selected_is_all_there_is(service: Service) -> None:
    answer = await service.get("Datastreams(1)", select="id,name,unitOfMeasurement,Observations")
    assert answer == {
        "@iot.id": 1,
        "name": "Bloomsbury no2",
        "unitOfMeasurement": {
            "name": "microgram per cubic metre",
            "symbol": "ug/m3",
            "definition": "http://qudt.org/vocab/unit/MicroGM-PER-M3",
        },
        "Observations@iot.navigationLink": f"{ROOT}/Datastreams(1)/Observations",
    }


async def test_entities_say_all_they_are(service: Service) -> None:
    datastream = await service.get("Datastreams(1)")
    assert datastream["phenomenonTime"] == "2026-03-01T00:00:00Z/2026-03-03T00:00:00Z"
    assert datastream["resultTime"] == "2026-03-01T01:00:00Z/2026-03-03T00:00:00Z"
    west, east, south, north = -0.1309, -0.1258, 51.5222, 51.5243
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    assert datastream["observedArea"] == {"type": "Polygon", "coordinates": [corners]}
    assert "phenomenonTime" not in await service.get("Datastreams(5)")
    state = await service.get("Datastreams(4)")
    assert state["observedArea"] == {"type": "Point", "coordinates": [-0.1546, 51.5225]}
    assert state["unitOfMeasurement"] == {"name": None, "symbol": None, "definition": None}
    location = await service.get("Locations(2)")
    assert location["encodingType"] == "application/geo+json"
    assert location["location"] == {"type": "Point", "coordinates": [-0.1258, 51.5222]}
    assert (await service.get("HistoricalLocations(1)"))["time"] == "2026-02-28T23:00:00Z"
    assert (await service.get("Sensors(1)"))["metadata"] == "https://example.org/sensor"
    assert (await service.get("ObservedProperties(1)"))["properties"] == {"key": "no2"}


async def test_observations_keep_time_result_and_quality(service: Service, city: City) -> None:
    answer = await service.get("Observations", top="1000")
    for entity, seen in zip(answer["value"], city.observations, strict=True):
        assert entity["result"] == seen.result
        assert type(entity["result"]) in (float, bool, str)
        end = seen.time.isoformat().replace("+00:00", "Z")
        start = seen.started.isoformat().replace("+00:00", "Z")
        assert entity["resultTime"] == end
        assert entity["phenomenonTime"] == (end if start == end else f"{start}/{end}")
        assert entity.get("resultQuality", {"code": 0})["code"] == seen.quality


async def test_properties_are_answered_by_name_and_bare(service: Service) -> None:
    assert await service.get("Things(1)/name") == {"name": "Bloomsbury"}
    assert await service.get("Datastreams(1)/unitOfMeasurement/symbol") == {"symbol": "ug/m3"}
    assert await service.get("Things(1)/properties/tags/1") == {"1": "ü"}
    assert await service.get("Datastreams(1)/Thing/properties/level") == {"level": 3}
    raw = await service.ask("Things(1)/name/$value")
    assert (raw.text, raw.headers["content-type"]) == ("Bloomsbury", "text/plain; charset=utf-8")
    path = "Observations('1-1772326800000000')"
    assert (await service.ask(f"{path}/result/$value")).text == "20.1"
    assert (await service.ask(f"{path}/phenomenonTime/$value")).text == (
        "2026-03-01T00:00:00Z/2026-03-01T01:00:00Z"
    )
    assert (await service.ask("Things(1)/properties/open/$value")).text == "true"


@pytest.mark.parametrize(
    "path",
    [
        "Observations('1-1772326800000000')/validTime",
        "Observations('1-1772326800000000')/resultQuality",
        "Datastreams(5)/phenomenonTime",
        "Datastreams(4)/unitOfMeasurement/symbol",
        "Locations(1)/properties/$value",
    ],
)
async def test_a_null_property_has_no_content(path: str, service: Service) -> None:
    response = await service.ask(path)
    assert (response.status_code, response.content) == (204, b"")


async def test_references_are_self_links(service: Service, city: City) -> None:
    assert await service.get("Things(1)/Datastreams/$ref") == {
        "value": [
            {"@iot.selfLink": f"{ROOT}/Datastreams(1)"},
            {"@iot.selfLink": f"{ROOT}/Datastreams(2)"},
        ]
    }
    assert await service.get("Datastreams(1)/Thing/$ref") == {"@iot.selfLink": f"{ROOT}/Things(1)"}
    page = await service.get("Observations/$ref", top="1", count="true")
    assert (page["@iot.count"], len(page["value"])) == (len(city.observations), 1)
    following = await service.follow(page["@iot.nextLink"])
    assert following["value"] != page["value"]


@pytest.mark.parametrize(
    "path",
    [
        "Nothings",
        "Things(99)",
        "Things(99)/Datastreams",
        "Things(99)/name",
        "Things(1)/Datastreams(3)",
        "Things(1)/Datastreams(3)/Observations",
        "Things(1)/nothing",
        "Things(1)/properties/nothing",
        "Things(1)/name/x",
        "Things(1)/$value",
        "Things/name",
        "Observations('1-1')",
        "Observations('x')",
        "Observations(1)",
        "Datastreams(2)/Observations('1-1772326800000000')",
    ],
)
async def test_what_does_not_exist_is_not_found(path: str, service: Service) -> None:
    await service.refused(404, path)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("Things", {"top": "x"}),
        ("Things", {"top": "-1"}),
        ("Things", {"skip": "x"}),
        ("Things", {"count": "x"}),
        ("Things", {"select": "nothing"}),
        ("Things", {"expand": "nothing"}),
        ("Things", {"orderby": "nothing"}),
        ("Things", {"orderby": "Datastreams/name"}),
        ("Things", {"nothing": "x"}),
        ("Things", {"skiptoken": "x"}),
        ("Things", {"skiptoken": "1", "orderby": "name"}),
        ("Observations", {"skiptoken": "1"}),
        ("Things(1)", {"filter": "name eq 'a'"}),
        ("Things(1)", {"top": "1"}),
        ("Datastreams(1)/Thing", {"count": "true"}),
        ("Things(1)/name", {"select": "name"}),
        ("Things/$ref", {"expand": "Datastreams"}),
        ("Things(", {}),
        ("Things(a)", {}),
        ("Datastreams(1)/Thing(1)", {}),
    ],
)
async def test_a_bad_request_is_refused_as_json(
    path: str, options: dict[str, str], service: Service
) -> None:
    assert await service.refused(400, path, **options)


async def test_an_option_that_is_not_built_is_not_implemented(service: Service) -> None:
    await service.refused(501, "Things", search="x")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/Things"),
        ("PUT", "/Things(1)"),
        ("PATCH", "/Things(1)"),
        ("DELETE", "/Things(1)"),
        ("POST", "/CreateObservations"),
    ],
)
async def test_nobody_writes_without_saying_who_they_are(
    method: str, path: str, service: Service
) -> None:
    response = await service.client.request(method, PREFIX + path, json={"name": "x"})
    assert response.status_code == 401
    assert response.json()["code"] == 401


async def test_plus_is_a_space_and_its_code_a_plus(service: Service) -> None:
    spaced = await service.client.get(f"{PREFIX}/Things?$filter=name+eq+'Marylebone+Road'")
    assert [thing["name"] for thing in spaced.json()["value"]] == ["Marylebone Road"]
    offset = "Observations?$top=1&$filter=resultTime gt 2026-03-01T12:00:00%2B01:00"
    assert (await service.client.get(f"{PREFIX}/{offset}")).status_code == 200
    unescaped = await service.client.get(f"{PREFIX}/{offset.replace('%2B', '+')}")
    assert unescaped.status_code == 400
    assert "%2B" in unescaped.json()["message"]


@pytest.mark.parametrize("query", ["$filter=%FF", "$filter=" + "a" * 20_000])
async def test_a_query_that_is_no_text_is_refused(query: str, service: Service) -> None:
    response = await service.client.get(f"{PREFIX}/Things?{query}")
    assert response.status_code == 400
    assert response.json()["code"] == 400


async def test_links_bear_the_public_url_where_one_is_set(service: Service) -> None:
    app = make_app(service.pool)
    app.state.base_url = "https://air.example.org"
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inside:1") as client:
        page = (await client.get(f"{PREFIX}/Things?$top=1")).json()
    assert page["value"][0]["@iot.selfLink"] == f"https://air.example.org{PREFIX}/Things(1)"
    assert page["@iot.nextLink"].startswith(f"https://air.example.org{PREFIX}/Things?")


async def test_a_head_request_is_answered(service: Service) -> None:
    response = await service.client.head(f"{PREFIX}/Things")
    assert response.status_code == 200
