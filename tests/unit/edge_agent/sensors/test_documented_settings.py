"""The examples in the guides are settings that a gateway takes."""

import re
from pathlib import Path

import pytest

from edge_agent.sensors.replay import ReplaySettings
from edge_agent.sensors.replay import load as load_recording
from edge_agent.settings import AgentSettings, check
from runtime.settings import load

SENSOR = """
[[sensor]]
adapter = "mqtt_json"
urn = "urn:dev:kerbstone:camden:lamp-0417:gate"
thing = "urn:dev:kerbstone:camden:lamp-0417"
name = "Gate"
description = "What the page's settings are about."
local_broker = "yard"
topic = "gate"
"""
FIELD = """
[sensor.fields.{name}]
name = "{name}"
title = "{name}"
description = "{name}"
observed_property = "{observed}"
unit = "{unit}"
path = "{name}"
"""
BROKER = """
[[local_broker]]
name = "yard"
"""
OBSERVED = {
    "no2": ("no2", "ug/m3"),
    "door": ("door_open", "bool"),
    "plate": ("identifier", "1"),
    "tag": ("identifier", "1"),
}
GUIDES = Path(__file__).parents[4] / "docs/how-to"
TOML = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CSV = re.compile(r"^```csv\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(page: str) -> list[str]:
    return TOML.findall((GUIDES / page).read_text())


@pytest.mark.parametrize(
    ("page", "adapters"),
    [
        ("read-modbus-and-kernel-sensors.md", ["modbus", "sysfs"]),
        ("read-radio-sensors-with-rtl-433.md", ["rtl_433"]),
    ],
)
def test_the_examples_of_a_guide_are_without_mistakes(
    tmp_path: Path, page: str, adapters: list[str]
) -> None:
    (gateway,) = examples("run-a-gateway.md")
    file = tmp_path / "gateway.toml"
    file.write_text("\n".join([gateway, *examples(page)]))
    assert check(file) == []
    assert [sensor.adapter for sensor in load(AgentSettings, file).sensor[1:]] == adapters


def test_the_examples_of_checks_and_filters_are_without_mistakes(tmp_path: Path) -> None:
    (gateway,) = examples("run-a-gateway.md")
    fields = [
        FIELD.format(name=name, observed=observed, unit=unit)
        for name, (observed, unit) in OBSERVED.items()
    ]
    sensor = "\n".join([SENSOR, *fields, *examples("check-and-filter-readings-at-the-edge.md")])
    file = tmp_path / "gateway.toml"
    file.write_text(f"{gateway}\n{BROKER}\n{sensor}")
    assert check(file) == []
    settings = load(AgentSettings, file).sensor[1]
    assert set(settings.checks) == {"no2", "door"}
    assert settings.aggregate is not None
    assert settings.privacy is not None


def test_the_recording_that_is_shown_can_be_played(tmp_path: Path) -> None:
    (gateway,) = examples("run-a-gateway.md")
    (sensor,) = examples("play-a-recording.md")
    (recording,) = CSV.findall((GUIDES / "play-a-recording.md").read_text())
    (tmp_path / "air-2024.csv").write_text(recording)
    file = tmp_path / "gateway.toml"
    file.write_text(f"{gateway}\n{sensor}")
    assert check(file) == []
    settings = load(AgentSettings, file).sensor[1]
    assert isinstance(settings, ReplaySettings)
    read = load_recording(settings)
    assert [dict(read.row(index)) for index in range(read.rows)] == [{"no2": 31.5}, {"no2": 28.9}]
