"""Answers compressed for whoever takes that (RFC 9110, section 12.5.3)."""

from functools import lru_cache
from typing import Final

from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.headers import header, put

COMPRESSED_ALREADY: Final = ("application/vnd.apache.parquet", "application/cose")
"""Media types, beyond the well-known, that gain nothing by being compressed."""

_FROM_BYTES: Final = 1000
_LEVEL: Final = 6  # a tenth larger than 9 makes it, in half the time
_DECIDES: Final = "Accept-Encoding"


class Compression(GZipMiddleware):
    """ASGI middleware that compresses what a client takes compressed, and passes on the rest.

    Starlette does the compressing. Its way with what is not compressed takes long, for it says
    exactly which of those answers would have been; here each says that it depends on the client.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            app,
            minimum_size=_FROM_BYTES,
            compresslevel=_LEVEL,
            exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, *COMPRESSED_ALREADY),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, in fewer bytes where the client takes them."""
        if scope["type"] != "http" or takes_gzip(header(scope["headers"], b"accept-encoding")):
            await super().__call__(scope, receive, send)
            return

        async def send_as_it_is(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                told = header(headers, b"vary")
                put(headers, b"vary", f"{told}, {_DECIDES}" if told else _DECIDES)
            await send(message)

        await self.app(scope, receive, send_as_it_is)


@lru_cache(maxsize=64)
def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a client named gzip, and not with a quality of nought, which forbids it.

    `*` is no wish for it: a client that takes anything takes what is not compressed.
    """
    for entry in accept_encoding.split(","):
        name, *options = (part.strip().lower() for part in entry.split(";"))
        if name in {"gzip", "x-gzip"}:
            return not any(_is_nought(option) for option in options)
    return False


def _is_nought(option: str) -> bool:
    name, _, value = option.partition("=")
    return name.strip() == "q" and value.strip().rstrip("0") in {"", "0.", "."}
