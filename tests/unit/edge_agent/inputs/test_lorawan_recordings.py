"""Every recorded uplink decodes to its recorded result, whichever server brought it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.inputs.payload import FrameError, Result, decoder_names, load_decoder
from edge_agent.inputs.uplinks import Uplink, read_uplink
from tests.unit.edge_agent.lorawan_recordings import (
    DECODERS,
    DERIVED,
    NAMES,
    NOT_OURS,
    OF_THE_ENVELOPE,
    RECORDINGS,
    SERVERS,
    WORDS,
    Recording,
    codec_examples,
)

ALL = pytest.mark.parametrize(
    "recording", RECORDINGS, ids=lambda one: f"{one.device}-{one.folder}-{one.name}"
)


def read(recording: Recording) -> Uplink:
    uplink = read_uplink(recording.server, recording.document())
    assert uplink is not None
    return uplink


def decode(table: str, f_port: int, payload: bytes) -> dict[str, Result]:
    values = load_decoder(Path(table)).decode(f_port, payload)
    assert all(value.time is None for value in values)
    return {value.name: value.result for value in values}


def test_there_is_a_recording_of_each_device_from_each_of_the_three_servers() -> None:
    found = {(one.device, one.server) for one in RECORDINGS}
    assert found == {(device, server) for device in DECODERS for server in SERVERS.values()}
    assert len(RECORDINGS) == 62
    assert set(DECODERS.values()) | set(codec_examples()) == set(decoder_names())


@ALL
def test_a_recorded_uplink_decodes_to_its_recorded_result(recording: Recording) -> None:
    uplink = read(recording)
    values = decode(DECODERS[recording.device], uplink.f_port, uplink.payload)
    recorded = recording.telemetry()["values"]
    for key, expected in recorded.items():
        if key in OF_THE_ENVELOPE:
            assert getattr(uplink, OF_THE_ENVELOPE[key]) == expected
        elif key not in NOT_OURS | DERIVED:
            name, factor = NAMES[recording.device][key]
            check(recording.device, name, values.pop(name), expected, factor)
    known_beside = {"protocol_version", "device_id", "weighting", "minimum_temperature",
                    "maximum_temperature", "current_consumption"}  # fmt: skip
    assert not values.keys() - known_beside


def check(device: str, name: str, result: Result, expected: Any, factor: float) -> None:
    if (device, name) == ("Nwave_G4_NPS_SM", "battery_voltage"):
        # Recorded from a converter that takes the byte for signed; see the maker's own example.
        assert expected == 2.32
        assert result == 3.344
    elif expected in WORDS and isinstance(expected, str):
        assert result is WORDS[expected]
    elif isinstance(expected, str | bool):
        assert result == expected
    else:
        assert result == pytest.approx(expected * factor, rel=1e-11)


@ALL
def test_the_device_and_the_time_are_the_recorded_ones(recording: Recording) -> None:
    uplink = read(recording)
    result = recording.result()
    attributes = result.get("attributes", {})
    recorded_eui = attributes.get("eui") or attributes.get("lora_dev_eui")
    assert recorded_eui is None or uplink.dev_eui == recorded_eui.lower()
    stamp = recording.telemetry().get("ts")
    if recording.folder == "HTTP":  # "2020-0327T12:39:05.547336Z", which only looks like a time
        assert uplink.time is None
        assert uplink.time_is_wrong
    elif stamp is None:  # ChirpStack v3: only its gateway says when
        assert uplink.time == datetime(2019, 11, 8, 13, 59, 25, 48445, UTC)
    else:
        time = (
            datetime.fromisoformat(stamp)
            if isinstance(stamp, str)
            else datetime.fromtimestamp(stamp / 1000, UTC)
        )
        assert uplink.time is not None
        assert abs(uplink.time - time) < timedelta(seconds=1)


EXAMPLES = [(table, one) for table, examples in codec_examples().items() for one in examples]


@pytest.mark.parametrize(
    ("table", "example"), EXAMPLES, ids=[f"{table}-{one['description']}" for table, one in EXAMPLES]
)
def test_a_makers_example_decodes_as_the_maker_says(table: str, example: dict[str, Any]) -> None:
    payload = bytes.fromhex(example["bytes"])
    if "errors" in example:
        with pytest.raises(FrameError) as refused:
            decode(table, example["fPort"], payload)
        assert refused.value.reason == "unknown-port"
        return
    values = decode(table, example["fPort"], payload)
    for key, given in example["data"].items():
        expected = given["value"] if isinstance(given, dict) else given
        if expected == "No Sensor":
            assert key not in values
        elif key == "TEMP":  # whole degrees there
            assert values["device_temperature"] == pytest.approx(31.3)
        elif key == "DIFF":
            assert abs(values["left_to_right_total"] - values["right_to_left_total"]) == 1  # type: ignore[operator]  # both numbers
        elif key not in DERIVED:
            name, factor = MAKERS_NAMES.get(key, (key, 1.0))
            factor = 1e-3 if table == "decentlab-dl-mbx" and key == "distance" else factor
            if isinstance(expected, str) and expected.endswith(","):
                expected = int(expected.removesuffix(","))
            same = expected if isinstance(expected, str) else pytest.approx(expected * factor)
            assert values[name] == same


MAKERS_NAMES = {
    "number_of_valid_samples": ("samples", 1.0),
    "temperature": ("device_temperature", 1.0),
    "LTR": ("left_to_right", 1.0),
    "RTL": ("right_to_left", 1.0),
    "LTR_SUM": ("left_to_right_total", 1.0),
    "RTL_SUM": ("right_to_left_total", 1.0),
    "SBX_BATT": ("battery_voltage", 1e-3),
    "SBX_PV": ("solar_power", 1.0),
    "DeviceType": ("device_type", 1.0),
    "Firmware": ("firmware_version", 1.0),
    "OperationMode": ("operation_mode", 1.0),
    "PayloadType": ("payload_type", 1.0),
    "DeviceClass": ("device_class", 1.0),
    "UplinkType": ("uplink_type", 1.0),
    "UplinkInterval": ("uplink_interval", 1.0),
    "LinkCheckInterval": ("link_check_interval", 1.0),
    "CapacityLimit": ("capacity_limit", 1.0),
    "HoldoffTime": ("holdoff_time", 1.0),
    "InactivityTiemout": ("inactivity_timeout", 1.0),
    "RadarEnabled": ("radar_enabled", 1.0),
    "BeamAngle": ("beam_angle", 1.0),
    "MinDist": ("minimum_distance", 1.0),
    "MaxDist": ("maximum_distance", 1.0),
    "MinSpeed": ("minimum_speed", 1.0),
    "MaxSpeed": ("maximum_speed", 1.0),
    "RadarAutotune": ("radar_autotune", 1.0),
    "RadarSensitivity": ("radar_sensitivity", 1.0),
    "SBXVersion": ("charger_version", 1.0),
}
