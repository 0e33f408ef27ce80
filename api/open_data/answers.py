"""What routes of open data share: their own address, what they may read, linked data as HTTP."""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from fastapi import HTTPException
from fastapi.responses import Response

from api.state import Service
from standards_mapping.datasets import Contact
from standards_mapping.linked_data import JSON_LD, TURTLE, turtle
from storage.analysis import TooBigError
from storage.database import Connection
from storage.open_data import open_read

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

# Turtle of a large region's catalogue takes seconds: one is made at a time, in a thread of its own,
# and the newest are kept by what they were made of.
_turtle_thread: Final = ThreadPoolExecutor(1, "turtle")
_turtles: Final[OrderedDict[bytes, str]] = OrderedDict()
_TURTLES_KEPT: Final = 16


@asynccontextmanager
async def reading(centre: Service) -> AsyncIterator[Connection]:
    """Lend a connection in a transaction that sees what the request may read."""
    async with centre.reading() as conn, open_read(conn, centre.councils):
        yield conn


def check_tenant(tenant: str) -> None:
    """Refuse what no council is called.

    Raises:
        HTTPException: 404.
    """
    if not _TENANT.fullmatch(tenant):
        raise HTTPException(404, f"There is no council “{tenant[:40]}”.")


def contact_of(centre: Service) -> Contact:
    """Return whom to ask about the data."""
    return Contact(centre.settings.operator.name, centre.settings.operator.email)


async def linked(
    document: Mapping[str, Any],
    context: Mapping[str, Any],
    form: str,
    headers: Mapping[str, str] | None = None,
    *,
    largest: int | None = None,
) -> Response:
    """Return linked data in the form asked for.

    largest: how many bytes of JSON it may have.

    Raises:
        TooBigError: it has more.
    """
    more = {"Vary": "Accept", "Cache-Control": "no-cache", **(headers or {})}
    body = orjson.dumps(document)
    if largest is not None and len(body) > largest:
        raise TooBigError(
            f"This answer would be longer than {largest >> 20} MB. Ask for less at once: a smaller"
            " limit, or the files of the catalogue."
        )
    if form == TURTLE:
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(_turtle_thread, _turtle, body, document, context)
        return Response(text, media_type=f"{TURTLE}; charset=utf-8", headers=more)
    return Response(body, media_type=JSON_LD, headers=more)


def _turtle(body: bytes, document: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """Return a document as Turtle, as it was made before if nothing in it has changed."""
    key = hashlib.sha256(body).digest()
    if key in _turtles:
        _turtles.move_to_end(key)
        return _turtles[key]
    text = _turtles[key] = turtle(document, context)
    if len(_turtles) > _TURTLES_KEPT:
        _turtles.popitem(last=False)
    return text
