"""What `kerbstone map` writes: for each standard a function from what is mapped to text. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from standards_mapping import csvw, geojson, sosa
from standards_mapping.csv_text import rfc4180
from standards_mapping.datasets import Coverage
from standards_mapping.dcat import catalogue_document
from standards_mapping.linked_data import SENSORTHINGS
from standards_mapping.ngsi_ld.contexts import public_contexts
from standards_mapping.ngsi_ld.entity import entities_of
from standards_mapping.ngsi_ld.forms import Form
from standards_mapping.ngsi_ld.representation import to_json
from standards_mapping.observation import Observation
from standards_mapping.registry import Datastream, Thing
from standards_mapping.sensorthings.document import things_document


@dataclass(frozen=True, slots=True)
class Mapped:
    """What is registered and what a pack observed; root: address of the service it would be of."""

    things: Sequence[Thing]
    datastreams: Sequence[Datastream]
    observations: Sequence[Observation]
    root: str
    form: Form = Form.NORMALIZED

    def latest(self) -> dict[int, Observation]:
        """Return the newest observation by datastream."""
        return {
            each.datastream: each
            for each in sorted(self.observations, key=lambda observation: observation.time)
        }

    def observed(self) -> list[Datastream]:
        """Return the datastreams that have an observation."""
        known = {each.datastream for each in self.observations}
        return [each for each in self.datastreams if each.id in known]


Writer: TypeAlias = Callable[[Mapped], str]


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def sensorthings(mapped: Mapped) -> str:
    """Return the things with all that hangs on them, as one document."""
    root = mapped.root + SENSORTHINGS
    return _json(things_document(mapped.things, mapped.datastreams, mapped.observations, root))


def ngsi_ld(mapped: Mapped) -> str:
    """Return the entities as they are after the newest observations."""
    entities = entities_of(mapped.things, mapped.datastreams, mapped.latest())
    return _json(
        [to_json(each, mapped.form, context=public_contexts(each.type)) for each in entities]
    )


def sosa_jsonld(mapped: Mapped) -> str:
    """Return the observations with what made them, as SOSA in JSON-LD."""
    return _json(sosa.observations_document(mapped.observed(), mapped.observations, mapped.root))


def csv(mapped: Mapped) -> str:
    """Return the observations as a table, its header first."""
    return rfc4180([csvw.COLUMNS, *csvw.rows(mapped.datastreams, mapped.observations)])


def csv_metadata(mapped: Mapped, name: str) -> str:
    """Return what lies beside a CSV file of that name: its metadata."""
    datastreams = mapped.observed() or mapped.datastreams
    found = csvw.metadata(datastreams, name, mapped.root)
    if len({each.observed_property.key for each in datastreams}) > 1:
        found["dc:title"] = f"Observations, {datastreams[0].thing.council.name}"
    return _json(found)


def geojson_features(mapped: Mapped) -> str:
    """Return the observations as points."""
    return _json(geojson.feature_collection(mapped.datastreams, mapped.observations))


def dcat(mapped: Mapped) -> str:
    """Return the catalogue of what is open."""
    coverage: dict[int, Coverage] = {}
    for each in mapped.observations:
        part = Coverage(each.phenomenon_start, each.time, each.time)
        known = coverage.get(each.datastream)
        coverage[each.datastream] = part if known is None else known.joined(part)
    return _json(catalogue_document(mapped.datastreams, mapped.root, coverage=coverage))


WRITERS: Final[Mapping[str, Writer]] = MappingProxyType(
    {
        "sensorthings": sensorthings,
        "ngsi-ld": ngsi_ld,
        "sosa": sosa_jsonld,
        "csv": csv,
        "geojson": geojson_features,
        "dcat": dcat,
    }
)
"""By the name of the standard on the command line."""
