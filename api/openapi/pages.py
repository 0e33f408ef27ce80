"""/openapi.json and /docs: the same description, for programs and for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from api.errors import PROBLEMS
from api.openapi.document import GROUPS, document, operations
from api.openapi.model import Answer, Operation
from api.pages.templating import page
from api.pages.times import plural
from api.root import root_of
from api.state import Service, service

router = APIRouter(include_in_schema=False)

_SAFE_IN_QUERY: Final = "$,;=()':/ "


@dataclass(frozen=True, slots=True)
class Shown:
    """An operation as the page tells it.

    example: an address; formal: it only shows the form, there is nothing to follow it to.
    answers: status and text.
    """

    operation: Operation
    example: str
    formal: bool
    answers: Sequence[tuple[int, Answer]]


@dataclass(frozen=True, slots=True)
class Group:
    """A heading, and what stands under it."""

    name: str
    id: str
    text: str
    shown: Sequence[Shown]

    @property
    def count(self) -> str:
        """How many operations there are, in words."""
        return plural(len(self.shown), "operation")


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return Response(orjson.dumps(document(root_of(request))), media_type="application/json")


@router.get("/docs")
async def docs(request: Request, *, centre: Annotated[Service, Depends(service)]) -> Response:
    """Show what programs may ask, with examples, and what each error means."""
    limits = centre.settings.rate_limits
    context = {
        "active": "docs",
        "root": root_of(request),
        "groups": groups(),
        "problems": PROBLEMS,
        "limits": (
            ("No key", limits.anonymous_per_minute),
            ("A key of the class standard", limits.standard_key_per_minute),
            ("A key of the class bulk", limits.bulk_key_per_minute),
        ),
    }
    return await page(centre.pages, "docs.html", context)


def groups() -> list[Group]:
    """Return all that programs may ask, under headings."""
    found = []
    for name, text in GROUPS:
        shown = [
            Shown(one, example_address(one), is_formal(one), sorted(one.answers.items()))
            for one in operations()
            if one.group == name
        ]
        found.append(Group(name, name.lower().replace(" ", "-"), text, shown))
    return found


def example_address(operation: Operation) -> str:
    """Return an address to try: the path and its query, from the examples; "" for what writes."""
    if operation.method != "get":
        return ""
    given = {
        one.name: str(one.example)
        for one in operation.parameters
        if one.place == "query" and one.example is not None and _is_telling(one.name)
    }
    query = urlencode(given, safe=_SAFE_IN_QUERY).replace(" ", "%20").replace("+", "%20")
    return f"{operation.example_path}?{query}" if query else operation.example_path


def is_formal(operation: Operation) -> bool:
    """Return whether the example's path holds what each installation has values of its own for."""
    return any(one.formal for one in operation.parameters if one.place == "path")


def _is_telling(name: str) -> bool:
    """Return whether an example is easier to read with this option in it."""
    return name not in {"$expand", "$select"}
