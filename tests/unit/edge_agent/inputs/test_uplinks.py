"""Envelopes of three network servers, and what is wrong with some."""

import base64
import math
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.reading import UNFLAGGED, Quality
from edge_agent.inputs.fields import FieldError, read_json
from edge_agent.inputs.uplinks import (
    Repeats,
    Server,
    Uplink,
    UplinkError,
    eui,
    read_uplink,
)
from tests.unit.edge_agent.lorawan_recordings import RECORDINGS, Recording

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER_NAMES: tuple[Server, ...] = ("chirpstack", "the-things-stack", "loriot")
FOLDERS = {
    "chirpstack": "ChirpStack",
    "the-things-stack": "ThingsStackCommunity",
    "loriot": "LORIOT",
}

Change = Callable[[dict[str, Any]], object]


def recorded(server: Server) -> dict[str, Any]:
    document = Recording("Milesight_WS302", FOLDERS[server], "payload").document()
    assert isinstance(document, dict)
    return document


def changed(server: Server, change: Change) -> Uplink | None:
    document = deepcopy(recorded(server))
    change(document)
    return read_uplink(server, document)


@pytest.mark.parametrize("server", SERVER_NAMES)
def test_the_three_servers_say_the_same_of_one_frame(server: Server) -> None:
    uplink = read_uplink(server, recorded(server))
    assert uplink is not None
    assert uplink.dev_eui == "1000000000000001"
    assert (uplink.f_port, uplink.payload.hex()) == (85, "017564055b053f02da016a02")
    assert uplink.time is not None
    assert uplink.time.year == 2023


def test_what_a_server_says_beside_the_frame() -> None:
    assert read_uplink("chirpstack", recorded("chirpstack")) == Uplink(
        dev_eui="1000000000000001",
        f_port=85,
        f_cnt=4,
        payload=bytes.fromhex("017564055b053f02da016a02"),
        time=datetime(2023, 5, 22, 7, 47, 5, 404859, UTC),
        device_name="Device name",
        rssi=-35.0,
        snr=11.5,
    )


@pytest.mark.parametrize(
    "text",
    ["A84041FFFF1234AB", "a84041ffff1234ab", "A8-40-41-FF-FF-12-34-AB", "a8:40:41:ff:ff:12:34:ab"],
)
def test_an_eui_is_the_same_however_it_is_written(text: str) -> None:
    assert eui(text) == "a84041ffff1234ab"


@pytest.mark.parametrize("text", ["", "A84041FFFF1234A", "A84041FFFF1234ABCD", "G84041FFFF1234AB"])
def test_what_is_no_eui_is_refused(text: str) -> None:
    with pytest.raises(UplinkError) as refused:
        eui(text)
    assert refused.value.reason == "no-device"


def test_a_device_is_known_by_the_eui_of_chirpstack_3_too() -> None:
    document = Recording("Decentlab_DL-ATM41", "ChirpStack", "payload_02").document()
    uplink = read_uplink("chirpstack", document)
    assert uplink is not None
    assert (uplink.dev_eui, uplink.snr) == ("0202020202020202", 9.0)


@pytest.mark.parametrize(
    ("server", "document"),
    [
        ("chirpstack", {"deviceInfo": {"devEui": "1" * 16}, "devAddr": "00189440"}),  # join
        ("chirpstack", {"deviceInfo": {"devEui": "1" * 16}, "margin": 11, "batteryLevel": 75}),
        ("chirpstack", {"deviceInfo": {"devEui": "1" * 16}, "queueItemId": "x", "fCntDown": 10}),
        ("chirpstack", {"deviceInfo": {"devEui": "1" * 16}, "fCnt": 3, "data": None}),
        ("chirpstack", {"deviceInfo": {"devEui": "1" * 16}, "fCnt": 3, "fPort": 0, "data": "AQ=="}),
        ("the-things-stack", {"end_device_ids": {"device_id": "a"}, "join_accept": {}}),
        ("the-things-stack", {"end_device_ids": {"device_id": "a"}, "downlink_sent": {}}),
        (
            "the-things-stack",
            {"end_device_ids": {"device_id": "a"}, "uplink_message": {"f_cnt": 1}},
        ),
        ("loriot", {"cmd": "tx", "EUI": "1" * 16, "data": "0102"}),
        ("loriot", {"cmd": "txd", "EUI": "1" * 16, "success": True}),
        ("loriot", {"cmd": "rx", "EUI": "1" * 16, "fcnt": 1, "port": 1, "data": ""}),
    ],
)
def test_what_is_no_uplink_is_passed_over_quietly(server: Server, document: object) -> None:
    assert read_uplink(server, document) is None


@pytest.mark.parametrize("server", SERVER_NAMES)
@pytest.mark.parametrize("document", [[], "text", 7, None, {}, {"hello": "world"}])
def test_what_no_server_sends_is_refused(server: Server, document: object) -> None:
    with pytest.raises(UplinkError) as refused:
        read_uplink(server, document)
    assert refused.value.reason == "not-an-envelope"


@pytest.mark.parametrize("server", SERVER_NAMES)
def test_an_envelope_of_another_server_is_refused(server: Server) -> None:
    for other in set(SERVER_NAMES) - {server}:
        with pytest.raises(UplinkError):
            read_uplink(server, recorded(other))


REFUSED: list[tuple[Server, Change, str]] = [
    ("chirpstack", lambda d: d.update(data="not base64!"), "no-payload"),
    ("chirpstack", lambda d: d.update(data=7), "no-payload"),
    ("chirpstack", lambda d: d.update(fCnt="four"), "not-an-envelope"),
    ("chirpstack", lambda d: d.update(fCnt=True), "not-an-envelope"),
    ("chirpstack", lambda d: d.update(fPort=256), "not-an-envelope"),
    ("chirpstack", lambda d: d["deviceInfo"].update(devEui=None), "no-device"),
    ("chirpstack", lambda d: d["deviceInfo"].update(devEui="x"), "no-device"),
    ("chirpstack", lambda d: d.update(joinServerContext={"sessionKeyId": "01"}), "encrypted"),
    ("the-things-stack", lambda d: d.update(simulated=True), "simulated"),
    ("the-things-stack", lambda d: d["uplink_message"].update(frm_payload="?"), "no-payload"),
    ("the-things-stack", lambda d: d["end_device_ids"].pop("dev_eui"), "no-device"),
    ("loriot", lambda d: d.update(data="AXVkBVsF"), "no-payload"),
    ("loriot", lambda d: d.update(data="123"), "no-payload"),
    ("loriot", lambda d: d.update(encdata="0102", data=None), "encrypted"),
    ("loriot", lambda d: d.update(fcnt=-1), "not-an-envelope"),
]


@pytest.mark.parametrize(("server", "change", "reason"), REFUSED)
def test_an_unusable_uplink_is_refused_with_a_reason(
    server: Server, change: Change, reason: str
) -> None:
    with pytest.raises(UplinkError) as refused:
        changed(server, change)
    assert refused.value.reason == reason


def test_a_refusal_says_whose_uplink_it_was() -> None:
    with pytest.raises(UplinkError) as refused:
        changed("loriot", lambda d: d.update(data="123"))
    assert refused.value.device == "1000000000000001"


NULLS: list[tuple[Server, Change]] = [
    ("chirpstack", lambda d: d.update(rxInfo=None, txInfo=None, fCnt=None)),
    ("chirpstack", lambda d: d.update(rxInfo=[{"rssi": None, "snr": None}, None])),
    ("the-things-stack", lambda d: d["uplink_message"].update(rx_metadata=None, f_cnt=None)),
    ("loriot", lambda d: d.update(rssi=None, snr=None)),
]


@pytest.mark.parametrize(("server", "change"), NULLS)
def test_nulls_are_nothing_and_no_error(server: Server, change: Change) -> None:
    uplink = changed(server, change)
    assert uplink is not None
    assert (uplink.rssi, uplink.snr) == (None, None)


def test_protocol_buffers_leave_out_a_frame_counter_of_0() -> None:
    uplink = changed("the-things-stack", lambda d: d["uplink_message"].pop("f_cnt"))
    assert uplink is not None
    assert uplink.f_cnt == 0


def test_the_loudest_gateway_counts() -> None:
    document = Recording("Milesight_WS302", "LORIOT", "payload_1").document()
    uplink = read_uplink("loriot", document)
    assert uplink is not None
    assert (uplink.rssi, uplink.snr) == (-38.0, 8.5)


def test_a_key_that_stands_twice_is_refused_only_if_it_says_two_things() -> None:
    text = '{"cmd": "rx", "EUI": "%s", "fcnt": 1, "fcnt": %d, "port": 1, "data": "01", "ts": 1}'
    assert read_uplink("loriot", read_json(text % ("1" * 16, 1))) is not None
    with pytest.raises(FieldError, match="fcnt"):
        read_json(text % ("1" * 16, 2))


TIMES: list[tuple[Server, Change, datetime | None]] = [
    ("loriot", lambda d: d.pop("ts"), None),
    ("loriot", lambda d: d.update(ts=None), None),
    (
        "loriot",
        lambda d: d.update(ts=1_700_000_000_500),
        datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC),
    ),
    (
        "chirpstack",
        lambda d: d.update(time=None, rxInfo=[{"nsTime": "2024-11-12T12:51:50.8+00:00"}]),
        datetime(2024, 11, 12, 12, 51, 50, 800_000, UTC),
    ),
    ("chirpstack", lambda d: d.update(time=None, rxInfo=[]), None),
    (
        "the-things-stack",
        lambda d: d["uplink_message"].pop("received_at"),
        datetime(2023, 5, 19, 5, 33, 35, 848_446, UTC),
    ),
]


@pytest.mark.parametrize(("server", "change", "time"), TIMES)
def test_the_time_is_the_servers(server: Server, change: Change, time: datetime | None) -> None:
    uplink = changed(server, change)
    assert uplink is not None
    assert (uplink.time, uplink.time_is_wrong) == (time, False)
    assert uplink.moment(NOW) == (time or NOW, UNFLAGGED)


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "-3",
        "2023-05-22T07:47:05",
        "2020-0327T12:39:05.547336Z",
        "now",
        1684741625,
        True,
    ],
)
def test_a_time_that_cannot_be_placed_gives_way_to_that_of_arrival_and_is_flagged(
    text: object,
) -> None:
    uplink = changed("chirpstack", lambda d: d.update(time=text, rxInfo=[]))
    assert uplink is not None
    assert uplink.moment(NOW) == (NOW, Quality.CLOCK_UNSYNCHRONISED)


@pytest.mark.parametrize(
    ("milliseconds", "is_taken"),
    [
        (int(NOW.timestamp() * 1000), True),
        (int(NOW.timestamp() * 1000) + 299_000, True),
        (int(NOW.timestamp() * 1000) + 301_000, False),
        (0, False),
        (1_400_000_000_000, False),  # 2014: there was no LoRaWAN
    ],
)
def test_a_time_that_cannot_be_gives_way_to_that_of_arrival(
    milliseconds: int, *, is_taken: bool
) -> None:
    uplink = changed("loriot", lambda d: d.update(ts=milliseconds))
    assert uplink is not None
    time, quality = uplink.moment(NOW)
    assert (time == uplink.time, quality == UNFLAGGED) == (is_taken, is_taken)
    assert is_taken or time == NOW


@pytest.mark.parametrize("ts", [-1, 1e300, "1684478801936", True, 253_402_300_799_001])
def test_what_is_no_number_of_milliseconds_is_no_time(ts: object) -> None:
    uplink = changed("loriot", lambda d: d.update(ts=ts))
    assert uplink is not None
    assert (uplink.time, uplink.time_is_wrong) == (None, True)


def frame(f_cnt: int = 1, payload: bytes = b"\1") -> Uplink:
    return Uplink(dev_eui="1" * 16, f_port=1, f_cnt=f_cnt, payload=payload, time=None)


def test_a_frame_of_several_gateways_counts_once() -> None:
    document = Recording("Milesight_WS302", "LORIOT", "payload_1").document()
    assert isinstance(document, dict)
    told_by_gateways = read_uplink("loriot", document)
    received = read_uplink("loriot", {**document, "cmd": "rx", "gws": None, "rssi": -38})
    assert told_by_gateways is not None
    assert received is not None
    repeats = Repeats(300)
    assert not repeats.has(received, NOW)
    assert repeats.has(told_by_gateways, NOW)


def test_a_frame_delivered_again_counts_once_though_others_came_between() -> None:
    repeats = Repeats(300)
    frames = [frame(count) for count in range(50)]
    assert not any(repeats.has(each, NOW) for each in frames)
    assert all(repeats.has(each, NOW + timedelta(seconds=299)) for each in frames)


def test_a_device_that_counts_anew_is_heard() -> None:
    repeats = Repeats(300)
    assert not repeats.has(frame(1), NOW)
    assert not repeats.has(frame(1, b"\2"), NOW)  # same count, other frame: it began again
    assert not repeats.has(frame(1), NOW + timedelta(seconds=301))


def test_only_so_many_frames_are_remembered() -> None:
    repeats = Repeats(300)
    for count in range(65):
        repeats.has(frame(count), NOW)
    assert not repeats.has(frame(0), NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    server=st.sampled_from(SERVER_NAMES),
    values=st.dictionaries(
        st.sampled_from(
            [
                "time",
                "data",
                "fCnt",
                "fPort",
                "rxInfo",
                "deviceInfo",
                "uplink_message",
                "ts",
                "gws",
                "end_device_ids",
                "received_at",
                "EUI",
                "cmd",
                "port",
                "fcnt",
                "rssi",
                "snr",
                "devEUI",
            ]
        ),
        JSON,
    ),
)
def test_nothing_in_an_envelope_raises_anything_but_its_own_error(
    server: Server, values: dict[str, Any]
) -> None:
    try:
        uplink = read_uplink(server, {**recorded(server), **values})
    except UplinkError:
        return
    if uplink is not None:
        uplink.moment(NOW)


@given(payload=st.binary(min_size=1, max_size=60))
def test_the_payload_comes_through_unchanged(payload: bytes) -> None:
    encoded = base64.b64encode(payload).decode()
    of_chirpstack = changed("chirpstack", lambda d: d.update(data=encoded))
    of_loriot = changed("loriot", lambda d: d.update(data=payload.hex().upper()))
    assert of_chirpstack is not None
    assert of_loriot is not None
    assert of_chirpstack.payload == of_loriot.payload == payload


def test_every_recorded_frame_of_a_gateway_message_is_read() -> None:
    messages = [
        recording
        for recording in RECORDINGS
        if isinstance(document := recording.document(), dict) and document.get("cmd") == "gw"
    ]
    assert len(messages) == 7
    assert all(read_uplink("loriot", one.document()) is not None for one in messages)


def test_while_our_own_clock_is_not_sure_the_servers_counts() -> None:
    uplink = changed("loriot", lambda d: d.update(ts=int(NOW.timestamp() * 1000) + 86_400_000))
    assert uplink is not None
    assert uplink.moment(NOW, math.inf) == (NOW + timedelta(days=1), UNFLAGGED)


def test_what_no_radio_could_carry_is_no_payload() -> None:
    with pytest.raises(UplinkError, match="256 bytes") as caught:
        changed("loriot", lambda document: document.update(data="00" * 256))
    assert caught.value.reason == "no-payload"


def test_a_refusal_shows_little_of_what_it_refuses() -> None:
    with pytest.raises(UplinkError) as caught:
        changed("loriot", lambda document: document.update(port=["x" * 100_000]))
    assert len(str(caught.value)) < 60
