"""Lines of rtl_433 are read for what they say, and vehicles are recognised."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inputs.fields import FieldError
from edge_agent.inputs.radio_packets import (
    LineSplitter,
    Packet,
    Repeats,
    Transmitter,
    identifies_vehicle,
    is_vehicle_model,
    read_packet,
)

LINES = (Path(__file__).parents[3] / "data/rtl_433/lines.jsonl").read_bytes().splitlines()
RECEIVED = datetime(2026, 3, 1, 7, 18, 30, tzinfo=UTC)


JSON = st.dictionaries(
    st.sampled_from(["model", "id", "channel", "time", "type", "temperature_C"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
)


def packet(line: bytes) -> Packet:
    found = read_packet(line, RECEIVED)
    assert found is not None
    return found


PACKETS = [packet(line) for line in LINES]


def test_transmitters_are_told_by_new_and_old_keys_as_text() -> None:
    assert [str(each.transmitter) for each in PACKETS] == [
        "Nexus-TH/184/2",
        "Acurite-5n1/839/A",
        "Acurite 5n1 sensor/1361/A",
        "Fineoffset-WH51/0d83d0/-",
        "Fineoffset-WH51/0d83d0/-",
        "Bresser-6in1/405274682/0",
        "Toyota/fb26ac5a/-",
        "Schrader/3DA1F08/-",
        "Ford-CarRemote/84281096/-",
        "Hyundai-WS/22/1",
    ]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("1772349486.250000", datetime(2026, 3, 1, 7, 18, 6, 250_000, UTC)),
        (1772349486, datetime(2026, 3, 1, 7, 18, 6, tzinfo=UTC)),
        ("2026-03-01T07:18:06Z", datetime(2026, 3, 1, 7, 18, 6, tzinfo=UTC)),
        ("2026-03-01T08:18:06.5+0100", datetime(2026, 3, 1, 7, 18, 6, 500_000, UTC)),
        ("@0.087052s", RECEIVED),
        ("2026-03-01 07:18:06", RECEIVED),
        ("2026-03-01T07:18:06", RECEIVED),
        ("2031-03-01T07:18:06Z", RECEIVED),
        ("1970-01-01T00:00:09Z", RECEIVED),
        ("yesterday", RECEIVED),
        (None, RECEIVED),
        ({}, RECEIVED),
    ],
)
def test_a_time_that_cannot_be_placed_is_that_of_receiving(
    time: object, expected: datetime
) -> None:
    line = json.dumps({"time": time, "model": "Nexus-TH"}).encode()
    assert packet(line).time == expected


def test_without_any_time_it_is_that_of_receiving() -> None:
    assert packet(b'{"model": "Nexus-TH"}').time == RECEIVED


def test_a_packet_sent_twice_says_the_same_although_it_was_received_otherwise() -> None:
    first, again = PACKETS[3], PACKETS[4]
    assert first.time != again.time
    assert first.content() == again.content()
    assert len({each.content() for each in PACKETS}) == len(PACKETS) - 1


def test_a_key_printed_twice_counts_once_and_not_at_all_where_the_two_differ() -> None:
    assert PACKETS[5].document["mic"] == "CRC"
    found = packet(b'{"model": "A", "mic": "CRC", "t": 1, "mic": "PARITY", "t": 2, "u": 3, "u": 3}')
    assert found.document == {"model": "A", "mic": "PARITY", "u": 3}


@pytest.mark.parametrize(
    "line", [b"", b"  \r", b"{}", b'{"time": "x"}', b'{"model": ""}', b'{"model": 3}']
)
def test_what_names_no_model_is_no_packet(line: bytes) -> None:
    assert read_packet(line, RECEIVED) is None


@pytest.mark.parametrize(
    "line",
    [b"Registered 145 out of 223", b'{"model": ', b"[1]", b"3", b'{"model": NaN}', b"\xff{}"],
)
def test_what_is_no_json_object_is_a_fault(line: bytes) -> None:
    with pytest.raises(FieldError):
        read_packet(line, RECEIVED)


def test_vehicles_are_told_by_type_and_by_model_and_weather_stations_are_not() -> None:
    assert [each.transmitter.model for each in PACKETS if identifies_vehicle(each.document)] == [
        "Toyota",
        "Schrader",
        "Ford-CarRemote",
    ]


@pytest.mark.parametrize(
    "model", ["Schrader-EG53MA4", "BMW-GEN5", "EezTire-E618", "Unheard-TPMS", "Denso-Key"]
)
def test_vehicles_are_known_without_their_type(model: str) -> None:
    assert is_vehicle_model(model)


def test_a_tyre_is_known_by_how_its_pressure_is_named_and_the_air_is_not() -> None:
    assert identifies_vehicle({"model": "Unheard-of", "pressure_PSI": 31.5})
    assert not identifies_vehicle({"model": "Unheard-of", "pressure_hPa": 1013.2})


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_line_is_too_strange(line: bytes) -> None:
    try:
        found = read_packet(line, RECEIVED)
    except FieldError:
        return
    if found is not None:
        assert found.time.utcoffset() is not None
        assert isinstance(found.content(), str)
        assert identifies_vehicle(found.document) in (True, False)


@pytest.mark.parametrize("model", ["Hyundai-WS", "Nexus-TH", "Average-Weather", "LaCrosse-TX141W"])
def test_others_are_no_vehicles(model: str) -> None:
    assert not is_vehicle_model(model)


def test_a_claim_without_id_or_channel_takes_any() -> None:
    sent = Transmitter("Nexus-TH", "184", "2")
    for claim in (sent, sent._replace(id=""), sent._replace(channel=""), Transmitter("Nexus-TH")):
        assert sent.is_claimed_by(claim)
    for claim in (sent._replace(id="185"), sent._replace(channel="1"), Transmitter("Nexus")):
        assert not sent.is_claimed_by(claim)


def test_repeats_are_those_of_a_few_seconds_from_the_first_on() -> None:
    repeats = Repeats(3.0)
    first, again, other = PACKETS[3], PACKETS[4], PACKETS[5]
    heard = [(first, 0.0), (again, 0.04), (first, 2.9), (again, 3.1), (other, 3.2), (first, 3.3)]
    found = [repeats.is_repeat(packet, at) for packet, at in heard]
    assert found == [False, True, True, False, False, False]
    assert not Repeats(0.0).is_repeat(first, 0.0)


@given(st.lists(st.binary().map(lambda line: line.replace(b"\n", b""))), st.data())
def test_lines_are_cut_alike_however_they_arrive(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    splitter = LineSplitter()
    found: list[bytes] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[begin:end])
    assert found == lines


def test_a_line_without_end_fills_no_memory_and_spoils_only_itself() -> None:
    splitter = LineSplitter()
    assert not list(splitter.feed(b"before"))
    for _ in range(100):
        assert not list(splitter.feed(b"x" * 10_000))
        assert len(splitter._begun) <= 65_536
    assert list(splitter.feed(b"end\nafter\n")) == [b"after"]
