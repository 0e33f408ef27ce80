"""One reading in every standard, for docs/reference/standards.md: made by the code of the service.

`docs.generate` puts it between the markers of the page. What the standards are, and what of them
is supported, is written there by hand.
"""  # noqa: INP001 - beside docs/generate.py; no package of the product

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from command_line.map.outputs import Mapped
from command_line.map.registry_file import EXAMPLE, read_registry, registered
from device_protocol.reading import Reading
from device_protocol.senml import decode_cbor, encode_cbor, encode_json
from device_protocol.senml_cbor import decode_entries
from standards_mapping import csvw, geojson, geoparquet, sosa
from standards_mapping.csv_text import rfc4180
from standards_mapping.datasets import Coverage
from standards_mapping.dcat import catalogue_document
from standards_mapping.linked_data import SENSORTHINGS
from standards_mapping.ngsi_ld.contexts import context_url
from standards_mapping.ngsi_ld.entity import Entity, attribute_history, entities_of
from standards_mapping.ngsi_ld.forms import Form, Writer
from standards_mapping.ngsi_ld.models import MODELS
from standards_mapping.ngsi_ld.representation import expand_history, to_json, vocabulary_of
from standards_mapping.ngsi_ld.vocabulary import CORE
from standards_mapping.observe import observe_all
from standards_mapping.properties import PROPERTIES
from standards_mapping.sensorthings.document import things_document

ROOT: Final = "https://kerbstone.example"
READING: Final = Reading(
    sensor="urn:dev:mac:0024befffe804ff1",
    name="no2",
    phenomenon_time=datetime(2025, 7, 1, 12, tzinfo=UTC),
    result=46.2,
    unit="ug/m3",
)


@cache
def mapped() -> Mapped:
    """Return the reading as it is observed by the registry of `kerbstone map --example`."""
    since = datetime(2025, 6, 1, tzinfo=UTC)
    things, datastreams = registered(read_registry(EXAMPLE), since)
    observations, _ = observe_all(decode_cbor(encode_cbor([READING])), datastreams)
    return Mapped(things, datastreams, observations, ROOT)


def fenced(text: str, language: str = "json") -> Iterator[str]:
    """Yield a block of code."""
    yield f"```{language}"
    yield text.rstrip("\r\n").replace("\r\n", "\n")
    yield "```"


def _json(document: Any) -> Iterator[str]:
    return fenced(json.dumps(document, indent=2, ensure_ascii=False))


def diagnostic(value: object) -> str:
    """Return a value of a SenML pack in CBOR's diagnostic notation (RFC 8949, section 8)."""
    if isinstance(value, list):
        return "[" + ", ".join(map(diagnostic, value)) + "]"
    if isinstance(value, dict):
        pairs = (f"{diagnostic(key)}: {diagnostic(each)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    return json.dumps(value)


def senml_cbor() -> Iterator[str]:
    """Yield the pack in CBOR: in diagnostic notation, and its bytes."""
    pack = encode_cbor([READING])
    yield from fenced(f"{diagnostic(decode_entries(pack))}\n\n{pack.hex(' ')}", "text")


def senml_json() -> Iterator[str]:
    """Yield the pack in JSON."""
    yield from _json(json.loads(encode_json([READING])))


def sensorthings() -> Iterator[str]:
    """Yield the observation with what it hangs on expanded."""
    found = mapped()
    root = ROOT + SENSORTHINGS
    (thing,) = things_document(found.things, found.observed(), found.observations, root)["value"]
    (datastream,) = thing["Datastreams"]
    (observation,) = datastream.pop("Observations")
    yield from _json({**observation, "Datastream": datastream})


def _entity() -> Entity:
    found = mapped()
    (air, *_) = entities_of(found.things, found.datastreams, found.latest())
    return air


def ngsi_ld(form: Form) -> Iterator[str]:
    """Yield the entity of the site."""
    entity = _entity()
    context = (context_url({entity.type}, ROOT), CORE)
    yield from _json(to_json(entity, form, context=context))


def ngsi_ld_temporal() -> Iterator[str]:
    """Yield the history of the entity, as temporalValues."""
    found, entity = mapped(), _entity()
    history = attribute_history(found.observed()[0], found.observations)
    writer = Writer(vocabulary=vocabulary_of(entity.type))
    yield from _json(writer.temporal_values(expand_history(entity, history), "observedAt"))


def sosa_jsonld() -> Iterator[str]:
    """Yield the observation alone, with the address of the context."""
    found = mapped()
    observation = sosa.observation(found.observed()[0], found.observations[0], ROOT)
    yield from _json({"@context": f"{ROOT}/sosa/context.jsonld", **observation})


def csv() -> Iterator[str]:
    """Yield the row below its header."""
    found = mapped()
    rows = csvw.rows(found.datastreams, found.observations)
    yield from fenced(rfc4180([csvw.COLUMNS, *rows]), "text")


def csvw_metadata() -> Iterator[str]:
    """Yield the metadata of the table, with three of its columns."""
    document = csvw.metadata(mapped().observed(), "no2.csv", ROOT)
    schema = document["tableSchema"]
    shown = [one for one in schema["columns"] if one["name"] in ("time", "unit", "value")]
    yield from _json({**document, "tableSchema": {**schema, "columns": shown}})


def geojson_feature() -> Iterator[str]:
    """Yield the observation as a point."""
    found = mapped()
    yield from _json(next(geojson.features(found.datastreams, found.observations)))


def parquet_schema() -> Iterator[str]:
    """Yield the columns of the Parquet file with their types and what they mean."""
    schema = geoparquet.schema(mapped().observed(), ROOT)
    yield "| Column | Type | Metadata |"
    yield "|---|---|---|"
    for column in schema:
        told = {key.decode(): each.decode() for key, each in (column.metadata or {}).items()}
        words = [told.pop("description", ""), *(f"`{key}`: {each}" for key, each in told.items())]
        yield f"| `{column.name}` | {column.type} | {'; '.join(filter(None, words))} |"


def dcat() -> Iterator[str]:
    """Yield the dataset that the reading is in: no agents, and the first of its distributions."""
    found = mapped()
    (seen,) = found.observations
    coverage = {seen.datastream: Coverage(seen.phenomenon_start, seen.time, seen.time)}
    catalogue = catalogue_document(found.observed(), ROOT, coverage=coverage)
    (dataset,) = catalogue["dcat:dataset"]
    first, *_ = dataset["dcat:distribution"]
    agents = ("dct:publisher", "dct:creator", "dcat:contactPoint")
    shown = {name: value for name, value in dataset.items() if name not in agents}
    yield from _json({**shown, "dcat:distribution": [first]})


def properties() -> Iterator[str]:
    """Yield the table of observed properties and what NGSI-LD makes of them."""
    yield "| Key | What | Unit | Model | Attribute | Unit code | Rule |"
    yield "|---|---|---|---|---|---|---|"
    for each in PROPERTIES.values():
        code = f"`{each.unece}`" if each.unece else ""
        yield (
            f"| `{each.key}` | {each.label} | `{each.unit}` | {each.model} | `{each.attribute}` "
            f"| {code} | {each.value_rule} |"
        )


def models() -> Iterator[str]:
    """Yield the models that entities follow."""
    yield "| Model | Context | Time of the newest value | Interval | Needs a place |"
    yield "|---|---|---|---|---|"
    for each in MODELS.values():
        interval = "`dateObservedFrom`, `dateObservedTo`" if each.intervals else ""
        placed = "yes" if each.placed else ""
        yield f"| {each.name} | {each.subject} | `{each.time}` | {interval} | {placed} |"


PARTS: Final[Mapping[str, Callable[[], Iterable[str]]]] = {
    "reading-senml-cbor": senml_cbor,
    "reading-senml-json": senml_json,
    "reading-sensorthings": sensorthings,
    "reading-ngsi-ld-normalized": lambda: ngsi_ld(Form.NORMALIZED),
    "reading-ngsi-ld-concise": lambda: ngsi_ld(Form.CONCISE),
    "reading-ngsi-ld-simplified": lambda: ngsi_ld(Form.SIMPLIFIED),
    "reading-ngsi-ld-temporal": ngsi_ld_temporal,
    "reading-sosa": sosa_jsonld,
    "reading-csv": csv,
    "reading-csvw": csvw_metadata,
    "reading-geojson": geojson_feature,
    "reading-parquet": parquet_schema,
    "reading-dcat": dcat,
    "smart-data-models": models,
    "observed-properties": properties,
}
"""What can stand between the markers of the page, by name."""
