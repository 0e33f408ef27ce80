"""The air quality index of sites as attributes: worst of what the reader may see, or absent."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.ngsi_ld.answer import Answers
from api.ngsi_ld.discovery import Discovery
from api.ngsi_ld.provider import OwnProvider
from api.ngsi_ld.routes import router
from standards_mapping.ngsi_ld.parameters import parse_request
from storage.database import Connection, connect, open_pool
from storage.ngsi_ld.reader import reading
from storage.rollups import refresh_rollups
from tests.integration.conftest import DatabaseServer
from tests.simulators.linked_data import schema_problems
from tests.simulators.ngsi_ld_city import NEWEST
from tests.simulators.registry import HOUR, START, Registrar

FULL = START + 30 * HOUR
NOW = FULL + timedelta(minutes=20)
BOTH = {"airQualityIndex", "airQualityLevel"}

SITES = {
    # of each site its pollutants, with the mean of every hour and how many hours there are
    "Kerb": (("no2", 250.0, 30), ("pm10", 140.0, 30)),
    "Park": (("no2", 20.0, 30), ("o3", 60.0, 30)),
    "Yard": (("pm25", 200.0, 30),),
    "New": (("pm25", 200.0, 17),),
    "Old": (("no2", 250.0, 26),),
}
INDICES = {"Kerb": (10, "Very High"), "Park": (2, "Low"), "Yard": (10, "Very High")}
TO_STRANGERS = {"Kerb": (4, "Moderate"), "Park": (2, "Low")}
"""New has less than three quarters of a day, the last hour of Old ended four hours ago."""
RESTRICT = (
    "UPDATE datastream SET access = 'restricted'"
    " WHERE name IN ('Kerb pm10', 'Yard pm25') AND council_id = %s"
)
LOG = (
    "INSERT INTO rollup_log"
    " SELECT DISTINCT date_trunc('hour', time), datastream_id FROM observation"
)


async def fill(conn: Connection) -> int:
    """Register the sites and what they measured; return the council that restricts some of it."""
    registrar = Registrar(conn)
    await registrar.council("camden", "E09000007", "Camden")
    for key in ("no2", "o3", "pm10", "pm25", "air_temperature"):
        await registrar.observed_property(key)
    await registrar.place("camden", "Gordon Square", -0.1309, 51.5243)
    for site, measured in SITES.items():
        await registrar.thing("camden", site, [(START - HOUR, "Gordon Square")])
        await registrar.sensor("camden", f"{site} analyser")
        for key, mean, hours in measured:
            stream = await registrar.datastream(
                site, f"{site} analyser", key, key, "Gordon Square", averaging_seconds=3600
            )
            start = START if site == "Old" else FULL - hours * HOUR
            results = registrar.series(
                stream, [mean] * hours, place="Gordon Square", averaging=HOUR, start=start
            )
            await registrar.observe(results)
    await conn.execute(NEWEST)
    await conn.execute(LOG)
    while await refresh_rollups(conn):
        pass
    await conn.execute(RESTRICT, (registrar.city.councils["camden"],))
    return registrar.city.councils["camden"]


@pytest.fixture(scope="module")
async def measured(database_server: DatabaseServer) -> AsyncIterator[tuple[str, int]]:
    """How to connect to the sites, and the council that restricts some. Only read it."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        council = await fill(conn)
    yield dsn, council
    await database_server.drop(dsn)


@asynccontextmanager
async def stranger(dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    """Lend what a stranger asks with, at `NOW`."""
    app = FastAPI()
    app.include_router(router(OwnProvider(clock=lambda: NOW)))
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        app.state.pool = pool
        transport = httpx.ASGITransport(app=app)
        base = "http://city.test/ngsi-ld/v1/"
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            yield client


async def ask(client: httpx.AsyncClient, path: str, **given: str) -> Any:
    response = await client.get(path, params=given)
    assert response.status_code == 200, response.text
    return response.json()


def told(entities: list[Mapping[str, Any]]) -> dict[str, tuple[int, str]]:
    """Return the index and its band by site, of simplified entities that have one."""
    assert all((BOTH & one.keys()) in (BOTH, set()) for one in entities)
    return {
        one["name"]: (one["airQualityIndex"], one["airQualityLevel"])
        for one in entities
        if one.keys() >= BOTH
    }


async def test_a_stranger_is_told_the_worst_of_what_is_open(measured: tuple[str, int]) -> None:
    async with stranger(measured[0]) as client:
        found = await ask(client, "entities", type="AirQualityObserved", options="keyValues")
        assert {one["name"] for one in found} == {"Kerb", "Park", "New", "Old"}
        assert told(found) == TO_STRANGERS
        for one in found:
            assert schema_problems(one) == []
        [kerb] = [one["id"] for one in found if one["name"] == "Kerb"]
        whole = await ask(client, f"entities/{kerb}")
        assert whole["airQualityIndex"] == {
            "type": "Property",
            "value": 4,
            "observedAt": FULL.isoformat().replace("+00:00", "Z"),
        }


@pytest.mark.parametrize("own", [False, True], ids=["stranger", "council"])
async def test_it_is_told_and_asked_for_as_the_reader_may(
    measured: tuple[str, int], *, own: bool
) -> None:
    dsn, council = measured
    vocabulary = OwnProvider().default("http://city.test")
    wanted = INDICES if own else TO_STRANGERS
    questions: Mapping[str, set[str]] = {
        "airQualityIndex>=4": {name for name, (index, _) in wanted.items() if index >= 4},
        "airQualityIndex>=10": {name for name, (index, _) in wanted.items() if index >= 10},
        'airQualityLevel=="Low"': {"Park"},
        "airQualityIndex": set(wanted),
        'airQualityIndex<5;name!="Park"': set() if own else {"Kerb"},
    }
    async with (
        open_pool(dsn, application_name="kerbstone test") as pool,
        reading(pool, None, (council,) if own else (), NOW) as source,
    ):
        answers = Answers(source, vocabulary)
        for q, names in questions.items():
            query = parse_request({"q": q, "options": "keyValues", "count": "true"}, vocabulary)
            page = await answers.entities(query)
            assert {one["name"] for one in page.entities} == names, q
            assert page.count == len(names), q
        query = parse_request({"attrs": "airQualityIndex", "options": "keyValues"}, vocabulary)
        page = await answers.entities(query)
        assert [set(one) for one in page.entities] == [{"id", "type", "airQualityIndex"}] * len(
            wanted
        )
        assert {one["airQualityIndex"] for one in page.entities} == {n for n, _ in wanted.values()}
        found = await Discovery(source, vocabulary).attribute("airQualityIndex")
        assert found["typeNames"] == ["AirQualityObserved"]


async def test_where_nothing_has_an_index_there_is_no_such_attribute(
    measured: tuple[str, int],
) -> None:
    vocabulary = OwnProvider().default("http://city.test")
    async with (
        open_pool(measured[0], application_name="kerbstone test") as pool,
        reading(pool, None, (), NOW + 9 * HOUR) as source,
    ):
        assert (await source.types())[0].count
        listed = (await Discovery(source, vocabulary).attributes(details=False))["attributeList"]
        assert "no2" in listed
        assert not BOTH & set(listed)


async def test_it_has_no_history(measured: tuple[str, int]) -> None:
    async with stranger(measured[0]) as client:
        since = {"timerel": "after", "timeAt": "2026-03-01T00:00:00Z"}
        kind = "AirQualityObserved"
        histories = await ask(client, "temporal/entities", type=kind, **since)
        assert histories
        assert not any(BOTH & one.keys() for one in histories)
        only = {"type": kind, "attrs": "airQualityIndex", **since}
        assert await ask(client, "temporal/entities", **only) == []
