"""The registry of observed properties: what can be measured, and in which unit by default.

Two tables: one copied with its attribution, one of our own (gateway health, visibility). A
description that names anything else is refused with the nearest key. The rows of the database
are made from here by ingest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from device_protocol.errors import PayloadError
from device_protocol.tables import read_table
from device_protocol.unit_table import nearest


class UnknownPropertyError(PayloadError):
    """No such observed property in the registry; the message names the nearest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """An observed property.

    key: how readings and datastreams name it, e.g. "no2".
    label: in English.
    quantity_kind: IRI of the QUDT quantity kind.
    unit: key of the unit its datastreams have unless they say otherwise.
    senml_name: the usual short name of its datastreams (SenML `n`).
    model, attribute, value_rule: the Smart Data Model it is published in, and how.
    unece: UN/CEFACT code to publish it with in NGSI-LD; empty where none.
    external: IRI of the same concept in a public vocabulary; empty where unknown.
    """

    key: str
    label: str
    quantity_kind: str
    unit: str
    senml_name: str
    model: str
    attribute: str
    value_rule: str
    unece: str
    external: str

    @property
    def definition(self) -> str:
        """The IRI that says most exactly what is observed (SensorThings `definition`)."""
        return self.external or self.quantity_kind


def _read_properties() -> Mapping[str, Property]:
    rows = read_table("observed_properties") + read_table("own_observed_properties")
    return MappingProxyType(
        {
            row["key"]: Property(
                key=row["key"],
                label=row["label_en"],
                quantity_kind=row["qudt_quantitykind"],
                unit=row["canonical_unit"],
                senml_name=row["senml_name"],
                model=row["sdm_model"],
                attribute=row["sdm_attribute"],
                value_rule=row["sdm_value_rule"],
                unece=row["ngsi_unitCode"],
                external=row["external_uri"],
            )
            for row in rows
        }
    )


PROPERTIES: Final = _read_properties()


def find_property(key: str) -> Property:
    """Return the observed property of that key.

    Raises:
        UnknownPropertyError: there is none; the nearest keys are named.
    """
    found = PROPERTIES.get(key)
    if found is None:
        raise UnknownPropertyError(f"no observed property {key!r}{nearest(key, PROPERTIES)}")
    return found
