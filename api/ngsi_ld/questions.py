"""What a request asks, before any of it is answered: its parameters, its body, its terms.

What they mean is said in `standards_mapping.ngsi_ld.parameters`.
"""

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import Request

from api.ngsi_ld.negotiation import (
    Media,
    UnsupportedMediaTypeError,
    linked_context,
    negotiate,
    vocabulary_of,
)
from api.ngsi_ld.provider import Provider
from api.root import root_of
from standards_mapping.ngsi_ld import parameters
from standards_mapping.ngsi_ld.errors import BadRequestDataError
from standards_mapping.ngsi_ld.parameters import Query
from standards_mapping.ngsi_ld.selection import EntitySelector, parse_types
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

_LONGEST_QUERY: Final = 16_384
_LARGEST_BODY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with what was agreed on: media type, terms, parameters. body: of a POST."""

    request: Request
    given: dict[str, str]
    media: Media
    vocabulary: Vocabulary
    body: Any = None

    @property
    def geojson(self) -> bool:
        """Whether Features are asked for."""
        return self.media is Media.GEO_JSON


async def asked_of(
    request: Request, provider: Provider, allowed: frozenset[str], *, geojson: bool
) -> Asked:
    """Return what a request asks.

    allowed: names of parameters. geojson: whether the resource has Features, too.

    Raises:
        NgsiLdError: it cannot be asked like that.
    """
    given = parameters_of(request)
    parameters.check_names(given, allowed)
    media = negotiate(request.headers.get("accept", ""), geojson=geojson)
    root = root_of(request)
    linked = linked_context(request.headers.get("link", ""))
    body = await _body(request) if request.method == "POST" else None
    context: Any = linked
    if isinstance(body, dict) and "@context" in body:
        if linked is not None:
            raise BadRequestDataError("Link and the body name an @context: name it once")
        context = body["@context"]
    vocabulary = vocabulary_of(
        context, provider.default(root), lambda url: provider.named(url, root)
    )
    return Asked(request, given, media, vocabulary, body)


def parameters_of(request: Request) -> dict[str, str]:
    """Return the query by name; in it + is a space, and %2B a plus.

    Raises:
        BadRequestDataError: it is too long, not encoded as it should be, or names something twice.
    """
    text = request.scope["query_string"]
    if len(text) > _LONGEST_QUERY:
        raise BadRequestDataError(f"a query of more than {_LONGEST_QUERY} characters")
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise BadRequestDataError("the query is not percent-encoded UTF-8") from error
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise BadRequestDataError(f"{name} is given twice")
        if "\0" in value:
            raise BadRequestDataError(f"{name} holds a character that no text has")
        given[name] = value
    return given


async def _body(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (Media.JSON.value, Media.JSON_LD.value):
        raise UnsupportedMediaTypeError(
            f"Content-Type is {kind!r}: send {Media.JSON.value} or {Media.JSON_LD.value}"
        )
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _LARGEST_BODY:
            raise BadRequestDataError(f"a body of more than {_LARGEST_BODY} bytes")
    try:
        return json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise BadRequestDataError("the body is no JSON") from error


def query_of(asked: Asked, *, temporal: bool = False) -> Query:
    """Return the query for entities or, where it is temporal, for histories."""
    if asked.request.method == "POST":
        return parameters.parse_body(asked.body, asked.given, asked.vocabulary, temporal=temporal)
    return parameters.parse_request(asked.given, asked.vocabulary, temporal=temporal)


def selector_of(asked: Asked) -> EntitySelector:
    """Return of which types an entity must be that is asked for by its id."""
    text = asked.given.get("type")
    return EntitySelector(types=parse_types(text, asked.vocabulary) if text else None)


def wants_details(asked: Asked) -> bool:
    """Return whether more than names is asked for."""
    text = asked.given.get("details", "false") or "false"
    if text not in ("true", "false"):
        raise BadRequestDataError(f"details is {text!r}: give true or false")
    return text == "true"
