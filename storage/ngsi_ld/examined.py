"""As much of entities as tells whether a query accepts them: for all candidates at once.

Two statements, of newest results and of places, whatever their number. Whole entities, which take
the registry, are put together by `reader` and only for the page that is answered.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Final

from standards_mapping.ngsi_ld import contexts, models
from standards_mapping.ngsi_ld.entity import STATED, attribute_history, location_history
from standards_mapping.ngsi_ld.expanded import Entity, Instance
from standards_mapping.ngsi_ld.models import MODELS
from standards_mapping.ngsi_ld.representation import instance_of
from standards_mapping.ngsi_ld.rules import value_of
from standards_mapping.observation import Observation
from standards_mapping.properties import PROPERTIES
from standards_mapping.registry import Council, Datastream, Sensor, Stay, Thing
from standards_mapping.units import UNITS
from storage.database import Connection
from storage.ngsi_ld.members import Stream
from storage.open_data import newest_observations
from storage.published import published_stays

LOCATION: Final = contexts.attribute_iri("location", None)


@cache
def _names() -> frozenset[str]:
    return frozenset(one.attribute for one in PROPERTIES.values()) - STATED


def results_only(attributes: frozenset[str]) -> bool:
    """Return whether these come from results alone, in whichever model: never from the registry."""
    return all(iri.rpartition("/")[2] in _names() for iri in attributes)


async def examined(
    conn: Connection, members: Mapping[str, tuple[str, Sequence[Stream]]], *, placed: bool
) -> dict[str, Entity]:
    """Return entities with the attributes that these datastreams' newest results become.

    members: the type and datastreams by entity, of those with a place all of them. placed: with
    where the site was when its newest value began; of these none is a Device.
    """
    streams = {one.id: _datastream(one) for _, some in members.values() for one in some}
    newest = {one.datastream: one for one in await newest_observations(conn, [*streams.values()])}
    things = {one.thing.id for one in streams.values()} if placed else set()
    stays = await published_stays(conn, things) if things else {}
    found = {}
    for entity_id, (kind, some) in members.items():
        told = [
            (streams[one.id], newest[one.id])
            for one in sorted(some, key=lambda each: each.id)
            if one.id in newest and value_of(streams[one.id], newest[one.id]) is not None
        ]
        attributes = _values(kind, told)
        if placed and told:
            attributes |= _place(stays.get(told[0][0].thing.id, ()), told)
        found[entity_id] = Entity(
            id=entity_id, types=(contexts.type_iri(kind),), attributes=attributes
        )
    return found


def _values(kind: str, told: Sequence[tuple[Datastream, Observation]]) -> dict[str, list[Instance]]:
    """Return the values; of several of one attribute all but the first have a datasetId."""
    model = MODELS[kind]
    found: dict[str, list[Instance]] = {}
    for datastream, observation in told:
        for each in attribute_history(datastream, [observation]):
            same = found.setdefault(contexts.attribute_iri(each.name, model), [])
            one = instance_of(each, model)
            if same:
                one = _of_dataset(one, models.dataset_id(datastream))
            same.append(one)
    return found


def _of_dataset(one: Instance, dataset: str) -> Instance:
    return Instance(
        kind=one.kind,
        value=one.value,
        observed_at=one.observed_at,
        unit=one.unit,
        dataset=dataset,
        attributes=one.attributes,
    )


def _place(
    stays: tuple[Stay, ...], told: Sequence[tuple[Datastream, Observation]]
) -> dict[str, list[Instance]]:
    """Return where the site was when the interval of its newest value began."""
    newest = max(seen.time for _, seen in told)
    began = min(seen.phenomenon_start for _, seen in told if seen.time == newest)
    thing = _thing(0, "", stays)
    place = thing.place_at(began)
    held = [
        each
        for stay, each in zip(stays, location_history(thing), strict=True)
        if stay.place is place
    ]
    return {LOCATION: [instance_of(held[-1], None)]} if held else {}


def _thing(number: int, gss: str, stays: tuple[Stay, ...] = ()) -> Thing:
    council = Council(gss=gss, tenant="", name="")
    return Thing(id=number, urn="", name="", description="", council=council, stays=stays)


def _datastream(stream: Stream) -> Datastream:
    """Return a datastream that has only what its results are told by."""
    return Datastream(
        id=stream.id,
        thing=_thing(stream.thing, stream.gss),
        sensor=Sensor(id=0, urn=stream.sensor, name="", description=""),
        observed_property=PROPERTIES[stream.key],
        unit=UNITS[stream.unit],
        short_name=stream.short_name,
        name="",
        description="",
        averaging=timedelta(seconds=stream.averaging_seconds),
    )
