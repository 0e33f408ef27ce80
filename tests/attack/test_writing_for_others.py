"""Keys that may write nothing here, tried on every way of writing: nothing changes, and it is told.

Another council's key, a key of the council that may only read, and none.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest

from storage.api_keys import add_key, draw_key
from tests.integration.conftest import DatabaseServer
from tests.integration.sensorthings.writing import (
    SENSOR,
    Json,
    Writing,
    datastream_body,
    location_body,
    serve_writing,
    thing_body,
)

NOON: Final = "2026-03-02T12:00:00Z"
TABLES: Final = (
    "thing",
    "location",
    "thing_location",
    "historical_location",
    "historical_location_location",
    "sensor",
    "datastream",
    "observed_property",
    "feature_of_interest",
    "observation",
    "observation_extra",
)
PATCHES: Final = [{"op": "replace", "path": "/name", "value": "theirs"}]
WAYS: Final[dict[str, tuple[str, str, Json]]] = {
    "a Location of a Thing": ("POST", "Things({thing})/Locations", location_body("Theirs")),
    "a Datastream of a Thing": (
        "POST",
        "Things({thing})/Datastreams",
        datastream_body() | {"Sensor": SENSOR, "ObservedProperty": {"@iot.id": 1}},
    ),
    "a Datastream that names the Thing": (
        "POST",
        "Datastreams",
        datastream_body()
        | {"Thing": {"@iot.id": "{thing}"}, "Sensor": SENSOR, "ObservedProperty": {"@iot.id": 1}},
    ),
    "a Thing at the Location": (
        "POST",
        "Things",
        thing_body() | {"Locations": [{"@iot.id": "{location}"}]},
    ),
    "an Observation": ("POST", "Observations", {"Datastream": {"@iot.id": "{datastream}"}}),
    "an Observation of a Datastream": ("POST", "Datastreams({datastream})/Observations", {}),
    "many Observations": (
        "POST",
        "CreateObservations",
        [
            {
                "Datastream": {"@iot.id": "{datastream}"},
                "components": ["phenomenonTime", "result"],
                "dataArray": [[NOON, 1.5]],
            }
        ],
    ),
    "a move": (
        "POST",
        "Things({thing})/HistoricalLocations",
        {"time": NOON, "Locations": [{"@iot.id": "{location}"}]},
    ),
    "a Thing, patched": ("PATCH", "Things({thing})", {"name": "theirs"}),
    "a Thing, by JSON Patch": ("PATCH", "Things({thing})", PATCHES),
    "a Thing, put": ("PUT", "Things({thing})", {"name": "theirs", "description": "-"}),
    "a Thing, deleted": ("DELETE", "Things({thing})", None),
    "a Thing, taken elsewhere": (
        "PATCH",
        "Things({thing})",
        {"Locations": [{"@iot.id": "{location}"}]},
    ),
    "a Location, patched": ("PATCH", "Locations({location})", {"name": "theirs"}),
    "a Location, deleted": ("DELETE", "Locations({location})", None),
    "a Datastream, patched": ("PATCH", "Datastreams({datastream})", {"name": "theirs"}),
    "a Datastream, deleted": ("DELETE", "Datastreams({datastream})", None),
    "a Sensor, patched": ("PATCH", "Datastreams({datastream})/Sensor", {"name": "theirs"}),
    "an Observation, corrected": ("PATCH", "Observations('{observation}')", {"result": 2.5}),
    "an Observation, deleted": ("DELETE", "Observations('{observation}')", None),
    "a signed Observation, corrected": ("PATCH", "Observations('{signed}')", {"result": 2.5}),
    "a gateway's Thing, patched": ("PATCH", "Things({gateway})", {"name": "theirs"}),
}
REFUSED: Final = {"westminster": 403, "reader": 403, "anybody": 401}

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


@pytest.fixture(scope="module")
async def centre(database_server: DatabaseServer) -> AsyncIterator[Writing]:
    dsn = await database_server.create()
    async with serve_writing(dsn) as writing:
        yield writing
    await database_server.drop(dsn)


@pytest.fixture(scope="module")
async def camdens(centre: Writing) -> dict[str, str]:
    """Return ids of what Camden keeps, as they stand in addresses."""
    thing, datastream = await centre.survey("Camden's")
    made = await centre.create(
        f"Datastreams({datastream})/Observations",
        {"phenomenonTime": "2026-03-01T12:00:00Z", "result": 1.5},
    )
    place = (await centre.get(f"Things({thing})/Locations"))["value"][0]
    seen = next(one for one in centre.city.observations if one.stream == "Bloomsbury no2")
    return {
        "thing": str(thing),
        "datastream": str(datastream),
        "location": str(place["@iot.id"]),
        "observation": str(made["@iot.id"]),
        "signed": seen.id,
        "gateway": str(centre.city.things["Bloomsbury"]),
    }


@pytest.fixture(scope="module")
async def reader(centre: Writing) -> str:
    """Return a key of Camden that may only read."""
    key = draw_key()
    await add_key(
        centre.conn,
        tenant="camden",
        name="window",
        scopes=["read"],
        rate_class="bulk",
        key=key,
        expires_at=datetime.now(UTC) + timedelta(days=1),
        actor="test",
    )
    return key


def filled(value: Json, ids: dict[str, str]) -> Json:
    """Return a body with the ids in the places of their names."""
    if isinstance(value, dict):
        return {name: filled(one, ids) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, ids) for one in value]
    if isinstance(value, str) and value.strip("{}") in ids:
        return int(ids[value.strip("{}")])
    return value


async def everything(centre: Writing) -> list[tuple[object, ...]]:
    """Return a digest of each table that holds what is written."""
    return [
        (name, *row)
        for name in TABLES
        for row in await centre.rows(
            f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {name} AS t"  # noqa: S608
        )
    ]


@pytest.mark.parametrize("who", REFUSED)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("in_batch", [False, True], ids=["alone", "in a batch"])
async def test_write_to_another_councils_entities(
    centre: Writing,
    camdens: dict[str, str],
    reader: str,
    way: str,
    who: str,
    *,
    in_batch: bool,
) -> None:
    method, path, body = WAYS[way]
    url, content = path.format(**camdens), filled(body, camdens)
    if "Observations" in path and method == "POST" and not isinstance(content, list):
        content |= {"phenomenonTime": NOON, "result": 1.5}
    client: httpx.AsyncClient = centre.anybody if who == "reader" else getattr(centre, who)
    headers = {"X-API-Key": reader} if who == "reader" else {}
    kind = "application/json-patch+json" if isinstance(content, list) and method == "PATCH" else ""
    if kind:
        headers["Content-Type"] = kind
    before = await everything(centre)
    if in_batch:
        part = {"id": "1", "method": method.lower(), "url": url, "body": content}
        if kind:
            part["headers"] = {"Content-Type": kind}
        headers["Content-Type"] = "application/json"
        answer = await client.post("$batch", json={"requests": [part]}, headers=headers)
        told = answer.json()["responses"][0]
        status, said = told["status"], told["body"]
    else:
        answer = await client.request(method, url, json=content, headers=headers)
        status, said = answer.status_code, answer.json()
    assert await everything(centre) == before, f"{who} wrote {way}"
    if way == "many Observations" and who == "westminster":  # told for each of them
        assert [one.startswith("error: ") for one in said] == [True], said
    else:
        assert status == REFUSED[who], answer.text
