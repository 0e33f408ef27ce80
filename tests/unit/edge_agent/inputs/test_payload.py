"""Decoding by tables: what each form means, and that nothing is guessed."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inputs.decoder_tables import (
    BlockSettings,
    DecodedSettings,
    DecoderSettings,
    FieldSettings,
    MessageSettings,
    PieceSettings,
    TypeSettings,
)
from edge_agent.inputs.payload import (
    Decoder,
    FrameError,
    Result,
    Value,
    decoder_names,
    load_decoder,
)


def decoder(*messages: MessageSettings, **units: str) -> Decoder:
    streams = tuple(
        DecodedSettings(
            name=name, title=name, description=name, observed_property="tilt", unit=unit
        )
        for name, unit in units.items()
    )
    return Decoder(
        DecoderSettings(
            maker="Example", model="E1", document="", datastream=streams, message=messages
        )
    )


def one_field(payload: str, unit: str = "m", **settings: object) -> Result | None:
    """Return what a frame of one field of that name says."""
    field = FieldSettings(**({"name": "x", "at": 0} | settings))  # type: ignore[arg-type]
    data = bytes.fromhex(payload)
    values = decoder(MessageSettings(length=len(data), field=(field,)), x=unit).decode(1, data)
    return values[0].result if values else None


@pytest.mark.parametrize(
    ("payload", "settings", "result"),
    [
        ("80", {"type": "u8"}, 128.0),
        ("80", {"type": "i8"}, -128.0),
        ("ff38", {"type": "u16"}, 65336.0),
        ("ff38", {"type": "i16"}, -200.0),
        ("38ff", {"type": "i16", "endian": "little"}, -200.0),
        ("800000", {"type": "u24"}, 8388608.0),
        ("800000", {"type": "i24"}, -8388608.0),
        ("000080", {"type": "i24", "endian": "little"}, -8388608.0),
        ("ffffffff", {"type": "u32"}, 4294967295.0),
        ("fffffffe", {"type": "i32"}, -2.0),
        ("41480000", {"type": "f32"}, 12.5),
        ("00004841", {"type": "f32", "endian": "little"}, 12.5),
        ("0304050607", {"type": "u16", "at": 2}, 1286.0),
        ("8d41", {"type": "u16", "bits": (0, 13)}, 3393.0),
        ("8d41", {"type": "u16", "bits": (15, 15)}, 1.0),
        ("f0", {"type": "i8", "bits": (4, 7)}, -1.0),
        ("70", {"type": "i8", "bits": (4, 7)}, 7.0),
        ("00e2", {"type": "u16", "divisor": 10.0}, 22.6),
        (
            "67bd",
            {"type": "u16", "scale": 175.72, "divisor": 65536.0, "offset": -46.85},
            24.3566046143,
        ),
        ("0003", {"type": "u16", "scale": 0.1}, 0.3),
        ("7fff", {"type": "i16", "absent": (32767,)}, None),
        ("0013", {"type": "u16", "least": 20}, None),
        ("0014", {"type": "u16", "least": 20}, 20.0),
        ("0015", {"type": "u16", "most": 20}, None),
        ("02", {"type": "u8", "values": {"2": 7}}, 7.0),
        ("ff", {"type": "i8", "values": {"-1": 3.5}}, 3.5),
        ("010203", {"type": "dotted", "length": 3}, "1.2.3"),
    ],
)
def test_a_field_is_read_as_its_table_says(
    payload: str, settings: dict[str, object], result: Result | None
) -> None:
    found = one_field(payload, "m", **settings)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("payload", "result"), [("00", False), ("01", True), ("fe", False), ("ff", True)]
)
def test_a_bit_of_a_datastream_of_truth_values_is_one(payload: str, *, result: bool) -> None:
    assert one_field(payload, "bool", type="u8", bits=(0, 0)) is result


def test_words_may_be_truth_values_and_texts() -> None:
    words = {"0": False, "1": True, "3": True}
    assert one_field("03", "bool", type="u8", values=words) is True
    assert one_field("01", "1", type="u8", values={"1": "watchdog"}) == "watchdog"


@pytest.mark.parametrize(
    ("raw", "result"),
    [(0, 0), (89, 89), (90, 90), (91, 95), (119, 235), (120, 240), (126, 600), (127, None)],
)
def test_a_scale_may_bend_and_end(raw: int, result: float | None) -> None:
    """The compressed duration of Nwave's guide, section 4.2.1."""
    pieces = (
        PieceSettings(below=90, scale=1),
        PieceSettings(below=120, scale=5, offset=-360),
        PieceSettings(below=127, scale=60, offset=-6960),
    )
    assert one_field(f"{raw:02x}", type="u8", pieces=pieces) == result


@pytest.mark.parametrize(
    ("payload", "unit", "settings", "reason"),
    [
        ("02", "bool", {"type": "u8"}, "unknown-value"),
        ("02", "m", {"type": "u8", "values": {"1": 1}}, "unknown-value"),
        ("7fc00000", "m", {"type": "f32"}, "not-finite"),
        ("7f800000", "m", {"type": "f32"}, "not-finite"),
        ("7f7fffff", "m", {"type": "f32", "scale": 1e300}, "not-finite"),
    ],
)
def test_a_value_that_the_table_does_not_know_is_refused(
    payload: str, unit: str, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(FrameError) as refused:
        one_field(payload, unit, **settings)
    assert refused.value.reason == reason


def test_a_value_that_is_not_reported_may_be_unknown() -> None:
    field = FieldSettings(name="cause", type="u8", values={"1": "watchdog"})
    found = decoder(MessageSettings(length=1, field=(field,))).decode(1, b"\x09")
    assert found == (Value("cause", 9.0),)


DEPTH = FieldSettings(name="depth", type="u16")


def test_messages_are_told_by_port_first_bytes_and_length() -> None:
    later = FieldSettings(name="depth", type="u16", at=1)
    made = decoder(
        MessageSettings(f_port=(1,), length=2, field=(DEPTH,)),
        MessageSettings(f_port=(2, 3), starts="aa", length=3, field=(later,)),
        MessageSettings(f_port=(2, 3), starts="bb", length=3),
        depth="m",
    )
    assert made.decode(1, b"\0\7") == (Value("depth", 7.0),)
    assert made.decode(3, b"\xaa\0\7") == (Value("depth", 7.0),)
    assert made.decode(2, b"\xbb\0\7") == ()


@pytest.mark.parametrize(
    ("f_port", "payload", "reason"),
    [
        (4, "0007", "unknown-port"),
        (1, "07", "wrong-length"),
        (1, "000700", "wrong-length"),
        (1, "", "wrong-length"),
        (2, "cc", "unknown-type"),
        (2, "", "unknown-type"),
        (2, "aa00", "wrong-length"),
    ],
)
def test_a_frame_of_no_known_message_is_refused(f_port: int, payload: str, reason: str) -> None:
    made = decoder(
        MessageSettings(f_port=(1,), length=2, field=(DEPTH,)),
        MessageSettings(f_port=(2,), starts="aa", length=3),
        depth="m",
    )
    with pytest.raises(FrameError) as refused:
        made.decode(f_port, bytes.fromhex(payload))
    assert refused.value.reason == reason


TAGGED = decoder(
    MessageSettings(
        tag_bytes=1,
        type=(
            TypeSettings(tag="01", length=2, field=(DEPTH,)),
            TypeSettings(tag="02", length=1, when_at=0, when=5),
            TypeSettings(
                tag="03",
                length=6,
                field=(FieldSettings(name="kept", type="u32", time=True), DEPTH),
            ),
            TypeSettings(tag="3e"),
        ),
    ),
    depth="m",
)


def test_tagged_values_come_in_any_order_and_others_are_passed_over() -> None:
    assert TAGGED.decode(9, bytes.fromhex("0205010007")) == (Value("depth", 7.0),)
    assert TAGGED.decode(9, bytes.fromhex("0100070205")) == (Value("depth", 7.0),)
    assert TAGGED.decode(9, bytes.fromhex("0100073effffff")) == (Value("depth", 7.0),)


def test_values_that_a_device_kept_have_their_own_time() -> None:
    found = TAGGED.decode(9, bytes.fromhex("0100070365f0b3c0000803" + "65f0b3fc0009"))
    assert found == (
        Value("depth", 7.0),
        Value("depth", 8.0, datetime(2024, 3, 12, 19, 57, 52, tzinfo=UTC)),
        Value("depth", 9.0, datetime(2024, 3, 12, 19, 58, 52, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "wrong-length"),
        ("0100", "wrong-length"),
        ("01000704", "unknown-type"),
        ("0206", "unknown-type"),
        ("02", "unknown-type"),
        ("01000701", "wrong-length"),
        ("010007010008", "repeated-value"),
    ],
)
def test_a_run_of_tagged_values_is_taken_as_a_whole_or_refused(payload: str, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        TAGGED.decode(9, bytes.fromhex(payload))
    assert refused.value.reason == reason


def test_the_same_value_twice_is_one() -> None:
    assert TAGGED.decode(9, bytes.fromhex("010007010007")) == (Value("depth", 7.0),)


ANNOUNCED = decoder(
    MessageSettings(
        starts="02",
        flags_at=1,
        field=(FieldSettings(name="version", type="u8"),),
        block=(
            BlockSettings(bit=0, length=2, field=(DEPTH,)),
            BlockSettings(bit=2, length=1, field=(FieldSettings(name="wet", type="u8"),)),
        ),
    ),
    depth="m",
    wet="bool",
)


def test_blocks_are_there_where_their_bit_says_so() -> None:
    version = Value("version", 2.0)
    assert ANNOUNCED.decode(1, bytes.fromhex("020000")) == (version,)
    assert ANNOUNCED.decode(1, bytes.fromhex("02000401")) == (version, Value("wet", result=True))
    both = (version, Value("depth", 7.0), Value("wet", result=False))
    assert ANNOUNCED.decode(1, bytes.fromhex("020005000700")) == both


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("010000", "unknown-type"),
        ("0200", "wrong-length"),
        ("02000100", "wrong-length"),
        ("0200010007ff", "wrong-length"),
        ("020002", "unknown-type"),
        ("028000", "unknown-type"),
    ],
)
def test_blocks_that_are_not_as_announced_are_refused(payload: str, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        ANNOUNCED.decode(1, bytes.fromhex(payload))
    assert refused.value.reason == reason


def test_what_a_milesight_device_kept_has_its_time() -> None:
    found = load_decoder(Path("milesight-em500-swl")).decode(85, bytes.fromhex("20ce9e744663f401"))
    assert found == (Value("water_level", 5.0, datetime(2022, 10, 12, 8, 2, 38, tzinfo=UTC)),)


def test_a_people_counter_keeps_two_kinds_of_records() -> None:
    table = load_decoder(Path("milesight-vs350"))
    short = table.decode(85, bytes.fromhex("20ce9e7446630005000600"))
    long = table.decode(85, bytes.fromhex("20ce9e74466301050006001111" + "1211"))
    assert {value.name for value in short} == {"kind", "period_in", "period_out"}
    assert {value.name: value.result for value in long} == {
        "kind": 1.0,
        "period_in": 5.0,
        "period_out": 6.0,
        "total_in": 4369.0,
        "total_out": 4370.0,
    }


def test_a_sound_level_of_another_weighting_is_not_taken_for_this_one() -> None:
    table = load_decoder(Path("milesight-ws302"))
    assert table.decode(85, bytes.fromhex("055b053f02da016a02"))
    with pytest.raises(FrameError, match="055b"):
        table.decode(85, bytes.fromhex("055b063f02da016a02"))


def test_a_distance_that_is_none_makes_no_value() -> None:
    table = load_decoder(Path("dragino-ldds75"))
    names = {value.name for value in table.decode(2, bytes.fromhex("0e1c0000007fff00"))}
    assert names == {"battery_voltage", "interrupt", "sensor_found"}
    found = {v.name: v.result for v in table.decode(2, bytes.fromhex("4e1c0b0500ff3f01"))}
    assert found["battery_voltage"] == 3.612
    assert found["distance"] == 2.821
    assert found["temperature"] == -19.3


def test_a_counter_as_it_comes_from_the_maker_speaks_as_elsys_does() -> None:
    found = load_decoder(Path("parametric-pcr2")).decode(14, bytes.fromhex("0a0003160004010139"))
    assert [(value.name, value.result) for value in found] == [
        ("left_to_right", 3.0),
        ("right_to_left", 4.0),
        ("device_temperature", 31.3),
    ]


@given(
    name=st.sampled_from(decoder_names()),
    f_port=st.sampled_from([1, 2, 3, 6, 14, 85, 190, 255]),
    start=st.sampled_from(
        ["", "02", "021b50000f", "02035a0003", "be0104", "be0105", "0175", "20ce"]
    ),
    rest=st.binary(max_size=64),
)
def test_no_frame_raises_anything_but_its_own_error(
    name: str, f_port: int, start: str, rest: bytes
) -> None:
    try:
        values = load_decoder(Path(name)).decode(f_port, bytes.fromhex(start) + rest)
    except FrameError:
        return
    assert len({(value.name, value.time) for value in values}) == len(values)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
FIELDS = st.builds(
    FieldSettings,
    name=st.sampled_from(["x", "y", "z"]),
    type=st.sampled_from(["u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32", "f32"]),
    endian=st.sampled_from([None, "big", "little"]),
    bits=st.sampled_from([(), (0, 0), (3, 7), (0, 31)]),
    scale=NUMBERS,
    divisor=NUMBERS,
    offset=NUMBERS,
    least=st.none() | st.integers(),
    absent=st.lists(st.integers(0, 255), max_size=2).map(tuple),
    values=st.dictionaries(st.integers(0, 255).map(str), NUMBERS, max_size=2),
    time=st.booleans(),
).filter(lambda field: not list(field.contradictions()))


@given(fields=st.lists(FIELDS, min_size=1, max_size=4), data=st.data())
def test_no_frame_of_any_table_raises_anything_but_its_own_error(
    fields: list[FieldSettings], data: st.DataObject
) -> None:
    length = sum(field.size for field in fields)
    made = decoder(MessageSettings(length=length, field=tuple(fields)), x="m", y="bool")
    try:
        values = made.decode(1, data.draw(st.binary(min_size=length, max_size=length)))
    except FrameError:
        return
    for value in values:
        assert not isinstance(value.result, str)
        assert abs(value.result) < math.inf


@given(raw=st.integers(0, 0xFFFF))
def test_a_scaled_result_is_the_shortest_decimal(raw: int) -> None:
    result = one_field(f"{raw:04x}", type="u16", divisor=1000.0)
    assert result == float(f"{raw / 1000:.3f}")
