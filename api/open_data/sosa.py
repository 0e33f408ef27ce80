"""SOSA and SSN over HTTP: pages of observations, and what made them, as JSON-LD or Turtle."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from api.open_data.answers import linked, reading
from api.open_data.parameters import (
    check_names,
    linked_form,
    read_id,
    read_limit,
    read_span,
    read_time,
)
from api.pages.times import iso_text
from api.pages.view import ViewError
from api.root import root_of
from api.state import Service, service
from standards_mapping import sosa
from standards_mapping.linked_data import JSON_LD, Json
from standards_mapping.properties import PROPERTIES
from standards_mapping.registry import Datastream
from storage.database import Connection
from storage.open_data import observations_page, readable_datastreams
from storage.published import published_datastreams, published_things

PAGE: Final = 100
LARGEST_PAGE: Final = 1000
LARGEST_ANSWER_BYTES: Final = 16 << 20
LONGEST: Final = timedelta(days=366 * 100)
"""Pages are walks along a key, so that no span is too long."""

CONTEXT_PATH: Final = "/sosa/context.jsonld"

router = APIRouter(include_in_schema=False, prefix="/sosa")

_PARAMETERS: Final = ("datastream", "from", "to", "limit", "after")


@router.get("/context.jsonld")
async def context(request: Request) -> Response:
    """Return the context that the documents refer to."""
    check_names(request.query_params, ())
    text = orjson.dumps({"@context": sosa.CONTEXT})
    return Response(text, media_type=JSON_LD, headers={"Cache-Control": "public, max-age=86400"})


@router.get("/observations")
async def observations(
    request: Request, *, centre: Annotated[Service, Depends(service)]
) -> Response:
    """Return a page of a datastream's observations, oldest first; `Link` leads to the next."""
    given = request.query_params
    check_names(given, _PARAMETERS)
    number = read_id(given, "datastream")
    if number is None:
        raise ViewError("“datastream” is missing: which one's observations, by its number.")
    span = read_span(given, datetime.now(UTC), LONGEST)
    limit = read_limit(given, PAGE, LARGEST_PAGE)
    after = read_time(given, "after")
    async with reading(centre) as conn:
        datastream = await _datastream(conn, number)
        found = await observations_page(
            conn, datastream, span.start, span.end, after=after, limit=limit + 1
        )
    headers = {}
    if len(found) > limit:
        found = found[:limit]
        asked = {
            "datastream": number,
            "from": iso_text(span.start),
            "to": iso_text(span.end),
            "limit": limit,
            "after": iso_text(found[-1].time),
        }
        headers["Link"] = f'<{root_of(request)}/sosa/observations?{urlencode(asked)}>; rel="next"'
    root = root_of(request)
    document = sosa.observations_document([datastream], found, root, root + CONTEXT_PATH)
    return await linked(
        document, sosa.CONTEXT, linked_form(request), headers, largest=LARGEST_ANSWER_BYTES
    )


@router.get("/sensors/{number}")
async def sensor(
    request: Request, number: str, *, centre: Annotated[Service, Depends(service)]
) -> Response:
    """Return a sensor: what it observes, how, and what hosts it."""
    wanted = _number(request, number, "sensor")
    async with reading(centre) as conn:
        found = await readable_datastreams(conn, sensor=wanted)
    if not found:
        raise HTTPException(404, f"There is no sensor {wanted}.")
    root = root_of(request)
    return await _answer(request, sosa.sensor_document(found, root, root + CONTEXT_PATH))


@router.get("/platforms/{number}")
async def platform(
    request: Request, number: str, *, centre: Annotated[Service, Depends(service)]
) -> Response:
    """Return a Thing: what it hosts, and where it was since when."""
    wanted = _number(request, number, "platform")
    async with reading(centre) as conn:
        things = await published_things(conn, ids=[wanted], with_health=True)
        found = await published_datastreams(conn, things)
    if not things:
        raise HTTPException(404, f"There is no platform {wanted}.")
    root = root_of(request)
    return await _answer(
        request, sosa.platform_document(things[0], found, root, root + CONTEXT_PATH)
    )


@router.get("/properties/{key}")
async def observed_property(request: Request, key: str) -> Response:
    """Return what can be observed, by its key."""
    check_names(request.query_params, ())
    if key not in PROPERTIES:
        raise HTTPException(404, f"There is no property “{key}”.")
    root = root_of(request)
    document = sosa.property_document(PROPERTIES[key], root, root + CONTEXT_PATH)
    return await _answer(request, document)


@router.get("/procedures/{name}")
async def procedure(request: Request, name: str) -> Response:
    """Return how results come about."""
    check_names(request.query_params, ())
    root = root_of(request)
    document = sosa.procedure_document(name, root, root + CONTEXT_PATH)
    if document is None:
        raise HTTPException(404, f"There is no procedure “{name}”.")
    return await _answer(request, document)


@router.get("/qualities/{name}")
async def quality(request: Request, name: str) -> Response:
    """Return what a flag against a result means."""
    check_names(request.query_params, ())
    root = root_of(request)
    document = sosa.quality_document(name, root, root + CONTEXT_PATH)
    if document is None:
        raise HTTPException(404, f"There is no flag “{name}”.")
    return await _answer(request, document)


async def _answer(request: Request, document: Json) -> Response:
    return await linked(document, sosa.CONTEXT, linked_form(request), largest=LARGEST_ANSWER_BYTES)


async def _datastream(conn: Connection, number: int) -> Datastream:
    found = await readable_datastreams(conn, datastream=number)
    if not found:
        raise HTTPException(404, f"There is no datastream {number}.")
    return found[0]


def _number(request: Request, text: str, kind: str) -> int:
    check_names(request.query_params, ())
    if not (text.isascii() and text.isdecimal()) or len(text) > len("2147483647"):
        raise HTTPException(404, f"There is no {kind} “{text[:40]}”.")
    return min(int(text), 2**31 - 1)
