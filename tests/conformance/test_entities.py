"""The sensing entities and their addresses (OGC 18-088, clauses 8 and 9.2), over real air."""

from typing import Any

import pytest

from api.sensorthings.routes import PREFIX
from standards_mapping.sensorthings.model import ENTITY_SETS, ENTITY_TYPES, EntityType
from tests.conformance.air import FIRST, HOUR, LAST, Air, Stream
from tests.integration.sensorthings.conftest import Service

ROOT = f"http://city.test{PREFIX}"
MANDATORY = {
    "Thing": {"name", "description"},
    "Location": {"name", "description", "encodingType", "location"},
    "HistoricalLocation": {"time"},
    "Datastream": {"name", "description", "unitOfMeasurement", "observationType"},
    "Sensor": {"name", "description", "encodingType", "metadata"},
    "ObservedProperty": {"name", "definition", "description"},
    "Observation": {"phenomenonTime", "result", "resultTime"},
    "FeatureOfInterest": {"name", "description", "encodingType", "feature"},
}
RELATIONS = {
    "Thing": {"Locations", "HistoricalLocations", "Datastreams"},
    "Location": {"Things", "HistoricalLocations"},
    "HistoricalLocation": {"Thing", "Locations"},
    "Datastream": {"Thing", "Sensor", "ObservedProperty", "Observations"},
    "Sensor": {"Datastreams"},
    "ObservedProperty": {"Datastreams"},
    "Observation": {"Datastream", "FeatureOfInterest"},
    "FeatureOfInterest": {"Observations"},
}
TYPES = list(ENTITY_TYPES.values())


def key_text(key: int | str) -> str:
    return f"'{key}'" if isinstance(key, str) else str(key)


async def entities(service: Service, entity_type: EntityType) -> list[Any]:
    found = (await service.get(entity_type.set_name, top="20"))["value"]
    assert found
    return list(found)


async def test_the_root_lists_every_entity_set(service: Service) -> None:
    page = await service.get("")
    assert page["value"] == [{"name": name, "url": f"{ROOT}/{name}"} for name in ENTITY_SETS]
    assert page["serverSettings"]["conformance"]


@pytest.mark.parametrize("entity_type", TYPES, ids=lambda one: one.name)
async def test_entities_have_their_mandatory_properties(
    entity_type: EntityType, service: Service
) -> None:
    for entity in await entities(service, entity_type):
        assert MANDATORY[entity_type.name] <= set(entity)
        assert all(entity[name] is not None for name in MANDATORY[entity_type.name])


@pytest.mark.parametrize("entity_type", TYPES, ids=lambda one: one.name)
async def test_entities_have_their_relations(entity_type: EntityType, service: Service) -> None:
    for entity in (await entities(service, entity_type))[:3]:
        links = {
            name.removesuffix("@iot.navigationLink"): link
            for name, link in entity.items()
            if name.endswith("@iot.navigationLink")
        }
        assert set(links) == RELATIONS[entity_type.name]
        for name, link in links.items():
            found = await service.follow(link)
            assert ("value" in found) is entity_type.navigations[name].many


@pytest.mark.parametrize("entity_type", TYPES, ids=lambda one: one.name)
async def test_entities_have_their_control_information(
    entity_type: EntityType, service: Service
) -> None:
    for entity in (await entities(service, entity_type))[:3]:
        written = key_text(entity["@iot.id"])
        assert entity["@iot.selfLink"] == f"{ROOT}/{entity_type.set_name}({written})"
        assert await service.follow(entity["@iot.selfLink"]) == entity


async def test_everything_stored_is_told(service: Service, air: Air) -> None:
    things = (await service.get("Things"))["value"]
    assert [(one["@iot.id"], one["name"]) for one in things] == [
        (site.id, site.name) for site in air.sites
    ]
    assert [one["properties"]["kind"] for one in things] == [site.kind for site in air.sites]
    streams = (await service.get("Datastreams"))["value"]
    assert [(one["@iot.id"], one["name"]) for one in streams] == [
        (stream.id, stream.name) for stream in air.streams
    ]
    assert [one["unitOfMeasurement"] for one in streams] == [stream.unit for stream in air.streams]
    for stream in air.streams:
        path = f"Datastreams({stream.id})/Observations"
        told = (await service.get(path, top="1000"))["value"]
        assert [(one["@iot.id"], one["result"]) for one in told] == [
            (seen.id, seen.result) for seen in air.of(stream)
        ]


async def test_a_mean_is_told_with_its_interval(service: Service, air: Air) -> None:
    for stream in (air.stream("Bloomsbury", "no2"), air.stream("Bloomsbury", "air_temperature")):
        (one,) = (await service.get(f"Datastreams({stream.id})/Observations", top="1"))["value"]
        assert one["resultTime"] == "2009-01-05T00:00:00Z"
        mean = "2009-01-04T23:00:00Z/2009-01-05T00:00:00Z"
        assert one["phenomenonTime"] == (mean if stream.averaging else "2009-01-05T00:00:00Z")


async def test_a_datastream_tells_its_time_and_its_area(service: Service, air: Air) -> None:
    assert (FIRST.isoformat(), (LAST - HOUR).isoformat()) == (
        *("2009-01-05T00:00:00+00:00", "2009-01-11T23:00:00+00:00"),
    )
    for stream in air.streams:
        told = await service.get(f"Datastreams({stream.id})")
        place = [stream.site.longitude, stream.site.latitude]
        assert told["observedArea"] == {"type": "Point", "coordinates": place}
        seen = air.of(stream)
        assert ("phenomenonTime" in told) is bool(seen)
        if seen:
            started = seen[0].started.isoformat().replace("+00:00", "Z")
            ended = seen[-1].time.isoformat().replace("+00:00", "Z")
            assert told["phenomenonTime"] == f"{started}/{ended}"


def paths_of(stream: Stream, air: Air) -> dict[str, Any]:
    """Return addresses and what is there."""
    thing, seen = f"Things({stream.site.id})", air.of(stream)[7]
    here = f"{thing}/Datastreams({stream.id})"
    observation = f"{here}/Observations('{seen.id}')"
    place = [stream.site.longitude, stream.site.latitude]
    return {
        f"{thing}/name": {"name": stream.site.name},
        f"{thing}/properties/kind": {"kind": stream.site.kind},
        f"{observation}/result": {"result": seen.result},
        f"{here}/unitOfMeasurement/symbol": {"symbol": stream.unit["symbol"]},
        f"{thing}/Locations": None,
        f"Observations('{seen.id}')/Datastream/Thing/name": {"name": stream.site.name},
        f"Observations('{seen.id}')/FeatureOfInterest/feature/coordinates": {"coordinates": place},
        f"{observation}/FeatureOfInterest/feature/coordinates/1": {"1": place[1]},
    }


async def test_addresses_lead_through_links_to_properties(service: Service, air: Air) -> None:
    stream = air.stream("Bloomsbury", "no2")
    for path, expected in paths_of(stream, air).items():
        found = await service.get(path)
        assert expected is None or found == expected, path
    seen = air.of(stream)[7]
    here = f"Things({stream.site.id})/Datastreams({stream.id})"
    bare = {
        f"{here}/Observations('{seen.id}')/result/$value": str(seen.result),
        f"Datastreams({stream.id})/unitOfMeasurement/name/$value": stream.unit["name"],
        f"Datastreams({stream.id})/name/$value": stream.name,
        f"Observations('{seen.id}')/Datastream/Thing/Locations/$ref": None,
    }
    for path, text in bare.items():
        response = await service.ask(path)
        assert response.status_code == 200, path
        if text is not None:
            assert response.text == text
            assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("entity_type", TYPES, ids=lambda one: one.name)
async def test_every_collection_can_be_asked_for_its_links_alone(
    entity_type: EntityType, service: Service
) -> None:
    name = entity_type.set_name
    expected = [
        {"@iot.selfLink": f"{ROOT}/{name}({key_text(one['@iot.id'])})"}
        for one in await entities(service, entity_type)
    ]
    links = await service.get(f"{name}/$ref", top="20")
    assert links["value"] == expected
    first = expected[0]["@iot.selfLink"].removeprefix(f"{ROOT}/")
    for link, navigation in entity_type.navigations.items():
        found = await service.get(f"{first}/{link}/$ref")
        many = (await service.get(f"{first}/{link}", top="100")) if navigation.many else None
        if many is None:
            assert set(found) == {"@iot.selfLink"}
        else:
            assert [one["@iot.selfLink"] for one in found["value"]] == [
                one["@iot.selfLink"] for one in many["value"]
            ]


async def test_what_is_not_there_is_404_and_null_is_204(service: Service, air: Air) -> None:
    one, other = air.stream("Bloomsbury", "no2"), air.stream("Kensington", "no2")
    unrelated = f"Things({one.site.id})/Datastreams({other.id})"
    for path in (
        *("Things(99)", "Nothing", "Things(1)/nothing", "Datastreams(99)/Observations", unrelated),
        *(f"Observations('{one.id}-5')", f"Datastreams({one.id})/unitOfMeasurement/nothing"),
        *(f"Datastreams({one.id})/Observations('{air.of(other)[0].id}')", "Things(99)/Locations"),
    ):
        await service.refused(404, path)
    for path in (f"Observations('{air.of(one)[0].id}')/{name}" for name in ("validTime",)):
        assert (await service.ask(path)).status_code == 204
    for path in ("Things(x)", "Things('1", "Things(1)/Datastreams(1)(2)"):
        assert (await service.ask(path)).status_code in (400, 404)
