"""ETSI's temporal cases once more, with their vehicle held by our own registry and observations.

| ETSI | here |
|---|---|
| Vehicle `urn:ngsi-ld:Vehicle:…` | a Thing with a place |
| `speed` | a datastream of `vehicle_speed` in km/h: TrafficFlowObserved.averageVehicleSpeed |
| `fuelLevel` | a datastream of `fill_level` in %: WasteContainer.fillingLevel, a ratio of 1 |

So one vehicle is two entities, and a fuel level of 67 is told as 0.67.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.ngsi_ld.routes import router
from standards_mapping.ngsi_ld.times import parse_time
from storage.database import connect, open_pool
from tests.integration.conftest import DatabaseServer
from tests.integration.ngsi_ld.etsi import load
from tests.simulators.registry import Registrar, Seen

ROOT = "/ngsi-ld/v1/temporal/entities"
EXPECTED = "temporalEntities/expectations/vehicle-temporal-representation-"
THINGS = {
    "August": "2020-08-vehicle-temporal-representation",
    "Many": "2020-08-vehicle-temporal-representation-multiple-instances",
    "Twenty": "pagination/2020-01-vehicule-temporal-representation-twenty-instances",
}
ATTRIBUTES = {
    "speed": ("TrafficFlowObserved", "averageVehicleSpeed", 1.0),
    "fuelLevel": ("WasteContainer", "fillingLevel", 100.0),
}


@pytest.fixture(scope="session")
async def vehicles(database_server: DatabaseServer) -> AsyncIterator[httpx.AsyncClient]:
    """The service over a database that holds ETSI's vehicles; a history is cut after ten."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        registrar = Registrar(conn)
        await registrar.council("camden", "E09000007", "Camden")
        for key in ("vehicle_speed", "fill_level"):
            await registrar.observed_property(key)
        await registrar.place("camden", "Depot", -0.13, 51.52)
        for name, document in THINGS.items():
            await _vehicle(registrar, name, load(f"temporalEntities/{document}.jsonld"))
        await conn.execute(
            "INSERT INTO latest (datastream_id, time, value) SELECT DISTINCT ON (datastream_id)"
            " datastream_id, time, value FROM observation ORDER BY datastream_id, time DESC"
        )
    app = FastAPI()
    app.include_router(router(most=10))
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        app.state.pool = pool
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
            yield client
    await database_server.drop(dsn)


async def _vehicle(registrar: Registrar, name: str, document: Any) -> None:
    await registrar.thing("camden", name, [(parse_time("2019-01-01T00:00:00Z"), "Depot")])
    await registrar.sensor("camden", f"{name} box")
    for key, unit, attribute in (
        ("vehicle_speed", "km/h", "speed"),
        ("fill_level", "%", "fuelLevel"),
    ):
        stream = await registrar.datastream(name, f"{name} box", key, key, "Depot", unit=unit)
        place = registrar.city.places["Depot"]
        await registrar.observe(
            [
                Seen(stream, registrar.city.datastreams[stream], time, time, value, 0, place)
                for value, time in instances(document, attribute)
            ]
        )


def instances(document: Any, attribute: str) -> list[tuple[float, datetime]]:
    """Return the values of an attribute of ETSI's with their times, in order."""
    found = [(float(one["value"]), parse_time(one["observedAt"])) for one in document[attribute]]
    return sorted(found, key=lambda one: one[1])


async def ask(
    client: httpx.AsyncClient, thing: str, attribute: str, given: dict[str, Any]
) -> tuple[httpx.Response, Any, float]:
    """Return the answer to a case for one attribute, that attribute, and its scale."""
    model, name, scale = ATTRIBUTES[attribute]
    entities = await client.get(
        "/ngsi-ld/v1/entities", params={"type": model, "q": f'alternateName;name=="{thing}"'}
    )
    [entity] = entities.json()
    response = await client.get(f"{ROOT}/{entity['id']}", params={**given, "attrs": name})
    assert response.status_code in (200, 206), response.text
    return response, response.json().get(name), scale


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize(
    ("thing", "expectation", "given"),
    [
        pytest.param("August", "020-02", {}, id="020_02_01"),
        pytest.param(
            "August",
            "020-04-03",
            {
                "timerel": "between",
                "timeAt": "2020-08-01T12:00:00Z",
                "endTimeAt": "2020-08-01T13:00:00Z",
            },
            id="020_04_03",
        ),
        pytest.param(
            "August",
            "020-04-02",
            {"timerel": "before", "timeAt": "2020-08-01T12:05:00Z"},
            id="020_04_02",
        ),
        pytest.param("Many", "020-05-01", {"lastN": "4"}, id="020_05_01"),
        pytest.param("Many", "020-05-02", {"lastN": "7"}, id="020_05_02"),
    ],
)
async def test_histories(
    thing: str, expectation: str, given: dict[str, Any], attribute: str, vehicles: httpx.AsyncClient
) -> None:
    _, found, scale = await ask(vehicles, thing, attribute, given)
    wanted = instances(load(f"{EXPECTED}{expectation}.jsonld"), attribute)
    assert [(one["value"] * scale, parse_time(one["observedAt"])) for one in found] == [
        (pytest.approx(value), time) for value, time in wanted
    ]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize(
    ("methods", "duration", "expectation"),
    [
        pytest.param("avg,max", "PT1H", "aggregated-avg-max-PT1H", id="020_11_03"),
        pytest.param("min,max", "P1D", "aggregated-min-max-P1D", id="020_11_04"),
    ],
)
async def test_aggregates(
    methods: str, duration: str, expectation: str, attribute: str, vehicles: httpx.AsyncClient
) -> None:
    given = {
        "options": "aggregatedValues",
        "aggrMethods": methods,
        "aggrPeriodDuration": duration,
    }
    _, found, scale = await ask(vehicles, "August", attribute, given)
    wanted = load(f"{EXPECTED}{expectation}.json")[attribute]
    for method in methods.split(","):
        assert [[value * scale, *times] for value, *times in found[method]] == [
            [pytest.approx(value), *times] for value, *times in wanted[method]
        ]


@pytest.mark.parametrize(
    ("given", "edges"),
    [
        pytest.param({}, (0, 9), id="020_13_01"),
        pytest.param({"lastN": "20"}, (19, 10), id="020_13_02"),
        pytest.param({"options": "temporalValues"}, (0, 9), id="020_13_09"),
    ],
)
async def test_a_history_that_is_cut(
    given: dict[str, Any], edges: tuple[int, int], vehicles: httpx.AsyncClient
) -> None:
    response, _, _ = await ask(vehicles, "Twenty", "speed", given)
    assert response.status_code == 206
    document = load(f"temporalEntities/{THINGS['Twenty']}.jsonld")
    start, end = (
        instances(document, "speed")[edge][1].isoformat().replace("+00:00", "Z") for edge in edges
    )
    size = given.get("lastN", "*")
    assert response.headers["content-range"] == f"date-time {start}-{end}/{size}"
