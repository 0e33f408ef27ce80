"""What is described of a sensor: its datastreams as its settings let them out. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from device_protocol.description import Datastream
from edge_agent.adapter import SensorSettings


def published(sensor: SensorSettings, measured: Iterable[Datastream]) -> tuple[Datastream, ...]:
    """Return the datastreams that others may know of, in place of those it measures."""
    return tuple(
        replace(stream, properties={**sensor.properties, **stream.properties})
        for stream in _let_out(sensor, measured)
    )


def _let_out(sensor: SensorSettings, measured: Iterable[Datastream]) -> Iterator[Datastream]:
    aggregate, privacy = sensor.aggregate, sensor.privacy
    if aggregate is not None:
        from edge_agent.processing import aggregation  # noqa: PLC0415  # costs memory
    if privacy is not None:
        from edge_agent.processing import privacy as filters  # noqa: PLC0415  # costs memory

        yield replace(filters.stream(), properties=filters.properties(privacy, filters.stream()))
    for stream in measured:
        if privacy is not None:
            if stream.name in privacy.drop:
                continue
            said = filters.properties(privacy, stream)
            stream = replace(stream, properties={**stream.properties, **said})  # noqa: PLW2901
            if stream.name in privacy.hash:
                stream = replace(stream, valid_minimum=None, valid_maximum=None)  # noqa: PLW2901
        if aggregate is not None and aggregation.is_aggregated(stream, aggregate):
            yield from aggregation.aggregates(stream, aggregate)
        else:
            yield stream


def coarsened(degrees: float, sensors: Iterable[SensorSettings]) -> float:
    """Return a coordinate of a thing as its most reserved sensor lets it be told."""
    wanted = [
        sensor.privacy.position_decimals
        for sensor in sensors
        if sensor.privacy is not None and sensor.privacy.position_decimals is not None
    ]
    return round(degrees, min(wanted)) if wanted else degrees
