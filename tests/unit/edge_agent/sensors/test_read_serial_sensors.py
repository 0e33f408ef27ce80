"""The examples in the page about serial sensors are settings that a gateway takes."""

import re
from pathlib import Path

import pytest

from device_protocol.unit_table import property_keys, senml_symbol
from edge_agent.sensors import ADAPTERS
from edge_agent.settings import AgentSettings, check
from runtime.settings import load

HOW_TO = Path(__file__).parents[4] / "docs/how-to"


def examples(page: str) -> list[str]:
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_examples_have_no_mistakes_and_promise_only_what_the_centre_knows(
    tmp_path: Path,
) -> None:
    (gateway,) = examples("run-a-gateway.md")
    sensors = examples("read-serial-sensors.md")
    file = tmp_path / "gateway.toml"
    file.write_text("\n".join([gateway, *sensors]))
    assert check(file) == []
    settings = load(AgentSettings, file)
    adapters = [sensor.adapter for sensor in settings.sensor]
    assert adapters == ["host", "sds011", "pmsx003", "nmea"]
    for sensor in settings.sensor[1:]:
        streams = ADAPTERS[sensor.adapter].datastreams(sensor)
        assert {stream.observed_property for stream in streams} <= property_keys()
        assert all(senml_symbol(stream.unit) for stream in streams)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("work_seconds = 60", "work_seconds = 20", r"work_seconds = 20: must be more than warm_"),
        ('model = "PMS5003"', 'model = "PMS3003"', r"particles = true: must be false"),
        ('model = "PMS5003"', 'model = "PMS5004"', r'model = "PMS5004".*"PMS5003"'),
        ("baud_rate = 9600", "baud_rate = 96", r"baud_rate = 96: .*300"),
        ('device = "/dev', 'divice = "/dev', r"divice.*device"),
    ],
)
def test_what_is_wrong_in_them_is_named(right: str, wrong: str, told: str, tmp_path: Path) -> None:
    (gateway,) = examples("run-a-gateway.md")
    text = "\n".join([gateway, *examples("read-serial-sensors.md")])
    assert right in text
    file = tmp_path / "gateway.toml"
    file.write_text(text.replace(right, wrong, 1))
    assert re.search(told, "\n".join(check(file)))
