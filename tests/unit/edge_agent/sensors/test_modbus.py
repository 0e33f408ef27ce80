"""What a Modbus sensor is told is checked before it is asked for anything."""

from types import MappingProxyType

import pytest

from edge_agent.inputs.registers import RegisterSettings
from edge_agent.sensors.modbus import ModbusSettings, datastreams


def register(name: str, address: int = 0) -> RegisterSettings:
    return RegisterSettings(
        name=name,
        title=name,
        description=name,
        observed_property="supply_voltage",
        unit="V",
        address=address,
    )


def settings(**changes: object) -> ModbusSettings:
    values: dict[str, object] = {
        "urn": "urn:dev:example:meter",
        "thing": "urn:dev:example:pillar",
        "name": "Meter",
        "description": "A meter.",
        "host": "192.0.2.7",
        "unit_id": 1,
        "registers": MappingProxyType({"u": register("voltage")}),
    }
    return ModbusSettings(**(values | changes))  # type: ignore[arg-type]


def test_settings_that_fit_are_not_contradicted() -> None:
    assert not list(settings().contradictions())
    assert not list(settings(host="", device="/dev/ttyUSB0", unit_id=247).contradictions())
    (described,) = datastreams(settings(interval_seconds=30.0))
    assert (described.name, described.period_seconds) == ("voltage", 30)


@pytest.mark.parametrize(
    ("changes", "path", "allowed"),
    [
        ({"host": ""}, ("device",), "must be given"),
        ({"device": "/dev/ttyUSB0"}, ("device",), "not both"),
        ({"host": "", "device": "/dev/ttyUSB0", "unit_id": 0}, ("unit_id",), "1 to 247"),
        ({"host": "", "device": "/dev/ttyUSB0", "unit_id": 248}, ("unit_id",), "1 to 247"),
        ({"registers": {}}, ("registers",), "at least one"),
        (
            {"registers": {"u": register("a", 65_536)}},
            ("registers", "u", "address"),
            "must be 0 to 65535",
        ),
        (
            {"registers": {"u": register("a")}, "first_address": 1},
            ("registers", "u", "address"),
            "must be 1 to 65536",
        ),
    ],
)
def test_contradictions_are_named(
    changes: dict[str, object], path: tuple[str, ...], allowed: str
) -> None:
    ((found, text),) = settings(**changes).contradictions()
    assert found == path
    assert allowed in text


def test_two_registers_of_one_name_are_refused() -> None:
    registers = {"u": register("a", 1), "v": register("a", 2)}
    found = list(settings(registers=registers).contradictions())
    assert found == [(("registers", "v", "name"), "must be unique in its sensor")]


def test_sensors_of_one_line_are_at_the_same_place_and_others_are_not() -> None:
    assert settings().place == settings(unit_id=2).place
    assert settings().place != settings(host="192.0.2.8").place
    assert str(settings().place) == "192.0.2.7:502"
    assert str(settings(host="", device="/dev/ttyUSB0").place) == "/dev/ttyUSB0"


@pytest.mark.parametrize(
    ("changes", "milliseconds"),
    [
        ({"device": "/dev/ttyUSB0", "baud_rate": 9600}, 4.01),
        ({"device": "/dev/ttyUSB0", "baud_rate": 19_200}, 2.01),
        ({"device": "/dev/ttyUSB0", "baud_rate": 115_200}, 1.75),
        ({"host": "192.0.2.7"}, 0.0),
    ],
)
def test_a_serial_line_rests_between_frames(
    changes: dict[str, object], milliseconds: float
) -> None:
    place = settings(**({"host": ""} | changes)).place
    assert place.gap_seconds * 1000 == pytest.approx(milliseconds, abs=0.005)
