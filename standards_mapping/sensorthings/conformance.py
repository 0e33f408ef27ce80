"""What of OGC 18-088 this service claims, and its landing page.

Listing a class claims every requirement in it, so only wholes stand here. The class request-data
is not listed, but its requirements one by one: all but built-in-query-functions, which needs the
geospatial functions.
"""

from typing import Any, Final

from standards_mapping.sensorthings.model import ENTITY_SETS

_REQUIREMENTS: Final = "http://www.opengis.net/spec/iot_sensing/1.1/req"

CONFORMANCE: Final = tuple(
    f"{_REQUIREMENTS}/{name}"
    for name in (
        "datamodel",
        "resource-path/resource-path-to-entities",
        "request-data/order",
        "request-data/expand",
        "request-data/select",
        "request-data/status-code",
        "request-data/query-status-code",
        "request-data/orderby",
        "request-data/top",
        "request-data/skip",
        "request-data/count",
        "request-data/filter",
        "request-data/built-in-filter-operations",
        "request-data/pagination",
    )
)


def landing_page(root: str) -> dict[str, Any]:
    """Return the service document (clause 9.2.1); root: URL of the service without final slash."""
    return {
        "value": [{"name": name, "url": f"{root}/{name}"} for name in ENTITY_SETS],
        "serverSettings": {"conformance": list(CONFORMANCE)},
    }
