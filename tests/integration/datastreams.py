"""The registry rows an observation needs, for tests that are about observations."""

from datetime import datetime

from storage.database import Connection

_ADD = """
    WITH council AS (
        INSERT INTO council (gss, tenant, name) VALUES ('E09000007', 'camden', 'Camden')
            ON CONFLICT (gss) DO UPDATE SET name = excluded.name RETURNING id
    ), gateway AS (
        INSERT INTO gateway (council_id, device) SELECT id, 'k7q2m9xd4t' FROM council
            ON CONFLICT (device) DO UPDATE SET label = '' RETURNING id
    ), thing AS (
        INSERT INTO thing (council_id, gateway_id, urn, name, description)
        SELECT council.id, gateway.id, 'urn:x:thing', 'Thing', '' FROM council, gateway
            ON CONFLICT (urn) DO UPDATE SET name = excluded.name RETURNING id
    ), sensor AS (
        INSERT INTO sensor (council_id, gateway_id, urn, name, description)
        SELECT council.id, gateway.id, 'urn:x:sensor', 'Sensor', '' FROM council, gateway
            ON CONFLICT (urn) DO UPDATE SET name = excluded.name RETURNING id
    ), property AS (
        INSERT INTO observed_property (key, name, definition, description)
        VALUES (%(key)s, %(key)s, 'urn:x:property', '')
            ON CONFLICT (key) DO UPDATE SET name = excluded.name RETURNING id
    )
    INSERT INTO datastream (council_id, thing_id, sensor_id, observed_property_id, short_name,
                            name, description, unit, averaging_seconds)
    SELECT council.id, thing.id, sensor.id, property.id, gen_random_uuid()::text,
           'Datastream', '', %(unit)s, %(averaging_seconds)s
      FROM council, thing, sensor, property
    RETURNING id
"""
_STORE = """
    WITH inserted AS (
        INSERT INTO observation (datastream_id, time, value)
        SELECT * FROM unnest(%(ids)s::int[], %(times)s::timestamptz[], %(values)s::float8[])
            ON CONFLICT DO NOTHING
        RETURNING datastream_id, time
    )
    INSERT INTO rollup_log (bucket, datastream_id)
    SELECT DISTINCT date_bin('1 hour', time, '2000-01-01 00:00+00'), datastream_id FROM inserted
"""


async def add_datastream(
    conn: Connection, key: str = "no2", unit: str = "ug/m3", *, averaging_seconds: int = 0
) -> int:
    """Return the id of a new datastream, made with all it refers to."""
    values = {"key": key, "unit": unit, "averaging_seconds": averaging_seconds}
    [(datastream_id,)] = await (await conn.execute(_ADD, values)).fetchall()
    return int(datastream_id)


async def store(conn: Connection, *observations: tuple[int, datetime, float | None]) -> None:
    """Store (datastream, time, value) and log them, in one statement, as ingest does."""
    ids, times, values = zip(*observations, strict=True)
    await conn.execute(_STORE, {"ids": list(ids), "times": list(times), "values": list(values)})
