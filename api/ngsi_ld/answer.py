"""From a parsed request and a source of entities to JSON; neither HTTP nor SQL is known here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from standards_mapping.ngsi_ld.errors import ResourceNotFoundError, TooComplexQueryError
from standards_mapping.ngsi_ld.expanded import Entity, Instance
from standards_mapping.ngsi_ld.forms import Json, Writer
from standards_mapping.ngsi_ld.parameters import Output, Query
from standards_mapping.ngsi_ld.selection import EntitySelector
from standards_mapping.ngsi_ld.source import Source
from standards_mapping.ngsi_ld.temporal_query import TemporalQuery, written
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

MOST_EXAMINED: Final = 20_000
"""Entities that one query looks into; more are refused."""
MOST_HISTORIES: Final = 1000
"""Entities whose history one query looks into; more are refused."""
MOST_INSTANCES: Final = 1000
"""Instances of one attribute in one answer."""
MOST_INSTANCES_TOGETHER: Final = 64_000
"""Instances of all attributes that one request reads, some 16 MB of JSON; more are refused."""
_READ_AT_ONCE: Final = 10
"""Entities whose histories are read before they are counted."""


@dataclass(frozen=True, slots=True)
class Page:
    """Entities as JSON.

    count: of all pages, where it was asked for. content_range: where a history was cut.
    """

    entities: Sequence[Json]
    more: bool
    count: int | None = None
    content_range: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers requests from one source. most: instances of an attribute in one answer."""

    source: Source
    vocabulary: Vocabulary
    most: int = MOST_INSTANCES

    async def entities(self, query: Query, *, geojson: bool = False) -> Page:
        """Return a page of entities as they are now.

        Raises:
            TooComplexQueryError: too many would have to be looked into.
        """
        ids = await self.source.find(query.selectors)
        if query.condition is not None or query.geo is not None or query.output.attributes:
            for needed in _needed(query):
                ids = await self.source.having(ids, needed)
            _check_number(len(ids), MOST_EXAMINED)
            found = await self.source.examine(ids, _looked_at(query))
            ids = [one.id for one in found if _accepts(query, one)]
        page = ids[query.offset : query.offset + query.limit]
        entities = await self.source.load(page, query.output.projection.attributes)
        writer = self._writer(query.output)
        return Page(
            [self._write(writer, one, query.output, geojson=geojson) for one in entities],
            more=query.offset + query.limit < len(ids),
            count=len(ids) if query.count else None,
        )

    async def entity(
        self, entity_id: str, output: Output, selector: EntitySelector, *, geojson: bool = False
    ) -> Json:
        """Return one entity as it is now.

        Raises:
            ResourceNotFoundError: there is none, or it has none of the attributes asked for.
        """
        found = await self._one(entity_id, selector)
        if output.attributes and not output.attributes & found.attributes.keys():
            raise ResourceNotFoundError(f"{entity_id} has none of these attributes")
        written_ = self._write(self._writer(output), found, output, geojson=geojson)
        if not written_:
            raise ResourceNotFoundError(f"nothing is left of {entity_id}: omit less")
        return written_

    async def _one(self, entity_id: str, selector: EntitySelector) -> Entity:
        for found in await self.source.load([await self._id_now(entity_id, selector)]):
            return found
        raise ResourceNotFoundError(f"there is no entity {entity_id}")

    async def _id_now(self, entity_id: str, selector: EntitySelector) -> str:
        """Return the id that an entity has now, which may be asked for by one that it had."""
        for found in await self.source.find([replace(selector, ids=(entity_id,))]):
            return found
        raise ResourceNotFoundError(f"there is no entity {entity_id}")

    def _writer(self, output: Output) -> Writer:
        return Writer(
            vocabulary=self.vocabulary,
            projection=output.projection,
            form=output.form,
            sys_attrs=output.sys_attrs,
        )

    def _write(self, writer: Writer, entity: Entity, output: Output, *, geojson: bool) -> Json:
        if geojson:
            return writer.feature(entity, output.geometry_property)
        return writer.entity(entity)

    async def histories(self, query: Query, asked: TemporalQuery) -> Page:
        """Return a page of entities that have a history in the time asked about.

        Raises:
            TooComplexQueryError: too many would have to be looked into.
        """
        ids = await self.source.find(query.selectors)
        ids = await self.source.observed(ids, asked, query.output.attributes)
        ids = await self._matching(ids, query, asked)
        page = ids[query.offset : query.offset + query.limit]
        entities, content_range = await self._histories(page, query.output, asked)
        return Page(
            entities,
            more=query.offset + query.limit < len(ids),
            count=len(ids) if query.count else None,
            content_range=content_range,
        )

    async def _matching(
        self, ids: Sequence[str], query: Query, asked: TemporalQuery
    ) -> Sequence[str]:
        """Return those with an instance, in the time asked about, that q and georel hold of."""
        wanted: set[str] = set()
        if query.condition is not None:
            wanted.update(query.condition.attributes())
        if query.geo is not None:
            wanted.update(query.geo.geoproperty)
        if not wanted:
            return ids
        _check_number(len(ids), MOST_HISTORIES)
        every = replace(asked, last=None, aggregation=None)
        found = await self._read_histories(ids, every, frozenset(wanted), self.most)
        return [
            one.id
            for one in found
            if (query.condition is None or query.condition.holds(one))
            and (query.geo is None or query.geo.holds(one))
        ]

    async def history(
        self, entity_id: str, output: Output, asked: TemporalQuery, selector: EntitySelector
    ) -> tuple[Json, str | None]:
        """Return the history of one entity, and the range that it was cut to, if it was.

        Raises:
            ResourceNotFoundError: there is none, or none of the attributes asked for.
        """
        entity_id = await self._id_now(entity_id, selector)
        entities, content_range = await self._histories([entity_id], output, asked)
        if output.attributes and not (entities and len(entities[0].keys() - {"id", "type"})):
            raise ResourceNotFoundError(f"{entity_id} has no history of these attributes")
        return entities[0] if entities else {"id": entity_id}, content_range

    async def _histories(
        self, ids: Sequence[str], output: Output, asked: TemporalQuery
    ) -> tuple[list[Json], str | None]:
        writer = self._writer(output)
        wanted = output.projection.attributes
        if asked.aggregation is not None:
            found = await self.source.aggregates(ids, asked, wanted)
            methods = asked.aggregation.methods
            return [writer.aggregated(one, series, methods) for one, series in found], None
        limit = self.most if asked.last is None else min(asked.last, self.most)
        entities = await self._read_histories(ids, asked, wanted, limit + 1)
        kept, content_range = cut(entities, asked, limit)
        if output.temporal == "temporalValues":
            written_ = [writer.temporal_values(one, asked.timeproperty) for one in kept]
            return written_, content_range
        return [writer.history(one) for one in kept], content_range

    async def _read_histories(
        self,
        ids: Sequence[str],
        asked: TemporalQuery,
        attributes: frozenset[str] | None,
        most: int,
    ) -> Sequence[Entity]:
        """Return histories, read some at a time so that too many are noticed early.

        Raises:
            TooComplexQueryError: they hold more instances than one request may read.
        """
        found: list[Entity] = []
        number = 0
        for start in range(0, len(ids), _READ_AT_ONCE):
            some = ids[start : start + _READ_AT_ONCE]
            for one in await self.source.history(some, asked, attributes, most):
                found.append(one)
                number += sum(map(len, one.attributes.values()))
            if number > MOST_INSTANCES_TOGETHER:
                raise TooComplexQueryError(
                    f"this would read more than {MOST_INSTANCES_TOGETHER} instances: ask for a"
                    " shorter time, with lastN, for fewer attributes (attrs), or for fewer"
                    " entities at once (limit)"
                )
        return found


def _check_number(number: int, most: int) -> None:
    if number > most:
        raise TooComplexQueryError(
            f"this would look into {number} entities, {most} at most are looked into: ask for one"
            " type or one council (NGSILD-Tenant), or for ids"
        )


def _needed(query: Query) -> list[frozenset[str]]:
    """Return sets of attributes of each of which an entity must have one to be accepted."""
    found = [query.output.attributes] if query.output.attributes else []
    return [*found, query.condition.needs()] if query.condition is not None else found


def _looked_at(query: Query) -> frozenset[str]:
    """Return the attributes that tell whether an entity is accepted."""
    found = set(query.output.attributes or ())
    if query.condition is not None:
        found.update(query.condition.attributes())
    if query.geo is not None:
        found.update(query.geo.geoproperty)
    return frozenset(found)


def _accepts(query: Query, entity: Entity) -> bool:
    wanted = query.output.attributes
    return (
        (not wanted or bool(wanted & entity.attributes.keys()))
        and (query.condition is None or query.condition.holds(entity))
        and (query.geo is None or query.geo.holds(entity))
    )


def cut(
    entities: Sequence[Entity], asked: TemporalQuery, limit: int
) -> tuple[Sequence[Entity], str | None]:
    """Cut histories to at most `limit` instances an attribute; all of them at one time.

    So what is left is whole between two times, which Content-Range names (clause 6.3.10): the next
    request goes on at the second. None where nothing was cut but what lastN leaves out anyway.
    """
    newest = asked.last is not None
    longest = [
        [time for one in series if (time := one.time(asked.timeproperty)) is not None]
        for entity in entities
        for series in _datasets(entity)
        if len(series) > limit
    ]
    if newest and asked.last == limit:
        return [_last(entity, limit) for entity in entities], None
    if not longest:
        return entities, None
    edge = max(times[-limit] for times in longest) if newest else min(t[limit - 1] for t in longest)
    kept = [_up_to(entity, asked, edge, newest=newest) for entity in entities]
    return kept, _content_range(kept, asked)


def _datasets(entity: Entity) -> list[list[Instance]]:
    found: dict[tuple[str, str | None], list[Instance]] = {}
    for iri, instances in entity.attributes.items():
        for one in instances:
            found.setdefault((iri, one.dataset), []).append(one)
    return list(found.values())


def _last(entity: Entity, number: int) -> Entity:
    """Return the entity with the last so many instances of each attribute and dataset."""
    kept = {id(one) for series in _datasets(entity) for one in series[-number:]}
    attributes = {
        iri: [one for one in instances if id(one) in kept]
        for iri, instances in entity.attributes.items()
    }
    return replace(entity, attributes=attributes)


def _up_to(entity: Entity, asked: TemporalQuery, edge: datetime, *, newest: bool) -> Entity:
    def within(one: Instance) -> bool:
        time = one.time(asked.timeproperty)
        return time is None or (time >= edge if newest else time <= edge)

    attributes = {
        iri: [one for one in instances if within(one)]
        for iri, instances in entity.attributes.items()
    }
    return replace(entity, attributes={iri: some for iri, some in attributes.items() if some})


def _content_range(entities: Sequence[Entity], asked: TemporalQuery) -> str:
    times = [
        time
        for entity in entities
        for instances in entity.attributes.values()
        for one in instances
        if (time := one.time(asked.timeproperty)) is not None and asked.window.holds(time)
    ]
    if asked.last is None:
        start = asked.time_at if asked.timerel in ("after", "between") else None
        return f"date-time {written(start or min(times))}-{written(max(times))}/*"
    start = {"before": asked.time_at, "between": asked.end_time_at}.get(asked.timerel)
    return f"date-time {written(start or max(times))}-{written(min(times))}/{asked.last}"
