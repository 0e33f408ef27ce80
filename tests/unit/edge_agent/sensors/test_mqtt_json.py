"""What one MQTT message says, and which are left out."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest

from edge_agent.inputs.faults import Faults
from edge_agent.inputs.fields import FieldError, FieldSettings
from edge_agent.inputs.local_broker import Message
from edge_agent.sensors.mqtt_json import MqttJsonSettings, datastreams, read

RECEIVED = datetime(2030, 3, 17, 20, 0, tzinfo=UTC)
URN = "urn:dev:example:plug"


def field(name: str, path: str, observed_property: str, unit: str, **changes: Any) -> FieldSettings:
    return FieldSettings(
        name=name,
        title=name,
        description=name,
        observed_property=observed_property,
        unit=unit,
        path=path,
        **changes,
    )


def sensor(**changes: Any) -> MqttJsonSettings:
    values: dict[str, Any] = {
        "urn": URN,
        "thing": "urn:dev:example:lamp-1",
        "name": "Plug",
        "description": "A plug that measures.",
        "local_broker": "yard",
        "topic": "zigbee2mqtt/plug",
        "fields": MappingProxyType(
            {
                "state": field("state", "state", "state", "1", values={"ON": 1.0, "OFF": 0.0}),
                "voltage": field("voltage", "meter.voltage", "supply_voltage", "V"),
                "case": field("case", "case", "device_temperature", "Cel", from_unit="degF"),
            }
        ),
    }
    return MqttJsonSettings(**(values | changes))


def message(payload: bytes, *, retained: bool = False) -> Message:
    return Message("zigbee2mqtt/plug", payload, retained, RECEIVED, lambda: None)


def said(settings: MqttJsonSettings, given: Message) -> dict[str, object]:
    found = read(settings, given, Faults("value unusable"), 300.0)
    return {reading.name: reading.result for reading in found}


def test_nested_values_words_and_other_units_become_readings() -> None:
    payload = b'{"state": "ON", "meter": {"voltage": "230.4"}, "case": 86, "linkquality": 120}'
    assert said(sensor(), message(payload)) == {"state": 1.0, "voltage": 230.4, "case": 30.0}


@pytest.mark.parametrize(
    "payload", [b"", b"online", b"offline\n", b'{"state": null}', b"{}", b"[]", b"7"]
)
def test_messages_that_say_nothing_of_the_fields_make_no_reading(payload: bytes) -> None:
    assert said(sensor(), message(payload)) == {}


@pytest.mark.parametrize("payload", [b"ON", b"{", b'{"state": "ON", "state": "OFF"}'])
def test_messages_that_cannot_be_read_are_faults(payload: bytes) -> None:
    with pytest.raises(FieldError):
        said(sensor(), message(payload))


def test_a_retained_message_counts_only_with_a_time_of_its_own() -> None:
    body = b'{"state": "ON", "last_seen": "2030-03-17T19:00:00+00:00"}'
    assert said(sensor(), message(body, retained=True)) == {}
    using = sensor(retained="use", time_path="last_seen")
    assert said(using, message(body, retained=True)) == {"state": 1.0}
    assert said(using, message(b'{"state": "ON"}', retained=True)) == {}
    assert said(using, message(b'{"state": "ON"}')) == {"state": 1.0}
    [reading] = read(using, message(body), Faults("value unusable"), 300.0)
    assert reading.phenomenon_time == datetime(2030, 3, 17, 19, 0, tzinfo=UTC)


def test_datastreams_are_the_fields_and_when_they_come_is_open_unless_said() -> None:
    assert [each.name for each in datastreams(sensor())] == ["state", "voltage", "case"]
    assert {each.period_seconds for each in datastreams(sensor())} == {None}
    assert {each.period_seconds for each in datastreams(sensor(period_seconds=60))} == {60}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"fields": MappingProxyType({})}, "fields"),
        ({"topic": "a/#/b"}, "topic"),
        ({"topic": ""}, "topic"),
        ({"topic": "$share/group/a"}, "topic"),
        ({"time_path": "a["}, "time_path"),
        ({"retained": "use"}, "retained"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], key: str) -> None:
    found: Iterator[Any] = sensor(**changes).contradictions()
    assert [at for at, _ in found] == [(key,)]
