"""What `kerbstone agent try` shows, of sensors that answer, that fail and that say nothing."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line.__main__ import main
from edge_agent.health.status import StateLock

GATEWAY = """
tenant = "camden"
device = "k7q2m9xd4t"
state_directory = "state"
[broker]
host = "broker.example.org"
port = 8884
ca_file = "region-root.pem"
certificate_file = "gateway.pem"
key_file = "gateway.key"
[trust]
council_root_file = "council-root.pem"
[[thing]]
urn = "urn:dev:street:lamp"
name = "Lamp"
description = "A lamp post."
longitude = -0.1
latitude = 51.5
place_name = "Judd Street"
"""
FILE = """
[[sensor]]
adapter = "sysfs"
urn = "urn:dev:street:{urn}"
thing = "urn:dev:street:lamp"
name = "Soil"
description = "Of the tree pit."
interval_seconds = 0.1
root = "."
[sensor.files.soil]
source = "path"
path = "{path}"
scale = 0.001
name = "soil_temperature"
title = "Soil temperature"
description = "20 cm deep."
observed_property = "soil_temperature"
unit = "Cel"
valid_maximum = 60.0
"""


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def soil(tmp_path: Path) -> Path:
    file = tmp_path / "soil"
    file.write_text("11500\n")
    return file


def gateway(directory: Path, **files: Path) -> str:
    """Write settings with a sensor for each file; return their path."""
    config = directory / "gateway.toml"
    sensors = "".join(FILE.format(urn=urn, path=path.name) for urn, path in files.items())
    config.write_text(GATEWAY + sensors)
    return str(config)


def agent_try(config: str, *words: str) -> int:
    return main(["agent", "try", "--config", config, *words])


def test_readings_are_shown_with_unit_and_flags_and_nothing_is_stored(
    tmp_path: Path, soil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soil.write_text("75000\n")
    assert agent_try(gateway(tmp_path, soil=soil)) == 0
    out = capsys.readouterr().out
    assert "UTC  Soil  soil_temperature  75.0 Cel (out-of-range)\n" in out
    assert "soil_temperature  75.0 Cel (out-of-range)  Soil temperature\n" in out
    assert "of 1 readings: 1 flagged\n" in out
    assert out.endswith("The sensor gave readings.\n")
    assert not (tmp_path / "state").exists()


def test_a_sensor_that_fails_is_told_with_its_reason_and_the_others_are_read(
    tmp_path: Path, soil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = gateway(tmp_path, soil=soil, gone=tmp_path / "gone")
    assert agent_try(config, "--seconds", "0.5") == 1
    said = capsys.readouterr()
    assert "(urn:dev:street:gone, sysfs)\n  FAILS: " in said.out
    assert "11.5 Cel" in said.out
    assert said.out.endswith("1 of 2 sensors gave readings.\n")
    notes = [line for line in said.err.splitlines() if line.startswith("note: sensor failed")]
    assert len(notes) == 1, "a reason that stays the same is shown once"


def test_a_sensor_that_says_nothing_is_told_with_how_often_it_should(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "empty.jsonl"
    lines.touch()
    config = Path(gateway(tmp_path))
    config.write_text(
        GATEWAY
        + f"""
[[sensor]]
adapter = "rtl_433"
urn = "urn:dev:street:weather"
thing = "urn:dev:street:lamp"
name = "Weather"
description = "On the roof."
file = "{lines}"
model = "Fineoffset-WHx080"
period_seconds = 48
[sensor.fields.air]
path = "temperature_C"
name = "air_temperature"
title = "Air temperature"
description = "In the shield."
observed_property = "air_temperature"
unit = "Cel"
"""
    )
    assert agent_try(str(config), "--seconds", "0.2") == 1
    assert "NOTHING CAME in this time; it is due every 48 s\n" in capsys.readouterr().out


def test_a_script_gets_one_document(
    tmp_path: Path, soil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agent_try(gateway(tmp_path, soil=soil, other=soil), "--json") == 0
    first, other = json.loads(capsys.readouterr().out)["sensors"]
    assert (first["urn"], other["urn"]) == ("urn:dev:street:soil", "urn:dev:street:other")
    (stream,) = first["datastreams"]
    assert (stream["name"], stream["unit"]) == ("soil_temperature", "Cel")
    assert (stream["newest"]["result"], stream["newest"]["quality"]) == (11.5, [])
    assert first["error"] is None


def test_only_the_sensor_that_is_named_is_read(
    tmp_path: Path, soil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = gateway(tmp_path, soil=soil, gone=tmp_path / "gone")
    assert agent_try(config, "--sensor", "urn:dev:street:soil") == 0
    assert "gone" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("urns", "problem"),
    [
        (("soil",), "has no sensor urn:dev:street:soyl; did you mean urn:dev:street:soil?"),
        ((), "has no [[sensor]]"),
    ],
)
def test_what_there_is_not_to_try_is_misuse(
    tmp_path: Path,
    soil: Path,
    capsys: pytest.CaptureFixture[str],
    urns: tuple[str, ...],
    problem: str,
) -> None:
    config = gateway(tmp_path, **dict.fromkeys(urns, soil))
    assert agent_try(config, "--sensor", "urn:dev:street:soyl") == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "100000"])
def test_a_time_that_is_none_is_misuse(
    tmp_path: Path, soil: Path, capsys: pytest.CaptureFixture[str], seconds: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        agent_try(gateway(tmp_path, soil=soil), "--seconds", seconds)
    assert "must be a number of seconds up to 86400" in capsys.readouterr().err


def test_what_the_trial_reads_beside_a_running_agent_is_told(
    tmp_path: Path, soil: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    with StateLock(tmp_path / "state"):
        assert agent_try(gateway(tmp_path, soil=soil)) == 0
    assert "note: the agent runs" in capsys.readouterr().err
