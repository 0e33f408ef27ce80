"""The overview: every site with its newest values, on a map and in a table that says the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response

from api.pages.air_quality import air_by_site, pollutants
from api.pages.boundaries import ATTRIBUTION, nearby, still_map
from api.pages.presentation import SiteRow, ValueRow, count_text, site_rows, watermark
from api.pages.templating import page
from api.pages.times import Freshness, iso_text, time_text
from api.state import Service, service
from standards_mapping.air_quality_index import Index, NoIndex
from storage.air_quality import KnownIndices, Pollutant, indices_now
from storage.overview import Council, bounded_read, councils, current_values, server_time, sites

router = APIRouter(include_in_schema=False)

INDICES_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ReplayNotice:
    """What must be said of replayed sites; `names` is empty where all sites are."""

    text: str
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of a filter."""

    value: str
    text: str
    selected: bool


@router.get("/")
async def overview(
    council: Annotated[str, Query(max_length=32)] = "",
    observed: Annotated[str, Query(alias="property", max_length=64)] = "",
    *,
    centre: Annotated[Service, Depends(service)],
) -> Response:
    """Show all sites, or those of one council, with all their properties or one."""
    async with centre.reading() as conn, bounded_read(conn, councils=centre.councils):
        network = await councils(conn)
        found = await sites(conn, tenant=council or None)
        values = await current_values(conn, tenant=council or None)
        read_at = await server_time(conn)
    if council and council not in {one.tenant for one in network}:
        raise HTTPException(404, f"There is no council called “{council}” in this network.")
    now = datetime.now(UTC)
    everything = site_rows(found, values, now)
    names = {row.property_key: row.measured for site in everything for row in site.values}
    if observed and observed not in names:
        raise HTTPException(404, f"Nothing called “{observed}” is measured there.")
    indices = await centre.indices.indices(partial(_read, centre, now), pollutants(values), now)
    described = _only(everything, observed)
    shown = [reported(site) for site in described]
    rows = [row for site in shown for row in site.values]
    members = {one.gss for one in network}
    wanted = {one.gss for one in network if council in ("", one.tenant)}
    since = watermark(values, read_at)
    context = {
        "active": "overview",
        "sites": shown,
        "restricted": sorted({site.site.council for site in shown if not site.is_open}),
        "air": air_by_site(everything, indices, now),
        "councils": _choices({one.tenant: one.name for one in network}, council, "All councils"),
        "properties": _choices(names, observed, "Everything measured"),
        "council": next((one.name for one in network if one.tenant == council), ""),
        "observed": names.get(observed, ""),
        "filtered": bool(council or observed),
        "counts": count_text(rows),
        "value_count": len(rows),
        "never_reported": sum(len(site.values) for site in described) - len(rows),
        "council_count": len({site.site.tenant for site in shown}),
        "replays": _replays(shown),
        "map": still_map(shown, members, wanted),
        "map_attribution": ATTRIBUTION,
        "now": iso_text(now),
        "read_at": time_text(now.replace(microsecond=0)),
        "since": iso_text(since),
        "tenant": council,
    }
    return await page(centre.pages, "overview.html", context)


@router.get("/boundaries.geojson")
async def boundaries(centre: Annotated[Service, Depends(service)]) -> Response:
    """Return the network's councils and their neighbours for the map."""
    async with centre.reading() as conn, bounded_read(conn, councils=centre.councils):
        network: list[Council] = await councils(conn)
    body = orjson.dumps(nearby({one.gss for one in network}))
    headers = {"Cache-Control": "public, max-age=3600"}
    return Response(body, media_type="application/geo+json", headers=headers)


async def _read(
    centre: Service, now: datetime, asked: Sequence[Pollutant], known: KnownIndices
) -> dict[int, Index | NoIndex]:
    """Read indices apart from the page, which is there without them if that takes too long."""
    async with centre.reading() as conn, bounded_read(conn, INDICES_TIMEOUT_SECONDS):
        return await indices_now(conn, asked, now, known=known)


def reported(site: SiteRow) -> SiteRow:
    """Return a site without what it described but never reported, unless that is all there is.

    A gateway describes each sensor that it may have; what this one lacks would never get a value.
    """
    values = [row for row in site.values if row.status is not Freshness.WAITING]
    return SiteRow(site=site.site, values=values, replay=site.replay) if values else site


def _only(everything: Sequence[SiteRow], observed: str) -> list[SiteRow]:
    """Return the sites with only the values of one property, if one is asked for."""
    if not observed:
        return list(everything)
    shown = []
    for one in everything:
        values: list[ValueRow] = [row for row in one.values if row.property_key == observed]
        if values:
            shown.append(SiteRow(site=one.site, values=values, replay=one.replay))
    return shown


def _choices(names: dict[str, str], chosen: str, everything: str) -> list[Choice]:
    ordered = sorted(names.items(), key=lambda item: item[1])
    return [
        Choice("", everything, not chosen),
        *(Choice(value, text, value == chosen) for value, text in ordered),
    ]


def _replays(shown: Sequence[SiteRow]) -> list[ReplayNotice]:
    texts = dict.fromkeys(site.replay for site in shown if site.replay)
    everywhere = all(site.replay for site in shown)
    return [
        ReplayNotice(
            text,
            []
            if everywhere and len(texts) == 1
            else [site.site.name for site in shown if site.replay == text],
        )
        for text in texts
    ]
