"""Media types, the @context and the tenant of an NGSI-LD request (clauses 6.3.4, 6.3.5, 6.3.14).

No context is ever fetched: what a client names must be one that is kept here, or the core context.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from standards_mapping.ngsi_ld.errors import (
    BadRequestDataError,
    LdContextNotAvailableError,
    NgsiLdError,
)
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

CONTEXT_RELATION: Final = "http://www.w3.org/ns/json-ld#context"

_CORE: Final = re.compile(
    r"https?://uri\.etsi\.org/ngsi-ld/(v1/)?ngsi-ld-core-context(-v\d+\.\d+)?\.jsonld"
)
_LINK: Final = re.compile(
    r"<([^<>\s]{1,2000})>((?:\s*;\s*[\w*-]+\s*=\s*(?:\"[^\"]*\"|[^\s;,\"]+))*)"
)
_RELATION: Final = re.compile(r";\s*rel\s*=\s*\"?([^\s\";,]+)\"?")
_LONGEST_ACCEPT: Final = 1000


class Media(Enum):
    """What answers are written as."""

    JSON = "application/json"
    JSON_LD = "application/ld+json"
    GEO_JSON = "application/geo+json"


class NotAcceptableError(NgsiLdError):
    """None of what the client takes is written here."""

    name = "InvalidRequest"
    status = 406
    title = "No such media type"


class UnsupportedMediaTypeError(NgsiLdError):
    """The body is neither JSON nor JSON-LD."""

    name = "InvalidRequest"
    status = 415
    title = "No such media type"


def negotiate(accept: str, *, geojson: bool) -> Media:
    """Return what to answer with, by the Accept header; of several the one the client likes best.

    geojson: whether the operation has GeoJSON.

    Raises:
        NotAcceptableError: there is none.
    """
    offered = [one for one in Media if geojson or one is not Media.GEO_JSON]
    best: tuple[float, int, Media] | None = None
    for entry in (accept.strip() or "*/*")[:_LONGEST_ACCEPT].split(","):
        media, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = next((_quality(one) for one in parameters if one.startswith("q=")), 1.0)
        for number, one in enumerate(offered):
            if media in (one.value, "*/*", "application/*") and quality > 0:
                candidate = (quality, -number, one)
                best = max(best, candidate, key=lambda each: each[:2]) if best else candidate
    if best is None:
        names = ", ".join(one.value for one in offered)
        raise NotAcceptableError(f"Accept is {accept!r}: answers are {names}")
    return best[2]


def _quality(text: str) -> float:
    try:
        return float(text.removeprefix("q="))
    except ValueError:
        return 0.0


def linked_context(header: str) -> str | None:
    """Return the @context that a Link header names; None if none.

    Raises:
        BadRequestDataError: it names several.
    """
    urls = []
    for match in _LINK.finditer(header):
        relation = _RELATION.search(match[2])
        if relation is not None and relation[1] == CONTEXT_RELATION:
            urls.append(match[1])
    if len(urls) > 1:
        raise BadRequestDataError("Link names several @contexts: name one")
    return urls[0] if urls else None


def link_to(url: str) -> str:
    """Return a Link header that names an @context."""
    return f'<{url}>; rel="{CONTEXT_RELATION}"; type="application/ld+json"'


def vocabulary_of(
    context: Any, default: Vocabulary, known: Callable[[str], Vocabulary | None]
) -> Vocabulary:
    """Return the terms of an @context: the address of one, terms written out, or an array of them.

    default: where there is none.

    Raises:
        LdContextNotAvailableError: one is not kept here.
        BadRequestDataError: it is no @context.
    """
    if context is None:
        return default
    parts = context if isinstance(context, list) else [context]
    found = Vocabulary()
    named: list[Any] = []
    for part in parts:
        one = _part(part, known)
        found = Vocabulary(terms={**found.terms, **one.terms})
        if not (isinstance(part, str) and _CORE.fullmatch(part)):
            named.append(part)
    return Vocabulary(tuple(named), found.terms)


def _part(part: Any, known: Callable[[str], Vocabulary | None]) -> Vocabulary:
    if isinstance(part, dict):
        return Vocabulary.of(part)
    if not isinstance(part, str):
        raise BadRequestDataError("@context is no address, object or array of them")
    if _CORE.fullmatch(part):
        return Vocabulary()
    found = known(part)
    if found is None:
        raise LdContextNotAvailableError(
            f"the @context {part} is not kept here, and none is fetched from elsewhere: name one"
            " of /ngsi-ld/v1/jsonldContexts, or write its terms into the body"
        )
    return found
