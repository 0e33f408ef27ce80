"""Entities written as JSON: normalized, concise, simplified (ETSI GS CIM 009, clause 4.5). Pure.

An attribute of several instances is a list of them; simplified it is the first one's value, which
is what a Smart Data Model describes.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import groupby
from typing import Any, Final, TypeAlias

from standards_mapping.linked_data import instant
from standards_mapping.ngsi_ld.entity import Attribute, Entity, Kind

Json: TypeAlias = dict[str, Any]

_MEMBERS: Final[Mapping[Kind, str]] = {
    Kind.PROPERTY: "value",
    Kind.GEO_PROPERTY: "value",
    Kind.RELATIONSHIP: "object",
    Kind.LANGUAGE_PROPERTY: "languageMap",
}


class Form(Enum):
    """How much of an attribute is written."""

    NORMALIZED = "normalized"
    CONCISE = "concise"
    SIMPLIFIED = "simplified"


def to_json(
    entity: Entity,
    form: Form,
    *,
    sys_attrs: bool = False,
    context: str | Sequence[Any] | None = None,
) -> Json:
    """Return an entity as JSON.

    sys_attrs: with createdAt and modifiedAt, as far as they are known (clause 4.8).
    context: stands as `@context`; None where a Link header bears it.
    """
    found: Json = {"id": entity.id, "type": entity.type}
    if sys_attrs and form is not Form.SIMPLIFIED:
        found |= _system(entity)
    for name, same in groupby(entity.attributes, key=lambda attribute: attribute.name):
        written = [attribute_json(each, form) for each in same]
        found[name] = written[0] if len(written) == 1 or form is Form.SIMPLIFIED else written
    if context is not None:
        found["@context"] = context if isinstance(context, str) else list(context)
    return found


def _system(entity: Entity) -> Json:
    times = {"createdAt": entity.created_at, "modifiedAt": entity.modified_at}
    return {name: instant(time) for name, time in times.items() if time is not None}


def attribute_json(attribute: Attribute, form: Form) -> Any:
    """Return one instance of an attribute as JSON."""
    value = list(attribute.value) if isinstance(attribute.value, tuple) else attribute.value
    member = _MEMBERS[attribute.kind]
    if form is Form.SIMPLIFIED:
        return {member: value} if attribute.kind is Kind.LANGUAGE_PROPERTY else value
    rest = dict(_further(attribute, form))
    if form is Form.NORMALIZED:
        return {"type": attribute.kind.value, member: value, **rest}
    if not rest and member == "value" and not _mistakable(attribute.kind, value):
        return value
    return {member: value, **rest}


def _mistakable(kind: Kind, value: object) -> bool:
    """Whether a Property's bare value would be read as an attribute or a geometry (4.5.2.3)."""
    return kind is Kind.PROPERTY and isinstance(value, dict)


def _further(attribute: Attribute, form: Form) -> Iterator[tuple[str, Any]]:
    if attribute.unit_code:
        yield "unitCode", attribute.unit_code
    if attribute.observed_at is not None:
        yield "observedAt", instant(attribute.observed_at)
    if attribute.dataset_id:
        yield "datasetId", attribute.dataset_id
    for name, below in attribute.sub.items():
        yield name, attribute_json(below, form)
