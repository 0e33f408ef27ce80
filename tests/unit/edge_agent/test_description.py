"""What a gateway says of itself holds for every reading it will ever send."""

from dataclasses import replace
from typing import Any

import pytest

from device_protocol.description import decode_description, encode_description
from edge_agent.clock import Clock
from edge_agent.description import describe
from edge_agent.health.facts import Facts
from edge_agent.health.heartbeat import Health
from edge_agent.processing.settings import AggregateSettings, PrivacySettings
from edge_agent.remote_settings import RemoteSettings
from edge_agent.settings import AgentSettings
from standards_mapping.properties import find_property
from standards_mapping.units import converter, find_unit


def test_settings_become_things_sensors_and_datastreams(settings: AgentSettings) -> None:
    description = decode_description(encode_description(describe(settings)))
    lamp, gateway = description.things
    assert (lamp.urn, lamp.longitude, lamp.latitude) == ("urn:dev:example:lamp-1", -0.13, 51.52)
    assert lamp.properties == {"height": "6 m"}
    (computer,) = lamp.sensors
    assert computer.urn == "urn:dev:example:lamp-1-computer"
    assert {stream.properties["room"] for stream in computer.datastreams} == {"none"}
    assert gateway.urn == "urn:dev:kerbstone:k7q2m9xd4t:health"
    assert (gateway.longitude, gateway.latitude) == (lamp.longitude, lamp.latitude)


def test_a_reserved_sensor_keeps_its_thing_and_the_gateway_from_being_placed_exactly(
    settings: AgentSettings,
) -> None:
    reserved = replace(settings.sensor[0], privacy=PrivacySettings(position_decimals=1))
    for thing in describe(replace(settings, sensor=(reserved,))).things:
        assert (thing.longitude, thing.latitude) == (-0.1, 51.5)


@pytest.mark.parametrize(
    "processing",
    [
        {},
        {
            "aggregate": AggregateSettings(
                interval_seconds=600, functions=("mean", "max", "min", "sum", "count")
            ),
            "privacy": PrivacySettings(minimum_count=5),
        },
    ],
    ids=["as measured", "aggregated and filtered"],
)
def test_everything_described_is_known_to_the_registry(
    settings: AgentSettings, processing: dict[str, Any]
) -> None:
    sensors = tuple(replace(sensor, **processing) for sensor in settings.sensor)
    for thing in describe(replace(settings, sensor=sensors)).things:
        for sensor in thing.sensors:
            for stream in sensor.datastreams:
                observed = find_property(stream.observed_property)
                assert find_unit(stream.unit)
                assert converter(find_unit(stream.unit).senml or stream.unit, observed.unit)


def test_a_gap_record_is_a_reading_that_was_described(
    settings: AgentSettings, clock: Clock
) -> None:
    record = Health(settings, clock, RemoteSettings(settings, clock), Facts(0.0)).gap_record(1234)
    described = {
        (sensor.urn, stream.name): stream
        for thing in describe(settings).things
        for sensor in thing.sensors
        for stream in sensor.datastreams
    }
    assert described[record.sensor, record.name].unit == record.unit == "count"
    assert record.result == 1234.0
    assert record.phenomenon_time == clock.now()
