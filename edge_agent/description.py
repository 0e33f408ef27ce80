"""From a gateway's settings to how it describes itself before any reading (content format 60).

What each adapter measures, the adapter says; what the gateway reports about itself,
`edge_agent.health.datastreams` says; what aggregation and privacy leave of a sensor's datastreams,
`edge_agent.processing` says. Here they are put together.
"""

from dataclasses import replace

from device_protocol.description import GatewayDescription, Sensor, Thing
from edge_agent.health import datastreams as health_datastreams
from edge_agent.processing.published import coarsened, published
from edge_agent.sensors import ADAPTERS, SensorSettings
from edge_agent.settings import AgentSettings, ThingSettings


def describe(settings: AgentSettings) -> GatewayDescription:
    """Return the things in the settings with their sensors, and the gateway as a thing itself.

    Raises:
        PayloadError: something in the settings cannot be described.
    """
    things = tuple(_thing(thing, settings.sensor) for thing in settings.thing)
    gateway = replace(
        health_datastreams.thing(settings),
        longitude=things[0].longitude,  # as it is told: perhaps not exactly
        latitude=things[0].latitude,
    )
    return GatewayDescription((*things, gateway))


def _thing(thing: ThingSettings, sensors: tuple[SensorSettings, ...]) -> Thing:
    own = [sensor for sensor in sensors if sensor.thing == thing.urn]
    return Thing(
        urn=thing.urn,
        name=thing.name,
        description=thing.description,
        longitude=coarsened(thing.longitude, own),
        latitude=coarsened(thing.latitude, own),
        place_name=thing.place_name,
        properties=dict(thing.properties),
        sensors=tuple(_sensor(sensor) for sensor in own),
    )


def _sensor(sensor: SensorSettings) -> Sensor:
    return Sensor(
        urn=sensor.urn,
        name=sensor.name,
        description=sensor.description,
        metadata=sensor.metadata,
        datastreams=published(sensor, ADAPTERS[sensor.adapter].datastreams(sensor)),
    )
