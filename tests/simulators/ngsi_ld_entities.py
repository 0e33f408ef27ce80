"""Entities kept in memory behind the interface that NGSI-LD requests are answered from.

For the conformance cases, whose buildings and vehicles no sensor of ours could be. Entities are
given as JSON with the terms of a context; everything after that is the service's own code.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import Request

from standards_mapping.ngsi_ld.aggregates import Series, aggregate
from standards_mapping.ngsi_ld.errors import NonexistentTenantError
from standards_mapping.ngsi_ld.expanded import VALUE_MEMBERS, Entity, Instance
from standards_mapping.ngsi_ld.selection import EntitySelector
from standards_mapping.ngsi_ld.source import Attributes, TypeFacts
from standards_mapping.ngsi_ld.temporal_query import TemporalQuery
from standards_mapping.ngsi_ld.times import parse_time
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

Json = Any

_MEMBERS = {"type", "observedAt", "unitCode", "datasetId", *VALUE_MEMBERS.values()}
_STORED = datetime(2026, 1, 1, tzinfo=UTC)


def entity_of(document: Json, vocabulary: Vocabulary) -> Entity:
    """Return a normalized entity expanded."""
    types = document["type"] if isinstance(document["type"], list) else [document["type"]]
    attributes: dict[str, list[Instance]] = {}
    for name, value in document.items():
        if name in ("id", "type", "@context", "scope"):
            continue
        (iri,) = vocabulary.meanings(name)
        instances = value if isinstance(value, list) else [value]
        found = [_instance(one, vocabulary) for one in instances]
        attributes[iri] = sorted(found, key=lambda one: one.observed_at or _STORED)
    return Entity(
        id=document["id"],
        types=tuple(vocabulary.meanings(name)[0] for name in types),
        attributes=attributes,
        created_at=_STORED,
        modified_at=_STORED,
    )


def _instance(document: Json, vocabulary: Vocabulary) -> Instance:
    kind = document["type"]
    observed = document.get("observedAt")
    return Instance(
        kind=kind,
        value=document[VALUE_MEMBERS[kind]],
        observed_at=parse_time(observed) if observed else None,
        unit=document.get("unitCode"),
        dataset=document.get("datasetId"),
        created_at=_STORED,
        modified_at=_STORED,
        attributes={
            vocabulary.meanings(name)[0]: _instance(value, vocabulary)
            for name, value in document.items()
            if name not in _MEMBERS
        },
    )


class EntitiesInMemory:
    """A source and its provider in one; `entities` by id. context: (address, terms)."""

    def __init__(self, context: tuple[str, Mapping[str, Any]]) -> None:
        self.entities: dict[str, Entity] = {}
        self._url, self._terms = context

    @property
    def vocabulary(self) -> Vocabulary:
        """The terms that entities are given with."""
        return Vocabulary.of(self._terms, (self._url,))

    def add(self, document: Json, entity_id: str) -> str:
        """Keep an entity under an id, and return that."""
        self.entities[entity_id] = entity_of({**document, "id": entity_id}, self.vocabulary)
        return entity_id

    def default(self, root: str) -> Vocabulary:  # noqa: ARG002  # an interface
        """Without a context there is the core alone, as in a plain broker."""
        return Vocabulary()

    def named(self, url: str, root: str) -> Vocabulary | None:  # noqa: ARG002  # an interface
        return self.vocabulary if url == self._url else None

    def documents(self) -> Mapping[str, Any]:
        return {"etsi.jsonld": {"@context": dict(self._terms)}}

    @asynccontextmanager
    async def source(
        self,
        request: Request,  # noqa: ARG002  # an interface
        tenant: str | None,
    ) -> AsyncIterator["EntitiesInMemory"]:
        if tenant is not None:
            raise NonexistentTenantError(tenant)
        yield self

    async def find(self, selectors: Sequence[EntitySelector]) -> Sequence[str]:
        return [
            one.id
            for one in sorted(self.entities.values(), key=lambda each: each.id)
            if any(selector.accepts(one.id, one.types) for selector in selectors)
        ]

    async def having(self, ids: Sequence[str], attributes: frozenset[str]) -> Sequence[str]:
        return [one for one in ids if attributes & self.entities[one].attributes.keys()]

    async def load(
        self,
        ids: Sequence[str],
        attributes: Attributes = None,  # noqa: ARG002  # nothing takes long
    ) -> Sequence[Entity]:
        return [self.entities[one] for one in ids if one in self.entities]

    async def examine(self, ids: Sequence[str], attributes: frozenset[str]) -> Sequence[Entity]:
        return [
            replace(one, attributes={iri: one.attributes[iri] for iri in kept})
            for one in await self.load(ids)
            for kept in [attributes & one.attributes.keys()]
        ]

    async def observed(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes
    ) -> Sequence[str]:
        entities = await self.history(ids, replace(asked, last=None), attributes, 1)
        return [one.id for one in entities if one.attributes]

    async def history(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes, most: int
    ) -> Sequence[Entity]:
        return [_within(self.entities[one], asked, attributes, most) for one in ids]

    async def aggregates(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes
    ) -> Sequence[tuple[Entity, Mapping[str, Sequence[Series]]]]:
        assert asked.aggregation is not None
        found = []
        for one in await self.history(ids, asked, attributes, 1_000_000):
            series = {
                iri: [Series(buckets=aggregate(instances, asked, asked.aggregation))]
                for iri, instances in one.attributes.items()
            }
            found.append((replace(one, attributes={}), series))
        return found

    async def types(self) -> Sequence[TypeFacts]:
        names = sorted({iri for one in self.entities.values() for iri in one.types})
        return [
            TypeFacts(
                iri=name,
                count=sum(name in one.types for one in self.entities.values()),
                attributes={
                    iri: frozenset(each.kind for each in instances)
                    for one in self.entities.values()
                    if name in one.types
                    for iri, instances in one.attributes.items()
                },
            )
            for name in names
        ]


def _within(entity: Entity, asked: TemporalQuery, attributes: Attributes, most: int) -> Entity:
    kept = {}
    for iri, instances in entity.attributes.items():
        if attributes is not None and iri not in attributes:
            continue
        within = [one for one in instances if asked.window.holds(one.time(asked.timeproperty))]
        if asked.window.after is None and asked.window.before is None:
            within = list(instances)
        if within:
            kept[iri] = within[:most] if asked.last is None else within[-most:]
    return replace(entity, attributes=kept)
