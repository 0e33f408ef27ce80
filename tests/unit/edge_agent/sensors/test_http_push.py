"""Sensor.Community's form, and who a body is of."""

from types import MappingProxyType
from typing import Any

import pytest

from edge_agent.inputs.fields import FieldError, FieldSettings, find
from edge_agent.sensors.http_push import (
    HttpPushSettings,
    datastreams,
    device_of,
    document_in,
    fields_of,
)

BODY = b"""{"esp8266id": "12331981", "sensordatavalues": [
    {"value_type": "SDS_P1", "value": "0.40"}, {"value_type": "twice", "value": 1},
    {"value_type": "twice", "value": 2}]}"""


def sensor(path: str = "SDS_P1|P1", **changes: Any) -> HttpPushSettings:
    pm10 = FieldSettings(
        name="pm10",
        title="PM10",
        description="Fine dust.",
        observed_property="pm10",
        unit="ug/m3",
        path=path,
    )
    values: dict[str, Any] = {
        "urn": "urn:dev:example:station",
        "thing": "urn:dev:example:lamp-1",
        "name": "Station",
        "description": "An airRohr.",
        "push_path": "/push",
        "form": "sensor-community",
        "fields": MappingProxyType({"pm10": pm10}),
    }
    return HttpPushSettings(**(values | changes))


def test_a_value_is_found_by_its_name_old_or_new() -> None:
    document = document_in(BODY, "sensor-community")
    for path in ("SDS_P1", "P1 | SDS_P1"):
        [field] = fields_of(sensor(path))
        assert find(document, field.path) == "0.40"


def test_a_value_that_stands_twice_is_refused_by_itself() -> None:
    document = document_in(BODY, "sensor-community")
    [field] = fields_of(sensor("twice"))
    with pytest.raises(FieldError, match="twice"):
        find(document, field.path)


def test_paths_of_plain_json_are_left_as_they_are() -> None:
    assert fields_of(sensor("a.b", form="json")) == tuple(
        sensor("a.b", form="json").fields.values()
    )
    assert [each.name for each in datastreams(sensor())] == ["pm10"]


@pytest.mark.parametrize(
    ("document", "headers", "device"),
    [
        ({"esp8266id": "12331981"}, {}, "12331981"),
        ({"esp8266id": 12331981}, {}, "12331981"),
        ({"esp32id": "ABCD"}, {}, "abcd"),
        ({}, {"x-sensor": "esp8266-12331981"}, "12331981"),
        ({}, {"x-sensor": "esp32-7"}, "7"),
        ({"esp8266id": "1"}, {"x-sensor": "esp8266-2"}, "1"),
        ({}, {}, None),
        ([], {}, None),
    ],
)
def test_a_station_is_known_by_its_chip_however_it_says_so(
    document: object, headers: dict[str, str], device: str | None
) -> None:
    assert device_of(document, headers, "") == device


def test_another_device_is_known_by_the_path_in_the_settings_alone() -> None:
    assert device_of({"who": {"id": "Bridge-7"}}, {}, "who.id") == "bridge-7"
    assert device_of({}, {"x-sensor": "esp8266-1"}, "who.id") is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"fields": MappingProxyType({})}, ("fields",)),
        ({"push_path": "/push?a=1"}, ("push_path",)),
        ({"path": "a[0]"}, ("fields", "pm10", "path")),
        ({"time_path": "a["}, ("time_path",)),
        ({"device_path": "id"}, ("device_path",)),
        ({"form": "json", "device": "7"}, ("device_path",)),
        ({"form": "json", "device_path": "id"}, ("device",)),
    ],
)
def test_settings_that_cannot_work_are_refused(
    changes: dict[str, Any], key: tuple[str, ...]
) -> None:
    assert [at for at, _ in sensor(**changes).contradictions()] == [key]
