"""What a client accepts (RFC 9110, section 12.5.1), held against what it would get.

Where an address names the form, as files do, or an option does, that decides and not the header.
"""

from typing import Final

from fastapi import Request
from jinja2 import Environment
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer, not_acceptable
from api.headers import header
from api.machine_paths import is_machine_path
from api.openapi.document import offered_at

_JSON: Final = "application/json"
_LONGEST_ACCEPT: Final = 2000


class Acceptable:
    """ASGI middleware that answers 406, with what there is, where JSON is all and not accepted."""

    def __init__(self, app: ASGIApp, *, pages: Environment) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, or that it cannot be in such a form."""
        accept = "" if scope["type"] != "http" else header(scope["headers"], b"accept")
        if not accept or "*/*" in accept or not is_machine_path(scope["path"]):
            await self._app(scope, receive, send)
            return
        refused = False

        async def send_acceptable(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] == 200:  # noqa: PLR2004
                media_type = header(message["headers"], b"content-type")
                if not accepts(accept, media_type.partition(";")[0].strip().lower()):
                    refused = True
                    offered = offered_at(scope["path"]) or (media_type,)
                    response = await answer(self._pages, Request(scope), not_acceptable(offered))
                    await response(scope, receive, send)
            if not refused:
                await send(message)

        await self._app(scope, receive, send_acceptable)


def accepts(accept: str, media_type: str) -> bool:
    """Return whether an Accept header takes this, where it is JSON; all else is taken.

    Whoever takes JSON takes each kind of it, such as application/ld+json.
    """
    if media_type != _JSON and not media_type.endswith("+json"):
        return True
    wanted = {media_type, "application/*", "*/*", _JSON}
    for entry in accept[:_LONGEST_ACCEPT].lower().split(","):
        name, *options = (part.strip() for part in entry.split(";"))
        if name in wanted and not any(_is_nought(one) for one in options):
            return True
    return False


def _is_nought(option: str) -> bool:
    """Return whether an option of a media type is a quality of nought: not this."""
    name, _, value = option.partition("=")
    return name.strip() == "q" and value.strip().rstrip("0") in {"", "0."}
