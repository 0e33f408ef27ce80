"""NGSI-LD requests over HTTP: what is asked is parsed and answered, and refusals are problem+json.

The service reads only: methods that write are answered 405, resources that it has not 501.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from fastapi import APIRouter, Request, Response

from api.ngsi_ld.answer import MOST_INSTANCES, Answers
from api.ngsi_ld.discovery import Discovery
from api.ngsi_ld.negotiation import Media
from api.ngsi_ld.provider import OwnProvider, Provider
from api.ngsi_ld.questions import (
    Asked,
    asked_of,
    parameters_of,
    query_of,
    selector_of,
    wants_details,
)
from api.ngsi_ld.responses import (
    TENANT,
    cut,
    json_response,
    paged,
    refusal,
    unavailable,
    unpaged,
)
from api.root import root_of
from standards_mapping.ngsi_ld import parameters
from standards_mapping.ngsi_ld.errors import (
    BadRequestDataError,
    NgsiLdError,
    OperationNotSupportedError,
    ResourceNotFoundError,
    TooComplexQueryError,
)
from standards_mapping.ngsi_ld.selection import check_id
from storage.database import OUTAGES
from storage.ngsi_ld.reader import SlowError

PREFIX: Final = "/ngsi-ld/v1"
CONTEXTS: Final = "/contexts"

_READ: Final = ["GET", "HEAD"]
_ALL: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_log = logging.getLogger(__name__)


_Work = Callable[[Answers, Asked], Awaitable[Response]]


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
        async def answer(answers: Answers, asked: Asked) -> Response:
            query = query_of(asked)
            return paged(asked, query, await answers.entities(query, geojson=asked.geojson))

        return await self._handle(request, parameters.QUERY, answer, geojson=True)

    async def _histories(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: Asked) -> Response:
            query = query_of(asked, temporal=True)
            if query.temporal is None:
                raise BadRequestDataError("give a time: timerel and timeAt")
            return paged(asked, query, await answers.histories(query, query.temporal))

        return await self._handle(request, parameters.QUERY_TEMPORAL, answer)

    async def _entity(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: Asked) -> Response:
            output = parameters.parse_output(asked.given, asked.vocabulary)
            entity_id = check_id(request.path_params["entity_id"])
            chosen = selector_of(asked)
            found = await answers.entity(entity_id, output, chosen, geojson=asked.geojson)
            return unpaged(asked, found)

        return await self._handle(request, parameters.RETRIEVE, answer, geojson=True)

    async def _history(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: Asked) -> Response:
            output = parameters.parse_output(asked.given, asked.vocabulary, temporal=True)
            times = parameters.parse_temporal(asked.given, output)
            entity_id = check_id(request.path_params["entity_id"])
            chosen = selector_of(asked)
            found, content_range = await answers.history(entity_id, output, times, chosen)
            response = unpaged(asked, found)
            cut(response, content_range)
            return response

        return await self._handle(request, parameters.RETRIEVE_TEMPORAL, answer)

    async def _types(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: Asked) -> Response:
            discovery = Discovery(answers.source, asked.vocabulary)
            return unpaged(asked, await discovery.types(details=wants_details(asked)))

        return await self._handle(request, parameters.DETAILS, answer)

    async def _type(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: Asked) -> Response:
            discovery = Discovery(answers.source, asked.vocabulary)
            return unpaged(asked, await discovery.type(request.path_params["name"]))

        return await self._handle(request, parameters.DETAILS, answer)

    async def _attributes(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: Asked) -> Response:
            discovery = Discovery(answers.source, asked.vocabulary)
            return unpaged(asked, await discovery.attributes(details=wants_details(asked)))

        return await self._handle(request, parameters.DETAILS, answer)

    async def _attribute(self, request: Request) -> Response:
        async def answer(answers: Answers, asked: Asked) -> Response:
            discovery = Discovery(answers.source, asked.vocabulary)
            return unpaged(asked, await discovery.attribute(request.path_params["name"]))

        return await self._handle(request, parameters.DETAILS, answer)

    async def _contexts(self, request: Request) -> Response:
        """List the contexts that are served: their addresses or, with details, what they are."""
        try:
            given = parameters_of(request)
            parameters.check_names(given, parameters.DETAILS | {"kind"})
        except NgsiLdError as error:
            return refusal(error)
        root = root_of(request)
        urls = {name: f"{root}{CONTEXTS}/{name}" for name in self._provider.documents()}
        if given.get("details") != "true":
            return json_response(list(urls.values()))
        return json_response(
            [{"URL": url, "localId": name, "kind": "Hosted"} for name, url in urls.items()]
        )

    async def _context(self, request: Request) -> Response:
        """Give one context as JSON-LD, by its name or its address."""
        name = request.path_params["name"].removeprefix(f"{root_of(request)}{CONTEXTS}/")
        document = self._provider.documents().get(name)
        if document is None:
            return refusal(ResourceNotFoundError(f"there is no @context {name!r}"))
        response = json_response(document, media=Media.JSON_LD.value)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

    async def _handle(
        self, request: Request, allowed: frozenset[str], work: _Work, *, geojson: bool = False
    ) -> Response:
        """Answer a request; every refusal is a problem of the standard's."""
        try:
            asked = await asked_of(request, self._provider, allowed, geojson=geojson)
            tenant = request.headers.get(TENANT) or None
            async with self._provider.source(request, tenant) as source:
                response = await work(Answers(source, asked.vocabulary, self._most), asked)
        except NgsiLdError as error:
            return refusal(error)
        except SlowError as error:
            _log.warning("question too big", extra={"url": str(request.url)})
            return refusal(TooComplexQueryError(str(error)))
        except OUTAGES as error:
            _log.warning("database unavailable", extra={"error": str(error)})
            return unavailable()
        if tenant is not None:
            response.headers[TENANT] = tenant
        return response


def _refuse(methods: Sequence[str]) -> Callable[[Request], Awaitable[Response]]:
    """Return a route for the methods that a resource does not have; OPTIONS says which it has."""
    allow = ", ".join([*methods, "OPTIONS"])

    async def refuse(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allow})
        error = OperationNotSupportedError(
            f"{request.method} is not possible here: entities come from sensors and are only read"
        )
        return refusal(error, status=405, allow=allow)

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
        return refusal(error, status=501)
    return refusal(ResourceNotFoundError(f"there is no {request.url.path}"))
