"""The catalogue for programs that read Project Open Data 1.1 (`/data.json`). Pure.

CKAN and what harvests for data.gov.uk read this form. It has what the schema asks for; its
`license`, `accessRights`, `creator` and `securityClassification` also answer the UK
Cross-Government Metadata Exchange Model. The catalogue proper is `standards_mapping.dcat`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from standards_mapping.datasets import Contact, Coverage, Dataset, catalogue_iri, datasets
from standards_mapping.dcat import FILES, SERVICES, FileForm, service_query
from standards_mapping.linked_data import Json, area_iri, duration, instant
from standards_mapping.open_licence import attribution_of, licence_name, licences_of
from standards_mapping.registry import Datastream

_SCHEMA: Final = "https://project-open-data.cio.gov/v1.1/schema"


def data_json(
    datastreams: Sequence[Datastream],
    root: str,
    *,
    coverage: Mapping[int, Coverage] | None = None,
    contact: Contact | None = None,
) -> Json:
    """Return the open ones of these datastreams as data.json; see `dcat.catalogue_document`."""
    asked = contact or Contact()
    return {
        "@context": f"{_SCHEMA}/catalog.jsonld",
        "@id": f"{root}/data.json",
        "@type": "dcat:Catalog",
        "conformsTo": _SCHEMA,
        "describedBy": f"{_SCHEMA}/catalog.json",
        "dataset": [_dataset(each, root, asked) for each in datasets(datastreams, coverage)],
    }


def _dataset(found: Dataset, root: str, contact: Contact) -> Json:
    council = found.council
    licences = licences_of(found.datastreams)
    answer: Json = {
        "@type": "dcat:Dataset",
        "identifier": found.iri(root),
        "title": found.title,
        "description": found.description,
        "keyword": found.keywords,
        "theme": [found.theme[1]],
        "publisher": {
            "@type": "org:Organization",
            "name": council.name,
            "identifier": area_iri(council),
        },
        "creator": council.name,
        "contactPoint": {
            "@type": "vcard:Contact",
            "fn": contact.name or "The operator of this network",
            "hasEmail": f"mailto:{contact.email}" if contact.email else f"{root}/about-data",
        },
        "accessLevel": "public",
        "accessRights": "PUBLIC",
        "securityClassification": "OFFICIAL",
        "license": licences[0] if len(licences) == 1 else f"{root}/about-data",
        "rights": "; ".join(
            [*map(licence_name, licences), *sorted({attribution_of(e) for e in found.datastreams})]
        ),
        "language": ["en-GB"],
        "landingPage": f"{root}/open-data",
        "isPartOf": catalogue_iri(root, council.tenant),
        "distribution": [
            *(_file(found, form, root) for form in FILES),
            *(_access(found, path, root) for path in SERVICES),
        ],
    }
    if box := found.box:
        answer["spatial"] = ",".join(repr(edge) for edge in box)
    if found.coverage is not None:
        answer["issued"] = instant(found.coverage.first)
        answer["modified"] = instant(found.coverage.modified)
        answer["temporal"] = f"{instant(found.coverage.first)}/{instant(found.coverage.last)}"
    else:
        answer["modified"] = "R/P1D"
    if found.resolution is not None:
        answer["accrualPeriodicity"] = f"R/{duration(found.resolution)}"
    return answer


def _file(found: Dataset, form: FileForm, root: str) -> Json:
    url = f"{found.files(root)}.{form.ending}"
    answer: Json = {
        "@type": "dcat:Distribution",
        "title": f"{found.title} ({form.name})",
        "description": form.description,
        "downloadURL": url,
        "mediaType": form.media_type,
        "format": form.name,
        "conformsTo": form.standard[0],
    }
    if form.ending == "csv":
        answer["describedBy"] = f"{url}-metadata.json"
        answer["describedByType"] = "application/csvm+json"
    return answer


def _access(found: Dataset, path: str, root: str) -> Json:
    return {
        "@type": "dcat:Distribution",
        "title": f"{found.title} ({SERVICES[path].name})",
        "accessURL": service_query(found, path, root),
        "format": "API",
        "conformsTo": SERVICES[path].standard[0],
    }
