"""SensorThings requests over HTTP: where they come in, and every refusal as JSON.

How they are answered is `reads`, `writes` and `batch`.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from api.principal import CHALLENGE
from api.root import root_of
from api.sensorthings.batch import Batch
from api.sensorthings.reads import read
from api.sensorthings.writes import write
from standards_mapping.sensorthings.conformance import landing_page
from standards_mapping.sensorthings.errors import (
    ConflictError,
    ForbiddenError,
    MediaTypeError,
    MethodError,
    PreconditionError,
    QueryError,
    SensorThingsError,
    TooLargeError,
    UnknownTargetError,
    UnknownWriterError,
    UnsupportedError,
)
from storage.database import OUTAGES
from storage.sensorthings.reader import STATEMENT_SECONDS, SlowError

PREFIX: Final = "/sensorthings/v1.1"

_JSON: Final = "application/json"
_READ: Final = ["GET", "HEAD"]
_WRITE: Final = ["POST", "PUT", "PATCH", "DELETE"]

_log = logging.getLogger(__name__)


def router() -> APIRouter:
    """Return the routes below `PREFIX`.

    They use `app.state.pool`, whatever lends connections, and, where it is set,
    `app.state.base_url`: the URL under which the application is reached, without a slash at its
    end. Without it the URL of the request is trusted. `app.state.mqtt_endpoints`, where set, are
    the brokers that `api.publishing` publishes to.
    """
    routes = APIRouter()
    # Plain routes: nothing is to be injected, and that takes FastAPI as long as the database.
    routes.add_route(f"{PREFIX}/{{path:path}}", _read, methods=_READ, include_in_schema=False)
    routes.add_route(PREFIX, _landing, methods=_READ, include_in_schema=False)
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
    path, query = request.path_params["path"], request.scope["query_string"]
    if not path:
        return await _landing(request)
    try:
        return await read(request, _root(request), path, query)
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
    PreconditionError: 412,
    TooLargeError: 413,
    MediaTypeError: 415,
    UnsupportedError: 501,
}


def _root(request: Request) -> str:
    return root_of(request) + PREFIX


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type=_JSON)


def _error(status: int, message: str) -> Response:
    return _json({"code": status, "type": "error", "message": message}, status)
