"""What types and attributes there are, as JSON; neither HTTP nor SQL is known here."""

from dataclasses import dataclass
from typing import Any

from standards_mapping.ngsi_ld.errors import ResourceNotFoundError
from standards_mapping.ngsi_ld.forms import Json
from standards_mapping.ngsi_ld.source import Source
from standards_mapping.ngsi_ld.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Discovery:
    """What types and attributes there are (clauses 5.7.5 to 5.7.10)."""

    source: Source
    vocabulary: Vocabulary

    async def types(self, *, details: bool) -> Any:
        """Return the list of types, or each with its attributes."""
        facts = await self.source.types()
        name = self.vocabulary.compact
        if not details:
            names = [name(one.iri) for one in facts]
            return {
                "id": "urn:ngsi-ld:EntityTypeList:all",
                "type": "EntityTypeList",
                "typeList": names,
            }
        return [
            {
                "id": one.iri,
                "type": "EntityType",
                "typeName": name(one.iri),
                "attributeNames": [name(iri) for iri in one.attributes],
            }
            for one in facts
        ]

    async def type(self, text: str) -> Json:
        """Return what there is of one type.

        Raises:
            ResourceNotFoundError: there is no entity of it.
        """
        name = self.vocabulary.compact
        for one in await self.source.types():
            if one.iri in self.vocabulary.meanings(text):
                details = [
                    {
                        "id": iri,
                        "type": "Attribute",
                        "attributeName": name(iri),
                        "attributeTypes": sorted(kinds),
                    }
                    for iri, kinds in one.attributes.items()
                ]
                return {
                    "id": one.iri,
                    "type": "EntityTypeInfo",
                    "typeName": name(one.iri),
                    "entityCount": one.count,
                    "attributeDetails": details,
                }
        raise ResourceNotFoundError(f"there is no entity of the type {text}")

    async def attributes(self, *, details: bool) -> Any:
        """Return the list of attributes, or each with the types that have it."""
        facts = await self.source.types()
        iris = sorted({iri for one in facts for iri in one.attributes})
        name = self.vocabulary.compact
        if not details:
            return {
                "id": "urn:ngsi-ld:AttributeList:all",
                "type": "AttributeList",
                "attributeList": [name(iri) for iri in iris],
            }
        return [
            {
                "id": iri,
                "type": "Attribute",
                "attributeName": name(iri),
                "typeNames": [name(one.iri) for one in facts if iri in one.attributes],
            }
            for iri in iris
        ]

    async def attribute(self, text: str) -> Json:
        """Return what there is of one attribute.

        Raises:
            ResourceNotFoundError: no entity has it.
        """
        meanings = self.vocabulary.meanings(text)
        facts = [one for one in await self.source.types() if set(meanings) & one.attributes.keys()]
        if not facts:
            raise ResourceNotFoundError(f"no entity has the attribute {text}")
        iri = next(one for one in meanings if any(one in fact.attributes for fact in facts))
        kinds = {
            kind
            for fact in facts
            for each in meanings
            for kind in fact.attributes.get(each, frozenset())
        }
        return {
            "id": iri,
            "type": "Attribute",
            "attributeName": self.vocabulary.compact(iri),
            "attributeCount": sum(fact.count for fact in facts),
            "attributeTypes": sorted(kinds),
            "typeNames": [self.vocabulary.compact(fact.iri) for fact in facts],
        }
