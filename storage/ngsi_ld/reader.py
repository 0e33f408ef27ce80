"""The source that NGSI-LD requests are answered from: registry, newest results, observations.

Types and ids become conditions on the registry before anything is read; which entities there are
is then told from the newest results alone, and only those on the page are put together. What may
be read is decided by the views of `storage.access`.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Protocol

import psycopg
from psycopg import sql

from device_protocol.reading import Quality
from standards_mapping.air_quality_index import RULES, Index
from standards_mapping.ngsi_ld import contexts, models
from standards_mapping.ngsi_ld.aggregates import Series
from standards_mapping.ngsi_ld.entity import (
    NO_INDICES,
    Attribute,
    attribute_history,
    entities_of,
    location_history,
)
from standards_mapping.ngsi_ld.errors import NonexistentTenantError, OperationNotSupportedError
from standards_mapping.ngsi_ld.expanded import Entity, Instance
from standards_mapping.ngsi_ld.models import AIR_QUALITY, DEVICE, MODELS
from standards_mapping.ngsi_ld.representation import expand, instance_of
from standards_mapping.ngsi_ld.selection import EntitySelector
from standards_mapping.ngsi_ld.source import Attributes, TypeFacts
from standards_mapping.ngsi_ld.temporal_query import TemporalQuery, Window
from standards_mapping.observation import Observation
from standards_mapping.properties import PROPERTIES
from standards_mapping.registry import Datastream, Thing
from storage.access import let_read
from storage.air_quality import site_indices
from storage.database import Connection, query
from storage.ngsi_ld.aggregate import aggregated, window_sql
from storage.ngsi_ld.census import described_alike, facts_of, telling
from storage.ngsi_ld.examined import LOCATION, asks_for_indices, examined, results_only
from storage.ngsi_ld.members import Members
from storage.open_data import correction, newest_observations
from storage.overview import READ_TIMEOUT_SECONDS, bounded_read
from storage.published import published_datastreams, published_things

_WHENEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)  # where only the result matters
_FIRST_ASKED: Final = 20  # sites, until one with an air quality index is found
_NO_TIMES: Final = (
    "timeproperty is {}: when a reading arrived is not kept of each; ask for observedAt"
)


class SlowError(Exception):
    """A statement took too long; the question was too big."""


class Lender(Protocol):
    """Whatever lends connections."""

    def connection(self) -> Any:
        """Lend one for the length of a block."""


@asynccontextmanager
async def reading(
    pool: Lender, tenant: str | None, councils: Collection[int], now: datetime | None = None
) -> AsyncIterator["DatabaseSource"]:
    """Lend a source for one request, which sees one moment.

    tenant: of which council alone, by its short name. councils: ids of those whose restricted
    datastreams may be read. now: what air quality indices are of; None: the present.

    Raises:
        NonexistentTenantError: there is no such council.
        SlowError: a statement took longer than is allowed.
        storage.database.OUTAGES: the database cannot be reached.
    """
    async with pool.connection() as conn:
        try:
            async with bounded_read(conn):
                await let_read(conn, councils)
                if tenant is not None:
                    await _check_tenant(conn, tenant)
                yield DatabaseSource(conn, tenant, now or datetime.now(UTC))
        except psycopg.errors.QueryCanceled as error:
            raise SlowError(
                f"This took longer than {READ_TIMEOUT_SECONDS:.0f} s: ask for a shorter time, for"
                " fewer entities or for one council (NGSILD-Tenant)."
            ) from error


async def _check_tenant(conn: Connection, tenant: str) -> None:
    cursor = await conn.execute("SELECT FROM council WHERE tenant = %s", (tenant,))
    if await cursor.fetchone() is None:
        raise NonexistentTenantError(f"no council has the short name {tenant!r}")


class DatabaseSource:
    """The entities of the registry (see `standards_mapping.ngsi_ld.source.Source`)."""

    def __init__(self, conn: Connection, tenant: str | None, now: datetime) -> None:
        self._conn = conn
        self._tenant = tenant
        self._now = now
        self._known = Members()
        self._members = self._known.by_id

    async def find(self, selectors: Sequence[EntitySelector]) -> Sequence[str]:
        """Return the ids, in order, of the entities that a selector accepts.

        An id with a code that its council had before finds the entity; it is told by its id now.
        """
        found: set[str] = set()
        for given in selectors:
            selector = given
            await self._read_members(selector)
            if not self._members.keys() >= set(selector.ids):
                selector = replace(selector, ids=await self._ids_now(selector.ids))
                await self._read_members(selector)
            found.update(
                entity_id
                for entity_id, member in self._members.items()
                if member.present and selector.accepts(entity_id, (contexts.type_iri(member.type),))
            )
        return sorted(found)

    async def _ids_now(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Return ids with the codes that councils have now in place of those that they had."""
        keys = {one: models.parse_entity_id(one) for one in ids}
        codes = [key.gss for key in keys.values() if key is not None]
        cursor = await self._conn.execute(query("current_council_codes"), {"codes": codes})
        now: dict[str, str] = dict(await cursor.fetchall())
        return tuple(
            models.entity_id(replace(key, gss=now[key.gss]))
            if key is not None and key.gss in now
            else one
            for one, key in keys.items()
        )

    async def _read_members(self, selector: EntitySelector) -> None:
        """Learn which entities there are: of the types and, where they are given, the ids."""
        chosen = {
            name
            for name in MODELS
            if selector.types is None or selector.types((contexts.type_iri(name),))
        }
        urns: list[str] | None = None
        if selector.ids:
            keys = [models.parse_entity_id(one) for one in selector.ids]
            known = [key for key in keys if key is not None and key.model in chosen]
            urns = [key.urn for key in known]
            chosen &= {key.model for key in known}
        keys_of = [
            key
            for key, observed in PROPERTIES.items()
            if DEVICE in chosen or observed.model in chosen
        ]
        cursor = await self._conn.execute(
            query("ngsi_ld_newest"), {"tenant": self._tenant, "keys": keys_of, "urns": urns}
        )
        for row in await cursor.fetchall():
            self._known.note(row, chosen)

    async def having(self, ids: Sequence[str], attributes: frozenset[str]) -> Sequence[str]:
        """Return those ids whose entities may have one of these attributes.

        What results become is told from their datastreams; all else every entity may have.
        """
        if not results_only(attributes):
            return ids
        indexed = asks_for_indices(attributes)
        return [
            one
            for one in ids
            if any(
                _asked_for(key, attributes) or (indexed and key in RULES)
                for key in self._members[one].streams.values()
            )
        ]

    async def load(self, ids: Sequence[str], attributes: Attributes = None) -> Sequence[Entity]:
        """Return entities as they are now, in the order of `ids`.

        attributes: where air quality indices are not among them, none is read.
        """
        things, datastreams = await self._registered(ids)
        newest = {one.datastream: one for one in await newest_observations(self._conn, datastreams)}
        indexed = attributes is None or asks_for_indices(attributes)
        indices = await self._indices(ids) if indexed else NO_INDICES
        found = {one.id: one for one in entities_of(things, datastreams, newest, indices)}
        return [expand(found[one]) for one in ids if one in found]

    async def examine(self, ids: Sequence[str], attributes: frozenset[str]) -> Sequence[Entity]:
        """Return entities with no more than these attributes (see `examined`)."""
        indices = await self._indices(ids) if asks_for_indices(attributes) else NO_INDICES
        return await examined(self._conn, self._known, ids, attributes, indices)

    async def _indices(self, ids: Sequence[str]) -> Mapping[int, Index]:
        """Return the air quality index of those sites that have one, by the Thing's id."""
        things = self._known.with_indices(ids)
        return await site_indices(self._conn, self._now, things=things) if things else NO_INDICES

    async def _registered(self, ids: Sequence[str]) -> tuple[list[Thing], list[Datastream]]:
        members = [self._members[one] for one in ids if one in self._members]
        if not members:
            return [], []
        numbers = {number for member in members for number in self._known.things(member)}
        streams = {number for member in members for number in member.known_by}
        things = await published_things(
            self._conn, tenant=self._tenant, ids=numbers, with_health=True
        )
        return things, await published_datastreams(self._conn, things, ids=streams)

    async def observed(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes
    ) -> Sequence[str]:
        """Return those ids with a result in the window: an index entry is looked at for each."""
        _check_timeproperty(asked)
        streams = {
            number: one
            for one in ids
            for number, key in self._members[one].streams.items()
            if _asked_for(key, attributes)
        }
        found = {
            streams[number] for number in await self._with_results(list(streams), asked.window)
        }
        return [one for one in ids if one in found]

    async def _with_results(self, numbers: Sequence[int], window: Window) -> list[int]:
        statement = sql.SQL(query("ngsi_ld_observed")).format(window=window_sql(window))
        cursor = await self._conn.execute(statement, {"ids": list(numbers)}, prepare=False)
        return [row[0] for row in await cursor.fetchall()]

    async def history(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes, most: int
    ) -> Sequence[Entity]:
        """Return what was observed in the window, and where the site was meanwhile."""
        _check_timeproperty(asked)
        things, datastreams = await self._measured(ids, attributes)
        rows = await self._results(datastreams, asked, most)
        found = []
        for one in ids:
            member = self._members[one]
            kept: dict[str, list[Instance]] = {}
            own = [datastreams[number] for number in member.streams if number in datastreams]
            for datastream, dataset in _with_datasets(own):
                model = MODELS[member.type]
                for each in attribute_history(datastream, rows.get(datastream.id, ())):
                    iri = contexts.attribute_iri(each.name, model)
                    instance = instance_of(each, model)
                    kept.setdefault(iri, []).append(replace(instance, dataset=dataset))
            if attributes is None or LOCATION in attributes:
                stands_for = self._known.things(member)
                places = [thing for thing in things if thing.id in stands_for]
                kept |= _places(places, asked.window)
            found.append(Entity(id=one, types=(contexts.type_iri(member.type),), attributes=kept))
        return found

    async def _measured(
        self, ids: Sequence[str], attributes: Attributes
    ) -> tuple[list[Thing], dict[int, Datastream]]:
        """Return the Things of entities, and by id the datastreams of the attributes asked for."""
        things, datastreams = await self._registered(ids)
        wanted = {
            number
            for one in ids
            for number, key in self._members[one].streams.items()
            if _asked_for(key, attributes)
        }
        return things, {one.id: one for one in datastreams if one.id in wanted}

    async def _results(
        self, datastreams: Mapping[int, Datastream], asked: TemporalQuery, most: int
    ) -> dict[int, list[Observation]]:
        statement = sql.SQL(query("ngsi_ld_history")).format(
            window=window_sql(asked.window),
            order=sql.SQL("ASC" if asked.last is None else "DESC"),
        )
        cursor = await self._conn.execute(
            statement, {"ids": list(datastreams), "most": most}, prepare=False
        )
        found: dict[int, list[Observation]] = {}
        for number, *rest in await cursor.fetchall():
            found.setdefault(number, []).append(_observation(datastreams[number], rest))
        for results in found.values():
            results.sort(key=lambda one: one.time)
        return found

    async def aggregates(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes
    ) -> Sequence[tuple[Entity, Mapping[str, Sequence[Series]]]]:
        """Return what results come to, one statement a datastream."""
        _check_timeproperty(asked)
        _, datastreams = await self._measured(ids, attributes)
        found = []
        for one in ids:
            member = self._members[one]
            model = MODELS[member.type]
            series: dict[str, list[Series]] = {}
            own = [datastreams[number] for number in member.streams if number in datastreams]
            for datastream, dataset in _with_datasets(own):
                buckets = await aggregated(self._conn, datastream, asked)
                iri = contexts.attribute_iri(datastream.observed_property.attribute, model)
                if buckets:
                    series.setdefault(iri, []).append(Series(buckets=buckets, dataset=dataset))
            entity = Entity(id=one, types=(contexts.type_iri(member.type),), attributes={})
            found.append((entity, series))
        return found

    async def types(self) -> Sequence[TypeFacts]:
        """Return what there is of each type (see `census`)."""
        ids = await self.find([EntitySelector()])
        alike = await described_alike(self._conn, self._tenant)
        some = [*telling(self._known, ids, alike), *await self._one_with_index(ids)]
        entities = await self.load(some)
        return facts_of([self._members[one].type for one in ids], entities)

    async def _one_with_index(self, ids: Sequence[str]) -> Sequence[str]:
        """Return the id of an entity with an air quality index; where most have one, few tell."""
        left = [one for one in ids if self._members[one].type == AIR_QUALITY]
        number = _FIRST_ASKED
        while left:
            some, left = left[:number], left[number:]
            found = await self._indices(some)
            for one in some:
                if not found.keys().isdisjoint(self._known.with_indices([one])):
                    return [one]
            number *= number
        return []


def _check_timeproperty(asked: TemporalQuery) -> None:
    if asked.timeproperty != "observedAt":
        raise OperationNotSupportedError(_NO_TIMES.format(asked.timeproperty))


def _asked_for(key: str, attributes: Attributes) -> bool:
    return attributes is None or _iri_of(key) in attributes


@cache
def _iri_of(key: str) -> str:
    """Return the attribute that results of a property become."""
    observed = PROPERTIES[key]
    return contexts.attribute_iri(observed.attribute, MODELS[observed.model])


def _with_datasets(datastreams: Sequence[Datastream]) -> list[tuple[Datastream, str | None]]:
    """Return datastreams with the datasetId of each that is not the first of its attribute."""
    seen: set[str] = set()
    found: list[tuple[Datastream, str | None]] = []
    for one in sorted(datastreams, key=lambda each: each.id):
        name = one.observed_property.attribute
        found.append((one, models.dataset_id(one) if name in seen else None))
        seen.add(name)
    return found


def _places(things: Sequence[Thing], window: Window) -> dict[str, list[Instance]]:
    """Return where things were within a window, what held when it began included."""
    found = [
        instance_of(each, None)
        for thing in things
        for each, following in _followed(location_history(thing))
        if (window.before is None or (each.observed_at or window.before) < window.before)
        and (window.after is None or following is None or following > window.after)
    ]
    return {LOCATION: found} if found else {}


def _followed(places: Sequence[Attribute]) -> list[tuple[Attribute, Any]]:
    """Return each place with when the next one began."""
    nexts = [each.observed_at for each in places[1:]] + [None]
    return list(zip(places, nexts, strict=True))


def _observation(datastream: Datastream, row: Sequence[Any]) -> Observation:
    time, value, result, quality, corrected = row
    return Observation(
        datastream=datastream.id,
        time=time,
        averaging=datastream.averaging,
        result=value if value is not None else result,
        quality=Quality(quality),
        corrected=correction(corrected),
    )
