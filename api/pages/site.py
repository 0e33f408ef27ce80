"""One site: its values now, its charts over a span of time, and the evidence behind them."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from fastapi.responses import Response

from api.pages.air_quality import air_quality, pollutants
from api.pages.chart import Chart, make_chart
from api.pages.presentation import SiteRow, ValueRow, site_rows, watermark
from api.pages.templating import page
from api.pages.times import floor_second, iso_text, time_text
from api.pages.view import View, read_view
from api.pages.words import unit_symbol
from api.state import Service, service
from storage.air_quality import indices_now
from storage.charts import Series, Stream, read_series
from storage.database import Connection
from storage.evidence import SignedBatch, newest_batch, public_key, signed_object
from storage.overview import CurrentValue, Site, bounded_read, current_values, server_time, sites

router = APIRouter(include_in_schema=False)

CHARTS_TIMEOUT_SECONDS: Final = 15.0

_COSE_SIGN1: Final = 'application/cose; cose-type="cose-sign1"'
_COSE_KEY: Final = "application/cose-key"
_EPOCH_ID: Final = r"^[0-9a-f]{16}$"
_IDS: Final = range(1, 2**31)  # what the database's int holds


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart with the datastream it is of."""

    value: ValueRow
    chart: Chart


@dataclass(frozen=True, slots=True)
class Evidence:
    """The newest signed message of the site's gateway, in words."""

    batch: SignedBatch
    sha256: str
    epoch: str
    kid: str
    received: str
    received_iso: str
    first: str
    last: str
    size: int


@router.get("/sites/{thing_id}")
async def site_page(
    thing_id: int,
    start: Annotated[str, Query(alias="from", max_length=40)] = "",
    end: Annotated[str, Query(alias="to", max_length=40)] = "",
    *,
    centre: Annotated[Service, Depends(service)],
) -> Response:
    """Show one site; `from` and `to` say which span its charts cover."""
    now = datetime.now(UTC)
    view = read_view(start, end, now)
    async with (
        centre.reading() as conn,
        bounded_read(conn, CHARTS_TIMEOUT_SECONDS, councils=centre.councils),
    ):
        site, values = await read_site(conn, thing_id)
        drawn = {
            value.datastream_id: _chart(value, await read_view_of(conn, value, view), view)
            for value in values
        }
        indices = await indices_now(conn, pollutants(values), now)
        batch = None
        if site.gateway_id is not None:
            batch = await newest_batch(conn, site.gateway_id)
        read_at = await server_time(conn)
    row = site_rows([site], values, now)[0] if values else SiteRow(site=site, values=[], replay="")
    context = {
        "active": "site",
        "site": row,
        "description": _description(row),
        "air": air_quality(indices, row.values, now),
        "read_at": time_text(floor_second(now)),
        "plots": [Plot(value, drawn[value.datastream_id]) for value in row.values],
        "view": view,
        "view_start": time_text(view.start),
        "view_end": time_text(view.end),
        "start_iso": iso_text(view.start),
        "end_iso": iso_text(view.end),
        "zooms": view.zooms(now),
        "steps": view.steps(now),
        "evidence": _evidence(batch) if batch else None,
        "now": iso_text(now),
        "since": iso_text(watermark(values, read_at)),
    }
    return await page(centre.pages, "site.html", context)


@router.get("/batches/{epoch_id}/{seq}")
async def batch(
    epoch_id: Annotated[str, Path(pattern=_EPOCH_ID)],
    seq: Annotated[int, Path(ge=1, le=2**20)],
    *,
    centre: Annotated[Service, Depends(service)],
) -> Response:
    """Return the COSE_Sign1 that a gateway made of a message (RFC 9052, section 4.2), untagged."""
    async with centre.reading() as conn, bounded_read(conn, councils=centre.councils):
        signed = await signed_object(conn, bytes.fromhex(epoch_id), seq)
    if signed is None:
        raise HTTPException(404, "There is no such message.")
    return _download(signed, _COSE_SIGN1, f"{epoch_id}-{seq}.cose")


@router.get("/keys/{kid}")
async def key(
    kid: Annotated[str, Path(pattern=_EPOCH_ID)],
    *,
    centre: Annotated[Service, Depends(service)],
) -> Response:
    """Return the public key that a gateway signs with, as a COSE_Key (RFC 9052, section 7)."""
    async with centre.reading() as conn, bounded_read(conn, councils=centre.councils):
        cose_key = await public_key(conn, bytes.fromhex(kid))
    if cose_key is None:
        raise HTTPException(404, "There is no such key.")
    return _download(cose_key, _COSE_KEY, f"{kid}.cbor")


def _download(body: bytes, media_type: str, file_name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
    return Response(body, media_type=media_type, headers=headers)


async def read_site(conn: Connection, thing_id: int) -> tuple[Site, list[CurrentValue]]:
    """Return an approved site and its datastreams.

    Raises:
        HTTPException: 404, there is no such site.
    """
    if thing_id not in _IDS or not (found := await sites(conn, thing_id=thing_id)):
        raise HTTPException(404, "There is no site with this number.")
    return found[0], await current_values(conn, thing_id=thing_id)


async def read_view_of(conn: Connection, value: CurrentValue, view: View) -> Series:
    """Return what the chart of one datastream shows in a view."""
    return await read_series(conn, stream_of(value), view.start, view.end)


def stream_of(value: CurrentValue) -> Stream:
    """Return what must be known of a datastream to sum it up."""
    return Stream(
        datastream_id=value.datastream_id,
        property_key=value.property_key,
        unit=value.unit,
        averaging_seconds=value.averaging_seconds,
    )


def _description(row: SiteRow) -> str:
    """Return what the site says of itself, less what the page says of replays anyway."""
    text = row.site.description
    return text.replace(row.replay, "").strip() if row.replay else text


def _chart(current: CurrentValue, series: Series, view: View) -> Chart:
    return make_chart(
        series,
        view,
        spacing_seconds=max(current.period_seconds or 0, current.averaging_seconds),
        aggregation=stream_of(current).aggregation,
        unit=unit_symbol(current.unit),
    )


def _evidence(batch: SignedBatch) -> Evidence:
    return Evidence(
        batch=batch,
        sha256=hashlib.sha256(batch.signed).hexdigest(),
        epoch=batch.epoch_id.hex(),
        kid=batch.signer_kid.hex(),
        received=time_text(floor_second(batch.received_at)),
        received_iso=iso_text(batch.received_at),
        first=time_text(floor_second(batch.first_time)) if batch.first_time else "",
        last=time_text(floor_second(batch.last_time)) if batch.last_time else "",
        size=len(batch.signed),
    )
