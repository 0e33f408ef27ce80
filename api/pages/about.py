"""What must be said about the data and about the pages themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from api.pages.boundaries import ATTRIBUTION
from api.pages.templating import page
from api.pages.words import QUALITY_FLAGS, QUALITY_MEANINGS, property_name, unit_symbol
from api.state import Service, service
from standards_mapping.open_licence import licence_from, licence_name
from standards_mapping.properties import PROPERTIES
from standards_mapping.units import UNITS
from storage.overview import CurrentValue, Site, bounded_read, current_values, sites

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the values of some sites come from and what may be done with them.

    licence: its IRI or, where it has none that we know, what it is called.
    """

    sites: Sequence[str]
    source: str
    licence: str
    attribution: str
    replay: str

    @property
    def licence_name(self) -> str:
        """What people call the licence."""
        return licence_name(self.licence)


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the data dictionary."""

    name: str
    label: str
    key: str
    definition: str
    symbol: str
    unit: str
    ucum: str


@router.get("/about-data")
async def about_data(*, centre: Annotated[Service, Depends(service)]) -> Response:
    """Show licences, sources, what is replayed, and what the words on the other pages mean."""
    async with centre.reading() as conn, bounded_read(conn, councils=centre.councils):
        found = await sites(conn)
        values = await current_values(conn)
    context = {
        "active": "about",
        "origins": origins(found, values),
        "measured": dictionary(values),
        "quality_flags": [(text, QUALITY_MEANINGS[bit]) for bit, text in QUALITY_FLAGS.items()],
        "map_attribution": ATTRIBUTION,
    }
    return await page(centre.pages, "about_data.html", context)


@router.get("/accessibility")
async def accessibility(*, centre: Annotated[Service, Depends(service)]) -> Response:
    """Show the accessibility statement."""
    return await page(centre.pages, "accessibility.html", {"active": "accessibility"})


def origins(found: Sequence[Site], values: Sequence[CurrentValue]) -> list[Origin]:
    """Return the different origins of the sites' values, with the sites of each."""
    by_site: dict[int, list[Mapping[str, object]]] = {}
    for value in values:
        by_site.setdefault(value.thing_id, []).append(value.properties)
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for site in found:
        given = [site.properties, *by_site.get(site.id, [])]
        said = {
            key: next((str(one[key]) for one in given if one.get(key)), "")
            for key in ("source", "licence", "attribution", "replay")
        }
        facts = said["source"], said["licence"], said["attribution"], said["replay"]
        grouped.setdefault(facts, []).append(site.name)
    return [
        Origin(names, source, licence_from(licence), attribution, replay)
        for (source, licence, attribution, replay), names in grouped.items()
    ]


def dictionary(values: Sequence[CurrentValue]) -> list[Measured]:
    """Return what is measured in which unit, each pair once, by name."""
    pairs = {(value.property_key, value.unit): value.property_name for value in values}
    rows = []
    for (key, unit_key), registered in pairs.items():
        unit = UNITS.get(unit_key)
        entry = PROPERTIES.get(key)
        rows.append(
            Measured(
                name=property_name(key, registered),
                label=registered,
                key=key,
                definition=entry.definition if entry else "",
                symbol=unit_symbol(unit_key) or "none",
                unit=unit.label if unit else unit_key,
                ucum=unit.ucum if unit else "",
            )
        )
    return sorted(rows, key=lambda row: row.name)
