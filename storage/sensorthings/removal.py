"""Deletes entities that are kept by hand, with what the standard deletes with them (clause 10.4).

A Thing takes its Datastreams and HistoricalLocations along, a Location its HistoricalLocations, a
Datastream or FeatureOfInterest its Observations, a Sensor or ObservedProperty its Datastreams.
Where a gateway's would go with them, nothing is deleted.
"""

from collections.abc import Mapping

from psycopg import sql

from standards_mapping.sensorthings.errors import ConflictError
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from storage.database import Connection, query
from storage.sensorthings import corrections
from storage.sensorthings.ownership import Author, own
from storage.sensorthings.schema import SOURCES


async def remove(conn: Connection, author: Author, kind: str, key: int) -> Mapping[str, int]:
    """Delete an entity that may be deleted; return how much else went with it, for the audit.

    Raises:
        ConflictError: something that a gateway describes would go with it.
        ForbiddenError: something of another council would.
    """
    match kind:
        case "Datastream":
            return await _datastreams(conn, author, [key])
        case "Thing" | "Sensor" | "ObservedProperty":
            return await _with_datastreams(conn, author, kind, key)
        case "Location":
            return await _location(conn, key)
        case "HistoricalLocation":
            await _forget_moments(conn, [key])
            return {}
        case _:
            return await _feature(conn, author, key)


async def _with_datastreams(
    conn: Connection, author: Author, kind: str, key: int
) -> Mapping[str, int]:
    table = {"Thing": "thing", "Sensor": "sensor", "ObservedProperty": "observed_property"}[kind]
    cursor = await conn.execute(
        sql.SQL("SELECT id FROM datastream WHERE {} = %s").format(sql.Identifier(f"{table}_id")),
        (key,),
    )
    counts = await _datastreams(conn, author, [row[0] for row in await cursor.fetchall()])
    if kind == "Thing":
        cursor = await conn.execute(
            "SELECT id FROM historical_location WHERE thing_id = %s", (key,)
        )
        await _forget_moments(conn, [row[0] for row in await cursor.fetchall()])
        await conn.execute("DELETE FROM thing_location WHERE thing_id = %s", (key,))
    await conn.execute(
        sql.SQL("DELETE FROM {} WHERE id = %s").format(sql.Identifier(table)), (key,)
    )
    return counts


async def _datastreams(conn: Connection, author: Author, ids: list[int]) -> Mapping[str, int]:
    for datastream in ids:
        await own(conn, author, ENTITY_TYPES["Datastream"], datastream)
    if not ids:
        return {}
    wanted = {"datastream_ids": ids}
    await conn.execute(query("note_days_of_datastreams"), wanted)
    cursor = await conn.execute("DELETE FROM observation WHERE datastream_id = ANY (%s)", (ids,))
    observations = cursor.rowcount
    for table in ("observation_extra", "rollup_1h", "rollup_log", "latest", "datastream_floor"):
        await conn.execute(
            sql.SQL("DELETE FROM {} WHERE datastream_id = ANY (%s)").format(sql.Identifier(table)),
            (ids,),
        )
    await conn.execute("DELETE FROM datastream WHERE id = ANY (%s)", (ids,))
    return {"datastreams": len(ids), "observations": observations}


async def _forget_moments(conn: Connection, ids: list[int]) -> None:
    await conn.execute(
        "DELETE FROM historical_location_location WHERE historical_location_id = ANY (%s)", (ids,)
    )
    await conn.execute("DELETE FROM historical_location WHERE id = ANY (%s)", (ids,))


async def _location(conn: Connection, key: int) -> Mapping[str, int]:
    cursor = await conn.execute(
        "SELECT historical_location_id FROM historical_location_location WHERE location_id = %s",
        (key,),
    )
    moments = [row[0] for row in await cursor.fetchall()]
    await _forget_moments(conn, moments)
    await conn.execute("DELETE FROM thing_location WHERE location_id = %s", (key,))
    await conn.execute(
        "UPDATE feature_of_interest SET location_id = NULL WHERE location_id = %s", (key,)
    )
    await conn.execute("DELETE FROM location WHERE id = %s", (key,))
    return {"historical locations": len(moments)}


async def _feature(conn: Connection, author: Author, key: int) -> Mapping[str, int]:
    cursor = await conn.execute(
        sql.SQL(
            "SELECT e.datastream_id, e.time FROM {} AS e WHERE e.feature_of_interest_id = %s"
        ).format(SOURCES["Observation"]),
        (key,),
    )
    found = await cursor.fetchall()
    if len(found) > _MOST_OBSERVATIONS:
        raise ConflictError(
            f"{len(found)} Observations are about FeatureOfInterest {key}, more than are deleted"
            f" at once ({_MOST_OBSERVATIONS}): delete their Datastream instead"
        )
    for datastream, time in found:
        await corrections.delete(conn, author, ObservationId.of(datastream, time))
    await conn.execute(
        "UPDATE datastream SET feature_of_interest_id = NULL WHERE feature_of_interest_id = %s",
        (key,),
    )
    await conn.execute("DELETE FROM feature_of_interest WHERE id = %s", (key,))
    return {"observations": len(found)}


_MOST_OBSERVATIONS = 10_000
