"""As much of entities as tells whether a query accepts them: for all candidates at once.

No more is read than what the query asks about takes, in a statement each whatever the number of
entities: newest results, places, what is registered of Things and of Sensors. Whole entities are
put together by `reader`, and only for the page that is answered.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from device_protocol.reading import Quality
from standards_mapping.air_quality_index import Index
from standards_mapping.ngsi_ld import contexts
from standards_mapping.ngsi_ld import entity as mapped
from standards_mapping.ngsi_ld.entity import INDEXED, STATED, TIMELESS, some_attributes
from standards_mapping.ngsi_ld.expanded import Entity
from standards_mapping.ngsi_ld.models import AIR_QUALITY, DEVICE, MODELS
from standards_mapping.ngsi_ld.representation import expand
from standards_mapping.observation import Observation
from standards_mapping.properties import PROPERTIES
from standards_mapping.registry import Council, Datastream, Sensor, Thing
from standards_mapping.units import UNITS
from storage.database import Connection, query
from storage.ngsi_ld.members import Members, Stream
from storage.open_data import newest_observations
from storage.published import published_stays, published_things

LOCATION: Final = contexts.attribute_iri("location", None)
INDEXED_IRIS: Final = frozenset(
    contexts.attribute_iri(name, MODELS[AIR_QUALITY]) for name in INDEXED
)

_OF_REGISTRY: Final = frozenset(
    {
        "category",
        "dataProvider",
        "description",
        "name",
        "refParkingSite",
        "serialNumber",
        "source",
        "status",
        "typeofLocation",
    }
)
"""What is said by the registry alone; the rest of what is stated, ids and times say."""
_WHENEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)  # where only the result matters


@cache
def _results() -> frozenset[str]:
    return INDEXED | frozenset(one.attribute for one in PROPERTIES.values()) - STATED


def results_only(attributes: frozenset[str]) -> bool:
    """Return whether these come from results alone, in whichever model: never from the registry."""
    return all(iri.rpartition("/")[2] in _results() for iri in attributes)


def asks_for_indices(attributes: frozenset[str]) -> bool:
    """Return whether the air quality index of sites is among these attributes."""
    return not INDEXED_IRIS.isdisjoint(attributes)


async def examined(
    conn: Connection,
    members: Members,
    ids: Sequence[str],
    attributes: frozenset[str],
    indices: Mapping[int, Index],
) -> list[Entity]:
    """Return entities that are there with those of these attributes that they have, in order.

    indices: by Thing, the air quality index where that is among the attributes.
    """
    of_type = {name: _names(name, attributes) for name in {members.by_id[one].type for one in ids}}
    names = frozenset().union(*of_type.values())
    chosen = {one: _streams(members, one, of_type) for one in ids}
    streams = {stream.id: stream for some in chosen.values() for stream in some}
    things = await _things(conn, streams.values(), names)
    with_sensors = bool(of_type.get(DEVICE, frozenset()) & _OF_REGISTRY)
    sensors = await _sensors(conn, streams.values()) if with_sensors else {}
    rows = {
        number: _datastream(stream, things[stream.thing], sensors.get(stream.sensor))
        for number, stream in streams.items()
    }
    latest = _latest(streams) if names <= TIMELESS | INDEXED else await _newest(conn, rows)
    found = []
    for one in ids:
        key = members.by_id[one].key
        own = [rows[stream.id] for stream in chosen[one]]
        index = indices.get(own[0].thing.id) if own else None
        some = some_attributes(key, own, latest, of_type[key.model], index)
        found.append(expand(mapped.Entity(one, key.model, tuple(some))))
    return found


def _names(model: str, attributes: frozenset[str]) -> frozenset[str]:
    """Return what a model calls those of these attributes that it has."""
    every = STATED | INDEXED | {one.attribute for one in PROPERTIES.values() if one.model == model}
    return frozenset(
        name for name in every if contexts.attribute_iri(name, MODELS[model]) in attributes
    )


def _streams(
    members: Members, entity_id: str, of_type: Mapping[str, frozenset[str]]
) -> list[Stream]:
    """Return the datastreams that tell these attributes of an entity, in order of their ids."""
    member = members.by_id[entity_id]
    names = of_type[member.type]
    if names & (STATED | INDEXED):
        return [members.streams[number] for number in sorted(member.known_by)]
    return [
        members.streams[number]
        for number, key in sorted(member.streams.items())
        if PROPERTIES[key].attribute in names
    ]


async def _things(
    conn: Connection, streams: Collection[Stream], names: frozenset[str]
) -> dict[int, Thing]:
    """Return the Things of datastreams, with no more than what tells these attributes."""
    ids = {stream.thing for stream in streams}
    placed = "location" in names
    if names & _OF_REGISTRY:
        found = await published_things(conn, ids=ids, with_health=True, with_places=placed)
        return {thing.id: thing for thing in found}
    stays = await published_stays(conn, ids) if placed else {}
    councils = {gss: Council(gss=gss, tenant="", name="") for gss in {one.gss for one in streams}}
    return {
        one.thing: Thing(
            id=one.thing,
            urn=one.urn,
            name="",
            description="",
            council=councils[one.gss],
            stays=stays.get(one.thing, ()),
        )
        for one in {each.thing: each for each in streams}.values()
    }


async def _sensors(conn: Connection, streams: Collection[Stream]) -> dict[str, Sensor]:
    """Return Sensors by their URNs, with what tells the attributes of Devices."""
    urns = list({stream.sensor for stream in streams})
    cursor = await conn.execute(query("ngsi_ld_sensors"), {"urns": urns})
    return {
        urn: Sensor(id=number, urn=urn, name=name, description=text, properties=properties)
        for urn, number, name, text, properties in await cursor.fetchall()
    }


def _datastream(stream: Stream, thing: Thing, sensor: Sensor | None) -> Datastream:
    """Return a datastream that has only what its results are told by."""
    return Datastream(
        id=stream.id,
        thing=thing,
        sensor=sensor or Sensor(id=0, urn=stream.sensor, name="", description=""),
        observed_property=PROPERTIES[stream.key],
        unit=UNITS[stream.unit],
        short_name=stream.short_name,
        name="",
        description="",
        averaging=timedelta(seconds=stream.averaging_seconds),
    )


async def _newest(conn: Connection, rows: Mapping[int, Datastream]) -> dict[int, Observation]:
    return {one.datastream: one for one in await newest_observations(conn, [*rows.values()])}


def _latest(streams: Mapping[int, Stream]) -> dict[int, Observation]:
    """Return the newest results as far as they are known already, without their times."""
    return {
        one.id: Observation(
            datastream=one.id,
            time=_WHENEVER,
            averaging=timedelta(),
            result=one.value if one.value is not None else one.result,
            quality=Quality(one.quality),
        )
        for one in streams.values()
        if one.quality is not None
    }
