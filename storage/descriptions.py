"""What a gateway describes becomes Things, Sensors, Datastreams and places (OGC 18-088).

Written once the description has been checked (`ingest.admission`). Ownership is settled here,
because only the database sees all gateways at once: the first to describe a Thing or Sensor keeps
it, and a later claim becomes a row of `description_conflict` for a person to settle. Only the
gateway that follows a revoked one at the same site of the same council takes over what it had.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from psycopg import sql
from psycopg.types.json import Jsonb

from device_protocol.description import Datastream, GatewayDescription, Sensor, Thing
from standards_mapping.properties import find_property
from storage.database import Connection, query

OBSERVATION_TYPE: Final = "http://www.opengis.net/def/observationType/OGC-OM/2.0/"
_OBSERVATION_TYPE_OF_UNIT: Final[Mapping[str, str]] = {
    "bool": "OM_TruthObservation",
    "count": "OM_CountObservation",
}


@dataclass(slots=True)
class Described:
    """What storing a description did. conflicts: URN and what is wrong. moved: URNs of Things."""

    conflicts: list[tuple[str, str]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Describer:
    """The gateway a description came from; described_at in Unix seconds."""

    gateway_id: int
    council_id: int
    described_at: int


async def store_description(
    conn: Connection, describer: Describer, description: GatewayDescription, sha256: bytes
) -> Described:
    """Bring the registry up to a gateway's description, inside the caller's transaction.

    What is no longer described stays, as its observations do. `sha256` names the payload; it is
    remembered only if all of it could be taken, so that the same description is tried again after
    a conflict was settled. Pass b"" if parts were refused before.
    """
    described = Described()
    for thing in description.things:
        await _store_thing(conn, describer, thing, described)
    for urn, detail in described.conflicts:
        await conn.execute(
            "INSERT INTO description_conflict (gateway_id, urn, detail) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (describer.gateway_id, urn, detail),
        )
    await conn.execute(
        query("remember_description"),
        {
            "gateway_id": describer.gateway_id,
            "sha256": b"" if described.conflicts else sha256,
            "described_at": describer.described_at,
        },
    )
    return described


async def _store_thing(
    conn: Connection, describer: Describer, thing: Thing, described: Described
) -> None:
    thing_id = await _id(
        conn,
        "upsert_thing",
        {
            "council_id": describer.council_id,
            "gateway_id": describer.gateway_id,
            "urn": thing.urn,
            "name": thing.name,
            "description": thing.description,
            "properties": Jsonb(dict(thing.properties)),
        },
    )
    if thing_id is None:
        described.conflicts.append((thing.urn, await _why_taken(conn, "thing", thing.urn)))
        return
    location_id = await _place(conn, describer, thing, thing_id, described)
    feature_id = await _feature(conn, describer, thing, location_id)
    for sensor in thing.sensors:
        await _store_sensor(conn, describer, (thing_id, feature_id), sensor, described)


async def _place(
    conn: Connection, describer: Describer, thing: Thing, thing_id: int, described: Described
) -> int:
    """Put the Thing where it says it is; a changed place also makes a HistoricalLocation."""
    place = {
        "council_id": describer.council_id,
        "name": thing.place_name,
        "description": f"Where {thing.name} is",
        "location": _point(thing),
        "longitude": thing.longitude,
        "latitude": thing.latitude,
    }
    location_id = await _id(conn, "find_location", place)
    if location_id is None:
        location_id = await _made(conn, "add_location", place)
    cursor = await conn.execute(
        "SELECT location_id FROM thing_location WHERE thing_id = %s", (thing_id,)
    )
    before = [row[0] for row in await cursor.fetchall()]
    if before != [location_id]:
        if before:
            described.moved.append(thing.urn)
        await conn.execute(
            query("move_thing"),
            {
                "thing_id": thing_id,
                "location_id": location_id,
                "time": describer.described_at,
            },
        )
    return location_id


async def _feature(conn: Connection, describer: Describer, thing: Thing, location_id: int) -> int:
    """Return the FeatureOfInterest of a place: new observations there are about it."""
    return await _made(
        conn,
        "upsert_feature",
        {
            "council_id": describer.council_id,
            "location_id": location_id,
            "name": thing.place_name,
            "description": f"The surroundings of {thing.place_name}",
            "feature": _point(thing),
        },
    )


async def _store_sensor(
    conn: Connection,
    describer: Describer,
    thing_and_feature: tuple[int, int],
    sensor: Sensor,
    described: Described,
) -> None:
    sensor_id = await _id(
        conn,
        "upsert_sensor",
        {
            "council_id": describer.council_id,
            "gateway_id": describer.gateway_id,
            "urn": sensor.urn,
            "name": sensor.name,
            "description": sensor.description,
            "metadata": sensor.metadata,
        },
    )
    if sensor_id is None:
        described.conflicts.append((sensor.urn, await _why_taken(conn, "sensor", sensor.urn)))
        return
    thing_id, feature_id = thing_and_feature
    for datastream in sensor.datastreams:
        stored = await _id(
            conn,
            "upsert_datastream",
            {
                "council_id": describer.council_id,
                "thing_id": thing_id,
                "sensor_id": sensor_id,
                "observed_property_id": await _observed_property(conn, datastream),
                "feature_of_interest_id": feature_id,
                **_fields(datastream),
            },
        )
        if stored is None:
            detail = (
                f"Datastream {datastream.name!r} exists with another unit or observed property"
                f" than {datastream.unit} of {datastream.observed_property}: its observations"
                " stay as they are, so give the changed one another name"
            )
            described.conflicts.append((sensor.urn, detail))


async def _why_taken(conn: Connection, table: Literal["thing", "sensor"], urn: str) -> str:
    """Say whose a URN is that this gateway cannot have."""
    cursor = await conn.execute(
        sql.SQL("SELECT FROM {} WHERE urn = %s AND gateway_id IS NULL").format(
            sql.Identifier(table)
        ),
        (urn,),
    )
    kind = table.capitalize()
    if await cursor.fetchone() is not None:
        return f"this {kind} is kept by hand: its council deletes it, or it gets another URN"
    return f"another gateway described this {kind} first"


def _fields(datastream: Datastream) -> dict[str, object]:
    kind = _OBSERVATION_TYPE_OF_UNIT.get(datastream.unit, "OM_Measurement")
    return {
        "short_name": datastream.name,
        "name": datastream.title,
        "description": datastream.description,
        "unit": datastream.unit,
        "observation_type": OBSERVATION_TYPE + kind,
        "period_seconds": datastream.period_seconds,
        "averaging_seconds": datastream.averaging_seconds,
        "valid_minimum": datastream.valid_minimum,
        "valid_maximum": datastream.valid_maximum,
        "properties": Jsonb(dict(datastream.properties)),
    }


async def _observed_property(conn: Connection, datastream: Datastream) -> int:
    known = find_property(datastream.observed_property)
    return await _made(
        conn,
        "upsert_observed_property",
        {
            "key": known.key,
            "name": known.label,
            "definition": known.definition,
            "description": known.label,
        },
    )


def _point(thing: Thing) -> Jsonb:
    return Jsonb({"type": "Point", "coordinates": [thing.longitude, thing.latitude]})


async def _id(conn: Connection, name: str, parameters: Mapping[str, object]) -> int | None:
    """Run a query that returns an id, or nothing."""
    cursor = await conn.execute(query(name), parameters)
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def _made(conn: Connection, name: str, parameters: Mapping[str, object]) -> int:
    """Run a query that always returns an id."""
    found = await _id(conn, name, parameters)
    if found is None:
        raise RuntimeError(f"query {name} returned no row")
    return found
