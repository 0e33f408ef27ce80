"""How the gateway describes itself: the thing it is, and the datastreams of its health.

When their readings are made, and of what, is told in `edge_agent.health.heartbeat`.
"""

from typing import Final

from device_protocol.description import Datastream, Sensor, Thing
from edge_agent.settings import AgentSettings
from runtime.version import VERSION

_SYMBOLS: Final = {"count": "count", "s": "s", "1": "/", "By": "B", "%": "/100", "Cel": "Cel"}
"""SenML symbols of the units used here."""

# Name, title, description, observed property, unit, greatest result, whether at every interval.
_ROWS: Final[tuple[tuple[str, str, str, str, str, float | None, bool], ...]] = (
    (
        "spool_readings",
        "Readings waiting",
        "Readings on the gateway that the centre has not acknowledged.",
        "spool_readings",
        "count",
        None,
        True,
    ),
    (
        "spool_bytes",
        "Size of the spool",
        "Bytes that the readings waiting take up on the gateway's disk.",
        "spool_bytes",
        "By",
        None,
        True,
    ),
    (
        "spool_oldest_age",
        "Age of the oldest reading waiting",
        "How long ago the gateway took the oldest reading that still waits.",
        "spool_oldest_age",
        "s",
        None,
        True,
    ),
    (
        "clock_quality",
        "Trust in the gateway's clock",
        "0: unset, 0.5: from a clock chip or a satellite, 1: synchronised.",
        "clock_quality",
        "1",
        1.0,
        True,
    ),
    (
        "disk_used",
        "Disk in use",
        "Share of the file system that holds the spool.",
        "disk_used",
        "%",
        100.0,
        True,
    ),
    (
        "memory_used",
        "Memory in use",
        "Share of the gateway's memory that is not available to new programs.",
        "memory_used",
        "%",
        100.0,
        True,
    ),
    (
        "agent_memory",
        "Memory of the agent",
        "Memory that the gateway's program occupies.",
        "agent_memory",
        "By",
        None,
        True,
    ),
    (
        "flash_written",
        "Written to disk",
        "Bytes that the gateway's program has sent to the disk since it started.",
        "flash_written",
        "By",
        None,
        True,
    ),
    (
        "uptime",
        "Time since the start",
        "How long ago the gateway's computer was switched on.",
        "uptime",
        "s",
        None,
        True,
    ),
    (
        "adapters_running",
        "Sensors that can be read",
        "Sensors whose adapter gives readings.",
        "adapters_running",
        "count",
        None,
        True,
    ),
    (
        "adapters_failing",
        "Sensors that fail",
        "Sensors whose adapter has failed and is tried again.",
        "adapters_failing",
        "count",
        None,
        True,
    ),
    (
        "failing_sensors",
        "Which sensors fail",
        "URNs of the sensors whose adapter has failed, told at the start and when they change.",
        "failing_sensors",
        "1",
        None,
        False,
    ),
    (
        "unclaimed_devices",
        "Unknown devices heard",
        "Devices that were heard since the start and stand in no settings; counted up to 100.",
        "unclaimed_devices",
        "count",
        None,
        True,
    ),
    (
        "temperature",
        "Temperature inside",
        "The warmest of the computer's own thermometers; none, no readings.",
        "device_temperature",
        "Cel",
        150.0,
        False,
    ),
    (
        "spool_dropped",
        "Readings dropped",
        "Readings that went: the spool was full, or the disk had changed them.",
        "spool_dropped",
        "count",
        None,
        False,
    ),
    (
        "spool_salvaged",
        "Readings salvaged",
        "Readings that could be read from a damaged spool; others may be lost.",
        "spool_salvaged",
        "count",
        None,
        False,
    ),
    (
        "configuration_version",
        "Settings in force",
        "Version of the settings from afar that are in force; 0: none.",
        "configuration_version",
        "count",
        None,
        False,
    ),
    (
        "configuration_refused",
        "Settings refused",
        "Newest version of such settings refused or taken back; 0: none.",
        "configuration_version",
        "count",
        None,
        False,
    ),
    (
        "agent_version",
        "Release",
        "Release of the gateway's program, told at its start.",
        "agent_version",
        "1",
        None,
        False,
    ),
)
_COLDEST: Final = -60.0

UNITS: Final = {row[0]: _SYMBOLS[row[4]] for row in _ROWS}
"""SenML unit symbol of each datastream, by its name."""


def thing(settings: AgentSettings) -> Thing:
    """Return the gateway as a thing, standing where the first thing in its settings stands."""
    place = settings.thing[0]
    sensor = Sensor(
        urn=settings.health_urn,
        name=f"Gateway {settings.device}",
        description="The gateway's own account of its state.",
        metadata="Kerbstone edge agent",
        datastreams=_datastreams(max(1, round(settings.health.interval_seconds))),
    )
    return Thing(
        urn=settings.health_urn,
        name=f"Gateway {settings.device}",
        description="The computer that gathers, signs and sends the readings of this place.",
        longitude=place.longitude,
        latitude=place.latitude,
        place_name=place.place_name,
        properties={"role": "gateway", "agent_version": VERSION},
        sensors=(sensor,),
    )


def _datastreams(period_seconds: int) -> tuple[Datastream, ...]:
    return tuple(
        Datastream(
            name=name,
            title=title,
            description=description,
            observed_property=observed_property,
            unit=unit,
            period_seconds=period_seconds if is_regular else None,
            valid_minimum=_COLDEST if unit == "Cel" else 0.0,
            valid_maximum=greatest,
        )
        for name, title, description, observed_property, unit, greatest, is_regular in _ROWS
    )
