"""Answers and refusals as HTTP has them: bodies, contexts, links between pages."""

from typing import Any, Final
from urllib.parse import quote

import orjson
from fastapi import Response

from api.ngsi_ld.answer import Page
from api.ngsi_ld.negotiation import Media, link_to
from api.ngsi_ld.questions import Asked
from api.root import root_of
from standards_mapping.ngsi_ld.errors import NgsiLdError, problem
from standards_mapping.ngsi_ld.parameters import Query
from standards_mapping.ngsi_ld.vocabulary import CORE

TENANT: Final = "NGSILD-Tenant"

_PROBLEM: Final = "application/problem+json"


def unpaged(asked: Asked, content: Any) -> Response:
    """Answer with one entity, or with a list that is not paged."""
    return _written(asked, content, {})


def paged(asked: Asked, query: Query, page: Page) -> Response:
    """Answer with a page of entities, with links to those before and after it."""
    headers: dict[str, str] = {}
    if page.count is not None:
        headers["NGSILD-Results-Count"] = str(page.count)
    links = _page_links(asked, query, more=page.more)
    content: Any = list(page.entities)
    if asked.geojson:
        content = {"type": "FeatureCollection", "features": content}
    response = _written(asked, content, headers)
    for link in links:
        response.headers.append("Link", link)
    cut(response, page.content_range)
    return response


def cut(response: Response, content_range: str | None) -> None:
    """Say that a history was cut, and to what."""
    if content_range is not None:
        response.status_code = 206
        response.headers["Content-Range"] = content_range


def _page_links(asked: Asked, query: Query, *, more: bool) -> list[str]:
    """Return the Link headers to the pages before and after."""
    offsets = {}
    if query.offset and query.limit:
        offsets["prev"] = max(0, query.offset - query.limit)
    if more and query.limit:
        offsets["next"] = query.offset + query.limit
    url = f"{root_of(asked.request)}{asked.request.url.path}"
    found = []
    for relation, offset in offsets.items():
        given = {**asked.given, "limit": str(query.limit), "offset": str(offset)}
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
        found.append(f'<{url}?{text}>; rel="{relation}"; type="{asked.media.value}"')
    return found


def _written(asked: Asked, content: Any, headers: dict[str, str]) -> Response:
    """Write the answer; its @context stands in the body, or for plain JSON in a Link header."""
    context = asked.vocabulary.context
    plain = asked.geojson and "body=json" in asked.request.headers.get("prefer", "")
    if asked.media is Media.JSON_LD or (asked.geojson and not plain):
        content = _with_context(content, context)
    response = json_response(content, media=asked.media.value)
    if asked.media is Media.JSON or plain:
        urls = [one for one in context if isinstance(one, str)]
        response.headers["Link"] = link_to(urls[0] if urls else CORE)
    response.headers["Vary"] = f"Accept, Link, Prefer, {TENANT}"
    response.headers.update(headers)
    return response


def _with_context(content: Any, context: list[Any]) -> Any:
    if isinstance(content, list):
        return [_with_context(one, context) for one in content]
    return {**content, "@context": context}


def json_response(content: Any, status: int = 200, *, media: str = Media.JSON.value) -> Response:
    """Return JSON as it is."""
    return Response(orjson.dumps(content), status_code=status, media_type=media)


def refusal(error: NgsiLdError, *, status: int | None = None, allow: str = "") -> Response:
    """Return a refusal as a problem of the standard's. allow: the methods that there are."""
    body = problem(error, status=status)
    headers = {"Allow": allow} if allow else None
    return Response(
        orjson.dumps(body), status_code=body["status"], media_type=_PROBLEM, headers=headers
    )


def unavailable() -> Response:
    """Return that the database cannot be reached."""
    body = {
        "type": "https://uri.etsi.org/ngsi-ld/errors/InternalError",
        "title": "The service is not available for the moment",
        "detail": "The database cannot be reached. Please try again.",
        "status": 503,
    }
    headers = {"Retry-After": "5"}
    return Response(orjson.dumps(body), status_code=503, media_type=_PROBLEM, headers=headers)
