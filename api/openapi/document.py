"""The OpenAPI 3.1 document, put together from the operations. Pure."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

from api.errors import PROBLEMS
from api.openapi import ngsi_ld, open_data, sensorthings, service
from api.openapi.model import Json, Operation

VERSION: Final = "1"
"""Of the API: the same as long as what was right stays right."""

GROUPS: Final = (
    (
        sensorthings.GROUP,
        "Every sensor, place and result, by an open standard (OGC 18-088, version 1.1).",
    ),
    (
        ngsi_ld.GROUP,
        "The same as entities of Smart Data Models, for city platforms (ETSI GS CIM 009).",
    ),
    (open_data.CATALOGUE, "What open data there is, for people's portals and harvesters."),
    (service.FILES, "Readings as files, and the proof of who signed them."),
    (open_data.LINKED, "Observations and sensors as linked data (W3C SOSA and SSN)."),
    (service.LIVE, "New values, pushed as they come."),
    (
        sensorthings.WRITING,
        "What a council keeps by hand, with a key that may write.",
    ),
    (service.ABOUT, "What you are reading, for programs."),
)


@cache
def operations() -> tuple[Operation, ...]:
    """Return all that programs may ask, group by group."""
    found = (
        *sensorthings.operations(),
        *sensorthings.writes(),
        *ngsi_ld.OPERATIONS,
        *open_data.OPERATIONS,
        *service.OPERATIONS,
    )
    order = [name for name, _ in GROUPS]
    return tuple(sorted(found, key=lambda one: order.index(one.group)))


def document(root: str, chosen: Iterable[Operation] | None = None) -> Json:
    """Return the document of a service that is reached at `root`, without a slash at its end."""
    paths: dict[str, Json] = {}
    for one in operations() if chosen is None else chosen:
        paths.setdefault(one.path, {})[one.method] = one.as_json()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kerbstone",
            "version": VERSION,
            "summary": "Sensor data of councils, by open standards",
            "description": (
                "Open data needs no key. Every path here also answers HEAD and OPTIONS, may be"
                " read by scripts of any origin, and answers If-None-Match where it says so."
            ),
        },
        "servers": [{"url": root}],
        "tags": [{"name": name, "description": text} for name, text in GROUPS],
        "paths": paths,
        "components": {
            "schemas": {
                "Problem": _problem(),
                "OpenAPI": _openapi(),
                **sensorthings.schemas(),
                **ngsi_ld.schemas(),
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "kbs_…"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _problem() -> Json:
    return {
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "description": "Where the code is explained."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What it was, and what to do."},
            "code": {"type": "string", "enum": list(PROBLEMS)},
        },
        "example": {
            "type": "/docs#invalid-parameter",
            "title": PROBLEMS["invalid-parameter"].title,
            "status": 400,
            "detail": "“since” is not a time such as 2026-03-29T14:00:00Z.",
            "code": "invalid-parameter",
        },
    }


def _openapi() -> Json:
    return {
        "type": "object",
        "required": ["openapi", "info", "paths"],
        "properties": {"openapi": {"const": "3.1.0"}, "paths": {"type": "object"}},
    }


def offered_at(path: str) -> tuple[str, ...]:
    """Return the media types that a GET of this path may be answered in; none where it is unknown.

    Of several paths that fit, the one with the fewest parameters says it.
    """
    for pattern, offered in _offers():
        if pattern.fullmatch(path):
            return offered
    return ()


@cache
def _offers() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    reads = sorted(
        (one for one in operations() if one.method == "get"), key=lambda one: one.path.count("{")
    )
    return tuple(
        (
            re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(one.path))),
            tuple(one.answers[200].content),
        )
        for one in reads
    )
