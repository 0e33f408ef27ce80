"""Who is signed in, and whether a form was sent by a page of ours to them.

A session is a random secret in a cookie; the store keeps its hash (`storage.staff`). Every form
bears a token made of that secret, and is taken only from our own origin: a foreign page can make
a browser send a form here, but neither reads the cookie nor passes for our origin. Signing in and
out is `api.sign_in`; who may administer what is `api.administration.desk`.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import UploadFile

from api.state import SESSION_COOKIE, Service, service
from storage.staff import Staff, staff_of

SESSION_LIFETIME: Final = timedelta(hours=12)
FORM_BYTES: Final = 1 << 20
"""The largest form that is taken, its file included."""

CSRF_FIELD: Final = "csrf"

_SESSION: Final = SESSION_COOKIE
_VISIT: Final = "kerbstone-visit"
_SECRET_BYTES: Final = 32
_MOST_SECRET_CHARACTERS: Final = 100
_MOST_FIELDS: Final = 200
_FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_FOREIGN: Final = (
    "This form did not come from a page of this service, or its page is from an earlier session. "
    "Nothing was changed. Go back, reload the page and try again."
)


class SignInNeededError(Exception):
    """A page that only people who are signed in may see; `path` is where they wanted to go."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who is signed in, with the secret of their session."""

    staff: Staff
    secret: str = field(repr=False)

    @property
    def csrf(self) -> str:
        """What each form of this session bears."""
        return csrf_token(self.secret)


@dataclass(frozen=True, slots=True)
class Posted:
    """A form that was sent. file: the content of its file; None if it had none."""

    fields: Mapping[str, str]
    file: bytes | None

    def text(self, name: str) -> str:
        """Return a field without spaces around it; empty if it was not sent."""
        return self.fields.get(name, "").strip()


def new_secret() -> str:
    """Return a new secret of a session: 256 random bits."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def secret_sha256(secret: str) -> bytes:
    """Return what the store keeps of a session's secret."""
    return hashlib.sha256(secret.encode()).digest()


def csrf_token(secret: str) -> str:
    """Return the token of a session's forms; the secret cannot be told from it."""
    return hashlib.sha256(b"kerbstone form\0" + secret.encode()).hexdigest()


def session_secret(request: Request, centre: Service) -> str:
    """Return the secret that a request's cookie claims; empty if it has none."""
    return _cookie(request, centre, _SESSION)


def visit_secret(request: Request, centre: Service) -> str:
    """Return the secret that stands for a session before there is one; empty if there is none."""
    return _cookie(request, centre, _VISIT)


def start_session(answer: Response, centre: Service, secret: str) -> None:
    """Let the browser keep a session's secret."""
    _keep(answer, centre, _SESSION, secret)
    _drop(answer, centre, _VISIT)


def start_visit(answer: Response, centre: Service, secret: str) -> None:
    """Let the browser keep the secret that signing in is bound to."""
    _keep(answer, centre, _VISIT, secret)


def drop_session(answer: Response, centre: Service) -> None:
    """Let the browser forget a session's secret."""
    _drop(answer, centre, _SESSION)


async def signed_in(request: Request, centre: Annotated[Service, Depends(service)]) -> SignedIn:
    """Return who is signed in.

    Raises:
        SignInNeededError: nobody is.
    """
    secret = session_secret(request, centre)
    if secret:
        async with centre.connection() as conn:
            staff = await staff_of(conn, secret_sha256(secret), datetime.now(UTC))
        if staff is not None:
            return SignedIn(staff, secret)
    # After a form there is no page to come back to: what was sent is gone.
    wanted = request.url.path if request.method == "GET" else ""
    raise SignInNeededError(f"{wanted}?{request.url.query}" if request.url.query else wanted)


async def posted(
    request: Request,
    who: Annotated[SignedIn, Depends(signed_in)],
    centre: Annotated[Service, Depends(service)],
) -> Posted:
    """Return the form that somebody who is signed in has sent from a page of ours.

    Raises:
        SignInNeededError: nobody is signed in.
        HTTPException: 403, the form is not ours; else as `read_form`.
    """
    check_origin(request, centre)
    form = await read_form(request)
    check_token(form, who.secret)
    return form


def check_origin(request: Request, centre: Service) -> None:
    """Return if the browser says that the form stands on a page of our own origin.

    Raises:
        HTTPException: 403, it stands elsewhere, or nothing is said of it.
    """
    own = centre.settings.base_url or f"{request.url.scheme}://{request.headers.get('host', '')}"
    fetch_site = request.headers.get("sec-fetch-site", "same-origin")
    if request.headers.get("origin") != own or fetch_site != "same-origin":
        raise HTTPException(403, _FOREIGN)


def check_token(form: Posted, secret: str) -> None:
    """Return if the form bears the token of this secret.

    Raises:
        HTTPException: 403, it does not.
    """
    given = form.fields.get(CSRF_FIELD, "").encode()
    if not secret or not hmac.compare_digest(given, csrf_token(secret).encode()):
        raise HTTPException(403, _FOREIGN)


async def read_form(request: Request) -> Posted:
    """Return what was sent, once its announced size and kind are good.

    Raises:
        HTTPException: 411, no length; 413, larger than `FORM_BYTES`; 415, no form; 400, a
            damaged one.
    """
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "Say how long the form is.")
    if int(length) > FORM_BYTES:
        raise HTTPException(413, f"This is larger than the limit of {FORM_BYTES >> 20} MB.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _FORM_TYPES:
        raise HTTPException(415, "Send a form.")
    async with request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=FORM_BYTES) as form:
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        files = (value for _, value in form.multi_items() if isinstance(value, UploadFile))
        upload = next(files, None)
        if any("\0" in value for value in fields.values()):
            raise HTTPException(400, "The form holds a character that no text has.")
        return Posted(fields, await upload.read() if upload else None)


def sign_in_redirect(path: str) -> RedirectResponse:
    """Return the way to the sign-in page, and from there back to `path`."""
    query = f"?next={quote(path)}" if path else ""
    return RedirectResponse(f"/sign-in{query}", 303, {"Cache-Control": "no-store"})


def _has_tls(centre: Service) -> bool:
    return centre.settings.base_url.startswith("https:")


def _name(centre: Service, name: str) -> str:
    """Return a cookie's name; with the prefix a browser takes it from this very host alone."""
    return f"__Host-{name}" if _has_tls(centre) else name


def _cookie(request: Request, centre: Service, name: str) -> str:
    secret = request.cookies.get(_name(centre, name), "")
    return secret if len(secret) <= _MOST_SECRET_CHARACTERS and secret.isascii() else ""


def _keep(answer: Response, centre: Service, name: str, secret: str) -> None:
    answer.set_cookie(
        _name(centre, name),
        secret,
        max_age=round(SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=_has_tls(centre),
        httponly=True,
        samesite="strict",
    )


def _drop(answer: Response, centre: Service, name: str) -> None:
    answer.delete_cookie(
        _name(centre, name), path="/", secure=_has_tls(centre), httponly=True, samesite="strict"
    )
