"""Where the entities come from that requests are answered with: what such a place must be able to.

Our own is the database (`storage.ngsi_ld`); the conformance cases bring their own entities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from standards_mapping.ngsi_ld.aggregates import Series
from standards_mapping.ngsi_ld.expanded import Entity
from standards_mapping.ngsi_ld.selection import EntitySelector
from standards_mapping.ngsi_ld.temporal_query import TemporalQuery

Attributes: TypeAlias = frozenset[str] | None
"""IRIs of the attributes asked about; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeFacts:
    """What there is of a type: how many entities, and the types of each of their attributes."""

    iri: str
    count: int
    attributes: Mapping[str, frozenset[str]]


class Source(Protocol):
    """Reads as of one moment; made for one request."""

    async def find(self, selectors: Sequence[EntitySelector]) -> Sequence[str]:
        """Return the ids, in their order, of the entities that one of the selectors accepts."""

    async def having(self, ids: Sequence[str], attributes: frozenset[str]) -> Sequence[str]:
        """Return those ids whose entities have, or may have, one of these attributes."""

    async def load(self, ids: Sequence[str], attributes: Attributes = None) -> Sequence[Entity]:
        """Return the entities of those ids that there are, in that order, as they are now.

        attributes: what is asked of them; others may be left out where they take long to tell.
        """

    async def examine(self, ids: Sequence[str], attributes: frozenset[str]) -> Sequence[Entity]:
        """Return what `load` does, of which no other attributes than these need be there."""

    async def observed(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes
    ) -> Sequence[str]:
        """Return those ids whose entities have an instance in the query's window."""

    async def history(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes, most: int
    ) -> Sequence[Entity]:
        """Return the instances within the window, in the order of time.

        Of each attribute (and dataset) the first `most` or, where the query says lastN, the last.
        """

    async def aggregates(
        self, ids: Sequence[str], asked: TemporalQuery, attributes: Attributes
    ) -> Sequence[tuple[Entity, Mapping[str, Sequence[Series]]]]:
        """Return entities without attributes, and what those come to by the query's aggregation."""

    async def types(self) -> Sequence[TypeFacts]:
        """Return what there is of each type, by its IRI."""
