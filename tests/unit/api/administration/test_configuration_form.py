"""The form for a gateway's settings asks for nothing that a gateway would refuse."""

import pytest

from api.administration.configuration_form import fields_of, read_settings
from device_protocol.configuration import REMOTE_SETTINGS, validate

SENSORS = ["urn:dev:x:one", "urn:dev:x:two"]
INTERVAL = "sensor.urn:dev:x:two.interval_seconds"


def read(**given: str) -> tuple[dict[str, object], dict[str, str]]:
    return read_settings(
        fields_of(SENSORS, {k.replace("__", "."): v for k, v in given.items()}, {})
    )


def test_every_setting_of_the_table_is_on_the_form_and_each_sensor_has_its_own() -> None:
    fields = fields_of(SENSORS, {}, {})
    assert len(fields) == len(REMOTE_SETTINGS) - 1 + len(SENSORS)
    assert len({field.name for field in fields}) == len(fields)
    assert INTERVAL in {field.key for field in fields}
    labels = [field.label for field in fields]
    assert len(set(labels)) == len(labels)


def test_what_is_filled_in_is_of_the_kind_that_a_gateway_takes() -> None:
    settings, problems = read(
        uplink__batch_seconds="2.5",
        uplink__batch_readings="10",
        broker__host="broker.example.org",
        rekey="yes",
    )
    assert problems == {}
    assert settings == {
        "uplink.batch_seconds": 2.5,
        "uplink.batch_readings": 10,
        "broker.host": "broker.example.org",
        "rekey": True,
    }
    assert validate(settings) == ()


@pytest.mark.parametrize("text", ["1.5", "0", "1001", "ten", "1e999", "inf", "nan"])
def test_what_a_gateway_would_refuse_is_said_beside_its_box(text: str) -> None:
    _, problems = read(uplink__batch_readings=text)
    assert problems == {"uplink.batch_readings": "Give a whole number from 1 to 1,000."}
    [field] = [
        one
        for one in fields_of(SENSORS, {"uplink.batch_readings": text}, problems)
        if one.key == "uplink.batch_readings"
    ]
    assert (field.value, field.problem) == (text, problems[field.key])


def test_a_sensor_is_named_and_an_empty_form_asks_for_nothing() -> None:
    settings, problems = read_settings(fields_of(SENSORS, {INTERVAL: "30"}, {}))
    assert (settings, problems) == ({INTERVAL: 30}, {})
    assert read() == ({}, {})
    assert read(unknown="1") == ({}, {})
