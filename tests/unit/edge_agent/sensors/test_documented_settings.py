"""The examples in the guides are settings that a gateway takes."""

import re
from pathlib import Path

import pytest

from edge_agent.settings import AgentSettings, check
from runtime.settings import load

GUIDES = Path(__file__).parents[4] / "docs/how-to"
TOML = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)


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
