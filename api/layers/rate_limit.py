"""How much one asks of the service in a minute: a bucket of tokens for each key or address.

`Buckets` and `client_of` are pure: the caller says who and when. `Admission` wraps the application:
it finds out whom a request comes from (`api.principal`), takes a token, and refuses with 429 where
there is none, or with 401 where the key is bad. Addresses that show many bad keys have none looked
up for a while. Each process counts for itself.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from fastapi import Request
from jinja2 import Environment
from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem, answer, database_unavailable
from api.headers import header, put
from api.machine_paths import is_machine_path
from api.principal import bears_credentials, bears_key, principal
from api.settings import RateLimitSettings
from storage.database import OUTAGES

MOST_BUCKETS: Final = 16_384
"""How many clients are remembered; the one not heard for longest is forgotten first."""

_WINDOW_SECONDS: Final = 60
_IPV6_SITE_BITS: Final = 64  # what one household or office has; single addresses cost nothing
_BAD_KEYS: Final = "bad keys"  # the limit's name, among those of whole requests
_UNLIMITED_PATHS: Final = ("/static/", "/healthz")

_limited = Counter("api_rate_limited_total", "Requests refused with 429, by limit.", ["limit"])
_refused_keys = Counter("api_refused_keys_total", "Requests refused for a bad API key.")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass. remaining: whole tokens left. retry_seconds: until the next."""

    allowed: bool
    remaining: int
    retry_seconds: int


@dataclass(slots=True)
class Buckets:
    """A bucket for each client: it holds one minute's requests and fills up evenly.

    Whoever was quiet may ask a minute's worth at once, and nobody more than that beyond the rate.
    """

    most: int = MOST_BUCKETS
    _tokens: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, client: str, per_minute: int, now: float) -> Verdict:
        """Take a token of `client` at `now` (seconds of any clock that never goes back)."""
        rate = per_minute / _WINDOW_SECONDS
        tokens, since = self._tokens.get(client, (float(per_minute), now))
        tokens = min(per_minute, tokens + (now - since) * rate)
        allowed = tokens >= 1
        if allowed:
            tokens -= 1
        self._tokens[client] = tokens, now
        self._tokens.move_to_end(client)
        if len(self._tokens) > self.most:
            self._tokens.popitem(last=False)
        return Verdict(allowed, int(tokens), 0 if allowed else math.ceil((1 - tokens) / rate))

    def look(self, client: str, per_minute: int, now: float) -> Verdict:
        """Return what `take` would, and take nothing."""
        rate = per_minute / _WINDOW_SECONDS
        tokens, since = self._tokens.get(client, (float(per_minute), now))
        tokens = min(per_minute, tokens + (now - since) * rate)
        allowed = tokens >= 1
        return Verdict(allowed, int(tokens), 0 if allowed else math.ceil((1 - tokens) / rate))

    def __len__(self) -> int:
        """Return how many clients are remembered."""
        return len(self._tokens)


def client_of(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return the address that a request came from.

    peer: what the connection says. forwarded_for: X-Forwarded-For, to which each proxy adds whom it
    heard; it counts back to the first that is no trusted proxy, for that one could have written
    whatever stands before it.
    """
    heard = [one.strip() for one in forwarded_for.split(",") if one.strip()]
    client = peer
    while heard and _is_among(client, trusted):
        client = heard.pop()
    return client if _address(client) is not None else peer


def bucket_of(client: str) -> str:
    """Return whose bucket an address takes from: its own, or in IPv6 that of its /64."""
    address = _address(client)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))
    return client


def networks(written: Sequence[str]) -> tuple[Network, ...]:
    """Return networks such as "10.0.0.0/8" or single addresses.

    Raises:
        ValueError: one is neither.
    """
    return tuple(ipaddress.ip_network(one) for one in written)


class Admission:
    """ASGI middleware: whom a request comes from, and whether it is one too many.

    Left alone are requests for what pages are made of, and those from this very machine that come
    through no proxy: whoever runs the service does not lock themselves out.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        pages: Environment,
        settings: RateLimitSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._pages = pages
        self._trusted = networks(settings.trusted_proxies)
        self._per_minute: Mapping[str, int] = {
            "pages": settings.pages_per_minute,
            "anonymous": settings.anonymous_per_minute,
            "standard": settings.standard_key_per_minute,
            "bulk": settings.bulk_key_per_minute,
            _BAD_KEYS: settings.bad_keys_per_minute,
        }
        self._clock = clock
        self._buckets = Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, or refuse."""
        if scope["type"] != "http" or scope["path"].startswith(_UNLIMITED_PATHS):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        client = self._find_client(scope)
        limit, bucket = self._of_address(scope, client)
        # Who has shown too many bad keys waits, whatever the next one is: it is not looked up.
        guesses = f"{_BAD_KEYS} {bucket_of(client)}" if limit and bears_key(request) else ""
        if guesses and not (known := self._look(guesses)).allowed:
            _limited.labels(_BAD_KEYS).inc()
            await self._refuse(request, _too_many_keys(known), send)
            return
        try:
            if bears_credentials(request):
                who = await principal(request)
                if who.key_id is not None:
                    limit, bucket = who.rate_class, f"key {who.key_id}"
        except HTTPException as error:
            _refused_keys.inc()
            if guesses:
                self._take(_BAD_KEYS, guesses)
            await self._refuse(request, error, send)
            return
        except OUTAGES as error:
            await self._refuse(request, database_unavailable(request.url.path, error), send)
            return
        verdict = self._take(limit, bucket)
        if verdict is None:
            await self._app(scope, receive, send)
        elif verdict.allowed:
            await self._app(scope, receive, self._telling(limit, verdict, send))
        else:
            _limited.labels(limit).inc()
            await self._refuse(request, _too_many(verdict), self._telling(limit, verdict, send))

    def _find_client(self, scope: Scope) -> str:
        """Return where the request came from, and let all that follows see that, too."""
        peer, _ = scope.get("client") or ("", 0)
        forwarded = header(scope["headers"], b"x-forwarded-for")
        client = client_of(peer, forwarded, self._trusted)
        if client != peer:
            scope["client"] = client, 0
        return client

    def _of_address(self, scope: Scope, client: str) -> tuple[str, str]:
        address = _address(client)
        if address is None or address.is_loopback:
            return "", ""
        limit = "anonymous" if is_machine_path(scope["path"]) else "pages"
        return limit, f"{limit} {bucket_of(client)}"

    def _take(self, limit: str, bucket: str) -> Verdict | None:
        """Return what the bucket says; None where there is no limit."""
        per_minute = self._per_minute.get(limit, 0)
        return self._buckets.take(bucket, per_minute, self._clock()) if per_minute else None

    def _look(self, bucket: str) -> Verdict:
        """Return whether an address may show another key."""
        per_minute = self._per_minute[_BAD_KEYS]
        if not per_minute:
            return Verdict(allowed=True, remaining=0, retry_seconds=0)
        return self._buckets.look(bucket, per_minute, self._clock())

    def _telling(self, limit: str, verdict: Verdict, send: Send) -> Send:
        """Return `send` that also says how much is left (draft-ietf-httpapi-ratelimit-headers)."""
        per_minute = self._per_minute[limit]

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                policy = f'"{limit}";q={per_minute};w={_WINDOW_SECONDS}'
                put(headers, b"ratelimit-policy", policy)
                wait = f";t={verdict.retry_seconds}" if verdict.retry_seconds else ""
                put(headers, b"ratelimit", f'"{limit}";r={verdict.remaining}{wait}')
            await send(message)

        return send_and_tell

    async def _refuse(self, request: Request, error: HTTPException, send: Send) -> None:
        response = await answer(self._pages, request, error)
        await response(request.scope, request.receive, send)


def _too_many_keys(verdict: Verdict) -> Problem:
    seconds = verdict.retry_seconds
    return Problem(
        "too-many-requests",
        f"Too many unknown API keys came from your address. Wait {seconds}"
        f" second{'s' if seconds != 1 else ''} and send one that counts, or none.",
        {"Retry-After": str(seconds)},
    )


def _too_many(verdict: Verdict) -> Problem:
    seconds = verdict.retry_seconds
    return Problem(
        "too-many-requests",
        f"You have asked more than this service gives in a minute. Wait {seconds}"
        f" {'second' if seconds == 1 else 'seconds'}, then go on more slowly. An API key allows"
        " more; whole days are quicker as one file from the catalogue.",
        {"Retry-After": str(seconds)},
    )


def _is_among(client: str, trusted: Sequence[Network]) -> bool:
    address = _address(client)
    return address is not None and any(address in network for network in trusted)


@lru_cache(maxsize=1024)  # who asks, asks again
def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
