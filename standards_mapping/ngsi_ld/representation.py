"""What our sites are, as entities with IRIs; and written as JSON on their own. Pure.

How an entity with IRIs is written, in whichever form, is the business of `forms`. Here it is in
the words of its own Smart Data Model, as `kerbstone map` writes it.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

from standards_mapping.ngsi_ld import contexts, expanded
from standards_mapping.ngsi_ld.entity import Attribute, Entity
from standards_mapping.ngsi_ld.forms import Form, Writer
from standards_mapping.ngsi_ld.models import MODELS, Model
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

Json: TypeAlias = dict[str, Any]


def expand(entity: Entity) -> expanded.Entity:
    """Return an entity with IRIs for names; the instances of an attribute stay in their order."""
    model = MODELS.get(entity.type)
    return expanded.Entity(
        id=entity.id,
        types=(contexts.type_iri(entity.type),),
        attributes=_by_iri(entity.attributes, model),
        created_at=entity.created_at,
        modified_at=entity.modified_at,
    )


def expand_history(entity: Entity, history: Iterable[Attribute]) -> expanded.Entity:
    """Return a temporal entity: all that an entity's attributes were, told by `history`."""
    return expanded.Entity(
        id=entity.id,
        types=(contexts.type_iri(entity.type),),
        attributes=_by_iri(history, MODELS.get(entity.type)),
    )


def _by_iri(
    attributes: Iterable[Attribute], model: Model | None
) -> dict[str, list[expanded.Instance]]:
    found: dict[str, list[expanded.Instance]] = {}
    for each in attributes:
        found.setdefault(contexts.attribute_iri(each.name, model), []).append(
            instance_of(each, model)
        )
    return found


def instance_of(attribute: Attribute, model: Model | None) -> expanded.Instance:
    """Return an attribute as one instance, with IRIs for the names of its own attributes."""
    value = attribute.value
    return expanded.Instance(
        kind=attribute.kind.value,
        value=list(value) if isinstance(value, tuple) else value,
        observed_at=attribute.observed_at,
        unit=attribute.unit_code or None,
        dataset=attribute.dataset_id or None,
        attributes={
            contexts.attribute_iri(name, model): instance_of(below, model)
            for name, below in attribute.sub.items()
        },
    )


def vocabulary_of(entity_type: str) -> Vocabulary:
    """Return the words of a type's own context; of the core alone for a type of no model."""
    model = MODELS.get(entity_type)
    return _vocabulary(f"{model.subject}.jsonld" if model is not None else contexts.CORE)


@cache
def _vocabulary(name: str) -> Vocabulary:
    document = contexts.document(name) or {}
    parts = document["@context"]
    terms: dict[str, Any] = {}
    for part in parts if isinstance(parts, list) else [parts]:
        terms |= part
    return Vocabulary.of(terms)


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
    writer = Writer(vocabulary=vocabulary_of(entity.type), form=form, sys_attrs=sys_attrs)
    found = writer.entity(expand(entity))
    if context is not None:
        found["@context"] = context if isinstance(context, str) else list(context)
    return found
