import csv
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_protocol import senml
from device_protocol.errors import PayloadError, ReadingTimeError
from device_protocol.reading import UNFLAGGED, Quality, Reading
from device_protocol.senml import Record, decode_cbor, decode_json, encode_cbor, encode_json

LABELS = {
    "bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6,
    "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8,
}  # fmt: skip
T0 = 1_795_000_000
MICRO = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = Path(__file__).parents[3] / "device_protocol" / "data" / "senml_units.csv"


def _in_cbor(pack: Any) -> bytes:
    """Encode a pack written with JSON's labels, by another library."""
    encoded: bytes = cbor2.dumps(
        [{LABELS.get(label, label): value for label, value in entry.items()} for entry in pack]
    )
    return encoded


def _in_json(pack: Any) -> bytes:
    return json.dumps(pack).encode()


FORMS = pytest.mark.parametrize(
    ("write", "read"), [(_in_cbor, decode_cbor), (_in_json, decode_json)], ids=["cbor", "json"]
)
Write = Callable[[Any], bytes]
Read = Callable[[bytes], list[Record]]


def _resolved(pack: Any, write: Write, read: Read) -> list[Record]:
    return read(write(pack))


def test_example_of_rfc_8428_section_6() -> None:
    payload = bytes.fromhex(
        "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b001062"
        "23614120050067766f6c74616765016156 02fb405e066666666666"
        "a3006763757272656e74062402fb3ff3333333333333"
        "a3006763757272656e74062302fb3ff4cccccccccccd"
        "a3006763757272656e74062202fb3ff6666666666666"
        "a3006763757272656e74062102f93e00"
        "a3006763757272656e74062002fb3ff999999999999a"
        "a3006763757272656e74060002fb3ffb333333333333"
    )
    name = "urn:dev:ow:10e2073a0108006:"
    at = 1_276_020_076_001_000
    assert decode_cbor(payload) == [
        Record(name + "voltage", "V", at, 120.1, None),
        Record(name + "current", "A", at - 5 * MICRO, 1.2, None),
        Record(name + "current", "A", at - 4 * MICRO, 1.3, None),
        Record(name + "current", "A", at - 3 * MICRO, 1.4, None),
        Record(name + "current", "A", at - 2 * MICRO, 1.5, None),
        Record(name + "current", "A", at - 1 * MICRO, 1.6, None),
        Record(name + "current", "A", at, 1.7, None),
    ]


@FORMS
def test_base_fields_hold_until_they_are_said_again(write: Write, read: Read) -> None:
    pack = [
        {"bn": "urn:a:", "bt": T0, "bu": "Cel", "bv": 20, "bs": 100, "n": "x", "v": 1.5},
        {"n": "y", "u": "%RH", "v": -0.25, "t": -60, "s": 1},
        {"bv": 0, "n": "x", "v": 3},
        {"bn": "urn:b:", "bu": "V"},
        {"bs": 0, "n": "z", "s": 5, "t": 0.5},
        {"bt": T0 + 100, "n": "z", "v": 1},
    ]
    assert _resolved(pack, write, read) == [
        Record("urn:a:x", "Cel", T0 * MICRO, 21.5, None),
        Record("urn:a:y", "%RH", (T0 - 60) * MICRO, 19.75, 101.0),
        Record("urn:a:x", "Cel", T0 * MICRO, 3.0, None),
        Record("urn:b:z", "V", T0 * MICRO + 500_000, None, 5.0),
        Record("urn:b:z", "V", (T0 + 100) * MICRO, 1.0, None),
    ]


@FORMS
def test_every_kind_of_value(write: Write, read: Read) -> None:
    data: Any = b"\xfb\xff\0" if write is _in_cbor else "-_8A"
    pack = [
        {"bt": T0, "n": "number", "v": 1},
        {"n": "text", "vs": "Straße"},
        {"n": "truth", "vb": False},
        {"n": "data", "vd": data},
        {"bn": "whole", "v": 2, "ut": 30},
    ]
    records = _resolved(pack, write, read)
    assert [record.value for record in records] == [1.0, "Straße", False, b"\xfb\xff\0", 2.0]
    assert [record.name for record in records] == ["number", "text", "truth", "data", "whole"]
    assert [type(record.value) for record in records[:3]] == [float, str, bool]


@FORMS
@pytest.mark.parametrize("time", [T0, T0 + 0.5, T0 + 0.000001, T0 + 0.123457, 2**28, 4e9])
def test_times_are_exact_to_the_microsecond(write: Write, read: Read, time: float) -> None:
    (record,) = _resolved([{"n": "x", "t": time, "v": 0}], write, read)
    assert record.time_microseconds == round(time * MICRO)


@FORMS
@pytest.mark.parametrize(
    "pack",
    [
        [{"n": "x", "v": 1}],
        [{"n": "x", "v": 1, "t": 0}],
        [{"n": "x", "v": 1, "t": -5}],
        [{"n": "x", "v": 1, "t": 2**28 - 1}],
        [{"bt": T0, "n": "x", "v": 1}, {"bt": 0, "n": "x", "v": 1, "t": 60}],
        [{"n": "x", "v": 1, "t": 253_402_300_800}],
        [{"n": "x", "v": 1, "t": 1e300}],
        [{"bt": 2**63, "n": "x", "v": 1}],
    ],
)
def test_times_relative_to_now_or_beyond_the_calendar(write: Write, read: Read, pack: Any) -> None:
    with pytest.raises(ReadingTimeError):
        _resolved(pack, write, read)


@FORMS
@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"n": "x"},
        {"n": "x", "u": "Cel"},
        {"v": 1},
        {"n": "", "v": 1},
        {"n": "a b", "v": 1},
        {"n": ":a", "v": 1},
        {"n": "ä", "v": 1},
        {"n": 1, "v": 1},
        {"n": None, "v": 1},
        {"bn": 1, "n": "x", "v": 1},
        {"n": "x", "v": True},
        {"n": "x", "v": "1"},
        {"n": "x", "v": None},
        {"n": "x", "vs": 1},
        {"n": "x", "vb": 1},
        {"n": "x", "vd": 1},
        {"n": "x", "vs": "a\0b"},
        {"n": "x", "v": 1, "vs": "1"},
        {"n": "x", "vb": True, "vs": "1"},
        {"n": "x", "v": 1, "u": 1},
        {"n": "x", "v": 1, "u": None},
        {"n": "x", "v": 1, "u": "\0"},
        {"n": "x", "v": 1, "bu": 1},
        {"n": "x", "v": 1, "t": "1"},
        {"n": "x", "v": 1, "t": True},
        {"n": "x", "v": 1, "ut": "1"},
        {"n": "x", "s": "1"},
        {"n": "x", "s": True},
        {"n": "x", "v": 1, "bv": "1"},
        {"n": "x", "v": 1e308, "bv": 1.7e308},
        {"n": "x", "s": -1e308, "bs": -1.7e308},
        {"n": "x", "v": 1, "bver": 11},
        {"n": "x", "v": 1, "bver": 42},
        {"n": "x", "v": 1, "bver": 0},
        {"n": "x", "v": 1, "bver": 10.0},
        {"n": "x", "v": 1, "bver": "10"},
        {"n": "x", "v": 1, "danger_": 1},
        {"n": "x", "v": 1, "_": 1},
        {"n": "x", "v": 1, "kq": -1},
        {"n": "x", "v": 1, "kq": 1 << 15},
        {"n": "x", "v": 1, "kq": 1.0},
        {"n": "x", "v": 1, "kq": True},
        {"n": "x", "v": 1, "kq": "1"},
        {"n": "x", "v": 1, "kq": None},
    ],
)
def test_what_is_no_record_is_refused(write: Write, read: Read, entry: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        _resolved([{"bt": T0, "n": "good", "v": 1}, entry], write, read)


@FORMS
def test_unknown_fields_that_may_be_ignored_are(write: Write, read: Read) -> None:
    pack = [{"bt": T0, "n": "x", "v": 1, "quality": "good", "note": True}]
    assert _resolved(pack, write, read) == [Record("x", "", T0 * MICRO, 1.0, None)]


@FORMS
def test_flags_belong_to_one_record_each(write: Write, read: Read) -> None:
    pack = [
        {"bt": T0, "n": "x", "v": 1, "kq": 9},
        {"n": "x", "v": 1, "t": 1},
        {"n": "x", "v": 1, "t": 2, "kq": 0},
        {"n": "x", "vb": True, "t": 3, "kq": 16},
    ]
    assert [record.quality for record in _resolved(pack, write, read)] == [9, 0, 0, 16]


@FORMS
def test_flags_of_later_versions_are_left_out(write: Write, read: Read) -> None:
    pack = [{"bt": T0, "n": "x", "v": 1, "kq": (1 << 14) + 32}]
    assert [record.quality for record in _resolved(pack, write, read)] == [32]


@FORMS
def test_a_gateway_cannot_say_that_its_reading_was_corrected(write: Write, read: Read) -> None:
    pack = [{"bt": T0, "n": "x", "v": 1, "kq": int(Quality.CORRECTED | Quality.SUSPECT)}]
    assert [record.quality for record in _resolved(pack, write, read)] == [Quality.SUSPECT]


def test_an_unflagged_reading_says_nothing_of_flags() -> None:
    assert b"kq" not in encode_json([_flagged(UNFLAGGED)])
    assert b"kq" not in encode_cbor([_flagged(UNFLAGGED)])


@given(st.integers(0, 63))
def test_flags_travel_in_both_forms(mask: int) -> None:
    reading = _flagged(Quality(mask))
    assert [record.quality for record in decode_cbor(encode_cbor([reading]))] == [mask]
    assert [record.quality for record in decode_json(encode_json([reading]))] == [mask]


def _flagged(quality: Quality) -> Reading:
    return Reading(
        sensor="urn:dev:x", name="y", phenomenon_time=EPOCH + timedelta(seconds=T0),
        result=1.5, unit="Cel", quality=quality,
    )  # fmt: skip


@FORMS
@pytest.mark.parametrize("version", [1, 5, 10, 26])
def test_one_known_version_for_the_whole_pack(write: Write, read: Read, version: int) -> None:
    entry = {"n": "x", "t": T0, "v": 1}
    base = {"bver": version}
    assert len(_resolved([entry | base, entry, entry | base], write, read)) == 2 + 1
    assert len(_resolved([base, entry], write, read)) == 1
    if version != senml.VERSION:
        with pytest.raises(PayloadError, match="in a pack of version"):
            _resolved([entry, entry | base], write, read)


def test_empty_pack_is_a_sign_of_life() -> None:
    assert decode_cbor(encode_cbor([])) == []
    assert decode_json(encode_json([])) == []


# --- what only CBOR can get wrong, or say differently


def test_other_encodings_of_the_same_pack_are_read() -> None:
    expected = [Record("x", "", 2**31 * MICRO, 1.5, None)]
    for payload in (
        "81 a3 00 6178 06 1a80000000 02 f93e00",
        "81 a3 00 6178 06 1b0000000080000000 02 fa3fc00000",
        "9f bf 00 6178 06 1a80000000 02 fb3ff8000000000000 ff ff",
        "9801 b803 1800 7801 78 1806 1a80000000 1802 c482200f",
        "9b0000000000000001 a3 06 fa4f000000 00 6178 02 c482 3800 19000f",
        "9a00000001 b90003 00 6178 06 c482 00 1a80000000 02 f93e00",
    ):
        assert decode_cbor(bytes.fromhex(payload)) == expected, payload


@pytest.mark.parametrize(
    "payload",
    [
        "a0",
        "81",
        "8180",
        "8100",
        "81a400617802010202061a80000000",
        "81bf00617802010202061a80000000ff",
        "81a30061780281010 61a80000000".replace(" ", ""),
        "81a300617802a0061a80000000",
        "81a300617802c101061a80000000",
        "81a300617802c48120061a80000000",
        "81a300617802c482f93c0001061a80000000",
        "81a300617802c48220c48220c4822001061a80000000",
        "81a300617802f97e00061a80000000",
        "81a300617802f97c00061a80000000",
        "81a300617802c4821903e801061a80000000",
        "81a300617802f7061a80000000",
        "81a3007f6178ff0201061a80000000",
        "81a30061ff0201061a80000000",
        "81a3006178617601061a80000000",
        "81a3006178f501061a80000000",
        "81a3006178410201061a80000000",
        "81a300617802 1c061a80000000".replace(" ", ""),
        "81a3006178061a8000000002f93e0000",
        "9f a3006178061a8000000002f93e00".replace(" ", ""),
    ],
)
def test_other_cbor_is_refused(payload: str) -> None:
    with pytest.raises(PayloadError):
        decode_cbor(bytes.fromhex(payload))


def test_every_cut_of_a_pack_is_refused() -> None:
    payload = encode_cbor(_readings(20))
    for end in range(len(payload)):
        with pytest.raises(PayloadError):
            decode_cbor(payload[:end])


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_a_refusal(payload: bytes) -> None:
    for decode in (decode_cbor, decode_json):
        try:
            decode(payload)
        except (PayloadError, ReadingTimeError):
            continue
        assert payload in {b"\x80", b"\x9f\xff", b"[]"} or len(payload) > 2


@given(st.data())
def test_damaged_packs_raise_nothing_but_a_refusal(data: st.DataObject) -> None:
    encode, decode = data.draw(
        st.sampled_from([(encode_cbor, decode_cbor), (encode_json, decode_json)])
    )
    payload = encode(_readings(3))
    begin = data.draw(st.integers(0, len(payload)))
    end = data.draw(st.integers(begin, len(payload)))
    damaged = payload[:begin] + data.draw(st.binary(max_size=6)) + payload[end:]
    with suppress(PayloadError, ReadingTimeError):
        decode(damaged)


# --- what only JSON can get wrong


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{}",
        "7",
        "[7]",
        "[[]]",
        '[{"n":"x","t":1795000000,"v":NaN}]',
        '[{"n":"x","t":1795000000,"v":Infinity}]',
        '[{"n":"x","t":1795000000,"v":-Infinity}]',
        '[{"n":"x","t":1795000000,"v":1e999}]',
        '[{"n":"x","t":1795000000,"v":1' + 400 * "0" + "}]",
        '[{"n":"x","t":1795000000,"v":1,"v":2}]',
        '[{"n":"x","t":1795000000,"v":1,"q":1,"q":1}]',
        '[{"n":"x","t":1795000000,"v":[1]}]',
        '[{"n":"x","t":1795000000,"v":{"v":1}}]',
        '[{"n":"x","t":1795000000,"vd":"a"}]',
        '[{"n":"x","t":1795000000,"vd":"+/8A"}]',
        '[{"n":"x","t":1795000000,"vd":"QQ=="}]',
        '[{"n":"x","t":1795000000,"vs":"\\ud83d"}]',
        '[{"n":"x","t":1795000000,"vs":"\\u0000"}]',
        '[{"n":"x","t":1795000000,"v":1}] x',
        2000 * "[",
    ],
)
def test_other_json_is_refused(payload: str) -> None:
    with pytest.raises(PayloadError):
        decode_json(payload.encode())


def test_a_time_of_hundreds_of_digits_is_refused() -> None:
    payload = '[{"n":"x","t":1' + 4000 * "0" + ',"v":1}]'
    with pytest.raises(ReadingTimeError):
        decode_json(payload.encode())


# --- what we write


def _readings(count: int) -> list[Reading]:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    return [
        Reading(
            sensor="urn:dev:k7q2m9xd4t:pm",
            name=("pm25", "pm10")[number % 2],
            phenomenon_time=noon + timedelta(seconds=10 * number),
            result=12.34 + number / 7,
            unit="ug/m3",
        )
        for number in range(count)
    ]


READINGS = st.builds(
    Reading,
    sensor=st.sampled_from(["urn:dev:k7:pm", "urn:dev:k7:gas", "a"]),
    name=st.from_regex(r"[a-z0-9_.\-/]{1,6}", fullmatch=True),
    phenomenon_time=st.integers(T0 * MICRO - 2**50, T0 * MICRO + 2**50).map(
        lambda micros: EPOCH + timedelta(microseconds=micros)
    ),
    result=st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    unit=st.sampled_from(["", "Cel", "ug/m3", "%RH"]),
)


def _kinds(record: Record) -> list[type]:
    return [type(part) for part in record]  # True == 1.0, but is not the same result


@settings(max_examples=60)
@given(st.lists(READINGS, max_size=6))
def test_what_is_encoded_is_what_is_decoded(readings: list[Reading]) -> None:
    expected = [
        Record(
            f"{reading.sensor}:{reading.name}",
            reading.unit,
            (reading.phenomenon_time - EPOCH) // timedelta(microseconds=1),
            float(reading.result) if type(reading.result) is int else reading.result,
            None,
        )
        for reading in readings
    ]
    for records in (decode_cbor(encode_cbor(readings)), decode_json(encode_json(readings))):
        assert records == expected
        assert list(map(_kinds, records)) == list(map(_kinds, expected))


def test_shared_facts_are_said_once() -> None:
    first, *others = json.loads(encode_json(_readings(100)))
    assert first == {
        "bver": 26,
        "bn": "urn:dev:k7q2m9xd4t:pm:",
        "bt": 1_795_176_000,
        "bu": "ug/m3",
        "n": "pm25",
        "v": 12.34,
    }
    assert all(entry.keys() == {"n", "t", "v"} for entry in others)
    assert len(encode_cbor(_readings(100))) < 2150


def test_both_forms_say_the_same_to_another_library() -> None:
    readings = _readings(5)
    names = {label: name for name, label in LABELS.items()}
    entries = [
        {names[label]: value for label, value in entry.items()}
        for entry in cbor2.loads(encode_cbor(readings))
    ]
    assert entries == json.loads(encode_json(readings))


def test_whole_numbers_take_few_bytes() -> None:
    (reading,) = _readings(1)
    plain = Reading(
        sensor=reading.sensor,
        name=reading.name,
        phenomenon_time=reading.phenomenon_time,
        result=21.0,
        unit="Cel",
    )
    (entry,) = cbor2.loads(encode_cbor([plain]))
    assert (entry[2], type(entry[2])) == (21, int)


def test_the_feature_of_secondary_units_is_announced_only_if_used() -> None:
    (reading,) = _readings(1)
    assert cbor2.loads(encode_cbor([reading]))[0][-1] == 26
    primary = Reading(
        sensor=reading.sensor,
        name="t",
        phenomenon_time=reading.phenomenon_time,
        result=21.0,
        unit="Cel",
    )
    assert -1 not in cbor2.loads(encode_cbor([primary]))[0]


def test_secondary_units_are_those_of_the_registry() -> None:
    with UNITS.open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["registry"] == "secondary"]
    registered = {row["symbol"] for row in rows}
    assert registered == senml.SECONDARY_UNITS
