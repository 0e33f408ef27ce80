"""The catalogue of open data: DCAT-AP 3.0.1 as JSON-LD. Pure.

One dataset for each council and observed property, with what the UK Cross-Government Metadata
Exchange Model asks for besides. Whatever is named from a controlled vocabulary is stated with its
type and label, so that the document is whole in itself. How programs that know only /data.json
read the same is `standards_mapping.project_open_data`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from standards_mapping.datasets import Contact, Coverage, Dataset, catalogue_iri, datasets
from standards_mapping.linked_data import SENSORTHINGS, Json, area_iri, duration, property_iri
from standards_mapping.open_licence import attribution_of, licence_name, licences_of
from standards_mapping.properties import Property
from standards_mapping.registry import Council, Datastream

NGSI_LD: Final = "/ngsi-ld/v1"

_IRI: Final = {"@type": "@id"}
_UKGOV: Final = "https://w3id.org/co-cddo/uk-cross-government-metadata-exchange-model/"
_AUTHORITY: Final = "http://publications.europa.eu/resource/authority"
_MEDIA: Final = "https://www.iana.org/assignments/media-types"

CONTEXT: Final[Mapping[str, Any]] = {
    "@version": 1.1,
    "dcat": "http://www.w3.org/ns/dcat#",
    "dcatap": "http://data.europa.eu/r5r/",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "geo": "http://www.opengis.net/ont/geosparql#",
    "ukgov": _UKGOV,
    "id": "@id",
    "type": "@type",
    "dct:modified": {"@type": "xsd:dateTime"},
    "dct:issued": {"@type": "xsd:dateTime"},
    "dcat:startDate": {"@type": "xsd:dateTime"},
    "dcat:endDate": {"@type": "xsd:dateTime"},
    "dcat:temporalResolution": {"@type": "xsd:duration"},
    "dcat:bbox": {"@type": "geo:wktLiteral"},
    "dcat:centroid": {"@type": "geo:wktLiteral"},
    **dict.fromkeys(
        (
            "dcat:accessURL",
            "dcat:downloadURL",
            "dcat:endpointURL",
            "dcat:endpointDescription",
            "dcat:servesDataset",
            "skos:inScheme",
            "skos:exactMatch",
            "vcard:hasEmail",
            "vcard:hasURL",
        ),
        _IRI,
    ),
}
"""The context of the catalogue; every document holds it."""


_FREQUENCIES: Final = (
    (timedelta(minutes=1), "UPDATE_CONT", "continuously updated"),
    (timedelta(minutes=59), "15MIN", "every fifteen minutes"),
    (timedelta(hours=1), "HOURLY", "hourly"),
    (timedelta(days=1), "DAILY", "daily"),
)


def catalogue_document(
    datastreams: Sequence[Datastream],
    root: str,
    *,
    coverage: Mapping[int, Coverage] | None = None,
    contact: Contact | None = None,
    tenant: str = "",
) -> Json:
    """Return the catalogue of the open ones of these datastreams.

    root: of the service, without a slash at its end. coverage: by id of datastream. contact: whom
    to ask. tenant: the council whose catalogue it is; of all that are here if empty.
    """
    found = datasets(datastreams, coverage)
    asked = contact or Contact()
    return {"@context": CONTEXT, **_catalogue(found, root, asked, tenant)}


def dataset_document(found: Dataset, root: str, contact: Contact) -> Json:
    """Return one dataset alone, as the catalogue has it."""
    return {"@context": CONTEXT, **_dataset(found, root, contact)}


def _catalogue(found: Sequence[Dataset], root: str, contact: Contact, tenant: str) -> Json:
    councils = {each.council.tenant: each.council for each in found}
    council = councils.get(tenant)
    times = [each.coverage for each in found if each.coverage is not None]
    name = council.name if council else "the councils of this network"
    answer: Json = {
        "id": catalogue_iri(root, tenant),
        "type": "dcat:Catalog",
        "dct:title": _english(f"Open sensor data of {name}"),
        "dct:description": _english(
            f"What sensors in the street measure for {name}, openly: files, and interfaces by "
            "open standards."
        ),
        "dct:publisher": _council(council, root) if council else _operator(root, contact),
        "dct:language": _LANGUAGE,
        "dct:license": _licence(licences_of(_all(found)), root),
        "dct:spatial": [_area(each) for each in councils.values()],
        "dcat:themeTaxonomy": _THEME_SCHEME,
        "foaf:homepage": {"id": f"{root}/open-data", "type": "foaf:Document"},
        "dcat:dataset": [_dataset(each, root, contact) for each in found],
        "dcat:service": [_service(path, found, root, contact) for path in SERVICES],
    }
    if times:
        answer["dct:issued"] = _time(min(each.first for each in times))
        answer["dct:modified"] = _time(max(each.modified for each in times))
    return answer


def _dataset(found: Dataset, root: str, contact: Contact) -> Json:
    code, label = found.theme
    answer: Json = {
        "id": found.iri(root),
        "type": "dcat:Dataset",
        "dct:title": _english(found.title),
        "dct:description": _english(found.description),
        "dct:identifier": found.iri(root),
        "dct:publisher": _council(found.council, root),
        "dct:creator": _council(found.council, root),
        "dcat:contactPoint": _contact(root, contact),
        "dct:accessRights": _PUBLIC,
        "dct:license": _licence(licences_of(found.datastreams), root),
        "dct:language": _LANGUAGE,
        "dcat:keyword": [_english(word) for word in found.keywords],
        "dcat:theme": [
            {**_concept(f"{_AUTHORITY}/data-theme/{code}", label), "skos:inScheme": _SCHEME},
            _property_concept(found.observed_property, root),
        ],
        "dct:spatial": [_area(found.council), *_extent(found)],
        "dct:conformsTo": [_standard(_SOSA, "Semantic Sensor Network Ontology")],
        "dcat:landingPage": {"id": f"{root}/open-data", "type": "foaf:Document"},
        "dcat:distribution": _distributions(found, root),
        "dct:provenance": {
            "type": "dct:ProvenanceStatement",
            "rdfs:label": _english(
                "Signed by a gateway near the sensor, and checked before it is stored."
            ),
        },
        "ukgov:securityClassification": "OFFICIAL",
        "dct:rights": [
            {"type": "dct:RightsStatement", "rdfs:label": _english(text)}
            for text in sorted({attribution_of(each) for each in found.datastreams})
        ],
    }
    if found.coverage is not None:
        answer["dct:issued"] = _time(found.coverage.first)
        answer["dct:modified"] = _time(found.coverage.modified)
        answer["dct:temporal"] = {
            "type": "dct:PeriodOfTime",
            "dcat:startDate": _time(found.coverage.first),
            "dcat:endDate": _time(found.coverage.last),
        }
    if found.resolution is not None:
        answer["dcat:temporalResolution"] = duration(found.resolution)
    answer["dct:accrualPeriodicity"] = _frequency(found.resolution)
    return answer


def _distributions(found: Dataset, root: str) -> list[Json]:
    base = found.files(root)
    licence = _licence(licences_of(found.datastreams), root)
    return [
        *(_file(base, form, licence) for form in FILES),
        *(_access(found, path, root, licence) for path in SERVICES),
    ]


@dataclass(frozen=True, slots=True)
class FileForm:
    """A form in which files are offered. ending: of their names. standard: IRI and name."""

    ending: str
    name: str
    media_type: str
    file_type: str
    standard: tuple[str, str]
    description: str


_CSVW: Final = ("http://www.w3.org/ns/csvw", "CSV on the Web")
FILES: Final = (
    FileForm(
        "csv",
        "CSV",
        "text/csv",
        "CSV",
        _CSVW,
        "A row for each result of the last 24 hours, or of the time asked for by from and to; its "
        "metadata is beside it.",
    ),
    FileForm(
        "parquet",
        "Parquet",
        "application/vnd.apache.parquet",
        "PARQUET",
        ("https://geoparquet.org/releases/v1.1.0/", "GeoParquet 1.1.0"),
        "The same rows by columns, with points, units and definitions.",
    ),
    FileForm(
        "geojson",
        "GeoJSON",
        "application/geo+json",
        "GEOJSON",
        ("https://www.rfc-editor.org/rfc/rfc7946", "RFC 7946: The GeoJSON Format"),
        "The newest result of each sensor as a point, or the results of a time.",
    ),
)
"""The forms of our files, in the order in which they are offered."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface that answers with the same results. description: where it describes itself."""

    name: str
    standard: tuple[str, str]
    media_type: str
    description: str


SERVICES: Final[Mapping[str, Interface]] = {
    SENSORTHINGS: Interface(
        "SensorThings API",
        ("http://www.opengis.net/doc/is/sensorthings/1.1", "OGC SensorThings API 1.1"),
        "application/json",
        SENSORTHINGS,
    ),
    NGSI_LD: Interface(
        "NGSI-LD API",
        ("https://uri.etsi.org/ngsi-ld/", "ETSI GS CIM 009: NGSI-LD API"),
        "application/ld+json",
        f"{NGSI_LD}/types",
    ),
}
"""The interfaces, by their path below the root."""


def _file(base: str, form: FileForm, licence: Json) -> Json:
    url = f"{base}.{form.ending}"
    return {
        "id": f"{url}#distribution",
        "type": "dcat:Distribution",
        "dct:title": _english(form.name),
        "dct:description": _english(form.description),
        "dcat:accessURL": url,
        "dcat:downloadURL": url,
        "dcat:mediaType": _media_type(form.media_type),
        "dct:format": _format(form.file_type),
        "dct:conformsTo": [_standard(*form.standard)],
        "dct:license": licence,
        "dcatap:availability": _AVAILABLE,
    }


def _access(found: Dataset, path: str, root: str, licence: Json) -> Json:
    offered = SERVICES[path]
    name, standard, media_type = offered.name, offered.standard, offered.media_type
    return {
        "id": f"{found.iri(root)}#{name.split()[0].lower()}",
        "type": "dcat:Distribution",
        "dct:title": _english(name),
        "dct:description": _english(f"Ask for single results and for sensors by the {name}."),
        "dcat:accessURL": service_query(found, path, root),
        "dcat:accessService": {"id": root + path},
        "dcat:mediaType": _media_type(media_type),
        "dct:format": _format("JSON_LD" if "ld+json" in media_type else "JSON"),
        "dct:conformsTo": [_standard(*standard)],
        "dct:license": licence,
        "dcatap:availability": _AVAILABLE,
    }


def service_query(found: Dataset, path: str, root: str) -> str:
    """Return the address at which an interface answers with what is in a dataset."""
    if path == SENSORTHINGS:
        condition = f"ObservedProperty/properties/key%20eq%20'{found.observed_property.key}'"
        return f"{root}{path}/Datastreams?$filter={condition}"
    return f"{root}{path}/entities?type={found.observed_property.model}"


def _service(path: str, found: Sequence[Dataset], root: str, contact: Contact) -> Json:
    offered = SERVICES[path]
    name, standard = offered.name, offered.standard
    themes = {each.theme for each in found} or {("ENVI", "Environment")}
    return {
        "id": root + path,
        "type": "dcat:DataService",
        "dct:title": _english(name),
        "dct:description": _english(f"All open results by the {standard[1]}."),
        "dcat:endpointURL": root + path,
        "dcat:endpointDescription": root + offered.description,
        "dct:conformsTo": [_standard(*standard)],
        "dct:publisher": _operator(root, contact),
        "dct:creator": _operator(root, contact),
        "dcat:contactPoint": _contact(root, contact),
        "dct:accessRights": _PUBLIC,
        "dct:license": _licence(licences_of(_all(found)), root),
        "dcat:servesDataset": [each.iri(root) for each in found],
        "dcat:theme": [
            {**_concept(f"{_AUTHORITY}/data-theme/{code}", label), "skos:inScheme": _SCHEME}
            for code, label in sorted(themes)
        ],
        "dcat:keyword": [_english(word) for word in ("sensors", "open data", "real-time data")],
        "ukgov:securityClassification": "OFFICIAL",
    }


_SOSA: Final = "http://www.w3.org/ns/sosa/"
_SCHEME: Final = f"{_AUTHORITY}/data-theme"
_THEME_SCHEME: Final = {
    "id": _SCHEME,
    "type": "skos:ConceptScheme",
    "dct:title": {"@value": "Data themes of the European Union", "@language": "en"},
}
_LANGUAGE: Final = {"id": f"{_AUTHORITY}/language/ENG", "type": "dct:LinguisticSystem"}
_PUBLIC: Final = {
    "id": f"{_AUTHORITY}/access-right/PUBLIC",
    "type": "dct:RightsStatement",
    "rdfs:label": {"@value": "public", "@language": "en"},
}
_LICENCE_TYPE: Final = "http://purl.org/adms/licencetype/Attribution"


def _english(text: str) -> Json:
    return {"@value": text, "@language": "en"}


def _concept(iri: str, label: str) -> Json:
    return {"id": iri, "type": "skos:Concept", "skos:prefLabel": _english(label)}


_AVAILABLE: Final = _concept(f"{_AUTHORITY}/planned-availability/AVAILABLE", "available")


def _property_concept(found: Property, root: str) -> Json:
    concept = _concept(property_iri(found.key, root), found.label)
    return {**concept, "skos:exactMatch": found.external} if found.external else concept


def _council(council: Council, root: str) -> Json:
    """Return a council as a publisher; its GSS code names its area, which is another thing."""
    return {
        "id": f"{catalogue_iri(root, council.tenant)}#council",
        "type": "foaf:Agent",
        "foaf:name": council.name,
        "dct:identifier": council.gss,
        "dct:spatial": {"id": area_iri(council)},
        "dct:type": _concept(
            "http://purl.org/adms/publishertype/LocalAuthority", "Local authority"
        ),
    }


def _operator(root: str, contact: Contact) -> Json:
    return {
        "id": f"{catalogue_iri(root)}#operator",
        "type": "foaf:Agent",
        "foaf:name": contact.name or "The operator of this network",
        "dct:type": _concept(
            "http://purl.org/adms/publishertype/RegionalAuthority", "Regional authority"
        ),
    }


def _contact(root: str, contact: Contact) -> Json:
    found: Json = {
        "id": f"{catalogue_iri(root)}#contact",
        "type": "vcard:Kind",
        "vcard:fn": contact.name or "The operator of this network",
        "vcard:hasURL": f"{root}/about-data",
    }
    if contact.email:
        found["vcard:hasEmail"] = f"mailto:{contact.email}"
    return found


def _licence(licences: Sequence[str], root: str) -> Json:
    """Return a licence document: where several hold, one that names them all."""
    kind = _concept(_LICENCE_TYPE, "Attribution")
    if len(licences) == 1 and "://" in licences[0]:
        (licence,) = licences
        name = _english(licence_name(licence))
        return {"id": licence, "type": "dct:LicenseDocument", "dct:type": kind, "dct:title": name}
    names = " or ".join(licence_name(each) for each in licences) or licence_name("")
    return {
        "type": "dct:LicenseDocument",
        "dct:type": kind,
        "dct:title": _english(f"As each row states: {names}"),
        "rdfs:seeAlso": {"id": f"{root}/about-data"},
    }


def _area(council: Council) -> Json:
    """Return a council's area, and the chain of those that its codes named before (dct:replaces).

    Of a former one there is its code alone, without a geometry: how it differs is not known here.
    """
    found: Json = {}
    for code in council.former:
        before = {"dct:replaces": found} if found else {}
        former = replace(council, gss=code.gss)
        found = {
            "id": area_iri(former),
            "type": "dct:Location",
            "dct:identifier": code.gss,
            **before,
        }
    return {
        "id": area_iri(council),
        "type": "dct:Location",
        "dct:identifier": council.gss,
        "skos:prefLabel": _english(council.name),
        **({"dct:replaces": found} if found else {}),
    }


def _extent(found: Dataset) -> list[Json]:
    """Return the box around all places where the sensors ever were."""
    if found.box is None:
        return []
    west, south, east, north = found.box
    corners = ((west, south), (east, south), (east, north), (west, north), (west, south))
    ring = ", ".join(f"{longitude!r} {latitude!r}" for longitude, latitude in corners)
    middle = f"POINT({round((west + east) / 2, 6)!r} {round((south + north) / 2, 6)!r})"
    return [
        {"type": "dct:Location", "dcat:bbox": f"POLYGON(({ring}))", "dcat:centroid": middle},
    ]


def _frequency(period: timedelta | None) -> Json:
    code, label = "IRREG", "irregular"
    if period is not None:
        slower = ("OTHER", "other")
        code, label = next(
            ((name, text) for most, name, text in _FREQUENCIES if period <= most), slower
        )
    return {
        "id": f"{_AUTHORITY}/frequency/{code}",
        "type": "dct:Frequency",
        "rdfs:label": _english(label),
    }


def _media_type(name: str) -> Json:
    return {"id": f"{_MEDIA}/{name}", "type": "dct:MediaType"}


def _format(name: str) -> Json:
    return {"id": f"{_AUTHORITY}/file-type/{name}", "type": "dct:MediaTypeOrExtent"}


def _standard(iri: str, name: str) -> Json:
    return {"id": iri, "type": "dct:Standard", "dct:title": _english(name)}


def _time(time: datetime) -> str:
    """Return a time to the minute, so that a catalogue does not change with every result."""
    whole = time.astimezone(UTC).replace(second=0, microsecond=0)
    return whole.isoformat().replace("+00:00", "Z")


def _all(found: Sequence[Dataset]) -> list[Datastream]:
    return [datastream for each in found for datastream in each.datastreams]
