"""What stations push becomes readings: captured requests, fields by name, any JSON."""

import json
import re
from pathlib import Path
from types import MappingProxyType

import pytest

from edge_agent.adapter import Harvest
from edge_agent.inputs.fields import FieldSettings
from tests.integration.edge_http_push.pushing import Gateway, station

RECORDED = Path(__file__).parents[2] / "data/sensor_community"


def captured_post() -> bytes:
    """The request of a real station, as it was captured."""
    text = (RECORDED / "macbre/README.md").read_text()
    found = re.search(r"^POST /data\.php.*?^\{.*?\}$", text, re.DOTALL | re.MULTILINE)
    assert found
    head, _, body = found[0].partition("\n\n")
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()


def results(harvest: Harvest) -> dict[str, object]:
    return {reading.name: reading.result for reading in harvest.readings}


async def test_the_captured_push_of_a_real_station_is_read(gateway: Gateway) -> None:
    taken = gateway.collect(station("/data.php"))
    request = captured_post()
    assert (await gateway.send(request))[:2] == (200, "stored")
    [harvest] = taken
    assert results(harvest) == {
        "pm10": 0.4,
        "pm2.5": 0.2,
        "temperature": 20.47,
        "pressure": 1006.1325,
    }


async def test_stations_on_one_path_are_told_apart_and_a_stranger_is_reported(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.sources._GRACE_SECONDS", 0.01)
    known = gateway.collect(station("/data.php", device="esp8266-12331981"))
    other = gateway.collect(
        station("/data.php", device="7", urn="urn:dev:example:other", name="Other")
    )
    assert (await gateway.send(captured_post()))[0] == 200
    body = (RECORDED / "nettigo/sensor_community_data.json").read_bytes()
    assert (await gateway.post(body, "/data.php", X_Sensor="esp32-7"))[0] == 200
    status, reason, _ = await gateway.post(body, "/data.php", X_Sensor="esp8266-99")
    assert (status, reason) == (404, "no sensor in this gateway's settings is this device")
    assert (await gateway.post(body, "/data.php"))[:2] == (
        400,
        "does not say which device it is of",
    )
    assert [results(each)["pm10"] for each in known] == [0.4]
    assert [results(each)["pm10"] for each in other] == [2.08]
    assert gateway.surroundings.sources.unclaimed == {"99": 1}


async def test_a_recorded_body_with_null_yields_what_else_it_holds(gateway: Gateway) -> None:
    taken = gateway.collect(station("/push"))
    body = (RECORDED / "nettigo/invalid_data.json").read_bytes()
    assert (await gateway.post(body))[0] == 200
    assert results(taken[0]) == {"pm2.5": 20.0, "temperature": 10.6, "pressure": 989.2061}


async def test_old_and_new_names_of_a_value_are_one_field(gateway: Gateway) -> None:
    taken = gateway.collect(station("/push"))
    for names in (("SDS_P1", "BME280_temperature"), ("P1", "temperature")):
        values = [{"value_type": name, "value": "35.20"} for name in names]
        body = json.dumps({"sensordatavalues": values}).encode()
        assert (await gateway.post(body))[0] == 200
    assert [results(each) for each in taken] == [{"pm10": 35.2, "temperature": 35.2}] * 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not JSON"),
        (b"[]", "has no list sensordatavalues"),
        (b'{"sensordatavalues": 1}', "has no list sensordatavalues"),
        (b'{"esp8266id": 1, "esp8266id": 2, "sensordatavalues": []}', "stands twice"),
    ],
)
async def test_bodies_of_no_use_are_refused_with_a_reason(
    gateway: Gateway, body: bytes, reason: str
) -> None:
    taken = gateway.collect(station("/push"))
    status, found, _ = await gateway.post(body)
    assert status == 400
    assert reason in found
    assert not taken


async def test_any_json_is_read_by_paths_with_the_time_it_tells(gateway: Gateway) -> None:
    settings = station(
        "/push",
        form="json",
        device="bridge-7",
        device_path="id",
        time_path="at",
        fields=MappingProxyType(
            {
                "wind": FieldSettings(
                    name="wind",
                    title="Wind",
                    description="Mean wind.",
                    observed_property="wind_speed",
                    unit="m/s",
                    from_unit="mi/h",
                    path="weather.wind[0]",
                )
            }
        ),
    )
    taken = gateway.collect(settings)
    body = b'{"id": "bridge-7", "at": "%s", "weather": {"wind": [10]}}'
    assert (await gateway.post(body % b"2026-01-01T00:00:00Z"))[0] == 200
    assert (await gateway.post(body % b"-3"))[:2] == (
        400,
        'at is "-3", not an ISO 8601 time with an offset',
    )
    [harvest] = taken
    assert results(harvest) == {"wind": 4.4704}
    assert harvest.readings[0].phenomenon_time.isoformat() == "2026-01-01T00:00:00+00:00"
