"""What is told of types and attributes is what one finds by looking at entity after entity."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from standards_mapping.ngsi_ld.selection import EntitySelector
from standards_mapping.ngsi_ld.source import TypeFacts
from storage.database import Connection, connect, open_pool
from storage.ngsi_ld.reader import DatabaseSource, reading
from tests.integration.conftest import DatabaseServer
from tests.simulators.registry import Registrar, seed_city

Told = dict[str, tuple[int, dict[str, frozenset[str]]]]

NEWEST = (
    "INSERT INTO latest (datastream_id, time, value, result, quality)"
    " SELECT DISTINCT ON (o.datastream_id) o.datastream_id, o.time, o.value, e.result,"
    " coalesce(e.quality, 0) FROM observation o"
    " LEFT JOIN observation_extra e USING (datastream_id, time)"
    " ORDER BY o.datastream_id, o.time DESC"
)
NOW = (
    "INSERT INTO latest (datastream_id, time, value, quality)"
    " VALUES (%s, '2026-03-02T00:00:00Z', %s, %s)"
)
CHANGES = (
    "UPDATE thing SET description = '' WHERE name = 'Marylebone Road'",
    """UPDATE thing SET properties = '{"source": "https://e.org"}' WHERE name = 'Bloomsbury'""",
    """UPDATE sensor SET properties = '{"serialNumber": "7"}' WHERE name = 'Thermometer'""",
    "UPDATE sensor SET description = '' WHERE name = 'NOx analyser'",
    "UPDATE datastream SET access = 'restricted' WHERE short_name IN ('temp', 'secret_pm10')",
)
"""Things and sensors that say more than others, or less, and what strangers must not see."""

KINDS: tuple[tuple[str, list[str], str, str | None, float | None, int], ...] = (
    # thing, its places, property, unit, newest result, quality
    ("Nowhere", [], "vehicle_count", None, 3.0, 0),
    ("Kerb", ["Bloomsbury"], "vehicle_count", None, 12.0, 0),
    ("Nowhere", [], "cycle_count", None, 2.0, 0),
    ("Nowhere", [], "no2", None, 30.0, 0),
    ("Kerb", ["Bloomsbury"], "pm25", None, -4.0, 0),
    ("Kerb", ["Bloomsbury"], "o3", None, 50.0, 1),
    ("Kerb", ["Bloomsbury"], "relative_humidity", None, 80.0, 0),
    ("Kerb", ["Bloomsbury"], "pm10", "Cel", 10.0, 0),
    ("Kerb", ["Bloomsbury"], "particle_size", None, 1.5, 0),
    ("Lone", ["Gordon Square"], "pm10", None, 10.0, 0),
    ("Silent", ["Gordon Square"], "no2", None, None, 0),
    ("Talking", ["Gordon Square"], "no2", None, 20.0, 0),
    ("Kerb", ["Bloomsbury"], "battery_level", None, 40.0, 0),
)
IN_BRENT = ("Silent", "Talking")


async def fill(conn: Connection) -> int:
    """Seed a city in which entities differ in every way; return whose secrets it has."""
    city = await seed_city(conn)
    await conn.execute(NEWEST)
    registrar = Registrar(conn)
    registrar.city = city
    await registrar.council("brent", "E09000005", "Brent")
    for key in {kind[2] for kind in KINDS} - city.properties.keys():
        await registrar.observed_property(key)
    for number, (thing, places, key, unit, value, quality) in enumerate(KINDS):
        tenant = "brent" if thing in IN_BRENT else "camden"
        if thing not in city.things:
            start = city.observations[0].time
            await registrar.thing(tenant, thing, [(start, place) for place in places])
            await registrar.sensor(tenant, f"{thing} sensor")
        name = await registrar.datastream(
            thing,
            f"{thing} sensor",
            key,
            "secret_pm10" if thing == "Lone" else f"n{number}",
            (places or ["Bloomsbury"])[0],
            unit=unit,
        )
        if value is not None:
            await conn.execute(NOW, (city.datastreams[name], value, quality))
    for change in CHANGES:
        await conn.execute(change)
    return city.councils["camden"]


@pytest.fixture(scope="module")
async def varied(database_server: DatabaseServer) -> AsyncIterator[tuple[str, int]]:
    """How to connect to such a city, and the council that restricts some of it. Only read it."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        council = await fill(conn)
    yield dsn, council
    await database_server.drop(dsn)


def told(facts: Any) -> Told:
    return {one.iri: (one.count, dict(one.attributes)) for one in facts}


async def one_by_one(source: DatabaseSource) -> Told:
    """Return the same by putting every entity together."""
    found: dict[str, dict[str, set[str]]] = {}
    counts: dict[str, int] = {}
    for entity in await source.load(await source.find([EntitySelector()])):
        (iri,) = entity.types
        counts[iri] = counts.get(iri, 0) + 1
        for name, instances in entity.attributes.items():
            found.setdefault(iri, {}).setdefault(name, set()).update(
                each.kind for each in instances
            )
    return {
        iri: (counts[iri], {name: frozenset(each) for name, each in some.items()})
        for iri, some in found.items()
    }


@pytest.mark.parametrize("tenant", [None, "camden", "westminster", "brent"])
@pytest.mark.parametrize("own", [False, True], ids=["stranger", "council"])
async def test_types_are_those_of_the_entities_one_by_one(
    varied: tuple[str, int], tenant: str | None, *, own: bool
) -> None:
    dsn, council = varied
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        async with reading(pool, tenant, (council,) if own else ()) as source:
            facts = await source.types()
        async with reading(pool, tenant, (council,) if own else ()) as source:
            assert told(facts) == await one_by_one(source)
    assert facts


async def test_a_stranger_is_told_of_fewer(varied: tuple[str, int]) -> None:
    dsn, council = varied
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        answers: list[list[TypeFacts]] = []
        for councils in ((), (council,)):
            async with reading(pool, None, councils) as source:
                answers.append(list(await source.types()))
    stranger, insider = ({one.iri.rpartition("/")[2]: one for one in some} for some in answers)
    assert "WeatherObserved" in insider
    names = {iri.rpartition("/")[2] for iri in insider["AirQualityObserved"].attributes}
    seen = {iri.rpartition("/")[2] for iri in stranger["AirQualityObserved"].attributes}
    assert names - seen == {"pm10"}
    assert insider["AirQualityObserved"].count == stranger["AirQualityObserved"].count + 1
    assert insider["Device"].count == stranger["Device"].count + 2
