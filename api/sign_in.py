"""Signing in with a pass, and out again.

A pass is given out by `kerbstone network pass`, and taken only where nobody can read it on its
way: by TLS, which the settings' base_url tells of, or within this machine. What is wrong with one
that is refused is never said: unknown, expired and withdrawn look alike.
"""

import ipaddress
import logging
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from api.attempts import Attempts
from api.layers.metrics import sign_ins
from api.layers.security import is_private
from api.pages.templating import page
from api.session import (
    SESSION_LIFETIME,
    SignedIn,
    SignInNeededError,
    check_origin,
    check_token,
    csrf_token,
    drop_session,
    new_secret,
    posted,
    read_form,
    secret_sha256,
    session_secret,
    sign_in_redirect,
    signed_in,
    start_session,
    start_visit,
    visit_secret,
)
from api.state import Service, service
from device_protocol.first_boot import TokenError, token_sha256
from storage.staff import Staff, end_session, open_session

log = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)

HOME: Final = "/administration"
WRONG: Final = "This pass cannot be used. Check it, or ask whoever gave it to you for another."

_IN_THE_CLEAR: Final = (
    "Nobody can sign in here: a pass would cross the network unprotected. Put a proxy with TLS in "
    'front of this service, and say so in its settings: base_url = "https://…".'
)
_WRONG_EACH: Final = 10
_WRONG_TOGETHER: Final = 200
_WRONG_SECONDS: Final = 15 * 60.0
_NETWORK_OF_ONE: Final = 64  # what one customer of a provider has in IPv6
_MOST_NEXT_CHARACTERS: Final = 500


def install(app: FastAPI) -> None:
    """Let `app` sign people in, and send whoever must do so first to the page for it."""
    app.state.attempts = Attempts(
        each=_WRONG_EACH, together=_WRONG_TOGETHER, seconds=_WRONG_SECONDS
    )

    async def sign_in_first(_request: Request, error: Exception) -> Response:
        assert isinstance(error, SignInNeededError)  # noqa: S101  # registered for nothing else
        return sign_in_redirect(error.path)

    app.add_exception_handler(SignInNeededError, sign_in_first)
    app.include_router(router)


async def private(centre: Annotated[Service, Depends(service)]) -> None:
    """Return if a pass can be sent here.

    Raises:
        HTTPException: 403, anybody between could read it.
    """
    settings = centre.settings
    if not is_private(bound_to=settings.host, base_url=settings.base_url):
        raise HTTPException(403, _IN_THE_CLEAR)


@router.get("/sign-in", dependencies=[Depends(private)])
async def sign_in_page(
    request: Request,
    wanted: Annotated[str, Query(alias="next", max_length=_MOST_NEXT_CHARACTERS)] = "",
    *,
    centre: Annotated[Service, Depends(service)],
) -> Response:
    """Ask for a pass."""
    return await _ask(request, centre, own_path(wanted))


@router.post("/sign-in", dependencies=[Depends(private)])
async def sign_in(request: Request, centre: Annotated[Service, Depends(service)]) -> Response:
    """Open a session for a pass that is good, and go where its holder wanted to."""
    check_origin(request, centre)
    form = await read_form(request)
    check_token(form, visit_secret(request, centre))
    wanted = own_path(form.text("next"))
    attempts = cast("Attempts", request.app.state.attempts)
    client = client_of(request.client.host if request.client else "")
    wait = attempts.wait_seconds(client, time.monotonic())
    if wait > 0:
        sign_ins.labels("limited").inc()
        seconds = math.ceil(wait)
        minutes = math.ceil(seconds / 60)
        text = f"Too many wrong passes. Wait {minutes} minute{'s' * (minutes > 1)}, then try again."
        return await _ask(
            request,
            centre,
            wanted,
            problem=text,
            status_code=429,
            headers={"Retry-After": str(seconds)},
        )
    secret = new_secret()
    staff = await _open(centre, form.text("pass"), secret)
    if staff is None:
        attempts.note_failure(client, time.monotonic())
        sign_ins.labels("refused").inc()
        log.warning("sign-in refused", extra={"client": client})
        return await _ask(request, centre, wanted, problem=WRONG, status_code=403)
    sign_ins.labels("accepted").inc()
    answer = RedirectResponse(wanted or HOME, 303, {"Cache-Control": "no-store"})
    start_session(answer, centre, secret)
    return answer


@router.post("/sign-out", dependencies=[Depends(posted)])
async def sign_out(
    who: Annotated[SignedIn, Depends(signed_in)],
    centre: Annotated[Service, Depends(service)],
) -> Response:
    """End the session."""
    async with centre.connection() as conn:
        await end_session(conn, secret_sha256(who.secret), datetime.now(UTC))
    answer = RedirectResponse("/sign-in", 303, {"Cache-Control": "no-store"})
    drop_session(answer, centre)
    return answer


def own_path(wanted: str) -> str:
    """Return where to go after signing in: a page of ours that needs it, else nowhere special."""
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    return wanted if plain and (wanted + "/").replace("?", "/").startswith(f"{HOME}/") else ""


def client_of(host: str) -> str:
    """Return whom an address belongs to: itself, or in IPv6 its network of 64 bits."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:  # noqa: PLR2004  # of the Internet Protocol
        return host
    return str(ipaddress.ip_network((address.packed, _NETWORK_OF_ONE), strict=False))


async def _open(centre: Service, given: str, secret: str) -> Staff | None:
    try:
        sha256 = token_sha256(given)
    except TokenError:
        return None
    async with centre.connection() as conn:
        return await open_session(
            conn,
            pass_sha256=sha256,
            session_sha256=secret_sha256(secret),
            now=datetime.now(UTC),
            lifetime=SESSION_LIFETIME,
        )


async def _ask(
    request: Request,
    centre: Service,
    wanted: str,
    *,
    problem: str = "",
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    visit = visit_secret(request, centre) or new_secret()
    context = {
        "active": "administration",
        "problem": problem,
        "next": wanted,
        "csrf": csrf_token(visit),
        "elsewhere": bool(wanted) and not session_secret(request, centre),
    }
    answer = await page(
        centre.pages, "sign_in.html", context, status_code=status_code, headers=headers
    )
    start_visit(answer, centre, visit)
    return answer
