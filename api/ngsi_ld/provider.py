"""What the routes are served from: a source of entities for each request, and known contexts.

The service's own is the database with the contexts kept beside the mapping; the conformance cases
serve entities and a context of their own through the same routes.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Protocol

from fastapi import Request

from api.principal import principal
from standards_mapping.ngsi_ld import contexts
from standards_mapping.ngsi_ld.models import MODELS
from standards_mapping.ngsi_ld.source import Source
from standards_mapping.ngsi_ld.vocabulary import Vocabulary
from storage.ngsi_ld.reader import reading

_CANONICAL: Final = re.compile(
    r"https://(?:raw\.githubusercontent\.com/smart-data-models|smart-data-models\.github\.io)"
    r"/dataModel\.(\w+)/(?:master/)?context\.jsonld"
)
_SUBJECT: Final = re.compile(r"(\w+)\.jsonld")


class Provider(Protocol):
    """Where entities come from and which contexts are known. root: URL of the whole service."""

    def default(self, root: str) -> Vocabulary:
        """Return the terms where a request names none."""

    def named(self, url: str, root: str) -> Vocabulary | None:
        """Return the terms of the @context at an address; None where it is not kept."""

    def documents(self) -> Mapping[str, Any]:
        """Return the contexts that are served, by name."""

    def source(self, request: Request, tenant: str | None) -> AbstractAsyncContextManager[Source]:
        """Lend a source of entities: those of one council or of all."""


class OwnProvider:
    """The registry and the observations of this service, and its vendored contexts.

    clock: the time now, which air quality indices are of.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock

    def default(self, root: str) -> Vocabulary:
        """Return the terms of all models: a name stands for whatever it means in any of them."""
        url = f"{root}{contexts.PATH}/{contexts.ALL}"
        return Vocabulary((url,), _every_term().terms, has_core=True)

    def named(self, url: str, root: str) -> Vocabulary | None:
        """Return the terms of a vendored context, by our address or that of its publisher."""
        canonical = _CANONICAL.fullmatch(url)
        ours = url.removeprefix(f"{root}{contexts.PATH}/")
        name = f"{canonical[1]}.jsonld" if canonical else ours
        if name == contexts.ALL:
            return self.default(root)
        if name not in contexts.names() or (ours == url and canonical is None):
            return None
        terms = dict(_terms(name).terms)
        if canonical:  # where the models' authors have it, there is nothing of ours
            terms = {term: iris for term, iris in terms.items() if term not in contexts.OWN_TERMS}
        return Vocabulary((url,), terms, has_core=canonical is None)

    def documents(self) -> Mapping[str, Any]:
        """Return the vendored contexts."""
        return {name: contexts.document(name) for name in contexts.names()}

    @asynccontextmanager
    async def source(self, request: Request, tenant: str | None) -> AsyncIterator[Source]:
        """Lend what the one who asks may read, as of one moment."""
        councils = (await principal(request)).councils
        pool = request.app.state.pool
        async with reading(pool, tenant, councils, self._clock()) as source:
            yield source


@cache
def _terms(name: str) -> Vocabulary:
    """Return the terms of a vendored context, those of the core last."""
    document = contexts.document(name) or {"@context": {}}
    parts = document["@context"]
    merged: dict[str, Any] = {}
    for part in parts if isinstance(parts, list) else [parts]:
        merged |= part
    return Vocabulary.of(merged)


@cache
def _every_term() -> Vocabulary:
    """Return the terms of every model, each with all that it means."""
    found = Vocabulary()
    for name in contexts.names():
        if _SUBJECT.fullmatch(name) and name not in (contexts.ALL, contexts.CORE):
            found = found.merge(_terms(name))
    types = {name: (contexts.type_iri(name),) for name in MODELS}
    return Vocabulary(terms={**found.terms, **types})
