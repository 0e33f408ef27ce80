"""The web application: which routes there are and what wraps them.

What they share is opened by `api.service` and attached here as `app.state.service`.
"""

import asyncio
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI, Header, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from api import errors, sign_in
from api.administration import (
    change_pages,
    configuration_form,
    gateway_page,
    gateways_page,
    invitation_pages,
    kept_aside_page,
)
from api.administration.issuer import load_issuer
from api.errors import RETRY_SECONDS, Problem
from api.layers.compression import Compression
from api.layers.conditional import Conditional, Head
from api.layers.cors import OpenToScripts
from api.layers.metrics import RequestMetrics
from api.layers.negotiation import Acceptable
from api.layers.rate_limit import Admission
from api.layers.security import OwnNames, SecurityHeaders
from api.live import LiveFeed, TooManyClientsError
from api.ngsi_ld import routes as ngsi_ld
from api.open_data import catalogue, files, sosa
from api.open_data import page as open_data_page
from api.openapi import pages as openapi_pages
from api.pages import about, exports, overview, site, status
from api.pages.templating import environment, fingerprint
from api.pages.times import parse_time
from api.pages.view import ViewError
from api.reads import Readers, Reads
from api.sensorthings import routes as sensorthings
from api.settings import ApiSettings
from api.state import Service, service
from dashboard import STATIC
from storage.database import OUTAGES, Pool
from storage.overview import server_time

HEALTH_SECONDS: Final = 2.0

router = APIRouter(include_in_schema=False)


def create_app(settings: ApiSettings) -> FastAPI:
    """Return the application; it answers once `attach` has given it what its routes share.

    Raises:
        OSError: a file that the settings name cannot be read.
        ValueError: the region root's file holds no certificate.
    """
    pages = environment(settings.operator)
    app = FastAPI(
        title="Kerbstone",
        openapi_url=None,  # `api.openapi` describes what there is, and how errors look
        # What is measured is ours to say; no variable of the environment sends it elsewhere.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.pages = pages
    app.state.settings = settings
    app.state.issuer = load_issuer(settings.enrolment)
    app.state.mqtt_endpoints = settings.mqtt_endpoints
    if settings.base_url:
        app.state.base_url = settings.base_url
    errors.install(app, pages)
    # First, and not as a router: asked for most, and routes are tried in turn.
    app.router.routes.extend(sensorthings.router().routes)
    for part in (
        router,
        overview.router,
        site.router,
        exports.router,
        status.router,
        about.router,
        openapi_pages.router,
        open_data_page.router,
        catalogue.router,
        sosa.router,
        files.router(),
        gateways_page.router,
        invitation_pages.router,
        gateway_page.router,
        kept_aside_page.router,
        configuration_form.router,
        change_pages.router,
    ):
        app.include_router(part)
    sign_in.install(app)
    app.include_router(ngsi_ld.router())
    app.mount(f"/static/{fingerprint()}", StaticFiles(directory=STATIC), name="static")
    # The last added is the outermost.
    app.add_middleware(Acceptable, pages=pages)
    app.add_middleware(Conditional)
    app.add_middleware(Compression)
    app.add_middleware(Head)
    app.add_middleware(Admission, pages=pages, settings=settings.rate_limits)
    app.add_middleware(OpenToScripts)
    app.add_middleware(OwnNames, bound_to=settings.host, base_url=settings.base_url)
    app.add_middleware(SecurityHeaders, has_tls=settings.base_url.startswith("https:"))
    app.add_middleware(RequestMetrics)
    return app


def attach(app: FastAPI, pool: Pool, live: LiveFeed, reads: Reads, readers: Readers) -> None:
    """Give the application's routes the pool, the live feed and where they read from."""
    app.state.pool = readers
    app.state.service = Service(app.state.settings, pool, app.state.pages, live, reads)


@router.get("/live")
async def live(
    council: Annotated[str, Query(max_length=32)] = "",
    since: Annotated[str, Query(max_length=40)] = "",
    last_event_id: Annotated[str, Header(max_length=40)] = "",
    *,
    centre: Annotated[Service, Depends(service)],
) -> Response:
    """Stream new values as server-sent events; a returning browser says what it saw last."""
    return _stream(centre, council or None, _read_seen(last_event_id or since))


@router.head("/live")
async def live_head() -> Response:
    """Say what the stream is, without opening it."""
    return Response(media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get("/live/gateways")
async def live_gateways(*, centre: Annotated[Service, Depends(service)]) -> Response:
    """Say by server-sent events when gateways were invited, enrolled, suspended or revoked."""
    return _stream(centre, "", None)


def _stream(centre: Service, tenant: str | None, seen: datetime | None) -> Response:
    try:
        centre.live.check_room()
    except TooManyClientsError as error:
        headers = {"Retry-After": str(RETRY_SECONDS)}
        raise Problem("too-many-streams", "Too many live streams are open.", headers) from error
    return StreamingResponse(
        centre.live.stream(centre.pool, tenant, seen, centre.councils),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _read_seen(text: str) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError as error:
        raise ViewError("“since” is not a time such as 2026-03-29T14:00:00Z.") from error


@router.get("/healthz")
async def healthz(*, centre: Annotated[Service, Depends(service)]) -> Response:
    """Say whether the service can read its database: 200 or 503."""
    try:
        async with (
            asyncio.timeout(HEALTH_SECONDS),
            centre.pool.connection(timeout=HEALTH_SECONDS) as conn,
        ):
            await server_time(conn)
    except (*OUTAGES, TimeoutError):
        return JSONResponse({"status": "database unavailable"}, 503)
    return JSONResponse({"status": "ok", "live": centre.live.connected})
