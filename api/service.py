"""The web process: what it opens, and stopping it in order."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.app import attach, create_app
from api.live import LiveFeed
from api.reads import Readers, Reads
from api.settings import ApiSettings
from runtime.metrics import serve_metrics
from storage.database import open_pool
from storage.sensorthings.reader import open_readers

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 5
_BACKLOG: Final = 512


class _Server(uvicorn.Server):
    """Leaves signals to `runtime.signals`, which cancels `run`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(settings: ApiSettings) -> None:
    """Serve pages, exports and the live stream until cancelled.

    Raises:
        OSError: the port is taken, or a file that the settings name cannot be read.
    """
    with listen(settings.host, settings.port) as listener:
        metrics = serve_metrics(settings.metrics)
        try:
            async with open_app(settings) as app:
                log.info("serving", extra={"address": listener.getsockname()[:2]})
                await _serve(app, listener)
        finally:
            if metrics is not None:
                metrics.close()


@asynccontextmanager
async def open_app(settings: ApiSettings) -> AsyncIterator[FastAPI]:
    """Open what the application needs and keep its tasks running for the length of the block.

    They are the live feed, the watch on the replica, and air quality indices read again. A bug in
    one of them ends the block.
    """
    app = create_app(settings)
    dsn = settings.database
    live = LiveFeed(dsn)
    async with AsyncExitStack() as opened:
        pool = await opened.enter_async_context(open_pool(dsn, application_name="kerbstone serve"))
        replica = None
        if settings.replica:
            replica = await opened.enter_async_context(
                open_pool(settings.replica, application_name="kerbstone serve")
            )
        reads = Reads(pool, replica, settings.replica_max_lag_seconds)
        attach(app, pool, live, reads, await _open_readers(opened, settings, reads))
        async with asyncio.TaskGroup() as tasks:
            feed = tasks.create_task(live.run(), name="live-feed")
            watch = tasks.create_task(reads.follow(), name="watch-replica")
            indices = tasks.create_task(app.state.service.indices.run(), name="air-quality-indices")
            try:
                yield app
            finally:
                live.close()
                feed.cancel()
                watch.cancel()
                indices.cancel()


async def _open_readers(opened: AsyncExitStack, settings: ApiSettings, reads: Reads) -> Readers:
    """Open, on the same servers, the connections that read the entities of the standards."""
    name = "kerbstone serve: entities"
    primary = await opened.enter_async_context(
        open_readers(settings.database, application_name=name)
    )
    replica = None
    if settings.replica:
        replica = await opened.enter_async_context(
            open_readers(settings.replica, application_name=name)
        )
    return Readers(reads, primary, replica)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 takes a free one.

    Raises:
        OSError: the address is not ours or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # What accepts inherits it. Without, an answer's body waits 40 ms for its head's receipt.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _serve(app: FastAPI, listener: socket.socket) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="serve")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        app.state.service.live.close()  # open streams would hold up the stop
        server.should_exit = True
        await serving
        raise
