"""Who a request comes from, and which councils' restricted data that opens: keys and sessions.

A program bears an API key (`storage.api_keys`), a person the cookie of a session (`api.session`);
whoever has neither reads what is open. A key that does not count is refused, never taken for
nobody: its bearer would miss data and not know why. Making keys is the command line's business.
"""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from fastapi import Request
from starlette.exceptions import HTTPException

from api.session import check_origin, csrf_token, secret_sha256, session_secret
from api.state import SESSION_COOKIE, Service
from storage.access import councils_of
from storage.api_keys import find_key
from storage.staff import staff_of

CSRF_HEADER: Final = "X-CSRF-Token"

CHALLENGE: Final = 'Bearer realm="Kerbstone"'
"""What a 401 says in WWW-Authenticate where no key was sent."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TELLING: Final = frozenset({b"authorization", b"x-api-key", b"cookie"})
_BAD_KEY: Final = (
    "This API key is unknown, has expired or was revoked. Ask the council that gave it for"
    " another, or send none: open data needs no key."
)
_NO_BEARER: Final = (
    "Send an API key as “Authorization: Bearer kbs_…” or “X-API-Key: kbs_…”, or send neither:"
    " open data needs no key."
)
_TWO_KEYS: Final = "Authorization and X-API-Key name two keys. Send one."
WRITE_NEEDED: Final = (
    "This needs an API key with the scope “write” for the council that the entity is of, or"
    " somebody of that council signed in, on a page of this service (X-CSRF-Token, or JSON from"
    " our own origin)."
)
"""What to tell whoever may not write, with 403; 401 where `Principal.is_anonymous`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever sent a request.

    councils: ids of those whose restricted datastreams it may read. writes: of those it may write
    for. actor: how the audit calls it; "" for somebody unknown. key_id: of its API key.
    rate_class: of that key.
    """

    councils: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    actor: str = ""
    key_id: int | None = None
    rate_class: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Return whether nothing is known of it."""
        return not self.actor


ANONYMOUS: Final = Principal()


class KeyRefusedError(HTTPException):
    """401: the request bears a key that does not count."""

    def __init__(self, message: str) -> None:
        headers = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
        super().__init__(401, message, headers)


async def principal(request: Request) -> Principal:
    """Return who sent a request; it is looked up once.

    Raises:
        KeyRefusedError: 401, it bears a key that is unknown, expired or revoked.
        storage.database.OUTAGES: the database cannot be reached.
    """
    known = getattr(request.state, "principal", None)
    if known is None:
        known = await _look_up(request)
        request.state.principal = known
        request.state.councils = known.councils
    return cast("Principal", known)


def bears_key(request: Request) -> bool:
    """Return whether a request shows an API key, or something in the place of one."""
    return "authorization" in request.headers or "x-api-key" in request.headers


def bears_credentials(request: Request) -> bool:
    """Return whether a request says whose it is, rightly or wrongly."""
    sent = [name for name, _ in request.scope["headers"]]
    return not _TELLING.isdisjoint(sent) and (
        bears_key(request) or any(name.endswith(SESSION_COOKIE) for name in request.cookies)
    )


def presented_key(request: Request) -> str:
    """Return the API key a request bears; "" if none.

    Raises:
        KeyRefusedError: it names its key in another way, or two different ones.
    """
    direct = request.headers.get("x-api-key", "").strip()
    authorization = request.headers.get("authorization", "").strip()
    if not authorization:
        return direct
    scheme, _, bearer = authorization.partition(" ")
    if scheme.lower() != "bearer" or not bearer.strip():
        raise KeyRefusedError(_NO_BEARER)
    if direct and not hmac.compare_digest(direct.encode(), bearer.strip().encode()):
        raise KeyRefusedError(_TWO_KEYS)
    return bearer.strip()


async def _look_up(request: Request) -> Principal:
    if not bears_credentials(request):
        return ANONYMOUS
    centre = cast("Service", request.app.state.service)
    if bears_key(request):
        return await _of_key(centre, presented_key(request))
    return await _of_session(request, centre)


async def _of_key(centre: Service, presented: str) -> Principal:
    async with centre.connection() as conn:
        key = await find_key(conn, presented, datetime.now(UTC))
    if key is None:
        raise KeyRefusedError(_BAD_KEY)
    councils = frozenset(key.councils)
    return Principal(
        councils=councils if "read" in key.scopes else frozenset(),
        writes=councils if "write" in key.scopes else frozenset(),
        actor=key.actor,
        key_id=key.id,
        rate_class=key.rate_class,
    )


async def _of_session(request: Request, centre: Service) -> Principal:
    """Return who is signed in; a session that has ended is nobody's."""
    secret = session_secret(request, centre)
    if not secret:
        return ANONYMOUS
    async with centre.connection() as conn:
        staff = await staff_of(conn, secret_sha256(secret), datetime.now(UTC))
        if staff is None:
            return ANONYMOUS
        councils = await councils_of(conn, staff.tenant)
    writes = councils if request.method not in _SAFE and _is_ours(request, centre, secret) else ()
    return Principal(councils=councils, writes=frozenset(writes), actor=staff.actor)


def _is_ours(request: Request, centre: Service, secret: str) -> bool:
    """Return whether a page of ours, and no other, made the browser send this."""
    try:
        check_origin(request, centre)
    except HTTPException:
        return False
    token = request.headers.get(CSRF_HEADER)
    if token is not None:
        return hmac.compare_digest(token.encode(), csrf_token(secret).encode())
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")  # what no form can send
