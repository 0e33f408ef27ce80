"""What every route shares, made once when the service starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from fastapi import Request
from jinja2 import Environment

from api.live import LiveFeed
from api.settings import ApiSettings
from storage.database import Connection, Pool

_WAIT_SECONDS: Final = 4.0  # for a connection; then the page says that the database is away


@dataclass(frozen=True, slots=True)
class Service:
    """Settings, pool, templates and live feed; none of them knows of requests."""

    settings: ApiSettings
    pool: Pool
    pages: Environment
    live: LiveFeed

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; an outage (see `storage.database.OUTAGES`) if there is none soon."""
        async with self.pool.connection(timeout=_WAIT_SECONDS) as conn:
            yield conn


def service(request: Request) -> Service:
    """Return the service a request reached."""
    return cast("Service", request.app.state.service)
