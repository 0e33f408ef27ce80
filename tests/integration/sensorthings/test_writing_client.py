"""Writing as a client of the standard sees it: frost-sta-client over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass

import frost_sta_client as fsc
import pytest
import requests
import uvicorn
from frost_sta_client.model.ext.data_array_document import DataArrayDocument
from frost_sta_client.model.ext.data_array_value import DataArrayValue

from api.sensorthings.routes import PREFIX
from tests.integration.conftest import DatabaseServer
from tests.integration.sensorthings.writing import Writing, serve_writing

pytestmark = pytest.mark.filterwarnings("ignore:furl.pathstr is deprecated:DeprecationWarning")


class Keyed(fsc.SensorThingsService):  # type: ignore[misc]  # it comes without types
    """The client as it is, which knows no API keys, with the header of one in every request."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url)
        self._key = key

    def execute(self, method: str, url: object, **options: object) -> requests.Response:
        given = options.pop("headers", None)
        headers = {**(given if isinstance(given, dict) else {}), "X-API-Key": self._key}
        answer: requests.Response = super().execute(method, url, headers=headers, **options)
        return answer


@dataclass(frozen=True)
class Remote:
    """A service that listens, and a client of it."""

    writing: Writing
    client: Keyed


@pytest.fixture(scope="module")
async def remote(database_server: DatabaseServer) -> AsyncIterator[Remote]:
    dsn = await database_server.create()
    async with serve_writing(dsn) as writing:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            settings = uvicorn.Config(writing.app, log_level="warning", lifespan="off")
            server = uvicorn.Server(settings)
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="serve")
            url = f"http://127.0.0.1:{listener.getsockname()[1]}{PREFIX}"
            yield Remote(writing, Keyed(url, writing.keys["camden"]))
            server.should_exit = True
            await serving
    await database_server.drop(dsn)


POST = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [-0.12, 51.52]},
    "properties": {"post": 7},
}


def survey(remote: Remote) -> tuple[fsc.Thing, fsc.Datastream]:
    """Create by deep insert what a survey needs."""
    client = remote.client
    place = fsc.Location(
        name="Post", description="-", encoding_type="application/vnd.geo+json", location=POST
    )
    sensor = fsc.Sensor(
        name="Tube", description="-", encoding_type="text/html", metadata="https://example.org"
    )
    unit = fsc.UnitOfMeasurement(name="microgram per cubic metre", symbol="ug/m3", definition="")
    kind = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
    datastream = fsc.Datastream(
        name="NO2", description="-", observation_type=kind, unit_of_measurement=unit
    )
    datastream.sensor = sensor
    datastream.observed_property = client.observed_properties().find(
        remote.writing.city.properties["no2"]
    )
    thing = fsc.Thing(name="Survey", description="-", properties={"round": 1})
    thing.locations = [place]
    thing.datastreams = [datastream]
    client.create(thing)
    (made,) = client.datastreams().query().filter(f"Thing/id eq {thing.id}").list().entities
    return thing, made


async def test_things_are_created_whole_updated_patched_and_deleted(remote: Remote) -> None:
    def work() -> None:
        client = remote.client
        thing, datastream = survey(remote)
        found = client.things().find(thing.id)
        found.name = "Renamed"
        client.update(found)
        assert client.things().find(thing.id).name == "Renamed"
        assert client.things().find(thing.id).properties["round"] == 1
        [place] = client.locations().query().filter(f"Things/id eq {thing.id}").list().entities
        assert place.location == POST
        client.patch(found, [{"op": "replace", "path": "/properties/round", "value": 2}])
        assert client.things().find(thing.id).properties["round"] == 2
        changed = client.datastreams().find(datastream.id)
        changed.description = "four-weekly"
        client.update(changed)
        assert client.datastreams().find(datastream.id).description == "four-weekly"
        client.delete(found)
        with pytest.raises(requests.HTTPError):
            client.things().find(thing.id)

    await asyncio.to_thread(work)


async def test_observations_are_created_changed_and_deleted(remote: Remote) -> None:
    def work() -> None:
        client = remote.client
        _, datastream = survey(remote)
        seen = fsc.Observation(
            phenomenon_time="2026-04-01T12:00:00Z", result=12.5, datastream=datastream
        )
        client.create(seen)
        found = client.observations().find(seen.id)
        assert found.result == 12.5
        found.result = 13.5
        client.update(found)
        assert client.observations().find(seen.id).result == 13.5
        client.patch(found, [{"op": "replace", "path": "/result", "value": 14.5}])
        assert client.observations().find(seen.id).result == 14.5
        client.delete(found)
        with pytest.raises(requests.HTTPError):
            client.observations().find(seen.id)

    await asyncio.to_thread(work)


async def test_a_data_array_is_created(remote: Remote) -> None:
    def work() -> None:
        client = remote.client
        _, datastream = survey(remote)
        array = DataArrayValue()
        array.datastream = datastream
        properties = DataArrayValue.Property
        array.components = {properties.PHENOMENON_TIME, properties.RESULT}
        for hour in range(3):
            array.add_observation(
                fsc.Observation(phenomenon_time=f"2026-04-01T0{hour}:00:00Z", result=float(hour))
            )
        document = DataArrayDocument()
        document.add_data_array_value(array)
        made = client.observations().create(document)
        assert len(made) == 3
        assert all("/Observations('" in one.self_link for one in made)
        listed = datastream.get_observations().query().list().entities
        assert [one.result for one in listed] == [0, 1, 2]

    await asyncio.to_thread(work)


def _made(client: Keyed, remote: Remote) -> list[fsc.model.entity.Entity]:
    """Create an entity of every type, each by its own request; return them."""
    point = {"type": "Point", "coordinates": [-0.12, 51.52]}
    named = {"name": "Theirs", "description": "-"}
    encoded = named | {"encoding_type": "application/geo+json"}
    thing = fsc.Thing(**named, properties={"round": 1})
    place = fsc.Location(**encoded, location=point)
    sensor = fsc.Sensor(**named, encoding_type="text/html", metadata="https://example.org")
    feature = fsc.FeatureOfInterest(**encoded, feature=point)
    for one in (thing, place, sensor, feature):
        client.create(one)
    past = fsc.HistoricalLocation(time="2020-01-01T00:00:00Z", locations=[place])
    past.thing = thing
    unit = fsc.UnitOfMeasurement(name="microgram per cubic metre", symbol="ug/m3", definition="")
    kind = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
    stream = fsc.Datastream(**named, observation_type=kind, unit_of_measurement=unit)
    stream.thing, stream.sensor = thing, sensor
    stream.observed_property = client.observed_properties().find(
        remote.writing.city.properties["no2"]
    )
    for one in (past, stream):
        client.create(one)
    seen = fsc.Observation(
        phenomenon_time="2026-04-01T11:00:00Z/2026-04-01T12:00:00Z",
        valid_time="2026-04-01T11:00:00Z/2026-05-01T00:00:00Z",
        result=12.5,
        parameters={"lab": "B"},
        datastream=stream,
    )
    client.create(seen)
    return [thing, place, past, sensor, stream, feature, seen]


async def test_every_type_is_created_found_updated_patched_and_deleted(remote: Remote) -> None:
    def work() -> None:
        client = remote.client
        made = _made(client, remote)
        for one in made:
            dao = one.get_dao(client)
            found = dao.find(one.id)
            name, first, second = _changes(one)
            if isinstance(one, fsc.Observation):
                assert str(found.valid_time) == str(one.valid_time)
            setattr(found, name, first)
            client.update(found)
            assert getattr(dao.find(one.id), name) == getattr(found, name)
            client.patch(found, [{"op": "replace", "path": f"/{name}", "value": second}])
            setattr(found, name, second)
            assert getattr(dao.find(one.id), name) == getattr(found, name)
            (listed,) = dao.query().filter(_by(one)).top(2).list().entities
            assert listed.id == one.id
        for one in reversed(made):
            client.delete(one)
            with pytest.raises(requests.HTTPError):
                one.get_dao(client).find(one.id)

    await asyncio.to_thread(work)


def _changes(one: fsc.model.entity.Entity) -> tuple[str, str | int, str | int]:
    """Return a property of an entity, and two values to give it."""
    if isinstance(one, fsc.HistoricalLocation):
        return "time", "2021-01-01T00:00:00Z", "2022-01-01T00:00:00Z"
    if isinstance(one, fsc.Observation):
        return "result", 1, 2
    return "description", "once", "twice"


def _by(one: fsc.model.entity.Entity) -> str:
    """Return a filter that an entity alone fulfils."""
    return f"id eq '{one.id}'" if isinstance(one.id, str) else f"id eq {one.id}"


async def test_queries_are_counted_skipped_selected_and_followed_to_their_end(
    remote: Remote,
) -> None:
    def work() -> None:
        client = remote.client
        _, datastream = survey(remote)
        for hour in range(5):
            seen = fsc.Observation(phenomenon_time=f"2026-04-01T0{hour}:00:00Z", result=hour)
            seen.datastream = datastream
            client.create(seen)
        query = datastream.get_observations().query()
        page = query.top(2).count().orderby("phenomenonTime", "asc").list()
        assert page.count == 5
        assert [one.result for one in page] == [0, 1, 2, 3, 4]
        later = datastream.get_observations().query().skip(3).orderby("result", "asc").list()
        assert [one.result for one in later] == [3, 4]
        steps: list[int] = []
        for _ in query.list(callback=steps.append, step_size=2):
            pass
        assert steps
        one = datastream.get_observations().query().select("result").top(1).list().entities[0]
        assert (one.result, one.phenomenon_time) == (0, None)
        expanded = client.things().query().filter(f"Datastreams/id eq {datastream.id}")
        (thing,) = expanded.expand("Datastreams($expand=Observations($top=2))").list().entities
        inner = thing.datastreams.entities[0].observations
        assert [one.result for one in inner] == [0, 1, 2, 3, 4]

    await asyncio.to_thread(work)
