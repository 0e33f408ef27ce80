"""NGSI-LD requests over HTTP: what is asked is parsed and answered, and refusals are problem+json.

The service reads only: methods that write are answered 405, resources that it has not 501.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import orjson
from fastapi import APIRouter, Request, Response

from api.ngsi_ld.answer import MOST_INSTANCES, Answers, Discovery, Page
from api.ngsi_ld.negotiation import (
    Media,
    UnsupportedMediaTypeError,
    link_to,
    linked_context,
    negotiate,
    vocabulary_of,
)
from api.ngsi_ld.provider import OwnProvider, Provider
from api.root import root_of
from standards_mapping.ngsi_ld import parameters
from standards_mapping.ngsi_ld.errors import (
    BadRequestDataError,
    NgsiLdError,
    OperationNotSupportedError,
    ResourceNotFoundError,
    TooComplexQueryError,
    problem,
)
from standards_mapping.ngsi_ld.parameters import Query
from standards_mapping.ngsi_ld.selection import EntitySelector, check_id, parse_types
from standards_mapping.ngsi_ld.vocabulary import CORE, Vocabulary
from storage.database import OUTAGES
from storage.ngsi_ld.reader import SlowError

PREFIX: Final = "/ngsi-ld/v1"
CONTEXTS: Final = "/contexts"

_PROBLEM: Final = "application/problem+json"
_READ: Final = ["GET", "HEAD"]
_ALL: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_LONGEST_QUERY: Final = 16_384
_LARGEST_BODY: Final = 1_000_000
_TENANT: Final = "NGSILD-Tenant"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with what was agreed on: media type, terms, parameters. body: of a POST."""

    request: Request
    given: dict[str, str]
    media: Media
    vocabulary: Vocabulary
    body: Any = None

    @property
    def geojson(self) -> bool:
        return self.media is Media.GEO_JSON


_Work = Callable[[Answers, _Asked], Awaitable[Response]]


def router(provider: Provider | None = None, *, most: int = MOST_INSTANCES) -> APIRouter:
    """Return the routes below `PREFIX`, and those of the contexts.

    provider: where entities come from; the service's own where none is given. most: instances of
    an attribute in one answer. They use `app.state.pool` and `app.state.base_url` as those of
    SensorThings do.
    """
    return _Routes(provider or OwnProvider(), most).router()


class _Routes:
    def __init__(self, provider: Provider, most: int) -> None:
        self._provider = provider
        self._most = most

    def router(self) -> APIRouter:
        routes = APIRouter(include_in_schema=False)
        queries = {"/entities": self._entities, "/temporal/entities": self._histories}
        reads: dict[str, Callable[[Request], Awaitable[Response]]] = {
            **queries,
            "/entities/{entity_id}": self._entity,
            "/temporal/entities/{entity_id}": self._history,
            "/types": self._types,
            "/types/{name:path}": self._type,
            "/attributes": self._attributes,
            "/attributes/{name:path}": self._attribute,
            "/jsonldContexts": self._contexts,
            "/jsonldContexts/{name}": self._context,
        }
        posts = {
            "/entityOperations/query": self._entities,
            "/temporal/entityOperations/query": self._histories,
        }
        for path, answer in reads.items():
            routes.add_api_route(PREFIX + path, answer, methods=_READ)
            routes.add_api_route(PREFIX + path, _refuse(_READ), methods=_ALL)
        for path, answer in posts.items():
            routes.add_api_route(PREFIX + path, answer, methods=["POST"])
            routes.add_api_route(PREFIX + path, _refuse(["POST"]), methods=_ALL)
        routes.add_api_route(f"{CONTEXTS}/{{name}}", self._context, methods=_READ)
        routes.add_api_route(f"{PREFIX}/{{path:path}}", _unknown, methods=_ALL)
        return routes

    async def _entities(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: _Asked) -> Response:
            query = _query(asked)
            return _page(asked, query, await answers.entities(query, geojson=asked.geojson))

        return await self._handle(request, parameters.QUERY, answer, geojson=True)

    async def _histories(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: _Asked) -> Response:
            query = _query(asked, temporal=True)
            if query.temporal is None:
                raise BadRequestDataError("give a time: timerel and timeAt")
            return _page(asked, query, await answers.histories(query, query.temporal))

        return await self._handle(request, parameters.QUERY_TEMPORAL, answer)

    async def _entity(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: _Asked) -> Response:
            output = parameters.parse_output(asked.given, asked.vocabulary)
            entity_id = check_id(request.path_params["entity_id"])
            chosen = _selector(asked)
            found = await answers.entity(entity_id, output, chosen, geojson=asked.geojson)
            return _one(asked, found)

        return await self._handle(request, parameters.RETRIEVE, answer, geojson=True)

    async def _history(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: _Asked) -> Response:
            output = parameters.parse_output(asked.given, asked.vocabulary, temporal=True)
            times = parameters.parse_temporal(asked.given, output)
            entity_id = check_id(request.path_params["entity_id"])
            chosen = _selector(asked)
            found, content_range = await answers.history(entity_id, output, times, chosen)
            response = _one(asked, found)
            _cut(response, content_range)
            return response

        return await self._handle(request, parameters.RETRIEVE_TEMPORAL, answer)

    async def _types(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: _Asked) -> Response:
            discovery = Discovery(answers.source, asked.vocabulary)
            return _one(asked, await discovery.types(details=_details(asked)))

        return await self._handle(request, parameters.DETAILS, answer)

    async def _type(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: _Asked) -> Response:
            discovery = Discovery(answers.source, asked.vocabulary)
            return _one(asked, await discovery.type(request.path_params["name"]))

        return await self._handle(request, parameters.DETAILS, answer)

    async def _attributes(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: _Asked) -> Response:
            discovery = Discovery(answers.source, asked.vocabulary)
            return _one(asked, await discovery.attributes(details=_details(asked)))

        return await self._handle(request, parameters.DETAILS, answer)

    async def _attribute(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: _Asked) -> Response:
            discovery = Discovery(answers.source, asked.vocabulary)
            return _one(asked, await discovery.attribute(request.path_params["name"]))

        return await self._handle(request, parameters.DETAILS, answer)

    async def _contexts(self, request: Request) -> Response:
        """List the contexts that are served: their addresses or, with details, what they are."""
        try:
            given = _parameters(request)
            parameters.check_names(given, parameters.DETAILS | {"kind"})
        except NgsiLdError as error:
            return _refusal(error)
        root = root_of(request)
        urls = {name: f"{root}{CONTEXTS}/{name}" for name in self._provider.documents()}
        if given.get("details") != "true":
            return _json(list(urls.values()))
        return _json(
            [{"URL": url, "localId": name, "kind": "Hosted"} for name, url in urls.items()]
        )

    async def _context(self, request: Request) -> Response:
        """Give one context as JSON-LD, by its name or its address."""
        name = request.path_params["name"].removeprefix(f"{root_of(request)}{CONTEXTS}/")
        document = self._provider.documents().get(name)
        if document is None:
            return _refusal(ResourceNotFoundError(f"there is no @context {name!r}"))
        response = _json(document, media=Media.JSON_LD.value)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

    async def _handle(
        self, request: Request, allowed: frozenset[str], work: _Work, *, geojson: bool = False
    ) -> Response:
        """Answer a request; every refusal is a problem of the standard's."""
        try:
            asked = await self._asked(request, allowed, geojson=geojson)
            tenant = request.headers.get(_TENANT) or None
            async with self._provider.source(request, tenant) as source:
                response = await work(Answers(source, asked.vocabulary, self._most), asked)
        except NgsiLdError as error:
            return _refusal(error)
        except SlowError as error:
            _log.warning("question too big", extra={"url": str(request.url)})
            return _refusal(TooComplexQueryError(str(error)))
        except OUTAGES as error:
            _log.warning("database unavailable", extra={"error": str(error)})
            return _unavailable()
        if tenant is not None:
            response.headers[_TENANT] = tenant
        return response

    async def _asked(self, request: Request, allowed: frozenset[str], *, geojson: bool) -> _Asked:
        given = _parameters(request)
        parameters.check_names(given, allowed)
        media = negotiate(request.headers.get("accept", ""), geojson=geojson)
        root = root_of(request)
        linked = linked_context(request.headers.get("link", ""))
        body = await _body(request) if request.method == "POST" else None
        context: Any = linked
        if isinstance(body, dict) and "@context" in body:
            if linked is not None:
                raise BadRequestDataError("Link and the body name an @context: name it once")
            context = body["@context"]
        vocabulary = vocabulary_of(
            context, self._provider.default(root), lambda url: self._provider.named(url, root)
        )
        return _Asked(request, given, media, vocabulary, body)


def _refuse(methods: Sequence[str]) -> Callable[[Request], Awaitable[Response]]:
    """Return a route for the methods that a resource does not have; OPTIONS says which it has."""
    allow = ", ".join([*methods, "OPTIONS"])

    async def refuse(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allow})
        error = OperationNotSupportedError(
            f"{request.method} is not possible here: entities come from sensors and are only read"
        )
        return _refusal(error, status=405, allow=allow)

    return refuse


_ELSEWHERE: Final = (
    "subscriptions",
    "csourceRegistrations",
    "csourceSubscriptions",
    "entityOperations",
    "temporal",
    "entityMaps",
    "entities",
    "snapshots",
    "info",
)


async def _unknown(request: Request) -> Response:
    """Refuse what is elsewhere in the standard as not supported, all else as not there."""
    first = request.path_params["path"].partition("/")[0]
    if first in _ELSEWHERE:
        error = OperationNotSupportedError(f"{first}: only reading entities is supported here")
        return _refusal(error, status=501)
    return _refusal(ResourceNotFoundError(f"there is no {request.url.path}"))


def _parameters(request: Request) -> dict[str, str]:
    """Return the query by name; in it + is a space, and %2B a plus."""
    text = request.scope["query_string"]
    if len(text) > _LONGEST_QUERY:
        raise BadRequestDataError(f"a query of more than {_LONGEST_QUERY} characters")
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise BadRequestDataError("the query is not percent-encoded UTF-8") from error
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise BadRequestDataError(f"{name} is given twice")
        if "\0" in value:
            raise BadRequestDataError(f"{name} holds a character that no text has")
        given[name] = value
    return given


async def _body(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (Media.JSON.value, Media.JSON_LD.value):
        raise UnsupportedMediaTypeError(
            f"Content-Type is {kind!r}: send {Media.JSON.value} or {Media.JSON_LD.value}"
        )
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _LARGEST_BODY:
            raise BadRequestDataError(f"a body of more than {_LARGEST_BODY} bytes")
    try:
        return json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise BadRequestDataError("the body is no JSON") from error


def _query(asked: _Asked, *, temporal: bool = False) -> Query:
    if asked.request.method == "POST":
        return parameters.parse_body(asked.body, asked.given, asked.vocabulary, temporal=temporal)
    return parameters.parse_request(asked.given, asked.vocabulary, temporal=temporal)


def _selector(asked: _Asked) -> EntitySelector:
    text = asked.given.get("type")
    return EntitySelector(types=parse_types(text, asked.vocabulary) if text else None)


def _details(asked: _Asked) -> bool:
    text = asked.given.get("details", "false") or "false"
    if text not in ("true", "false"):
        raise BadRequestDataError(f"details is {text!r}: give true or false")
    return text == "true"


def _one(asked: _Asked, content: Any) -> Response:
    """Answer with one entity, or with a list that is not paged."""
    return _written(asked, content, {})


def _page(asked: _Asked, query: Query, page: Page) -> Response:
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
    _cut(response, page.content_range)
    return response


def _cut(response: Response, content_range: str | None) -> None:
    if content_range is not None:
        response.status_code = 206
        response.headers["Content-Range"] = content_range


def _page_links(asked: _Asked, query: Query, *, more: bool) -> list[str]:
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


def _written(asked: _Asked, content: Any, headers: dict[str, str]) -> Response:
    """Write the answer; its @context stands in the body, or for plain JSON in a Link header."""
    context = asked.vocabulary.context
    plain = asked.geojson and "body=json" in asked.request.headers.get("prefer", "")
    if asked.media is Media.JSON_LD or (asked.geojson and not plain):
        content = _with_context(content, context)
    response = _json(content, media=asked.media.value)
    if asked.media is Media.JSON or plain:
        urls = [one for one in context if isinstance(one, str)]
        response.headers["Link"] = link_to(urls[0] if urls else CORE)
    response.headers["Vary"] = f"Accept, Link, Prefer, {_TENANT}"
    response.headers.update(headers)
    return response


def _with_context(content: Any, context: list[Any]) -> Any:
    if isinstance(content, list):
        return [_with_context(one, context) for one in content]
    return {**content, "@context": context}


def _json(content: Any, status: int = 200, *, media: str = Media.JSON.value) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type=media)


def _refusal(error: NgsiLdError, *, status: int | None = None, allow: str = "") -> Response:
    body = problem(error, status=status)
    headers = {"Allow": allow} if allow else None
    return Response(
        orjson.dumps(body), status_code=body["status"], media_type=_PROBLEM, headers=headers
    )


def _unavailable() -> Response:
    body = {
        "type": "https://uri.etsi.org/ngsi-ld/errors/InternalError",
        "title": "The service is not available for the moment",
        "detail": "The database cannot be reached. Please try again.",
        "status": 503,
    }
    headers = {"Retry-After": "5"}
    return Response(orjson.dumps(body), status_code=503, media_type=_PROBLEM, headers=headers)
