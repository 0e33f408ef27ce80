"""A stranger asks NGSI-LD about what is restricted: as if it were not registered at all."""

from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI

from api.ngsi_ld.routes import router
from storage.database import connect, open_pool
from tests.integration.conftest import DatabaseServer
from tests.simulators.registry import seed_city

ROOT = "/ngsi-ld/v1"
FILL = (
    "INSERT INTO latest (datastream_id, time, value, result, quality)"
    " SELECT DISTINCT ON (o.datastream_id) o.datastream_id, o.time, o.value, e.result,"
    " coalesce(e.quality, 0) FROM observation o"
    " LEFT JOIN observation_extra e USING (datastream_id, time)"
    " ORDER BY o.datastream_id, o.time DESC"
)
WHERE = {"geometry": "Point", "coordinates": "[-0.1259,51.5225]"}
TIME = {"timerel": "after", "timeAt": "2025-12-01T00:00:00Z"}
AGG = {
    "options": "aggregatedValues",
    "aggrMethods": "avg,max,totalCount",
    "aggrPeriodDuration": "PT1H",
}
PROBES: list[tuple[str, dict[str, str]]] = [
    ("entities", {"local": "true", "count": "true"}),
    ("entities", {"local": "true", "count": "true", "limit": "1", "offset": "1"}),
    *[
        ("entities", {"type": t, "count": "true", "options": o})
        for t in ("AirQualityObserved", "WeatherObserved", "Device", "DeviceMeasurement")
        for o in ("keyValues", "concise", "sysAttrs", "normalized")
    ],
    *[
        (kind, {"q": q, "count": "true", **more})
        for kind, more in (("entities", {}), ("temporal/entities", TIME))
        for q in (
            "no2",
            "!no2",
            "no2>0",
            "no2<1e9",
            "no2.observedAt>2000-01-01T00:00:00Z",
            'name=="Bloomsbury"',
            'name~="Bloom"',
            "no2.unitCode",
            "controlledProperty",
            'controlledProperty=="no2"',
            "no2|temperature",
            "no2[x]",
            "refDevice",
            "no2>",
        )
    ],
    ("entities", {"attrs": "no2", "count": "true"}),
    ("entities", {"pick": "no2", "type": "AirQualityObserved"}),
    ("entities", {"omit": "no2", "type": "AirQualityObserved"}),
    ("entities", {"type": "AirQualityObserved", "orderBy": "no2"}),
    *[
        ("entities", {"georel": f"near;{d}Distance==300", "count": "true", **WHERE})
        for d in ("max", "min")
    ],
    ("types", {}),
    ("types", {"details": "true"}),
    ("types/AirQualityObserved", {}),
    ("types/WeatherObserved", {}),
    ("types/Device", {}),
    ("attributes", {}),
    ("attributes", {"details": "true"}),
    ("attributes/no2", {}),
    ("temporal/entities", {"type": "AirQualityObserved", "count": "true", **TIME}),
    ("temporal/entities", {"type": "AirQualityObserved", "attrs": "no2", "lastN": "3", **TIME}),
    ("temporal/entities", {"type": "AirQualityObserved", **TIME, **AGG}),
]


OF_BLOOMSBURY = (
    "SELECT d.id FROM datastream d JOIN thing t ON t.id = d.thing_id"
    " JOIN observed_property p ON p.id = d.observed_property_id"
    " WHERE t.name = 'Bloomsbury' AND (p.key = 'no2' OR %s)"
)
TO_SECRET = (
    "UPDATE datastream SET thing_id = (SELECT id FROM thing WHERE name = 'Secret')"
    " WHERE id = ANY(%s)"
)
Told = dict[str, tuple[int, str, dict[str, str]]]


async def seed(dsn: str, *, every: bool, restricted: bool) -> None:
    """Fill a city in which Bloomsbury's datastreams are restricted, or as good as not there."""
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        await seed_city(conn)
        await conn.execute(FILL)
        rows = await (await conn.execute(OF_BLOOMSBURY, (every,))).fetchall()
        numbers = [row[0] for row in rows]
        assert numbers
        if restricted:
            await conn.execute(
                "UPDATE datastream SET access = 'restricted' WHERE id = ANY(%s)", (numbers,)
            )
            return
        await conn.execute("DELETE FROM latest WHERE datastream_id = ANY(%s)", (numbers,))
        await conn.execute(TO_SECRET, (numbers,))  # which awaits approval
        if every:
            await conn.execute("UPDATE thing SET approved = false WHERE name = 'Bloomsbury'")


async def ask(dsn: str) -> Told:
    """Return what a stranger is told, by question: status, body and headers."""
    told: Told = {}
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        app = FastAPI()
        app.include_router(router())
        app.state.pool = pool
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
            for path, given in PROBES:
                answer = await client.get(f"{ROOT}/{path}", params=given)
                headers = {name: text for name, text in answer.headers.items() if name != "date"}
                told[f"{path} {given}"] = (answer.status_code, answer.text, headers)
    return told


@pytest.mark.parametrize("every", [False, True], ids=["one datastream", "the whole site"])
async def test_what_is_restricted_is_as_if_unknown(
    database_server: DatabaseServer, *, every: bool
) -> None:
    told: list[Told] = []
    async with AsyncExitStack() as stack:
        for restricted in (True, False):
            dsn = await database_server.create()
            stack.push_async_callback(database_server.drop, dsn)
            await seed(dsn, every=every, restricted=restricted)
            told.append(await ask(dsn))
    hidden, absent = told
    assert {key for key in hidden if hidden[key] != absent[key]} == set()
