"""Aggregates of decibels, bearings, states and values that the model cannot say; and time-outs."""

import math
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.ngsi_ld.routes import router
from storage.database import connect, open_pool
from storage.ngsi_ld import reader
from tests.integration.conftest import DatabaseServer
from tests.simulators.registry import HOUR, START, Registrar

ROOT = "/ngsi-ld/v1"
RESULTS: dict[str, list[float | bool]] = {
    "laeq": [60.0, 70.0],
    "wind_direction": [350.0, 10.0, 20.0],
    "relative_humidity": [40.0, 60.0],
    "no2": [-1.0, 10.0, 30.0],
    "bay_occupied": [True, False, True],
}


@pytest.fixture(scope="module")
async def client(database_server: DatabaseServer) -> AsyncIterator[httpx.AsyncClient]:
    """The service over one site that measures all of `RESULTS`."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        registrar = Registrar(conn)
        await registrar.council("camden", "E09000007", "Camden")
        await registrar.place("camden", "Kerb", -0.13, 51.52)
        await registrar.thing("camden", "Kerb", [(START - HOUR, "Kerb")])
        await registrar.sensor("camden", "Box")
        for key, results in RESULTS.items():
            await registrar.observed_property(key)
            stream = await registrar.datastream("Kerb", "Box", key, key, "Kerb")
            await registrar.observe(registrar.series(stream, results, place="Kerb"))
        await conn.execute(
            "INSERT INTO latest (datastream_id, time, value, result)"
            " SELECT DISTINCT ON (o.datastream_id) o.datastream_id, o.time, o.value, e.result"
            " FROM observation o LEFT JOIN observation_extra e USING (datastream_id, time)"
            " ORDER BY o.datastream_id, o.time DESC"
        )
    app = FastAPI()
    app.include_router(router())
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        app.state.pool = pool
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as asking:
            yield asking
    await database_server.drop(dsn)


async def whole(client: httpx.AsyncClient, model: str, attribute: str) -> dict[str, Any]:
    """Return what all values of the site's attribute come to, by method."""
    methods = "avg,min,max,sum,stddev,distinctCount,totalCount"
    response = await client.get(
        f"{ROOT}/temporal/entities",
        params={
            "type": model,
            "attrs": attribute,
            "timerel": "after",
            "timeAt": START.isoformat().replace("+00:00", "Z"),
            "format": "aggregatedValues",
            "aggrMethods": methods,
        },
    )
    assert response.status_code == 200, response.text
    [entity] = response.json()
    series = entity[attribute]
    return {name: series[name][0][0] for name in methods.split(",") if series[name]}


async def test_decibels_have_an_energy_mean_and_no_sum(client: httpx.AsyncClient) -> None:
    found = await whole(client, "NoiseLevelObserved", "LAeq")
    assert found.pop("avg") == pytest.approx(10 * math.log10((1e6 + 1e7) / 2))
    assert found == {"min": 60, "max": 70, "distinctCount": 2, "totalCount": 2}


async def test_bearings_have_a_mean_direction_alone(client: httpx.AsyncClient) -> None:
    found = await whole(client, "WeatherObserved", "windDirection")
    vectors = [math.radians(float(one)) for one in RESULTS["wind_direction"]]
    direction = math.atan2(sum(map(math.sin, vectors)), sum(map(math.cos, vectors)))
    assert found.pop("avg") == pytest.approx(math.degrees(direction))
    assert found == {"distinctCount": 3, "totalCount": 3}


async def test_a_percentage_comes_to_a_ratio(client: httpx.AsyncClient) -> None:
    found = await whole(client, "WeatherObserved", "relativeHumidity")
    assert found == {
        "avg": pytest.approx(0.5),
        "min": pytest.approx(0.4),
        "max": pytest.approx(0.6),
        "sum": pytest.approx(1.0),
        "stddev": pytest.approx(0.1),
        "distinctCount": 2,
        "totalCount": 2,
    }


async def test_what_the_model_cannot_say_does_not_count(client: httpx.AsyncClient) -> None:
    found = await whole(client, "AirQualityObserved", "no2")
    assert (found["avg"], found["min"], found["totalCount"]) == (20, 10, 2)


async def test_words_are_counted(client: httpx.AsyncClient) -> None:
    assert await whole(client, "ParkingSpot", "status") == {"distinctCount": 2, "totalCount": 3}


async def test_what_takes_too_long_is_too_complex(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(conn: Any, datastream: Any, asked: Any) -> Any:  # as it is
        await conn.execute("SET LOCAL statement_timeout = 1")
        await conn.execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(reader, "aggregated", slow)
    response = await client.get(
        f"{ROOT}/temporal/entities",
        params={
            "type": "AirQualityObserved",
            "timerel": "before",
            "timeAt": (START + timedelta(days=9)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "format": "aggregatedValues",
            "aggrMethods": "avg",
        },
    )
    assert response.status_code == 403
    assert response.json()["type"] == "https://uri.etsi.org/ngsi-ld/errors/TooComplexQuery"
    assert "shorter time" in response.json()["detail"]
