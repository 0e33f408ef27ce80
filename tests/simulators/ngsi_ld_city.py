"""A city whose entities differ in every way that NGSI-LD can tell them apart.

The seeded city of `registry`, and beside it: sites without a place or without a result, results
that cannot be told, Things and Sensors that say more than others or less, and what is restricted.
"""

from storage.database import Connection
from tests.simulators.registry import Registrar, seed_city

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


async def seed_varied_city(conn: Connection) -> int:
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
