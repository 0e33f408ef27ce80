"""A web process that only answers: Starlette with a ready body, under the server that ours uses.

`python -m bench.bare_web PORT BYTES` serves until it is stopped. What an application of Starlette
can reach at most with answers of that size is measured on it.
"""

import asyncio
import sys
from typing import Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.service import listen

PATH: Final = "/ready"


def application(size: int) -> Starlette:
    """Return an application that answers `PATH` with so many bytes."""
    body = b" " * size

    async def answer(_: Request) -> Response:
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route(PATH, answer)])


async def main(port: int, size: int) -> None:
    """Serve on a port of loopback."""
    with listen("127.0.0.1", port) as listener:
        config = uvicorn.Config(
            application(size),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2])))
