"""A web process that does next to nothing: Starlette under the server that ours uses.

`python -m bench.bare_web PORT BYTES` serves until it is stopped. Two ceilings are measured on it:
what an application of Starlette can reach at most with ready answers of that size (`PATH`), and
what one process reaches that has to fetch the rows of a page first, over as many connections as
ours, and then writes them down as they are: JSON without names, links or a next page (`ROWS_PATH`
and a datastream's id). The database for that is told in the environment, as `DSN`.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import Final, LiteralString

import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.service import listen
from storage.database import Connection, connect

PATH: Final = "/ready"
ROWS_PATH: Final = "/rows"
DSN: Final = "KERBSTONE_BENCH_DSN"
"""The variable of the environment that says where the database is; it may hold a password."""

CONNECTIONS: Final = 4
ROWS: Final[LiteralString] = (
    "SELECT o.time, o.value, x.result, x.quality FROM observation o"
    " LEFT JOIN observation_extra x USING (datastream_id, time)"
    " WHERE o.datastream_id = %s ORDER BY o.time LIMIT 100"
)
"""The rows of a page of observations, read as barely as they can be."""


async def open_connection(dsn: str) -> Connection:
    """Return a connection that walks keys, as those do that read pages."""
    conn = await connect(dsn, autocommit=True, application_name="kerbstone bench")
    await conn.execute("SET enable_sort = off")
    return conn


async def fetch_rows(conn: Connection, datastream: int) -> list[tuple[object, ...]]:
    """Return the rows of a page."""
    return await (await conn.execute(ROWS, (datastream,), binary=True)).fetchall()


def application(size: int, idle: asyncio.Queue[Connection]) -> Starlette:
    """Return an application that answers `PATH` with so many bytes, and `ROWS_PATH` from `idle`."""
    body = b" " * size

    async def answer(_: Request) -> Response:
        return Response(body, media_type="application/json")

    async def rows(request: Request) -> Response:
        conn = await idle.get()
        try:
            found = await fetch_rows(conn, request.path_params["number"])
        finally:
            idle.put_nowait(conn)
        return Response(orjson.dumps({"value": found}), media_type="application/json")

    return Starlette(routes=[Route(PATH, answer), Route(f"{ROWS_PATH}/{{number:int}}", rows)])


async def main(port: int, size: int) -> None:
    """Serve on a port of loopback."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    async with AsyncExitStack() as opened:
        for _ in range(CONNECTIONS):
            idle.put_nowait(
                await opened.enter_async_context(await open_connection(os.environ[DSN]))
            )
        listener = opened.enter_context(listen("127.0.0.1", port))
        config = uvicorn.Config(
            application(size, idle),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2])))
