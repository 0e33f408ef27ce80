"""The page for people: which councils publish what, links to the files, and what is in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from api.open_data.answers import reading
from api.open_data.files import FORMS, METADATA
from api.pages.templating import page
from api.pages.times import date_text, duration_text, plural
from api.pages.words import QUALITY_FLAGS, QUALITY_MEANINGS, property_name, unit_symbol
from api.state import Service, service
from standards_mapping.datasets import Dataset, datasets
from standards_mapping.open_columns import MEANINGS
from standards_mapping.open_licence import attribution_of, licence_name, licences_of
from storage.open_data import coverages
from storage.published import published_datastreams, published_things

router = APIRouter(include_in_schema=False)

_FORM_NAMES: Final = {"csv": "CSV", "geojson": "GeoJSON", "parquet": "Parquet"}


@dataclass(frozen=True, slots=True)
class Offer:
    """One row of the page: a property of a council; files: their names and addresses.

    how_often, since: "" where that is not known. licences: names and addresses.
    """

    name: str
    key: str
    units: str
    sites: str
    how_often: str
    since: str
    licences: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, str]]
    metadata: str


@dataclass(frozen=True, slots=True)
class Publisher:
    """A council with what it offers. catalogue: address. attributions: what to say."""

    name: str
    tenant: str
    gss: str
    catalogue: str
    attributions: Sequence[str]
    offers: Sequence[Offer]


@router.get("/open-data")
async def open_data(*, centre: Annotated[Service, Depends(service)]) -> Response:
    """Show what everybody may download, in words, and what the files hold."""
    async with reading(centre) as conn:
        things = await published_things(conn)
        readable = await published_datastreams(conn, things)
        found = [each for each in readable if each.is_open]
        known = await coverages(conn, [each.id for each in found])
    context = {
        "active": "open-data",
        "publishers": publishers(datasets(found, known)),
        "kept": [each for each in readable if not each.is_open],
        "columns": MEANINGS.items(),
        "quality_flags": [(text, QUALITY_MEANINGS[bit]) for bit, text in QUALITY_FLAGS.items()],
        "longest": {
            name: duration_text(FORMS[ending].longest.total_seconds())
            for ending, name in _FORM_NAMES.items()
        },
    }
    return await page(centre.pages, "open_data.html", context)


def publishers(found: Sequence[Dataset]) -> list[Publisher]:
    """Return councils by name, each with its offers by name."""
    grouped: dict[str, list[Dataset]] = {}
    for each in found:
        grouped.setdefault(each.council.tenant, []).append(each)
    rows = [
        Publisher(
            name=group[0].council.name,
            tenant=tenant,
            gss=group[0].council.gss,
            catalogue=f"/catalogue/{tenant}",
            attributions=sorted({attribution_of(d) for each in group for d in each.datastreams}),
            offers=sorted((_offer(each) for each in group), key=lambda offer: offer.name),
        )
        for tenant, group in grouped.items()
    ]
    return sorted(rows, key=lambda row: row.name)


def _offer(found: Dataset) -> Offer:
    base = found.files("")
    first = found.observed_property
    units = dict.fromkeys(
        unit_symbol(each.unit.key) or each.unit.label for each in found.datastreams
    )
    return Offer(
        name=property_name(first.key, first.label),
        key=first.key,
        units=", ".join(units),
        sites=plural(len({each.thing.id for each in found.datastreams}), "site"),
        how_often=_how_often(found),
        since="" if found.coverage is None else date_text(found.coverage.first),
        licences=[
            (licence_name(each), each if each.startswith(("https://", "http://")) else "")
            for each in licences_of(found.datastreams)
        ],
        files=[(name, f"{base}.{ending}") for ending, name in _FORM_NAMES.items()],
        metadata=base + METADATA,
    )


def _how_often(found: Dataset) -> str:
    if found.resolution is None:
        return ""
    return f"every {duration_text(found.resolution.total_seconds()).removeprefix('1 ')}"
