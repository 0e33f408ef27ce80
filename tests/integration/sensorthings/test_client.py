"""The service as a client of the standard sees it: frost-sta-client over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing

import frost_sta_client as fsc
import pytest
import requests
import uvicorn

from api.sensorthings.routes import PREFIX
from tests.integration.sensorthings.conftest import Service, make_app
from tests.simulators.registry import City

pytestmark = pytest.mark.filterwarnings("ignore:furl.pathstr is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
async def client(service: Service) -> AsyncIterator[fsc.SensorThingsService]:
    """A client of the city's service, listening on a free loopback port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        settings = uvicorn.Config(make_app(service.pool), log_level="warning", lifespan="off")
        server = uvicorn.Server(settings)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="serve")
        port = listener.getsockname()[1]
        yield fsc.SensorThingsService(f"http://127.0.0.1:{port}{PREFIX}")
        server.should_exit = True
        await serving


async def test_things_are_listed(client: fsc.SensorThingsService, city: City) -> None:
    things = await asyncio.to_thread(lambda: list(client.things().query().count().list()))
    assert [thing.name for thing in things] == [
        "Bloomsbury",
        "Marylebone Road",
        "100% of O'Hara_\\ ",
    ]
    assert things[0].properties["council"] == "E09000007"
    assert things[0].id == city.things["Bloomsbury"]


async def test_every_set_is_listed_and_every_first_entity_found(
    client: fsc.SensorThingsService,
) -> None:
    def look(dao: fsc.dao.base.BaseDao) -> None:
        listed = dao.query().list().entities
        assert listed
        found = dao.find(listed[0].id)
        assert found.id == listed[0].id
        assert found.self_link == listed[0].self_link

    for dao in (
        client.things(),
        client.locations(),
        client.historical_locations(),
        client.datastreams(),
        client.sensors(),
        client.observed_properties(),
        client.observations(),
        client.features_of_interest(),
    ):
        await asyncio.to_thread(look, dao)


async def test_datastreams_come_with_their_units_and_links(
    client: fsc.SensorThingsService,
) -> None:
    def look() -> fsc.Datastream:
        query = client.datastreams().query()
        query.filter("ObservedProperty/properties/key eq 'no2'")
        query.expand("Thing,Sensor,ObservedProperty,Observations($top=2)")
        return query.list().entities[0]

    datastream = await asyncio.to_thread(look)
    assert datastream.unit_of_measurement.symbol == "ug/m3"
    assert datastream.thing.name == "Bloomsbury"
    assert datastream.sensor.name == "NOx analyser"
    assert datastream.observed_property.name.startswith("Nitrogen dioxide")
    assert [seen.result for seen in datastream.observations.entities] == [20.1, 21.400000000000002]


async def test_observations_are_filtered_ordered_expanded_and_paged(
    client: fsc.SensorThingsService, city: City
) -> None:
    def look() -> list[fsc.Observation]:
        query = client.observations().query()
        query.filter("result gt 30 and Datastream/name eq 'Bloomsbury no2'")
        query.orderby("phenomenonTime", "DESC").expand("Datastream,FeatureOfInterest").top(5)
        return list(query.list())

    found = await asyncio.to_thread(look)
    expected = [seen for seen in city.of("Bloomsbury no2") if float(seen.result) > 30][::-1]
    assert [seen.id for seen in found] == [seen.id for seen in expected]
    assert [seen.result for seen in found] == [seen.result for seen in expected]
    assert {seen.datastream.name for seen in found} == {"Bloomsbury no2"}
    assert [seen.feature_of_interest.name for seen in found] == [
        seen.place.name for seen in expected
    ]


async def test_an_observation_is_found_by_its_id_and_its_links_followed(
    client: fsc.SensorThingsService, city: City
) -> None:
    seen = city.of("Bloomsbury temp")[3]
    found = await asyncio.to_thread(client.observations().find, seen.id)
    assert found.result == seen.result
    datastream = await asyncio.to_thread(
        lambda: client.datastreams().find(city.datastreams["Bloomsbury temp"])
    )
    listed = await asyncio.to_thread(
        lambda: list(datastream.get_observations().query().top(4).list())
    )
    assert [one.id for one in listed] == [one.id for one in city.of("Bloomsbury temp")]


async def test_the_client_shows_why_it_was_refused(
    client: fsc.SensorThingsService, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(requests.HTTPError):
        await asyncio.to_thread(lambda: client.things().query().filter("nothing eq 1").list())
    assert "has no property or link 'nothing'" in caplog.text
    with pytest.raises(requests.HTTPError):
        await asyncio.to_thread(client.things().find, 99)
    with pytest.raises(requests.HTTPError):
        await asyncio.to_thread(client.create, fsc.Thing(name="x", description="y"))
    assert "needs an API key" in caplog.text
