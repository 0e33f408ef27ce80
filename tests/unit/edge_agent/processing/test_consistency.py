"""What `check-config` says of processing, by file and line."""

from pathlib import Path

import pytest

from edge_agent.settings import check

REST = """
tenant = "camden"
device = "k7q2m9xd4t"
state_directory = "."
[broker]
host = "localhost"
port = 8883
ca_file = "root.pem"
certificate_file = "gateway.pem"
key_file = "gateway.key"
[trust]
council_root_file = "council.pem"
[[thing]]
urn = "urn:dev:example:lamp"
name = "Lamp"
description = "A lamp."
longitude = 0.0
latitude = 51.0
place_name = "Here"
[[sensor]]
adapter = "replay"
urn = "urn:dev:example:air"
thing = "urn:dev:example:lamp"
name = "Air"
description = "Air."
file = "air.csv"
recorded = "2009"
source = "us"
licence = "CC0-1.0"
"""
COLUMN = """
[sensor.columns.{name}]
name = "{name}"
title = "T"
description = "D."
observed_property = "{observed_property}"
unit = "{unit}"
"""
NO2 = COLUMN.format(name="no2", observed_property="no2", unit="ug/m3")
TAG = COLUMN.format(name="tag", observed_property="agent_version", unit="1")


def mistakes(tmp_path: Path, text: str) -> list[str]:
    for name in ("root.pem", "gateway.pem", "gateway.key", "council.pem", "air.csv"):
        (tmp_path / name).touch()
    file = tmp_path / "agent.toml"
    file.write_text(REST + text)
    return [mistake.removeprefix(f"{file}:") for mistake in check(file)]


def test_what_fits_is_no_mistake(tmp_path: Path) -> None:
    text = """
[sensor.checks.no2]
maximum = 400
most_change = 5
[sensor.aggregate]
interval_seconds = 900
functions = ["mean", "max"]
[sensor.privacy]
hash = ["tag"]
minimum_count = 5
"""
    assert mistakes(tmp_path, NO2 + TAG + text) == []


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            COLUMN.format(name="no2", observed_property="no2", unit="µg/m3"),
            'unit = "µg/m3"',
            "sensor[1].columns.no2.unit = \"µg/m3\": no unit 'µg/m3'; nearest: ug/m3",
        ),
        (
            COLUMN.format(name="no2", observed_property="no_2", unit="ug/m3"),
            'observed_property = "no_2"',
            "observed_property = \"no_2\": no observed property 'no_2'; nearest: no2",
        ),
        (
            NO2 + "[sensor.checks.no22]\nmaximum = 4",
            "[sensor.checks.no22]",
            "sensor[1].checks.no22: 'no22' is no datastream of this sensor; nearest: no2",
        ),
        (
            NO2 + "[sensor.checks.no2]\nminimum = 4\nmaximum = 4",
            "maximum = 4",
            "sensor[1].checks.no2.maximum = 4: must be more than minimum, 4",
        ),
        (
            NO2 + '[sensor.privacy]\ndrop = ["n02"]',
            'drop = ["n02"]',
            "sensor[1].privacy.drop[1] = \"n02\": 'n02' is no datastream of this sensor",
        ),
        (
            NO2 + '[sensor.privacy]\ndrop = ["no2"]',
            'drop = ["no2"]',
            "leaves nothing of this sensor",
        ),
        (
            NO2 + '[sensor.privacy]\nhash = ["no2"]',
            'hash = ["no2"]',
            "must be of unit '1': its hash is a text",
        ),
        (
            NO2 + TAG + '[sensor.privacy]\ndrop = ["tag"]\nhash = ["tag"]',
            'hash = ["tag"]',
            "is dropped already",
        ),
        (
            NO2 + "[sensor.privacy]\nminimum_count = 5",
            "minimum_count = 5",
            "has nothing to withhold",
        ),
        (NO2 + "[sensor.privacy]\nminimum_count = 1", "minimum_count = 1", "must be 0, or 2"),
        (
            NO2 + "[sensor.aggregate]\ninterval_seconds = 7",
            "interval_seconds = 7",
            "must divide the 86400 seconds of a day",
        ),
        (
            NO2 + '[sensor.aggregate]\ninterval_seconds = 60\nfunctions = ["median"]',
            'functions = ["median"]',
            'one of "mean", "count", "max", "min", "sum"',
        ),
        (
            NO2 + '[sensor.aggregate]\ninterval_seconds = 60\nfunctions = ["max", "max"]',
            'functions = ["max", "max"]',
            "stands twice",
        ),
        (
            NO2
            + "[sensor.aggregate]\ninterval_seconds = 60\n"
            + COLUMN.format(name="bay", observed_property="bay_occupied", unit="bool").replace(
                'name = "bay"', 'name = "no2.n"'
            ),
            "[sensor.aggregate]",
            "two datastreams would be called 'no2.n",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: str, said: str) -> None:
    found = mistakes(tmp_path, text)
    number = (REST + text).splitlines().index(line) + 1
    assert any(mistake.startswith(f"{number}:") and said in mistake for mistake in found), found


def test_a_range_that_holds_nothing_is_named_before_the_agent_starts(tmp_path: Path) -> None:
    [mistake] = mistakes(tmp_path, NO2 + "valid_minimum = 5\nvalid_maximum = 4")
    assert "valid from 5.0 to 4.0" in mistake
