"""The settings in the page on MQTT and HTTP are settings that the agent takes."""

import re
from pathlib import Path

import pytest

from edge_agent.settings import check

HOW_TO = Path(__file__).parents[3] / "docs/how-to"
TOML = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)

BEFORE = TOML.findall((HOW_TO / "run-a-gateway.md").read_text())[0]
EXAMPLES = TOML.findall((HOW_TO / "read-sensors-over-mqtt-and-http.md").read_text())


def test_there_is_an_example_for_each_way() -> None:
    adapters = [re.search(r'adapter = "(\w+)"', example)[1] for example in EXAMPLES]  # type: ignore[index]
    assert adapters == ["mqtt_json", "http_poll", "http_push"]


@pytest.mark.parametrize("count", range(1, len(EXAMPLES) + 1))
def test_the_examples_have_no_mistakes_one_after_the_other(tmp_path: Path, count: int) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("\n".join([BEFORE, *EXAMPLES[:count]]))
    assert check(file) == []


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('path = "temperature"', 'path = "temp..erature"', "is no path from here on: ..erature"),
        ('from_unit = "mi/h"', 'from_unit = "mi/hr"', "did you mean mi/h?"),
        ('from_unit = "Pa"', 'from_unit = "degF"', "does not become hPa"),
        ('topic = "zigbee2mqtt/lamp-0417"', 'topic = "a/#/b"', "must be a topic filter"),
        (
            'local_broker = "yard"',
            'local_broker = "yrad"',
            "must be the name of a [[local_broker]]",
        ),
        ("https://weather", "ftp://weather", "must be http://host/... or https://host/..."),
        ('time_path = "observation.time"', 'time_path = "["', "is no path from here on: ["),
        ('push_path = "/airrohr"', 'push_path = "airrohr"', "text of the form"),
        ('path = "SDS_P1|P1"', 'path = "a[0].b"', "must be names of values, e.g. SDS_P1|P1"),
        ('name = "battery"', 'name = "temperature"', "must be unique in its sensor"),
        ('device = "esp', 'device_path = "x"\ndevice = "esp', "is known for sensor-community"),
    ],
)
def test_each_mistake_is_named_with_its_line(
    tmp_path: Path, right: str, wrong: str, told: str
) -> None:
    text = "\n".join([BEFORE, *EXAMPLES])
    assert right in text
    file = tmp_path / "gateway.toml"
    file.write_text(text.replace(right, wrong, 1))
    [mistake] = check(file)
    line = int(mistake.removeprefix(f"{file}:").partition(":")[0])
    assert told in mistake
    assert wrong.splitlines()[0] in file.read_text().splitlines()[line - 1]
