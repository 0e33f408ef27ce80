"""Where Things that are kept by hand are, were, and what observations there are about."""

from collections.abc import Sequence
from datetime import datetime

from standards_mapping.sensorthings.errors import ConflictError, QueryError
from storage.database import Connection, query


async def place(conn: Connection, thing: int, locations: Sequence[int], now: datetime) -> None:
    """Put a Thing at these locations; a change makes a HistoricalLocation (clause 8.2.2).

    Its datastreams that are kept by hand are about the first of them from now on; older
    observations keep the older place.
    """
    cursor = await conn.execute(
        "SELECT location_id FROM thing_location WHERE thing_id = %s ORDER BY 1", (thing,)
    )
    before = [row[0] for row in await cursor.fetchall()]
    if before == list(locations):
        return
    if not locations:
        await conn.execute("DELETE FROM thing_location WHERE thing_id = %s", (thing,))
        return
    cursor = await conn.execute(
        "INSERT INTO historical_location (thing_id, time) VALUES (%s, %s) RETURNING id",
        (thing, now),
    )
    [(moment,)] = await cursor.fetchall()
    for location in locations:
        await remember(conn, moment, location)
    await _put(conn, thing, locations)


async def _put(conn: Connection, thing: int, locations: Sequence[int]) -> None:
    await conn.execute("DELETE FROM thing_location WHERE thing_id = %s", (thing,))
    await conn.execute(
        "INSERT INTO thing_location (thing_id, location_id) SELECT %s, unnest(%s::int[])",
        (thing, list(locations)),
    )
    await conn.execute(
        "UPDATE datastream SET feature_of_interest_id = %s FROM sensor"
        " WHERE thing_id = %s AND sensor.id = sensor_id AND sensor.gateway_id IS NULL",
        (await _feature(conn, locations[0]), thing),
    )


async def remember(conn: Connection, moment: int, location: int) -> None:
    """Let a HistoricalLocation be of a Location; observations then are about that place."""
    await conn.execute(
        "INSERT INTO historical_location_location (historical_location_id, location_id)"
        " VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (moment, location),
    )
    await _feature(conn, location)


async def follow(conn: Connection, moment: int) -> None:
    """Let a Thing be where its newest HistoricalLocation says, if this is it (clause 8.2.3)."""
    cursor = await conn.execute(
        "SELECT thing_id, ARRAY(SELECT location_id FROM historical_location_location"
        "  WHERE historical_location_id = h.id ORDER BY 1)"
        " FROM historical_location h WHERE id = %s AND NOT EXISTS (SELECT FROM historical_location"
        "  AS other WHERE other.thing_id = h.thing_id AND (other.time, other.id) > (h.time, h.id))",
        (moment,),
    )
    newest = await cursor.fetchone()
    if newest is not None and newest[1]:
        await _put(conn, *newest)


async def feature_of_thing(conn: Connection, thing: int) -> int | None:
    """Return the FeatureOfInterest of where a Thing is; None where it is nowhere."""
    cursor = await conn.execute(
        "SELECT min(location_id) FROM thing_location WHERE thing_id = %s", (thing,)
    )
    [(location,)] = await cursor.fetchall()
    return None if location is None else await _feature(conn, int(location))


async def settle_feature(conn: Connection, datastream: int, wanted: int | None) -> None:
    """Make sure that a datastream's observations are about something (clause 8.2.8).

    wanted: the feature that an observation names.

    Raises:
        QueryError: there is neither a feature nor a Location to make one from.
        ConflictError: its observations are about another one.
    """
    cursor = await conn.execute(
        "SELECT feature_of_interest_id, thing_id, %s::int IS NULL OR council_id ="
        " (SELECT council_id FROM feature_of_interest WHERE id = %s)"
        " FROM datastream WHERE id = %s",
        (wanted, wanted, datastream),
    )
    [(present, thing, is_ours)] = await cursor.fetchall()
    if not is_ours:  # a place that is restricted would be shown with what is open
        raise QueryError(
            f"FeatureOfInterest: there is no FeatureOfInterest with the id {wanted} in the"
            " council of the Datastream"
        )
    if present is not None and wanted in (None, present):
        return
    if present is not None:
        cursor = await conn.execute(
            "SELECT EXISTS (SELECT FROM observation WHERE datastream_id = %s)"
            " OR EXISTS (SELECT FROM historical_location WHERE thing_id = %s)",
            (datastream, thing),
        )
        if await cursor.fetchone() == (True,):
            raise ConflictError(
                f"observations of Datastream {datastream} are about FeatureOfInterest {present},"
                f" not {wanted}: leave the link out, or keep another Datastream"
            )
    found = wanted if wanted is not None else await feature_of_thing(conn, thing)
    if found is None:
        raise QueryError(
            "the Observation names no FeatureOfInterest, and its Thing has no Location to make"
            " one from"
        )
    await conn.execute(
        "UPDATE datastream SET feature_of_interest_id = %s WHERE id = %s", (found, datastream)
    )


async def _feature(conn: Connection, location: int) -> int:
    """Return the FeatureOfInterest made from a Location, made if it is new."""
    cursor = await conn.execute(query("feature_of_location"), {"location_id": location})
    [(found,)] = await cursor.fetchall()
    return int(found)
