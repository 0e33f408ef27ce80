"""What went wrong, told as a page to a person and as JSON to a program, by the Accept header."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from jinja2 import Environment
from starlette.exceptions import HTTPException

from api.templating import page
from api.view import ViewError
from storage.analysis import TooBigError
from storage.database import OUTAGES

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5

_TITLES: Final[Mapping[int, str]] = {
    400: "There is a problem with this address",
    403: "You cannot do this",
    404: "Page not found",
    405: "That cannot be done here",
    409: "This cannot be done now",
    413: "This is too large",
    415: "This is no form",
    500: "Sorry, there is a fault in the service",
    503: "Sorry, the service is not available for the moment",
}
_UNAVAILABLE: Final = (
    "The database cannot be reached or took too long. Gateways keep their readings until it is "
    "back: nothing is lost."
)
_FAULT: Final = "The fault has been noted. Try again, or tell the people who run this network."


def install(app: FastAPI, pages: Environment) -> None:
    """Answer every error of `app` as this module says."""

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
        headers = dict(error.headers or {})
        return await answer(pages, request, error.status_code, str(error.detail), headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        details = [
            f"{'.'.join(str(part) for part in entry['loc'][1:])}: {entry['msg']}"
            for entry in error.errors()
        ]
        return await answer(pages, request, HTTPStatus.BAD_REQUEST, "; ".join(details), {})

    async def wrong_view(request: Request, error: Exception) -> Response:
        return await answer(pages, request, HTTPStatus.BAD_REQUEST, str(error), {})

    async def outage(request: Request, error: Exception) -> Response:
        log.warning("database unavailable", extra={"path": request.url.path, "error": str(error)})
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return await answer(pages, request, HTTPStatus.SERVICE_UNAVAILABLE, _UNAVAILABLE, headers)

    async def too_big(request: Request, error: Exception) -> Response:
        log.warning("question too big", extra={"path": request.url.path, "error": str(error)})
        return await answer(pages, request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), {})

    async def fault(request: Request, error: Exception) -> Response:
        log.error("request failed", extra={"path": request.url.path}, exc_info=error)
        return await answer(pages, request, HTTPStatus.INTERNAL_SERVER_ERROR, _FAULT, {})

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ViewError, wrong_view)
    app.add_exception_handler(TooBigError, too_big)
    for kind in OUTAGES:
        app.add_exception_handler(kind, outage)
    app.add_exception_handler(Exception, fault)


async def answer(
    pages: Environment,
    request: Request,
    status_code: int,
    message: str,
    headers: Mapping[str, str],
) -> Response:
    """Return the error as a page if the client asks for HTML, else as JSON."""
    if not wants_html(request.headers.get("accept", "")):
        return JSONResponse({"code": status_code, "message": message}, status_code, dict(headers))
    title = _TITLES.get(status_code, HTTPStatus(status_code).phrase)
    if message == HTTPStatus(status_code).phrase:
        message = ""
    context = {"title": title, "message": message, "status_code": status_code}
    return await page(pages, "error.html", context, status_code=status_code, headers=headers)


def wants_html(accept: str) -> bool:
    """Return whether an Accept header names HTML, which browsers do and programs do not."""
    return "text/html" in accept or "application/xhtml+xml" in accept
