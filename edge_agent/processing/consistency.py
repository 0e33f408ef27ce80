"""Whether the settings of a sensor fit what it measures, and the tables the centre refuses by.

Asked when settings are checked, not while readings flow; imported only then.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from device_protocol.description import Datastream
from device_protocol.errors import PayloadError
from device_protocol.unit_table import (
    UnknownUnitError,
    nearest,
    property_keys,
    senml_symbol,
)
from edge_agent.adapter import Adapter, DatastreamSettings, SensorSettings
from edge_agent.processing.kinds import COUNT_UNIT, POSITIONS, TEXT_UNIT
from edge_agent.processing.published import published
from runtime.settings import KeyPath


def contradictions(sensor: SensorSettings, adapter: Adapter) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong: units that are in no table, names that are no datastream's."""
    wrong = list(_unknown_units(sensor))
    if wrong:
        yield from wrong
        return
    try:
        streams = adapter.datastreams(sensor)
        for stream in streams:
            senml_symbol(stream.unit)
    except (PayloadError, UnknownUnitError) as error:
        yield (), str(error)
        return
    yield from _wrong_names(sensor, [stream.name for stream in streams])
    yield from _wrong_privacy(sensor, {stream.name: stream for stream in streams})
    yield from _names_twice(sensor, streams)


def unknown_properties(sensor: SensorSettings, adapter: Adapter) -> Iterator[tuple[KeyPath, str]]:
    """Yield observed properties that this release does not know, and the centre may not, either.

    No contradiction: a gateway that went back to an older release must start all the same.
    """
    known = property_keys()
    places = {settings.name: path for path, settings in datastream_settings(sensor)}
    for stream in adapter.datastreams(sensor):
        key = stream.observed_property
        if key not in known:
            path = (*places[stream.name], "observed_property") if stream.name in places else ()
            yield path, f"no observed property {key!r}{nearest(key, known)}"


def datastream_settings(sensor: SensorSettings) -> Iterator[tuple[KeyPath, DatastreamSettings]]:
    """Yield the path of each table that becomes a datastream, and the table."""
    for field in dataclasses.fields(sensor):
        value = getattr(sensor, field.name)
        parts: Iterable[tuple[str | int, object]] = ()
        if isinstance(value, Mapping):
            parts = value.items()
        elif isinstance(value, tuple):
            parts = enumerate(value)
        for key, part in parts:
            if isinstance(part, DatastreamSettings):
                yield (field.name, key), part


def _unknown_units(sensor: SensorSettings) -> Iterator[tuple[KeyPath, str]]:
    for path, settings in datastream_settings(sensor):
        try:
            senml_symbol(settings.unit)
        except UnknownUnitError as error:
            yield (*path, "unit"), str(error)


def _wrong_names(sensor: SensorSettings, names: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield what the settings name that the sensor does not measure."""
    named: list[tuple[KeyPath, str]] = [(("checks", name), name) for name in sensor.checks]
    if sensor.privacy is not None:
        for key in ("drop", "hash"):
            listed: tuple[str, ...] = getattr(sensor.privacy, key)
            named += [(("privacy", key, index), name) for index, name in enumerate(listed)]
    for path, name in named:
        if name not in names:
            yield path, f"{name!r} is no datastream of this sensor{nearest(name, names)}"


def _wrong_privacy(
    sensor: SensorSettings, streams: Mapping[str, Datastream]
) -> Iterator[tuple[KeyPath, str]]:
    """Yield what a privacy filter is told to do and cannot."""
    privacy = sensor.privacy
    if privacy is None:
        return
    for index, name in enumerate(privacy.hash):
        if name in streams and streams[name].unit != TEXT_UNIT:
            yield ("privacy", "hash", index), f"must be of unit {TEXT_UNIT!r}: its hash is a text"
    kept = [stream for name, stream in streams.items() if name not in privacy.drop]
    if not kept:
        yield ("privacy", "drop"), "leaves nothing of this sensor"
    counts = any(stream.unit == COUNT_UNIT for stream in kept)
    if privacy.minimum_count and not counts and sensor.aggregate is None:
        yield (
            ("privacy", "minimum_count"),
            f"has nothing to withhold: no datastream of unit {COUNT_UNIT!r}, and no aggregate",
        )
    rounds_a_reading = any(stream.observed_property in POSITIONS for stream in kept)
    if rounds_a_reading and sensor.aggregate is not None and privacy.position_decimals is not None:
        yield ("privacy", "position_decimals"), "rounds positions, whose mean would not be rounded"


def _names_twice(
    sensor: SensorSettings, streams: Iterable[Datastream]
) -> Iterator[tuple[KeyPath, str]]:
    """Yield names that aggregation would give to two datastreams."""
    names = [stream.name for stream in published(sensor, streams)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield (
            ("aggregate",) if sensor.aggregate else (),
            f"two datastreams would be called {name!r}",
        )
