"""Entities as requests are answered from them: every name an IRI, every value as it is published.

Pure values (ETSI GS CIM 009, clause 4.5.1). Where they come from is the business of a `Source`,
how they are written that of `representation`; what our own sites become is said in `entity`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

VALUE_MEMBERS: Final[Mapping[str, str]] = {
    "Property": "value",
    "GeoProperty": "value",
    "Relationship": "object",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}
"""The member that holds the value, by the type of attribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One value of an attribute. kind: its type, a key of `VALUE_MEMBERS`.

    dataset: its datasetId, None for the default instance. unit: a UN/CEFACT code.
    observed_at: when the value held. attributes: those of the attribute itself, by IRI.
    """

    kind: str
    value: Any
    observed_at: datetime | None = None
    unit: str | None = None
    dataset: str | None = None
    created_at: datetime | None = None
    modified_at: datetime | None = None
    attributes: Mapping[str, "Instance"] = field(default_factory=dict)

    def time(self, timeproperty: str) -> datetime | None:
        """Return the time that a temporal query asks about."""
        match timeproperty:
            case "createdAt":
                return self.created_at
            case "modifiedAt":
                return self.modified_at
        return self.observed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """An entity; its attributes by IRI, each with its instances.

    types: IRIs. Of a temporal entity the instances of an attribute are its history, in order of
    time.
    """

    id: str
    types: tuple[str, ...]
    attributes: Mapping[str, Sequence[Instance]]
    created_at: datetime | None = None
    modified_at: datetime | None = None
