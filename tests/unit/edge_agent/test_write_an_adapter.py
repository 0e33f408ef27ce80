"""The page about writing an adapter keeps its word: its one file is all that an adapter needs."""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from types import ModuleType

import pytest

from edge_agent import sensors
from edge_agent.clock import Clock
from edge_agent.inputs.serial_line import SerialLineError
from edge_agent.sensors import ADAPTERS, AdapterError, Surroundings, adapter_names
from edge_agent.settings import AgentSettings, check
from runtime.settings import describe, load
from tests.simulators.serial_sensor import SerialSensor

HOW_TO = Path(__file__).parents[3] / "docs/how-to"
NAME = "rg15"


def blocks(page: str, language: str) -> list[str]:
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the page's file among the adapters, as if it lay in their folder."""
    folder = tmp_path / "sensors"
    folder.mkdir()
    for path in Path(sensors.__file__).parent.glob("*.py"):
        (folder / path.name).symlink_to(path)
    (folder / f"{NAME}.py").write_text(blocks("write-an-adapter.md", "python")[0])
    monkeypatch.setattr(sensors, "__file__", str(folder / "__init__.py"))
    monkeypatch.setattr(sensors, "__path__", [*sensors.__path__, str(folder)])
    importlib.invalidate_caches()
    yield
    ADAPTERS.pop(NAME, None)
    sys.modules.pop(f"{sensors.__name__}.{NAME}", None)
    vars(sensors).pop(NAME, None)


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    (gateway,) = blocks("run-a-gateway.md", "toml")
    (sensor,) = blocks("write-an-adapter.md", "toml")
    file = tmp_path / "gateway.toml"
    file.write_text(f"{gateway}\n{sensor}")
    return file


class RainGauge(SerialSensor):
    """An RG-15. rain, total: what it answers, in mm. mute: it does not. metric: its switch."""

    rain, total = 0.2, 62.8
    mute = False
    metric = True

    def report(self) -> bytes:
        return b""

    def answer(self, received: bytes) -> None:
        if received != b"R\n" or self.mute:
            return
        unit = "mm" if self.metric else "in"
        rain, total = f"{self.rain:5.2f} {unit}", f"{self.total:5.2f} {unit}"
        self.send(
            f"Acc {rain}, EventAcc {rain}, TotalAcc {total}, RInt  2.10 {unit}ph\r\n".encode()
        )
        self.rain, self.total = self.rain + 0.1, self.total + 1.0


def with_port(file: Path, port: Path) -> None:
    text = file.read_text()
    text = re.sub(r'device = "/dev/serial.*"', f'device = "{port}"', text)
    file.write_text(text.replace("interval_seconds = 300", "interval_seconds = 0.1"))


@pytest.mark.usefixtures("added")
def test_the_file_is_found_by_its_name_and_its_settings_are_checked(settings_file: Path) -> None:
    assert NAME in adapter_names()
    assert check(settings_file) == []
    settings = load(AgentSettings, settings_file)
    streams = ADAPTERS[NAME].datastreams(settings.sensor[-1])
    assert [stream.name for stream in streams] == ["rain", "rain_total"]
    settings_file.write_text(
        settings_file.read_text().replace("interval_seconds = 300", "every = 3")
    )
    (mistake,) = check(settings_file)
    assert re.search(r"gateway.toml:\d+: sensor\[2\].every = 3: .*interval_seconds", mistake)


@pytest.mark.usefixtures("added")
def test_it_is_documented_with_the_others() -> None:
    rows = describe(AgentSettings)
    assert any(row.key == "sensor[].adapter" and f'"{NAME}"' in row.allowed for row in rows)


def test_without_the_file_its_name_is_refused(settings_file: Path) -> None:
    (mistake,) = check(settings_file)
    assert f'adapter = "{NAME}"' in mistake
    assert '"sds011"' in mistake


@pytest.mark.usefixtures("added")
async def test_readings_are_harvested_from_it(settings_file: Path, tmp_path: Path) -> None:
    with_port(settings_file, tmp_path / "gauge")
    settings = load(AgentSettings, settings_file).sensor[-1]
    surroundings = Surroundings(Clock(tmp_path / "clock"), tmp_path)
    async with RainGauge(tmp_path / "gauge") as gauge:
        async with aclosing(ADAPTERS[NAME].harvests(settings, surroundings)) as found:
            harvest = await anext(found)
            assert {(each.name, each.unit): each.result for each in harvest.readings} == {
                ("rain", "mm"): 0.3,
                ("rain_total", "mm"): 63.8,
            }
            assert {each.sensor for each in harvest.readings} == {settings.urn}
            gauge.unplug()
            with pytest.raises(SerialLineError, match="the port is gone"):
                await anext(found)
        gauge.plug()
        gauge.metric = False
        async with aclosing(ADAPTERS[NAME].harvests(settings, surroundings)) as found:
            with pytest.raises(AdapterError, match="switch set to millimetres"):
                await anext(found)


@pytest.mark.usefixtures("added")
def test_the_tests_on_the_page_pass() -> None:
    tests = ModuleType("test_rg15")
    exec(blocks("write-an-adapter.md", "python")[1], vars(tests))  # noqa: S102  # our own page
    run = 0
    for name, test in inspect.getmembers(tests, inspect.isfunction):
        if not name.startswith("test_"):
            continue
        marks = getattr(test, "pytestmark", [])
        cases = [{mark.args[0]: each} for mark in marks for each in mark.args[1]] or [{}]
        for case in cases:
            test(**case)
            run += 1
    assert run == 4
