"""What becomes of an uplink: readings of what is chosen, once, with the right time and unit."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_protocol.reading import UNFLAGGED, Quality
from edge_agent.inputs.uplinks import Uplink
from edge_agent.sensors import settings_class
from edge_agent.sensors.lorawan import LorawanSettings, Reader, chosen, datastreams

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EUI = "24e124136b502217"


def settings(**changes: object) -> LorawanSettings:
    values: dict[str, object] = {
        "urn": "urn:dev:example:noise-7",
        "thing": "urn:dev:example:lamp-7",
        "name": "Noise",
        "description": "A sound level meter.",
        "device_eui": EUI,
        "decoder": Path("milesight-ws302"),
        "server": "chirpstack",
        "local_broker": "near",
        "topic": "application/+/device/+/event/up",
    }
    return LorawanSettings(**(values | changes))  # type: ignore[arg-type]


def uplink(payload: str = "017564055b053f02da016a02", **changes: object) -> Uplink:
    values: dict[str, object] = {
        "dev_eui": EUI,
        "f_port": 85,
        "f_cnt": 1,
        "payload": bytes.fromhex(payload),
        "time": NOW,
        "rssi": -71.0,
        "snr": 9.5,
    }
    return Uplink(**(values | changes))  # type: ignore[arg-type]


def test_the_adapter_is_found_by_its_name() -> None:
    assert settings_class("lorawan") is LorawanSettings


def test_what_is_optional_is_reported_where_it_is_asked_for() -> None:
    assert list(chosen(settings())) == ["laf", "laeq", "lamax"]
    wished = settings(also=("battery_level", "rssi", "snr"), without=("laf",))
    assert list(chosen(wished)) == ["laeq", "lamax", "battery_level", "rssi", "snr"]
    made = Reader(wished).readings(uplink(), NOW)
    assert [(each.name, each.result, each.unit) for each in made] == [
        ("battery_level", 100.0, "%EL"),
        ("laeq", 47.4, "dB"),
        ("lamax", 61.8, "dB"),
        ("rssi", -71.0, "dBm"),
        ("snr", 9.5, "dB"),
    ]
    assert {each.sensor for each in made} == {"urn:dev:example:noise-7"}
    assert {(each.phenomenon_time, each.quality) for each in made} == {(NOW, UNFLAGGED)}


def test_datastreams_are_those_of_the_table_at_the_pace_of_the_settings() -> None:
    (first, *_) = datastreams(settings(period_seconds=600))
    assert (first.name, first.unit, first.observed_property) == ("laf", "dBA", "laf")
    assert first.period_seconds == 600
    assert datastreams(settings())[0].period_seconds is None


def test_a_distance_may_be_that_of_a_river() -> None:
    river = settings(decoder=Path("decentlab-dl-mbx"), observes={"distance": "water_distance"})
    assert [each.observed_property for each in datastreams(river)] == ["water_distance"]


def test_truth_values_and_texts_have_no_unit() -> None:
    bin_ = settings(decoder=Path("milesight-em310-udl"))
    made = Reader(bin_).readings(uplink("01755c03824408040001"), NOW)
    assert [(each.name, each.result, each.unit) for each in made] == [
        ("distance", 2.116, "m"),
        ("tilted", True, ""),
    ]


def test_a_repeated_uplink_says_nothing_more() -> None:
    reader = Reader(settings())
    assert reader.readings(uplink(), NOW)
    assert not reader.readings(uplink(rssi=-90.0), NOW)
    assert reader.readings(uplink(f_cnt=2), NOW)


def test_a_time_that_cannot_be_is_replaced_and_flagged() -> None:
    made = Reader(settings()).readings(uplink(time=NOW + timedelta(days=1)), NOW)
    assert {each.phenomenon_time for each in made} == {NOW}
    assert {each.quality for each in made} == {Quality.CLOCK_UNSYNCHRONISED}


@pytest.mark.parametrize(
    ("payload", "f_port", "reason"),
    [
        ("01756405", 85, "unknown-type"),
        ("0175", 85, "wrong-length"),
        ("0177ff", 85, "unknown-type"),
    ],
)
def test_a_frame_that_the_table_does_not_explain_makes_no_reading_and_is_counted(
    payload: str, f_port: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(settings())
    for count in range(12):
        assert not reader.readings(uplink(payload, f_port=f_port, f_cnt=count), NOW)
    assert reader.faults.counts == {reason: 12}
    told = [record for record in caplog.records if record.message == "uplink refused"]
    assert [record.__dict__["count"] for record in told] == [1, 10]
    assert {record.__dict__["device"] for record in told} == {EUI}
    assert reader.readings(uplink(f_cnt=99), NOW)


def test_each_reason_is_counted_by_itself() -> None:
    reader = Reader(settings(decoder=Path("nwave-g4-nps-sm")))
    reader.readings(uplink("95", f_port=9), NOW)
    reader.readings(uplink("9500", f_port=1), NOW)
    assert reader.faults.counts == {"unknown-port": 1, "wrong-length": 1}


def kept(seconds: int) -> str:
    return "20ce" + int(NOW.timestamp() + seconds).to_bytes(4, "little").hex() + "f401"


def test_what_a_device_kept_is_given_its_own_time_unless_that_cannot_be() -> None:
    reader = Reader(settings(decoder=Path("milesight-em500-swl")))
    day, year = 86_400, 366 * 86_400
    payload = "03770200" + kept(-day) + kept(day) + kept(-2 * year)
    made = reader.readings(uplink(payload), NOW)
    assert [(each.phenomenon_time, each.result) for each in made] == [
        (NOW, 0.02),
        (NOW - timedelta(days=1), 5.0),
    ]
    assert reader.faults.counts == {"device-time": 2}


def test_settings_that_fit_are_not_contradicted() -> None:
    assert not list(settings().contradictions())
    pushed = settings(local_broker="", topic="", push_path="/lorawan")
    assert not list(pushed.contradictions())


@pytest.mark.parametrize(
    ("changes", "path", "allowed"),
    [
        ({"local_broker": "", "topic": ""}, ("local_broker",), "or else push_path"),
        ({"push_path": "/lorawan"}, ("local_broker",), "not both"),
        ({"topic": ""}, ("topic",), "must be given with local_broker"),
        ({"topic": "a/#/b"}, ("topic",), "must be a topic filter"),
        ({"decoder": Path("milesight-ws303")}, ("decoder",), "nearest: milesight-ws302"),
        ({"decoder": Path("none.toml")}, ("decoder",), "none.toml:1: cannot be read"),
        ({"also": ("rssi", "humidity")}, ("also", 1), "must be one of laf, laeq, lamax"),
        ({"without": ("humidity",)}, ("without", 0), "must be one of laf, laeq, lamax"),
        ({"without": ("laf", "laeq", "lamax")}, ("without",), "must leave something"),
        ({"observes": {"sound": "laeq"}}, ("observes", "sound"), "is no value; there are laf"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    changes: dict[str, object], path: tuple[str | int, ...], allowed: str
) -> None:
    ((found, said),) = settings(**changes).contradictions()
    assert found == path
    assert allowed in said
