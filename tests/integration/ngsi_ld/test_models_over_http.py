"""What recorded devices reported, read over HTTP in each form, held against schemas and contexts.

As an outsider would do it: contexts come from the service, entities are expanded by pyld, and the
simplified and the flattened ones must follow their Smart Data Model.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from psycopg.types.json import Jsonb

from api.ngsi_ld.routes import router
from standards_mapping.ngsi_ld import contexts
from standards_mapping.ngsi_ld.models import MODELS
from standards_mapping.observation import Result
from standards_mapping.properties import PROPERTIES
from storage.database import Connection, connect, open_pool
from tests.integration.conftest import DatabaseServer
from tests.simulators.linked_data import expanded, schema_problems
from tests.simulators.recorded_sites import Recorded, Value, recorded_sites
from tests.simulators.registry import START, Registrar

ROOT = "/ngsi-ld/v1"
HERE = "http://city.test"
LD = "application/ld+json"
MEMBERS = ("value", "object", "languageMap")
WORDS: Mapping[str, Result] = {"bay_occupied": True, "agent_version": "1.4.2", "people_count": 7.0}
OTHERS = {"id", "type", "@context", "createdAt", "modifiedAt"}


@pytest.fixture(scope="session")
async def recorded(database_server: DatabaseServer) -> AsyncIterator[httpx.AsyncClient]:
    """The service over a site for each recording, and one for all recordings of a device."""
    dsn = await database_server.create()
    async with await connect(dsn, application_name="kerbstone test") as conn:
        await _fill(conn)
    app = FastAPI()
    app.include_router(router())
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        app.state.pool = pool
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            yield client
    await database_server.drop(dsn)


async def _fill(conn: Connection) -> None:
    registrar = Registrar(conn)
    await registrar.council("camden", "E09000007", "Camden")
    for key in PROPERTIES:
        await registrar.observed_property(key)
    await registrar.place("camden", "Euston Road", -0.12, 51.53)
    every = tuple(
        Value(key, key, "", WORDS.get(key, one.unit == "bool" or 0.5))
        for key, one in PROPERTIES.items()
    )
    sites = [*recorded_sites(), Recorded("made up", "made up", every)]
    devices = dict.fromkeys(one.device for one in sites)
    together = [[one for one in sites if one.device == device] for device in devices]
    for number, group in enumerate([*([one] for one in sites), *together]):
        await _site(conn, registrar, f"Site {number}", group)


async def _site(
    conn: Connection, registrar: Registrar, name: str, recordings: Sequence[Recorded]
) -> None:
    """Register a Thing with a sensor for each recording, and its newest results."""
    await registrar.thing("camden", name, [(START - timedelta(days=9), "Euston Road")])
    for number, one in enumerate(recordings):
        sensor = f"{name} sensor {number}"
        await registrar.sensor("camden", sensor)
        for position, value in enumerate(one.values):
            unit = value.unit or PROPERTIES[value.key].unit
            short_name = f"{value.name} {number} {position}"
            stream = await registrar.datastream(
                name, sensor, value.key, short_name, "Euston Road", unit=unit, averaging_seconds=60
            )
            is_number = type(value.result) in (int, float)
            await conn.execute(
                "INSERT INTO latest (datastream_id, time, value, result) VALUES (%s, %s, %s, %s)",
                (
                    registrar.city.datastreams[stream],
                    START,
                    value.result if is_number else None,
                    None if is_number else Jsonb(value.result),
                ),
            )


async def _served(client: httpx.AsyncClient) -> Mapping[str, Any]:
    """Return the contexts that the service serves, by address."""
    urls = (await client.get(f"{ROOT}/jsonldContexts")).json()
    return {url: (await client.get(url)).json() for url in urls}


async def _all(client: httpx.AsyncClient, **given: str) -> list[Any]:
    """Return every entity, page by page as the Link headers lead."""
    found: list[Any] = []
    query: dict[str, str] | None = {"local": "true", "limit": "400", **given}
    url = f"{HERE}{ROOT}/entities"
    while url:
        response = await client.get(url, params=query, headers={"Accept": LD})
        assert response.status_code == 200, response.text
        found += response.json()
        url, query = response.links.get("next", {}).get("url", ""), None
    return found


def _flat(entity: Mapping[str, Any]) -> dict[str, Any]:
    """Return a normalized or concise entity with the value of each default instance alone."""
    found = {}
    for name, told in entity.items():
        if name in OTHERS:
            continue
        instances = told if isinstance(told, list) and isinstance(told[0], dict) else [told]
        [value] = [one for one in instances if not isinstance(one, dict) or "datasetId" not in one]
        member = [one for one in MEMBERS if isinstance(value, dict) and one in value]
        found[name] = value[member[0]] if member else value
    return {"id": entity["id"], "type": entity["type"], **found}


def _unlike(entities: Sequence[Any]) -> list[Any]:
    """Return one entity of each shape: what a name stands for does not depend on values."""
    shapes = {(one["type"], *sorted(one), *map(type, one.values())): one for one in entities}
    return list(shapes.values())


def _check_terms(entity: Mapping[str, Any], meant: Mapping[str, Any]) -> None:
    """Check that every name of an entity became the IRI that its model gives it."""
    assert "default-context" not in str(meant), meant
    model = MODELS[entity["type"]]
    iris = {contexts.attribute_iri(name, model) for name in set(entity) - {"id", "type"}}
    assert {contexts.attribute_iri(name, model) for name in set(entity) - OTHERS} <= set(meant)
    assert set(meant) - {"@id", "@type"} <= iris
    assert meant["@type"] == [contexts.type_iri(entity["type"])]


async def test_every_entity_follows_its_model_in_every_form(recorded: httpx.AsyncClient) -> None:
    served = await _served(recorded)
    told = {}
    for form in ("normalized", "concise", "simplified"):
        entities = await _all(recorded, options=f"{form},sysAttrs")
        unlike = _unlike(entities)
        for entity, meant in zip(unlike, expanded(unlike, served), strict=True):
            _check_terms(entity, meant)
        told[form] = {one["id"]: _flat(one) for one in entities}
        for flat in told[form].values():
            assert schema_problems(flat) == [], flat
        if form == "normalized":
            several = {
                (one["type"], name)
                for one in entities
                for name, instances in one.items()
                if isinstance(instances, list) and name != "@context"
            }
    assert told["normalized"] == told["concise"] == told["simplified"]
    assert {one["type"] for one in told["simplified"].values()} == set(MODELS)
    assert ("AirQualityObserved", "pm25") in several, "of two sensors, the schema allows one"
    assert ("WeatherObserved", "refDevice") in several


async def test_features_follow_their_model(recorded: httpx.AsyncClient) -> None:
    response = await recorded.get(
        f"{ROOT}/entities",
        params={"local": "true", "limit": "1000", "options": "keyValues"},
        headers={"Accept": "application/geo+json"},
    )
    features = response.json()["features"]
    assert len(features) > len(PROPERTIES)
    for feature in features:
        properties = feature["properties"]
        assert feature["geometry"] == properties.get("location")
        assert schema_problems({"id": feature["id"], **properties}) == []
