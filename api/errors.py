"""What went wrong, told to a person as a page and to a program in the form it expects.

Programs get a problem document with a stable `code` (RFC 9457); below the SensorThings and NGSI-LD
roots they get what those standards say. `PROBLEMS` is every code there is; docs/reference/errors.md
says the same in words, and a test holds the two together.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from jinja2 import Environment
from starlette.exceptions import HTTPException

from api.machine_paths import NGSI_LD, SENSORTHINGS, is_below
from api.pages.templating import page
from api.pages.view import ViewError
from storage.analysis import TooBigError
from storage.database import OUTAGES

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5
PROBLEM_JSON: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One code. title: heading of the page and of the document. remedy: what to do about it."""

    status: int
    title: str
    remedy: str


PROBLEMS: Final[Mapping[str, ProblemKind]] = {
    "bad-request": ProblemKind(
        400, "There is a problem with this address", "Correct what the detail names."
    ),
    "invalid-parameter": ProblemKind(
        400, "There is a problem with this address", "Correct the parameter that the detail names."
    ),
    "bad-key": ProblemKind(
        401,
        "This API key is not accepted",
        "Ask for a new key, or send none: open data needs none.",
    ),
    "forbidden": ProblemKind(
        403, "You cannot do this", "Ask the council whose data it is for a key or a pass."
    ),
    "not-found": ProblemKind(
        404, "Page not found", "Start from the catalogue; what is restricted is not told apart."
    ),
    "method-not-allowed": ProblemKind(
        405, "That cannot be done here", "Use a method that the header Allow names."
    ),
    "not-acceptable": ProblemKind(
        406, "There is no such form of this", "Accept one of the media types that the detail names."
    ),
    "conflict": ProblemKind(
        409, "This cannot be done now", "Read the present state, then decide again."
    ),
    "gone": ProblemKind(410, "This is no longer here", "Look in the catalogue for what there is."),
    "length-required": ProblemKind(
        411, "The length is missing", "Send Content-Length, as every HTTP client can."
    ),
    "too-large": ProblemKind(413, "This is too large", "Send less at once."),
    "unsupported-media-type": ProblemKind(
        415, "This is no form", "Send the content type that the documentation names."
    ),
    "misdirected": ProblemKind(
        421, "This service does not answer to that name", "Use the service's own address."
    ),
    "too-many-requests": ProblemKind(
        429, "You are asking too quickly", "Wait as long as Retry-After says; a key allows more."
    ),
    "fault": ProblemKind(
        500,
        "Sorry, there is a fault in the service",
        "Try again; if it stays, tell the people who run this network.",
    ),
    "not-implemented": ProblemKind(
        501, "This service cannot do that", "See which conformance classes the service has."
    ),
    "unavailable": ProblemKind(
        503,
        "Sorry, the service is not available for the moment",
        "Try again as Retry-After says.",
    ),
    "database-unavailable": ProblemKind(
        503,
        "Sorry, the service is not available for the moment",
        "Try again as Retry-After says. Gateways keep their readings meanwhile.",
    ),
    "question-too-big": ProblemKind(
        503,
        "Sorry, the service is not available for the moment",
        "Ask for a shorter time or fewer datastreams, or take the files of the catalogue.",
    ),
    "too-many-streams": ProblemKind(
        503,
        "Sorry, the service is not available for the moment",
        "Try again as Retry-After says, or read the newest values without a stream.",
    ),
}

_CODE_OF_STATUS: Final[Mapping[int, str]] = {
    problem.status: code for code, problem in reversed(list(PROBLEMS.items()))
}
_UNAVAILABLE: Final = (
    "The database cannot be reached or took too long. Gateways keep their readings until it is "
    "back: nothing is lost."
)
_FAULT: Final = "The fault has been noted. Try again, or tell the people who run this network."
_NGSI_LD_TYPE: Final = "https://uri.etsi.org/ngsi-ld/errors/"
_NGSI_LD_TYPES: Final = {400: "BadRequestData", 404: "ResourceNotFound", 500: "InternalError"}


class Problem(HTTPException):
    """One of `PROBLEMS`; its status follows from its code."""

    def __init__(self, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(PROBLEMS[code].status, detail, headers)
        self.code = code


def not_acceptable(offered: tuple[str, ...]) -> Problem:
    """Return the refusal of an Accept header; offered: the media types that there are."""
    return Problem("not-acceptable", f"This comes as {', '.join(offered)}. Accept one of them.")


def database_unavailable(path: str, error: Exception) -> Problem:
    """Note an outage, and return how it is told."""
    log.warning("database unavailable", extra={"path": path, "error": str(error)})
    return Problem("database-unavailable", _UNAVAILABLE, {"Retry-After": str(RETRY_SECONDS)})


def install(app: FastAPI, pages: Environment) -> None:
    """Answer every error of `app` as this module says."""

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
        return await answer(pages, request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        details = [
            f"{'.'.join(str(part) for part in entry['loc'][1:])}: {entry['msg']}"
            for entry in error.errors()
        ]
        return await answer(pages, request, Problem("invalid-parameter", "; ".join(details)))

    async def wrong_view(request: Request, error: Exception) -> Response:
        return await answer(pages, request, Problem("invalid-parameter", str(error)))

    async def outage(request: Request, error: Exception) -> Response:
        return await answer(pages, request, database_unavailable(request.url.path, error))

    async def too_big(request: Request, error: Exception) -> Response:
        log.warning("question too big", extra={"path": request.url.path, "error": str(error)})
        return await answer(pages, request, Problem("question-too-big", str(error)))

    async def fault(request: Request, error: Exception) -> Response:
        log.error("request failed", extra={"path": request.url.path}, exc_info=error)
        return await answer(pages, request, Problem("fault", _FAULT))

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ViewError, wrong_view)
    app.add_exception_handler(TooBigError, too_big)
    for kind in OUTAGES:
        app.add_exception_handler(kind, outage)
    app.add_exception_handler(Exception, fault)


async def answer(pages: Environment, request: Request, error: HTTPException) -> Response:
    """Return the error in the form of the standard it was met in, as a page, or as a problem."""
    path = request.url.path
    headers = dict(error.headers or {})
    message = str(error.detail)
    if is_below(path, SENSORTHINGS):
        told = {"code": error.status_code, "type": "error", "message": message}
        return _json(told, error.status_code, headers, "application/json")
    in_standard = is_below(path, NGSI_LD)
    if in_standard or not wants_html(request.headers.get("accept", "")):
        told = problem(error)
        if in_standard and (name := _NGSI_LD_TYPES.get(error.status_code)):
            told["type"] = _NGSI_LD_TYPE + name
        return _json(told, error.status_code, headers, PROBLEM_JSON)
    kind = PROBLEMS.get(code_of(error))
    phrase = HTTPStatus(error.status_code).phrase
    context = {
        "title": kind.title if kind else phrase,
        "message": "" if message == phrase else message,
        "status_code": error.status_code,
    }
    return await page(pages, "error.html", context, status_code=error.status_code, headers=headers)


def problem(error: HTTPException) -> dict[str, object]:
    """Return an error as a problem document (RFC 9457, section 3) with its `code`."""
    code = code_of(error)
    kind = PROBLEMS.get(code)
    return {
        "type": f"/docs#{code}",
        "title": kind.title if kind else HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": str(error.detail),
        "code": code,
    }


def code_of(error: HTTPException) -> str:
    """Return the code of an error: its own, or the one its status stands for."""
    if isinstance(error, Problem):
        return error.code
    return _CODE_OF_STATUS.get(error.status_code, f"http-{error.status_code}")


def wants_html(accept: str) -> bool:
    """Return whether an Accept header names HTML, which browsers do and programs do not."""
    return "text/html" in accept or "application/xhtml+xml" in accept


def _json(
    content: dict[str, object], status: int, headers: Mapping[str, str], media_type: str
) -> Response:
    return Response(
        orjson.dumps(content), status, {**headers, "Cache-Control": "no-store"}, media_type
    )
