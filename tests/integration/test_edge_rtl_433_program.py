"""The real rtl_433 prints what we read: it is given the bits of a packet instead of a radio."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from edge_agent import sources as sources_module
from edge_agent.adapter import AdapterError, Surroundings
from edge_agent.clock import Clock
from edge_agent.inputs.fields import FieldSettings
from edge_agent.sensors.rtl_433 import Rtl433Settings, harvests
from edge_agent.sources import Sources

pytestmark = pytest.mark.interoperability

# Nexus-TH: id b8, battery good, channel 1, 0d9 tenths of a degree, 37 % in hexadecimal; sent thrice
BITS = "/".join(["{36}b880d9f37"] * 3)


def settings(*arguments: str, unit_of_source: str = "") -> Rtl433Settings:
    def field(name: str, path: str, unit: str, from_unit: str = "") -> FieldSettings:
        return FieldSettings(
            name=name,
            title=name,
            description=name,
            observed_property=name,
            unit=unit,
            path=path,
            from_unit=from_unit,
        )

    temperature = "temperature_F" if unit_of_source else "temperature_C"
    return Rtl433Settings(
        urn="urn:dev:example:nexus",
        thing="urn:dev:example:mast",
        name="Nexus",
        description="A thermometer.",
        command=("rtl_433", "-F", "json", "-R", "19", "-y", BITS, *arguments),
        model="Nexus-TH",
        id="184",
        channel="1",
        fields=MappingProxyType(
            {
                "t": field("air_temperature", temperature, "Cel", unit_of_source),
                "h": field("relative_humidity", "humidity", "%RH"),
            }
        ),
    )


@pytest.fixture
async def surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Surroundings]:
    monkeypatch.setattr(sources_module, "_GRACE_SECONDS", 0.05)
    async with Sources() as sources:
        yield Surroundings(Clock(tmp_path / "clock"), tmp_path, sources)


@pytest.mark.parametrize(
    ("arguments", "unit_of_source"),
    [
        ((), ""),
        (("-M", "time:unix:usec", "-M", "level"), ""),
        (("-M", "time:iso:tz"), ""),
        (("-C", "customary", "-M", "time:utc"), "degF"),
    ],
    ids=["plain", "unix", "iso", "fahrenheit"],
)
async def test_its_lines_become_readings_of_now(
    surroundings: Surroundings, arguments: tuple[str, ...], unit_of_source: str
) -> None:
    sensor = settings(*arguments, unit_of_source=unit_of_source)
    async with aclosing(harvests(sensor, surroundings)) as found:
        temperature, humidity = (await anext(found)).readings
    assert (temperature.result, humidity.result) == (21.7, 55.0)
    age = surroundings.clock.now() - temperature.phenomenon_time
    assert abs(age) < timedelta(minutes=1)


async def test_it_ends_and_says_so(surroundings: Surroundings) -> None:
    async with aclosing(harvests(settings(), surroundings)) as found:
        await anext(found)
        with pytest.raises(AdapterError, match=r"rtl_433 has ended \(status 0\); it last said: "):
            await anext(found)
