"""What every route shares, made once when the service starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, cast

from fastapi import Request
from jinja2 import Environment

from api.live import LiveFeed
from api.pages.air_quality_now import IndexCache
from api.reads import Reads
from api.settings import ApiSettings
from storage.database import Connection, Pool

SESSION_COOKIE: Final = "kerbstone-session"
"""What the name of a session's cookie ends with."""

_WAIT_SECONDS: Final = 4.0  # for a connection; then the page says that the database is away


@dataclass(frozen=True, slots=True)
class Service:
    """Settings, pool, templates, live feed and reads; none of them knows of requests.

    signed_in: whether the request comes with a session, good or not: then it reads, like all that
        writes, from the primary.
    councils: ids of those whose restricted datastreams the request may read (`api.principal`).
    indices: air quality indices of a moment ago.
    """

    settings: ApiSettings
    pool: Pool
    pages: Environment
    live: LiveFeed
    reads: Reads
    signed_in: bool = False
    councils: frozenset[int] = frozenset()
    indices: IndexCache = field(default_factory=IndexCache)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; an outage (see `storage.database.OUTAGES`) if there is none soon."""
        async with self.pool.connection(timeout=_WAIT_SECONDS) as conn:
            yield conn

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Lend a connection that nothing is written by; it may be a moment behind."""
        lender = self.connection() if self.signed_in else self.reads.connection()
        async with lender as conn:
            yield conn


def service(request: Request) -> Service:
    """Return the service a request reached."""
    found = cast("Service", request.app.state.service)
    signed_in = any(name.endswith(SESSION_COOKIE) for name in request.cookies)
    councils = getattr(request.state, "councils", None)  # of whom admission has let in
    if signed_in or councils:
        return replace(found, signed_in=signed_in, councils=councils or frozenset())
    return found
