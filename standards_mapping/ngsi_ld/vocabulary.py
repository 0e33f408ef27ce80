"""Names of entity types and attributes: short ones of an @context, and the IRIs they stand for.

Pure. A request brings its own @context; within the service everything has its IRI. Which contexts
there are is the business of `contexts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

CORE: Final = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.7.jsonld"
"""The core @context that answers name: the last of every @context that has not its terms."""

DEFAULT: Final = "https://uri.etsi.org/ngsi-ld/default-context/"
"""What a name becomes part of that no @context has (the core context's @vocab)."""

_NGSI_LD: Final = "https://uri.etsi.org/ngsi-ld/"

CORE_TERMS: Final[Mapping[str, str]] = {
    name: _NGSI_LD + name
    for name in (
        "createdAt",
        "datasetId",
        "instanceId",
        "location",
        "modifiedAt",
        "observationSpace",
        "observedAt",
        "operationSpace",
        "scope",
        "unitCode",
    )
} | {name: f"http://purl.org/dc/terms/{name}" for name in ("description", "title")}
"""Terms of the core context that name attributes; they cannot be given another meaning."""


@dataclass(frozen=True)
class Vocabulary:
    """The terms of an @context. urls: how an answer names it, without the core context.

    terms: IRIs by term; several where the term means another attribute in another type (JSON-LD
    1.1, type-scoped contexts). A term of the core context is always the core's.
    has_core: whether what is at `urls` ends with the terms of the core context.
    """

    urls: tuple[Any, ...] = ()
    terms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_core: bool = False
    _names: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for term, iris in self.terms.items():
            for iri in iris if term not in CORE_TERMS else ():
                if iri not in self._names or len(term) < len(self._names[iri]):
                    self._names[iri] = term
        self._names.update({iri: term for term, iri in CORE_TERMS.items()})

    @classmethod
    def of(cls, context: Mapping[str, Any], urls: tuple[Any, ...] = ()) -> Self:
        """Return the vocabulary of an @context object that was written out, with its prefixes."""
        plain: dict[str, str] = {}
        for term, meaning in context.items():
            iri = meaning.get("@id") if isinstance(meaning, Mapping) else meaning
            if isinstance(iri, str) and not term.startswith("@") and not iri.startswith("@"):
                plain[term] = iri
        return cls(urls, {term: (_written_out(iri, plain),) for term, iri in plain.items()})

    def merge(self, other: Self) -> Self:
        """Return both; where they differ, a term means either."""
        terms = dict(self.terms)
        for term, iris in other.terms.items():
            terms[term] = tuple(dict.fromkeys((*terms.get(term, ()), *iris)))
        return type(self)(self.urls, terms, self.has_core)

    def meanings(self, name: str) -> tuple[str, ...]:
        """Return the IRIs that a name may stand for; one that is an IRI is itself."""
        if name in CORE_TERMS:
            return (CORE_TERMS[name],)
        if name in self.terms:
            return self.terms[name]
        if ":" in name:
            return (_written_out(name, {term: iris[0] for term, iris in self.terms.items()}),)
        return (DEFAULT + name,)

    def compact(self, iri: str) -> str:
        """Return the shortest name of an IRI."""
        if iri in self._names:
            return self._names[iri]
        rest = iri.removeprefix(DEFAULT)
        return rest if rest != iri and self.meanings(rest) == (iri,) else iri

    @property
    def context(self) -> list[Any]:
        """The value of @context: what is named, then the core context if it is not in there.

        So who reads what the service names of its own needs no other host.
        """
        return list(self.urls) if self.has_core else [*self.urls, CORE]


def _written_out(iri: str, terms: Mapping[str, str]) -> str:
    """Return an IRI whose prefix, where it is one of the terms, is written out."""
    prefix, colon, rest = iri.partition(":")
    if colon and not rest.startswith("//") and prefix in terms and terms[prefix] != iri:
        return terms[prefix] + rest
    return iri
