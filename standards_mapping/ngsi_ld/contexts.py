"""The JSON-LD contexts of our entities: kept here, so that nobody need fetch them elsewhere.

Each group of Smart Data Models has its own, for one term has different IRIs in different groups;
it is followed by the core context of NGSI-LD, which always comes last. `ALL` stands for answers
with entities of several groups: in it a type brings the terms of its group along.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from standards_mapping.ngsi_ld.models import MODELS, Model

Json: TypeAlias = dict[str, Any]

CORE: Final = "ngsi-ld-core-context-v1.7.jsonld"
"""File name of the core context."""
ALL: Final = "kerbstone.jsonld"
"""Name of the context for entities of any type."""
CORE_URL: Final = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.7.jsonld"
"""Where ETSI has the core context: what clients may name to mean it."""
_SUBJECT_URL: Final = (
    "https://raw.githubusercontent.com/smart-data-models/dataModel.{subject}/master/context.jsonld"
)
PATH: Final = "/contexts"
"""Where below the service's root the contexts are."""

OWN_TERMS: Final[Mapping[str, str]] = MappingProxyType(
    {"corrected": "http://www.w3.org/ns/prov#hadRevision"}
)
"""Terms that no model has, by what they stand for; our own contexts have them beside a model's."""

_DIRECTORY: Final = Path(__file__).with_name("data")
_DEFAULT: Final = "https://uri.etsi.org/ngsi-ld/default-context/"


def names() -> tuple[str, ...]:
    """Return the names of all contexts that are served."""
    subjects = dict.fromkeys(model.subject for model in MODELS.values())
    return (ALL, CORE, *(f"{subject}.jsonld" for subject in subjects))


@cache
def _terms(name: str) -> Mapping[str, Any]:
    """Return the terms of a kept file."""
    document = json.loads((_DIRECTORY / name).read_text(encoding="utf-8"))
    own = OWN_TERMS if name != CORE else {}
    return MappingProxyType({**own, **document["@context"]})


def document(name: str) -> Json | None:
    """Return the context of that name as a JSON-LD document; None if there is none.

    Each but the core one ends with the terms of the core, so that one address says all.
    """
    if name not in names():
        return None
    if name == CORE:
        return {"@context": dict(_terms(CORE))}
    if name == ALL:
        return {"@context": [_scoped(), dict(_terms(CORE))]}
    return {"@context": [dict(_terms(name)), dict(_terms(CORE))]}


def _scoped() -> Json:
    """Return terms for the types alone; each has those of its group (JSON-LD 1.1, 4.1.8)."""
    return {
        "@version": 1.1,
        **OWN_TERMS,  # beside the types: what those bring along does not hold of an attribute's own
        **{
            model.name: {
                "@id": type_iri(model.name),
                "@context": [dict(_terms(f"{model.subject}.jsonld")), dict(_terms(CORE))],
            }
            for model in MODELS.values()
        },
    }


def context_url(types: frozenset[str] | set[str], root: str) -> str:
    """Return the address of the context for entities of these types.

    root: of the service, without a slash at its end.
    """
    subjects = {MODELS[name].subject for name in types if name in MODELS}
    name = f"{subjects.pop()}.jsonld" if len(subjects) == 1 else ALL
    return f"{root}{PATH}/{name}"


def public_contexts(entity_type: str) -> tuple[str, str]:
    """Return where the authors have the contexts of a type: for entities without a service."""
    return _SUBJECT_URL.format(subject=MODELS[entity_type].subject), CORE_URL


def type_iri(name: str) -> str:
    """Return the IRI of a type; a name without model is one of the default context."""
    model = MODELS.get(name)
    return attribute_iri(name, model)


@cache
def attribute_iri(name: str, model: Model | None) -> str:
    """Return the IRI of an attribute of a model's entities; None: of no known model."""
    own = _terms(f"{model.subject}.jsonld") if model is not None else {}
    found = _expanded(_terms(CORE), name) or _expanded(own, name)
    return found or (name if "://" in name or name.startswith("urn:") else _DEFAULT + name)


def _expanded(terms: Mapping[str, Any], name: str) -> str:
    """Return the IRI of a term, with its prefix written out."""
    term = terms.get(name)
    iri = str(term["@id"] if isinstance(term, Mapping) else term or "")
    prefix, colon, rest = iri.partition(":")
    if colon and not rest.startswith("//") and isinstance(terms.get(prefix), str):
        return f"{terms[prefix]}{rest}"
    return iri


def type_name(text: str) -> str | None:
    """Return the name of the model that a client means by a name or an IRI; None if none."""
    if text in MODELS:
        return text
    return next((name for name in MODELS if type_iri(name) == text), None)
