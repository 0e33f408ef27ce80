"""Under which licence results may be used, and whom to name. Pure.

The Open Government Licence holds unless a datastream, or the Thing it belongs to, says otherwise
in its properties.
"""

from collections.abc import Iterable
from typing import Final

from standards_mapping.registry import Datastream

OPEN_GOVERNMENT_LICENCE: Final = (
    "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/"
)

_NAMES: Final = {OPEN_GOVERNMENT_LICENCE: "Open Government Licence v3.0"}
_IRIS: Final = {name.casefold(): iri for iri, name in _NAMES.items()}


def licence_of(datastream: Datastream) -> str:
    """Return the licence of a datastream's results: an IRI as a rule, else what it is called."""
    return licence_from(_said(datastream, "licence"))


def licence_from(stated: str) -> str:
    """Return the licence that is meant where this is stated: the IRI of one that is named."""
    return _IRIS.get(stated.casefold(), stated) or OPEN_GOVERNMENT_LICENCE


def licences_of(datastreams: Iterable[Datastream]) -> list[str]:
    """Return the different licences of these datastreams, in alphabetical order."""
    return sorted({licence_of(each) for each in datastreams})


def attribution_of(datastream: Datastream) -> str:
    """Return what to say when the results are used: as stated, else the council's name."""
    stated = _said(datastream, "attribution")
    return stated or f"Contains data of {datastream.thing.council.name}"


def licence_name(licence: str) -> str:
    """Return what people call a licence."""
    return _NAMES.get(licence, licence)


def _said(datastream: Datastream, name: str) -> str:
    found = datastream.properties.get(name) or datastream.thing.properties.get(name)
    return str(found or "").strip()
