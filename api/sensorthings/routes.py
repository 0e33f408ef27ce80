"""SensorThings requests over HTTP: what is asked is parsed, answered, and every refusal is JSON.

How writes are done is `writes` and `batch`.
"""

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Request, Response

from api.principal import CHALLENGE, principal
from api.sensorthings.answer import Answers, takes_one_statement
from api.sensorthings.batch import Batch
from api.sensorthings.formats import formatted
from api.sensorthings.writes import write
from standards_mapping.sensorthings.conformance import landing_page
from standards_mapping.sensorthings.errors import (
    ConflictError,
    ForbiddenError,
    MediaTypeError,
    MethodError,
    QueryError,
    SensorThingsError,
    TooLargeError,
    UnknownTargetError,
    UnknownWriterError,
    UnsupportedError,
)
from standards_mapping.sensorthings.model import ENTITY_TYPES
from standards_mapping.sensorthings.options import Options, Written, parse_options
from standards_mapping.sensorthings.path import ResourcePath, parse_path
from storage.database import OUTAGES
from storage.sensorthings.reader import STATEMENT_SECONDS, SlowError, reading

PREFIX: Final = "/sensorthings/v1.1"

_JSON: Final = "application/json"
_READ: Final = ["GET", "HEAD"]
_WRITE: Final = ["POST", "PUT", "PATCH", "DELETE"]
_LONGEST_QUERY: Final = 16_384
_KEPT: Final = 256  # paths and queries that were parsed; most are asked for over and over

_log = logging.getLogger(__name__)


def router() -> APIRouter:
    """Return the routes below `PREFIX`.

    They use `app.state.pool`, whatever lends connections, and, where it is set,
    `app.state.base_url`: the URL under which the application is reached, without a slash at its
    end. Without it the URL of the request is trusted. `app.state.mqtt_endpoints`, where set, are
    the brokers that `api.publishing` publishes to.
    """
    routes = APIRouter()
    for path in ("", "/"):
        routes.add_route(PREFIX + path, _landing, methods=_READ, include_in_schema=False)
    # Plain routes: nothing is to be injected, and that takes FastAPI as long as the database.
    routes.add_route(f"{PREFIX}/{{path:path}}", _read, methods=_READ, include_in_schema=False)
    for path in ("", "/{path:path}"):
        routes.add_route(PREFIX + path, _write, methods=_WRITE, include_in_schema=False)
    return routes


async def _landing(request: Request) -> Response:
    endpoints: tuple[str, ...] = getattr(request.app.state, "mqtt_endpoints", ())
    return _json(landing_page(_root(request), endpoints))


async def _write(request: Request) -> Response:
    try:
        if request.path_params.get("path", "").strip("/") == "$batch":
            return await Batch(request, _root(request), _refused).run()
        return await write(request, _root(request))
    except SensorThingsError as error:
        return _refusal(error)
    except SlowError:
        return _error(503, f"This took longer than {STATEMENT_SECONDS} s: ask for less at once.")
    except OUTAGES as error:
        _log.warning("database unavailable", extra={"error": str(error)})
        return _error(503, "The database cannot be reached. Please try again.")


def _refusal(error: SensorThingsError) -> Response:
    response = _error(_STATUS[type(error)], str(error))
    if isinstance(error, UnknownWriterError):
        response.headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, MethodError):
        response.headers["Allow"] = ", ".join(error.allowed)
    return response


def _refused(error: SensorThingsError) -> tuple[int, bytes]:
    status = _STATUS[type(error)]
    return status, bytes(_error(status, str(error)).body)


async def _read(request: Request) -> Response:
    try:
        path = _parsed_path(request.path_params["path"])
        return await _answer(request, path)
    except SensorThingsError as error:
        return _error(_STATUS[type(error)], str(error))
    except SlowError:
        _log.warning("question too big", extra={"url": str(request.url)})
        return _error(
            503,
            f"This took longer than {STATEMENT_SECONDS} s: ask for a shorter time or fewer"
            " entities, or leave out $count.",
        )
    except OUTAGES as error:
        _log.warning("database unavailable", extra={"error": str(error)})
        return _error(503, "The database cannot be reached. Please try again.")


_STATUS: Final[Mapping[type[SensorThingsError], int]] = {
    QueryError: 400,
    UnknownWriterError: 401,
    ForbiddenError: 403,
    UnknownTargetError: 404,
    MethodError: 405,
    ConflictError: 409,
    TooLargeError: 413,
    MediaTypeError: 415,
    UnsupportedError: 501,
}


async def _answer(request: Request, path: ResourcePath) -> Response:
    many = path.target.many and not path.names
    options = _parsed_options(request.scope["query_string"], path.target.entity_type.name, many)
    alone = path.names or path.references
    if alone and (options.select is not None or options.expand):
        raise QueryError("$select and $expand need entities; here is only a value or a link")
    councils = (await principal(request)).councils
    at_once = many and takes_one_statement(path, options)
    async with reading(request.app.state.pool, councils, at_once=at_once) as reader:
        answers = Answers(reader, _root(request))
        if path.names:
            return _value(path, await answers.property(path))
        if many and options.result_format is not None:
            return await formatted(answers, path, options, _root(request))
        if many:
            return _json(await answers.collection(path, options, as_text=True))
        return _json(await answers.single(path, options))


@lru_cache(maxsize=_KEPT)
def _parsed_path(path: str) -> ResourcePath:
    return parse_path(path)


@lru_cache(maxsize=_KEPT)
def _parsed_options(query: bytes, entity_type: str, many: bool) -> Options:  # noqa: FBT001 - kept by it
    return parse_options(_query(query), ENTITY_TYPES[entity_type], many=many)


def _query(text: bytes) -> list[Written]:
    """Return the query as pairs; in it + is a space, and %2B a plus."""
    if len(text) > _LONGEST_QUERY:
        raise QueryError(f"a query of more than {_LONGEST_QUERY} characters")
    try:
        return parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise QueryError("the query is not percent-encoded UTF-8") from error


def _root(request: Request) -> str:
    base: str | None = getattr(request.app.state, "base_url", None)
    return (base or str(request.base_url)).rstrip("/") + PREFIX


def _value(path: ResourcePath, value: Any) -> Response:
    """Answer with a property: by name, or bare for $value; with nothing if it is null."""
    if value is None:
        return Response(status_code=204)
    if not path.raw:
        return _json({path.names[-1]: value})
    text = value.encode() if isinstance(value, str) else orjson.dumps(value)
    return Response(text, media_type="text/plain; charset=utf-8")


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type=_JSON)


def _error(status: int, message: str) -> Response:
    return _json({"code": status, "type": "error", "message": message}, status)
