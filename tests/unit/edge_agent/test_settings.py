"""A gateway's settings file is refused with all that is wrong with it, and nothing else."""

from pathlib import Path

import pytest

from edge_agent.sensors import ADAPTERS
from edge_agent.sensors.replay import ReplaySettings
from edge_agent.settings import AgentSettings, check
from runtime.settings import describe, load

GOOD = """
tenant = "camden"
device = "k7q2m9xd4t"
state_directory = "state"
[broker]
host = "localhost"
port = 8884
mqtt_version = "3.1.1"
ca_file = "root.pem"
certificate_file = "gateway.pem"
key_file = "gateway.key"
[trust]
council_root_file = "council.pem"
[[thing]]
urn = "urn:dev:example:site"
name = "Site"
description = "A site."
longitude = -0.125889
latitude = 51.52229
place_name = "Bloomsbury"
properties = { surface = "grass" }
[[sensor]]
adapter = "host"
urn = "urn:dev:example:computer"
thing = "urn:dev:example:site"
name = "Computer"
description = "A computer."
[[sensor]]
adapter = "replay"
urn = "urn:dev:example:analyser"
thing = "urn:dev:example:site"
name = "Analyser"
description = "An analyser."
file = "recording.csv"
recorded = "2009"
source = "Somebody"
licence = "OGL-UK-3.0"
site = "London Bloomsbury"
[sensor.columns.no2]
name = "no2"
title = "Nitrogen dioxide"
description = "Hourly mean."
observed_property = "no2"
unit = "ug/m3"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "recording.csv").touch()
    return tmp_path / "agent.toml"


def test_a_good_file_is_read_with_paths_relative_to_it(path: Path) -> None:
    path.write_text(GOOD)
    assert check(path) == []
    settings = load(AgentSettings, path)
    assert settings.state_directory == path.parent / "state"
    assert settings.status_file == path.parent / "state" / "status.json"
    assert settings.group == "main"
    assert isinstance(settings.sensor[1], ReplaySettings)
    assert settings.sensor[1].columns["no2"].observed_property == "no2"


def test_every_mistake_is_listed(path: Path) -> None:
    path.write_text(
        GOOD.replace('tenant = "camden"', 'tenant = "Camden!"')
        .replace("port = 8884", "port = 0")
        .replace("longitude = -0.125889", "longitude = 181")
        .replace('adapter = "host"', 'adapter = "hots"')
        .replace('file = "recording.csv"', 'file = "lost.csv"')
        .replace('site = "London Bloomsbury"', 'sight = "London Bloomsbury"')
        .replace('unit = "ug/m3"', "")
    )
    listed = check(path)
    for key in (
        "tenant",
        "broker.port",
        "thing[1].longitude",
        "sensor[1].adapter",
        "sensor[2].file",
        "sensor[2].sight",
        "sensor[2].columns.no2.unit",
    ):
        assert [line for line in listed if f": {key}" in line], key
    assert len(listed) == 7


def test_names_that_do_not_fit_each_other_are_refused(path: Path) -> None:
    path.write_text(
        GOOD.replace('urn = "urn:dev:example:analyser"', 'urn = "urn:dev:example:computer"')
        .replace('thing = "urn:dev:example:site"', 'thing = "urn:dev:example:sight"')
        .replace('urn = "urn:dev:example:site"', 'urn = "urn:dev:kerbstone:k7q2m9xd4t:health"')
    )
    listed = "\n".join(check(path))
    assert "sensor[2].urn" in listed
    assert "stands twice" in listed
    assert "sensor[1].thing" in listed
    assert "sensor[2].thing" in listed
    assert "thing[1].urn" in listed
    assert "kept for the gateway's own health" in listed


def test_two_columns_of_one_name_are_refused(path: Path) -> None:
    again = GOOD[GOOD.index("[sensor.columns.no2]") :].replace("columns.no2", "columns.nox")
    path.write_text(GOOD + again)
    [mistake] = check(path)
    assert "columns.nox.name" in mistake
    assert "must be unique in its sensor" in mistake


def test_every_adapter_has_settings_of_its_name() -> None:
    rows = {row.key: row.allowed for row in describe(AgentSettings)}
    assert rows["sensor[].adapter"]
    choices = [row.allowed for row in describe(AgentSettings) if row.key == "sensor[].adapter"]
    assert sorted(choices) == sorted(f'"{name}"' for name in ADAPTERS)


def test_every_setting_says_what_it_means() -> None:
    unexplained = [
        row.key for row in describe(AgentSettings) if not row.doc and row.key != "sensor[].adapter"
    ]
    assert unexplained == []


ENROLMENT = '[enrolment]\nurl = "https://enrol.example.org:8445/.well-known/est/camden"\n'


def test_renewal_needs_a_service_and_a_directory(path: Path) -> None:
    path.write_text(GOOD + ENROLMENT + 'directory = "identity"\nkey = "p-256"\n')
    assert check(path) == []
    settings = load(AgentSettings, path)
    assert settings.enrolment.directory == path.parent / "identity"
    assert settings.enrolment.key == "p-256"
    path.write_text(GOOD + ENROLMENT)
    [line] = check(path)
    assert "enrolment.directory: must be set where there is a url" in line
    path.write_text(GOOD + ENROLMENT.replace("/camden", "") + 'directory = "identity"\n')
    [line] = check(path)
    assert "enrolment.url" in line
    assert "write it as https://host:port/.well-known/est/council" in line
    path.write_text(GOOD)
    assert load(AgentSettings, path).enrolment.url == ""


def test_a_token_s_library_must_be_there(path: Path) -> None:
    signer = '[signer]\nmodule = "libsofthsm2.so"\nlabel = "street"\npin_file = "pin"\n'
    path.write_text(GOOD + signer)
    [line] = check(path)
    assert "signer.module" in line
    (path.parent / "libsofthsm2.so").touch()
    settings = load(AgentSettings, path)
    assert settings.signer is not None
    assert settings.signer.pin_file == path.parent / "pin"
    path.write_text(GOOD)
    assert load(AgentSettings, path).signer is None
