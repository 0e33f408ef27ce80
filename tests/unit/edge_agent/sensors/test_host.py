"""What a computer measures of itself, from files as Linux writes them."""

import os
from pathlib import Path

import pytest

from edge_agent.adapter import AdapterError, Surroundings
from edge_agent.clock import Clock
from edge_agent.sensors.host import HostSettings, datastreams, harvests, measure
from edge_agent.settings import AgentSettings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text("1.50 0.80 0.40 2/345 6789\n")
    (tmp_path / "proc/meminfo").write_text(
        "MemTotal:        1000000 kB\nMemFree: 1 kB\nMemAvailable:     250000 kB\n"
    )
    return tmp_path


def test_load_is_for_each_processor_and_memory_is_what_is_not_available(root: Path) -> None:
    results = {name: (result, unit) for name, result, unit in measure(root, root)}
    assert results["cpu_load"] == (round(1.5 / (os.cpu_count() or 1), 4), "/")
    assert results["memory_used"] == (75.0, "/100")
    assert 0 < results["disk_used"][0] < 100
    assert "temperature" not in results


def test_the_warmest_readable_thermometer_counts(root: Path) -> None:
    for path, text in (
        ("sys/class/thermal/thermal_zone0/temp", "48300\n"),
        ("sys/class/thermal/thermal_zone1/temp", "broken\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "51750\n"),
    ):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
    assert measure(root, root)[-1] == ("temperature", 51.75, "Cel")


@pytest.mark.parametrize("path", ["proc/loadavg", "proc/meminfo"])
def test_files_that_make_no_sense_are_an_adapter_error(root: Path, path: str) -> None:
    (root / path).write_text("nothing")
    with pytest.raises(AdapterError, match=path):
        measure(root, root)


async def test_a_harvest_has_a_reading_for_each_datastream_that_there_is(
    settings: AgentSettings, clock: Clock, tmp_path: Path
) -> None:
    host = settings.sensor[0]
    assert isinstance(host, HostSettings)
    harvest = await anext(harvests(host, Surroundings(clock, tmp_path)))
    described = {datastream.name for datastream in datastreams(host)}
    names = {reading.name for reading in harvest.readings}
    assert described - {"temperature"} <= names <= described
    assert {reading.phenomenon_time for reading in harvest.readings} == {clock.now()}
