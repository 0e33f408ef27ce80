"""What of OGC 18-088 this service claims, and its landing page.

Listing a class claims every requirement in it, so only wholes stand here. Which tests hold each of
them is told in tests/conformance/requirements.py.
"""

from collections.abc import Sequence
from typing import Any, Final

from standards_mapping.sensorthings.model import ENTITY_SETS

_REQUIREMENTS: Final = "http://www.opengis.net/spec/iot_sensing/1.1/req"

CONFORMANCE: Final = tuple(
    f"{_REQUIREMENTS}/{name}"
    for name in (
        "datamodel",
        "resource-path/resource-path-to-entities",
        "request-data",
        "create-update-delete",
        "batch-request/batch-request",
        "data-array/data-array",
    )
)


RECEIVE_UPDATES: Final = f"{_REQUIREMENTS}/receive-updates-via-mqtt/receive-updates"
"""Clause 14.2. Not claimed: of its topics a broker can carry those that are written out here, but
not every entity and property, nor a `$select` that a subscriber makes up."""

UPDATE_TOPICS: Final = ("v1.1/Datastreams(id)/Observations", "v1.1/Observations")


def landing_page(root: str, mqtt_endpoints: Sequence[str] = ()) -> dict[str, Any]:
    """Return the service document (clause 9.2.1); root: URL of the service without final slash.

    mqtt_endpoints: URLs of the brokers where updates are received; none: that is not said at all.
    """
    settings: dict[str, Any] = {"conformance": list(CONFORMANCE)}
    if mqtt_endpoints:
        settings[RECEIVE_UPDATES] = {
            "endpoints": list(mqtt_endpoints),
            "topics": list(UPDATE_TOPICS),
        }
    return {
        "value": [{"name": name, "url": f"{root}/{name}"} for name in ENTITY_SETS],
        "serverSettings": settings,
    }
