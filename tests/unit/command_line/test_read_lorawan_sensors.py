"""The guide's settings are taken, and its own table decodes as it shows."""

import re
import shlex
from pathlib import Path

import pytest

from command_line.__main__ import main
from edge_agent.settings import AgentSettings, check
from runtime.settings import load

GUIDES = Path(__file__).parents[3] / "docs/how-to"
PAGE = (GUIDES / "read-lorawan-sensors.md").read_text()
TOML = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TRIED = re.compile(
    r"^```sh\n\./kerbstone (agent decode [^\n]*)\n```\n\n.*?```text\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
OWN = next(block for block in TOML.findall(PAGE) if block.startswith("# weir-gauge.toml"))


def test_the_settings_of_the_guide_are_without_mistakes(tmp_path: Path) -> None:
    (gateway,) = TOML.findall((GUIDES / "run-a-gateway.md").read_text())
    blocks = [block for block in TOML.findall(PAGE) if block != OWN]
    (tmp_path / "weir-gauge.toml").write_text(OWN)
    file = tmp_path / "gateway.toml"
    file.write_text("\n".join([gateway, *blocks]))
    assert check(file) == []
    assert [sensor.adapter for sensor in load(AgentSettings, file).sensor[1:]] == ["lorawan"] * 3


def test_the_guides_own_table_decodes_as_the_guide_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weir-gauge.toml").write_text(OWN)
    tried = TRIED.findall(PAGE)
    assert len(tried) == 3
    for words, shown in tried:
        main(shlex.split(words))
        told = capsys.readouterr()
        assert told.out + told.err == shown


def test_a_mistake_is_named_as_the_guide_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weir-gauge.toml").write_text(OWN.replace("divisor = 50", "devisor = 50"))
    assert main(["agent", "decode", "weir-gauge.toml", "10", "a4016731"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.removeprefix("kerbstone agent decode: ") in PAGE
