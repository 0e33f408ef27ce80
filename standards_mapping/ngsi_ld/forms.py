"""Expanded entities written as JSON for whoever asked: their names, their form (clause 4.5). Pure.

Normalized, concise and simplified, GeoJSON features, and the temporal forms: histories,
temporalValues and aggregatedValues. Names are those of the request's @context.

The simplified form is what the schemas of the Smart Data Models describe: one value an attribute.
So of several instances it has the default one alone. The map of them under `dataset`, which clause
4.5.4 has in its place, follows no model's schema, and most sites with two sensors would have one,
if only for their `refDevice`; whoever wants every instance asks for another form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias

from standards_mapping.ngsi_ld.aggregates import Series
from standards_mapping.ngsi_ld.expanded import VALUE_MEMBERS, Entity, Instance
from standards_mapping.ngsi_ld.selection import Projection
from standards_mapping.ngsi_ld.temporal_query import written
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

Json: TypeAlias = dict[str, Any]

_BARE: Final = ("Property", "GeoProperty")  # whose concise form may be the value alone


class Form(Enum):
    """How much of an attribute is written."""

    NORMALIZED = "normalized"
    CONCISE = "concise"
    SIMPLIFIED = "simplified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Writes entities for one request. sys_attrs: with createdAt and modifiedAt where known."""

    vocabulary: Vocabulary
    projection: Projection = field(default_factory=Projection)
    form: Form = Form.NORMALIZED
    sys_attrs: bool = False

    def entity(self, entity: Entity) -> Json:
        """Return an entity; several instances of an attribute are a list, if not simplified."""
        found = self._core(entity)
        for iri, instances in entity.attributes.items():
            if self.projection.keeps(iri) and instances:
                told = [_default(instances)] if self.form is Form.SIMPLIFIED else instances
                values = [self._instance(one) for one in told]
                found[self.vocabulary.compact(iri)] = values[0] if len(values) == 1 else values
        return found

    def feature(self, entity: Entity, geometry_property: str) -> Json:
        """Return an entity as a GeoJSON feature; its geometry is null where it has none.

        geometry_property: name of the GeoProperty that says where it is.
        """
        geometry = None
        for iri in self.vocabulary.meanings(geometry_property):
            for one in entity.attributes.get(iri, ())[:1]:
                geometry = one.value if one.kind == "GeoProperty" else None
        properties = self.entity(entity)
        properties.pop("id", None)
        return {"id": entity.id, "type": "Feature", "geometry": geometry, "properties": properties}

    def history(self, entity: Entity) -> Json:
        """Return a temporal entity: each attribute is the list of its instances."""
        found = self._core(entity)
        for iri, instances in entity.attributes.items():
            if self.projection.keeps(iri):
                values = [self._instance(one) for one in instances]
                found[self.vocabulary.compact(iri)] = values
        return found

    def temporal_values(self, entity: Entity, timeproperty: str) -> Json:
        """Return a temporal entity with pairs of value and time (clause 4.5.9)."""
        found = self._core(entity)
        for iri, instances in entity.attributes.items():
            if not self.projection.keeps(iri):
                continue
            by_dataset: dict[str | None, list[Instance]] = {}
            for one in instances:
                by_dataset.setdefault(one.dataset, []).append(one)
            series = [_pairs(dataset, same, timeproperty) for dataset, same in by_dataset.items()]
            if series:
                found[self.vocabulary.compact(iri)] = series[0] if len(series) == 1 else series
        return found

    def aggregated(
        self, entity: Entity, series: Mapping[str, Sequence[Series]], methods: Sequence[str]
    ) -> Json:
        """Return a temporal entity with the aggregated values of each method (clause 4.5.19)."""
        found = self._core(entity)
        for iri, datasets in series.items():
            values = [_aggregates(one, methods) for one in datasets]
            if values and self.projection.keeps(iri):
                found[self.vocabulary.compact(iri)] = values[0] if len(values) == 1 else values
        return found

    def _core(self, entity: Entity) -> Json:
        found: Json = {}
        if "id" in self.projection.core:
            found["id"] = entity.id
        if "type" in self.projection.core:
            types = [self.vocabulary.compact(iri) for iri in entity.types]
            found["type"] = types[0] if len(types) == 1 else types
        if self.sys_attrs and self.form is not Form.SIMPLIFIED:
            found |= _times(createdAt=entity.created_at, modifiedAt=entity.modified_at)
        return found

    def _instance(self, one: Instance) -> Any:
        member = VALUE_MEMBERS[one.kind]
        value = self.vocabulary.compact(one.value) if one.kind == "VocabProperty" else one.value
        if self.form is Form.SIMPLIFIED:
            plain = one.kind in ("Property", "GeoProperty", "Relationship", "ListProperty")
            return value if plain else {member: value}
        rest = self._further(one)
        if self.form is Form.NORMALIZED:
            return {"type": one.kind, member: value, **rest}
        if not rest and one.kind in _BARE and not (one.kind == "Property" and _is_object(value)):
            return value
        return {member: value, **rest}

    def _further(self, one: Instance) -> Json:
        found: Json = {}
        if one.unit is not None:
            found["unitCode"] = one.unit
        if one.observed_at is not None:
            found["observedAt"] = written(one.observed_at)
        if one.dataset is not None:
            found["datasetId"] = one.dataset
        if self.sys_attrs:
            found |= _times(createdAt=one.created_at, modifiedAt=one.modified_at)
        for iri, below in one.attributes.items():
            found[self.vocabulary.compact(iri)] = self._instance(below)
        return found


def _default(instances: Sequence[Instance]) -> Instance:
    """Return the default instance, or the first where there is none (clause 4.5.5)."""
    return next((one for one in instances if one.dataset is None), instances[0])


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _times(**times: datetime | None) -> Json:
    return {name: written(time) for name, time in times.items() if time is not None}


def _pairs(dataset: str | None, instances: Sequence[Instance], timeproperty: str) -> Json:
    kind = instances[0].kind
    plural = VALUE_MEMBERS[kind] + "s"
    pairs = []
    for one in instances:
        time = one.time(timeproperty)
        pairs.append([one.value, written(time)] if time is not None else [one.value])
    found: Json = {"type": kind, plural: pairs}
    return found if dataset is None else {**found, "datasetId": dataset}


def _aggregates(series: Series, methods: Sequence[str]) -> Json:
    found: Json = {"type": series.kind}
    if series.dataset is not None:
        found["datasetId"] = series.dataset
    for method in methods:
        found[method] = [
            [bucket.values[method], written(bucket.start), written(bucket.end)]
            for bucket in series.buckets
            if method in bucket.values
        ]
    return found
