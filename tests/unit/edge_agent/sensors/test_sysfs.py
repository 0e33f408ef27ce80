"""The kernel's files become results, and what no sensor measured does not."""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapter import AdapterError, Surroundings
from edge_agent.clock import Clock
from edge_agent.sensors.sysfs import (
    FileError,
    FileSettings,
    SysfsSettings,
    datastreams,
    harvests,
    measure,
    w1_temperature,
)

GOOD = "4b 01 4b 46 7f ff 05 10 e1 : crc=e1 YES\n4b 01 4b 46 7f ff 05 10 e1 t={}\n"
THERMOMETER = "28-0516a1b2c3d4"


def file(source: str, device: str = "", channel: str = "", **changes: object) -> FileSettings:
    values: dict[str, object] = {
        "name": "temperature",
        "title": "Temperature",
        "description": "A temperature.",
        "observed_property": "air_temperature",
        "unit": "Cel",
        "source": source,
        "device": device,
        "channel": channel,
    }
    return FileSettings(**(values | changes))  # type: ignore[arg-type]


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(
        tmp_path,
        {
            f"bus/w1/devices/{THERMOMETER}/w1_slave": GOOD.format(20687),
            f"bus/w1/devices/{THERMOMETER}/name": THERMOMETER,
            "bus/iio/devices/iio:device0/name": "mcp3422\n",
            "bus/iio/devices/iio:device0/in_voltage1_raw": "1000\n",
            "bus/iio/devices/iio:device0/in_voltage0_raw": "1000\n",
            "bus/iio/devices/iio:device0/in_voltage_scale": "0.5\n",
            "bus/iio/devices/iio:device0/in_voltage1_scale": "2.0\n",
            "bus/iio/devices/iio:device1/name": "bme280\n",
            "bus/iio/devices/iio:device1/in_temp_input": "21330\n",
            "bus/iio/devices/iio:device1/in_pressure_input": "101.325390625\n",
            "bus/iio/devices/iio:device1/in_humidityrelative_input": "45678\n",
            "bus/iio/devices/iio:device1/in_concentration_co2_input": "0.0412\n",
            "bus/iio/devices/iio:device1/in_temp_ambient_input": "20500\n",
            "bus/iio/devices/iio:device2/name": "si7020\n",
            "bus/iio/devices/iio:device2/in_temp_raw": "7000\n",
            "bus/iio/devices/iio:device2/in_temp_offset": "-4368\n",
            "bus/iio/devices/iio:device2/in_temp_scale": "10.725\n",
            "class/hwmon/hwmon0/name": "sht3x\n",
            "class/hwmon/hwmon0/temp1_input": "-5250\n",
            "class/hwmon/hwmon0/humidity1_input": "88100\n",
            "class/hwmon/hwmon1/name": "ina226\n",
            "class/hwmon/hwmon1/power1_input": "12500000\n",
            "class/hwmon/hwmon2/name": "twin\n",
            "class/hwmon/hwmon3/name": "twin\n",
            "class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "class/thermal/thermal_zone0/temp": "48312\n",
            "devices/platform/rain/count": "17\n",
        },
    )
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "result"),
    [
        (file("w1", THERMOMETER), 20.687),
        (file("iio", "bme280", "temp"), 21.33),
        (file("iio", "iio:device1", "pressure", unit="hPa"), 1013.25390625),
        (file("iio", "bme280", "humidityrelative", unit="%RH"), 45.678),
        (file("iio", "bme280", "concentration_co2", unit="ppm"), 412.0),
        (file("iio", "bme280", "temp_ambient"), 20.5),
        (file("iio", "si7020", "temp"), 28.2282),
        (file("iio", "mcp3422", "voltage0", unit="V"), 0.5),
        (file("iio", "mcp3422", "voltage1", unit="V"), 2.0),
        (file("hwmon", "sht3x", "temp1"), -5.25),
        (file("hwmon", "hwmon0", "humidity1", unit="%RH"), 88.1),
        (file("hwmon", "ina226", "power1", unit="W"), 12.5),
        (file("thermal", "cpu-thermal"), 48.312),
        (file("thermal", "thermal_zone0"), 48.312),
        (file("path", path="devices/platform/rain/count", scale=0.2, unit="mm"), 3.4),
    ],
)
def test_files_become_results_in_the_unit_that_they_are_described_with(
    root: Path, wanted: FileSettings, result: float
) -> None:
    assert not list(wanted.contradictions())
    assert measure(wanted, root) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.format(20687).replace("YES", "NO"), "checksum is wrong"),
        (GOOD.format(85000), "85 °C is what it says before it has measured"),
        (GOOD.format(-127000), "-127 °C is none that it can measure"),
        (GOOD.format(127937), "127.937 °C is none"),
        (GOOD.format("warm"), "holds 'warm', no number"),
        (GOOD.format(""), "no number"),
        ("", "not a w1_slave file"),
        ("00 : crc=00 YES\n", "not a w1_slave file"),
    ],
)
def test_what_no_thermometer_measured_is_refused(text: str, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        w1_temperature(text)


@pytest.mark.parametrize("millidegrees", [-55_000, -62, 0, 84_937, 85_062, 125_000])
def test_what_lies_beside_is_believed(millidegrees: int) -> None:
    assert w1_temperature(GOOD.format(millidegrees)) == millidegrees / 1000


@given(st.text() | st.tuples(st.text(), st.text()).map(lambda each: f"{each[0]}YES\\nt={each[1]}"))
def test_no_file_is_too_strange(text: str) -> None:
    try:
        assert -55 <= w1_temperature(text) <= 125
    except FileError:
        return


def test_a_thermocouple_may_be_hotter() -> None:
    assert w1_temperature(GOOD.format(640_250), "3b-0000000a1b2c") == 640.25


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (file("w1", "28-ffffffffffff"), f"no w1 device 28-ffffffffffff; there are: {THERMOMETER}"),
        (file("iio", "bmp280", "temp"), "no iio device bmp280; there are: mcp3422, bme280, si7020"),
        (file("hwmon", "twin", "temp1"), "several are called twin: hwmon2, hwmon3"),
        (file("hwmon", "ina226", "temp1"), "hwmon1/temp1_input: No such file"),
        (file("thermal", "gpu"), "no thermal device gpu; there are: cpu-thermal"),
        (file("path", path="bus/iio/devices/iio:device1/name"), "holds 'bme280', no number"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    root: Path, wanted: FileSettings, reason: str
) -> None:
    with pytest.raises(FileError, match=reason):
        measure(wanted, root)


def test_without_any_device_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there are: none"):
        measure(file("w1", THERMOMETER), tmp_path)


@pytest.mark.parametrize(
    ("wanted", "key", "allowed"),
    [
        (file("path"), "path", "must be given"),
        (file("w1", THERMOMETER, path="a"), "path", "only then"),
        (file("path", path="class/../../etc/passwd"), "path", "below /sys"),
        (file("thermal"), "device", "must be given"),
        (file("iio", "bme280"), "channel", "must be given"),
        (file("w1", THERMOMETER, "temp"), "channel", "only then"),
        (file("iio", "bme280", "smell"), "channel", "must begin with one of temp, pressure"),
        (file("iio", "bme280", "pressure"), "unit", 'must be "hPa"'),
        (file("w1", THERMOMETER, unit="K"), "unit", 'must be "Cel"'),
        (file("thermal", "cpu", scale=0.001), "scale", "is known"),
        (file("path", path="a", scale=0.0), "scale", "other than 0"),
    ],
)
def test_contradictions_are_named(wanted: FileSettings, key: str, allowed: str) -> None:
    ((path, text),) = wanted.contradictions()
    assert path == (key,)
    assert allowed in text


def settings(root: Path, **files: FileSettings) -> SysfsSettings:
    return SysfsSettings(
        urn="urn:dev:example:box",
        thing="urn:dev:example:lamp",
        name="Box",
        description="A box.",
        root=root,
        interval_seconds=0.1,
        failed_rounds=1,
        files=MappingProxyType(files),
    )


def test_a_sensor_needs_files_of_different_names(root: Path) -> None:
    assert [path for path, _ in settings(root).contradictions()] == [("files",)]
    both = {key: file("thermal", "cpu-thermal") for key in ("a", "b")}
    assert [path for path, _ in settings(root, **both).contradictions()] == [("files", "b", "name")]


async def test_one_broken_file_does_not_keep_the_others_from_being_read(
    root: Path, clock: Clock
) -> None:
    wanted = settings(
        root,
        broken=file("w1", "28-ffffffffffff", name="outside"),
        inside=file("iio", "bme280", "humidityrelative", unit="%RH"),
    )
    async with aclosing(harvests(wanted, Surroundings(clock, root))) as found:
        (reading,) = (await anext(found)).readings
    assert (reading.name, reading.result, reading.unit) == ("temperature", 45.678, "%RH")
    assert reading.phenomenon_time == clock.now()
    assert [described.name for described in datastreams(wanted)] == ["outside", "temperature"]


async def test_a_sensor_fails_when_none_of_its_files_can_be_read(root: Path, clock: Clock) -> None:
    wanted = settings(root, outside=file("w1", "28-ffffffffffff"))
    with pytest.raises(AdapterError, match="rounds that brought nothing: 1; outside: no w1 device"):
        await anext(harvests(wanted, Surroundings(clock, root)))
