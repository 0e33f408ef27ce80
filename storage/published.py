"""What is registered, read for publication: only what the reader may see (`storage.access`).

Whole pages of Things or datastreams at a time, never one by one. Observations are read by the
modules that publish them.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

from standards_mapping.properties import PROPERTIES
from standards_mapping.registry import (
    Council,
    Datastream,
    FormerCode,
    Place,
    Sensor,
    Stay,
    Thing,
)
from standards_mapping.units import UNITS
from storage.council_codes import council_codes
from storage.database import Connection, query

MOST_THINGS: Final = 1_000_000


async def published_things(
    conn: Connection,
    *,
    tenant: str | None = None,
    ids: Collection[int] | None = None,
    urns: Collection[str] | None = None,
    with_health: bool = False,
    with_places: bool = True,
    after: int = 0,
    limit: int = MOST_THINGS,
) -> list[Thing]:
    """Return Things by id, each with its places.

    tenant, ids, urns: only these. with_health: also what gateways report of themselves.
    with_places: None are read where false. after: only ids above it.
    """
    cursor = await conn.execute(
        query("published_things"),
        {
            "tenant": tenant,
            "ids": None if ids is None else list(ids),
            "urns": None if urns is None else list(urns),
            "with_health": with_health,
            "after": after,
            "limit": limit,
        },
    )
    rows = await cursor.fetchall()
    stays = await published_stays(conn, [row[0] for row in rows]) if with_places else {}
    councils = {council.tenant: council for council in await published_councils(conn)}
    return [
        Thing(
            id=number,
            urn=urn,
            name=name,
            description=description,
            properties=properties,
            council=councils[council],
            stays=stays.get(number, ()),
        )
        for number, urn, name, description, properties, council in rows
    ]


async def published_councils(conn: Connection) -> list[Council]:
    """Return every council by short name, with the codes it had before."""
    found: list[Council] = []
    for tenant, codes in groupby(await council_codes(conn), key=lambda code: code.tenant):
        *former, now = codes
        found.append(
            Council(
                gss=now.gss,
                tenant=tenant,
                name=now.name,
                since=now.valid_from,
                former=tuple(
                    FormerCode(code.gss, code.valid_from, code.valid_until)
                    for code in former
                    if code.valid_until is not None
                ),
            )
        )
    return found


async def published_datastreams(
    conn: Connection, things: Sequence[Thing], *, ids: Collection[int] | None = None
) -> list[Datastream]:
    """Return the datastreams of these Things by id; ids: only these.

    One whose property or unit the tables of this version do not have is left out.
    """
    by_id = {thing.id: thing for thing in things}
    cursor = await conn.execute(
        query("published_datastreams"),
        {"things": list(by_id), "ids": None if ids is None else list(ids)},
    )
    sensors: dict[int, Sensor] = {}
    found = (_datastream(row, by_id, sensors) for row in await cursor.fetchall())
    return [datastream for datastream in found if datastream is not None]


def _datastream(
    row: Sequence[Any], things: dict[int, Thing], sensors: dict[int, Sensor]
) -> Datastream | None:
    (number, short_name, name, description, unit, period, averaging, minimum, maximum) = row[:9]
    is_open, properties, key, thing_id, *sensor = row[9:]
    if key not in PROPERTIES or unit not in UNITS:
        return None
    names = ("id", "urn", "name", "description", "encoding_type", "metadata", "properties")
    return Datastream(
        id=number,
        thing=things[thing_id],
        sensor=sensors.setdefault(sensor[0], Sensor(**dict(zip(names, sensor, strict=True)))),
        observed_property=PROPERTIES[key],
        unit=UNITS[unit],
        short_name=short_name,
        name=name,
        description=description,
        period=None if period is None else timedelta(seconds=period),
        averaging=timedelta(seconds=averaging),
        valid_minimum=minimum,
        valid_maximum=maximum,
        is_open=is_open,
        properties=properties,
    )


async def published_stays(conn: Connection, things: Collection[int]) -> dict[int, tuple[Stay, ...]]:
    """Return where Things were, oldest first, by their ids; one without a place is absent."""
    cursor = await conn.execute(query("published_stays"), {"things": list(things)})
    names = ("id", "name", "description", "geometry", "longitude", "latitude")
    places: dict[int, Place] = {}
    found: dict[int, list[Stay]] = {}
    for thing, since, *place in await cursor.fetchall():
        kept = places.setdefault(place[0], Place(**dict(zip(names, place, strict=True))))
        found.setdefault(thing, []).append(Stay(place=kept, since=since))
    return {thing: tuple(stays) for thing, stays in found.items()}
