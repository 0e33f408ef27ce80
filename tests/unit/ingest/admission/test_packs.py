"""The quick way to read packs gives what the general way gives, or hands over to it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device_protocol import cbor
from device_protocol.errors import RejectionError
from device_protocol.reading import Quality, Reading
from device_protocol.senml import Record, decode_cbor, encode_cbor
from device_protocol.senml_cbor import decode_entries
from ingest.admission import habits, packs
from ingest.admission.readings import Columns, Origin, ReadingTable, Span
from ingest.admission.snapshot import Gateway, Stream

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
MICROSECONDS = int(START.timestamp()) * 1_000_000
HOUR = 3_600_000_000
EARLIEST, LATEST = MICROSECONDS - HOUR, MICROSECONDS + HOUR
AIR, ROAD = "urn:dev:air", "urn:dev:road"
STREAMS = {
    f"{AIR}:no2": Stream(1, "ug/m3", "ug/m3", 0.0, 1000.0),
    f"{AIR}:temp": Stream(2, "Cel", "Cel", -40.0, 60.0),
    f"{AIR}:pressure": Stream(3, "Pa", "Pa", 1e4, 2e5),
    f"{ROAD}:vehicles": Stream(4, "1", "/", -1e308, 1e308),
    f"{ROAD}:occupied": Stream(5, "bool", None, -1e308, 1e308),
}


class Taken(NamedTuple):
    """All that a pack leaves behind."""

    columns: bytes
    extras: object
    span: Span


def gateway() -> Gateway:
    return Gateway(1, 1, b"", STREAMS)


def laid_out(columns: Columns) -> bytes:
    found = columns.observations
    parts = (found.datastream_ids, found.times, found.values, columns.sources)
    return b"".join(part.tobytes() for part in parts)


def general(payload: bytes, known: Gateway, quality: int = 0) -> Taken | None:
    """Return what the general way makes of a pack; None if it refuses any of it."""
    refused: list[RejectionError] = []

    def refuse(_: Record, error: RejectionError) -> None:
        refused.append(error)

    table = ReadingTable()
    try:
        records = decode_cbor(payload)
    except RejectionError:
        return None
    origin = Origin("camden", "k7q2m9xd4t", "", 0, known)
    span = table.take(
        records, origin, earliest=EARLIEST, latest=LATEST, quality=quality, refuse=refuse
    )
    columns, _ = table.columns()
    return None if refused else Taken(laid_out(columns), columns.extras, span)


def quick(payload: bytes, known: Gateway, quality: int = 0) -> Taken | None:
    """Return what the quick way makes of a pack; None if it hands over."""
    readings = packs.read(payload, known, earliest=EARLIEST, latest=LATEST)
    if readings is None:
        return None
    table = ReadingTable()
    origin = Origin("camden", "k7q2m9xd4t", "", 0, known)
    span = table.take_pack(readings, origin, quality=quality)
    columns, _ = table.columns()
    return Taken(laid_out(columns), columns.extras, span)


UNITS = {"no2": "ug/m3", "temp": "Cel", "pressure": "Pa", "vehicles": "/", "occupied": ""}
PLACES = st.sampled_from([tuple(name.rsplit(":", 1)) for name in STREAMS if "occ" not in name])
OFFSETS = st.one_of(
    st.integers(-3600, 3600).map(float), st.floats(-3599, 3599), st.sampled_from([0.0, 0.5, 1e-6])
)
NUMBERS = st.one_of(
    st.integers(10_000, 59_999).map(lambda tenth: tenth / 1000),
    st.integers(0, 60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10_000.0, 65_535.0, 65_536.0, 100_000.0, 1e12, -40.0, -40.5, 0.0, -0.0, -1]),
)


@st.composite
def readings(draw: st.DrawFn, results: st.SearchStrategy[float | bool | str] = NUMBERS) -> Reading:
    sensor, name = draw(PLACES)
    return Reading(
        sensor=sensor,
        name=name,
        phenomenon_time=START + timedelta(seconds=draw(OFFSETS)),
        result=draw(results),
        unit=draw(st.sampled_from([UNITS[name]] * 9 + ["hPa"])),
        quality=Quality(draw(st.sampled_from([0, 0, 0, 0, 1, 8, 16, 40]))),
    )


def regular(count: int, **changes: object) -> list[Reading]:
    return [
        replace(
            Reading(
                sensor=AIR,
                name=("no2", "temp")[step % 2],
                phenomenon_time=START + timedelta(seconds=step // 2),
                result=step / 8,
                unit=("ug/m3", "Cel")[step % 2],
            ),
            **changes,
        )
        for step in range(count)
    ]


OF_TWO_SENSORS = [
    reading
    for pair in zip(
        regular(20), regular(20, sensor=ROAD, name="vehicles", unit="/", result=3), strict=True
    )
    for reading in pair
]


@pytest.mark.parametrize(
    "pack",
    [
        regular(1),
        regular(2),
        regular(23),
        regular(24),
        regular(300),
        regular(10, phenomenon_time=START + timedelta(microseconds=123_457)),
        regular(10, quality=Quality.SUSPECT),
        [*regular(10), *regular(2, quality=Quality.WARMING_UP | Quality.REPLAYED)],
        [*regular(10), *regular(1, sensor=ROAD, name="vehicles", unit="/", result=-70_000)],
        OF_TWO_SENSORS,
    ],
    ids=[
        "1",
        "2",
        "23",
        "24",
        "300",
        "fractions",
        "flagged",
        "some-flagged",
        "turn",
        "two-sensors",
    ],
)
@pytest.mark.parametrize("quality", [0, 2])
def test_packs_of_our_own_are_read_the_quick_way(pack: Sequence[Reading], quality: int) -> None:
    payload, known = encode_cbor(pack), gateway()
    expected = general(payload, known, quality)
    assert expected is not None
    assert quick(payload, known, quality) == expected
    assert quick(payload, known, quality) == expected  # what was learnt holds


KNOWN = gateway()


@given(st.lists(readings(), max_size=12))
@example(regular(3, result=1001.0))
@example(regular(3, phenomenon_time=START + timedelta(hours=2)))
def test_what_our_encoder_writes_is_read_alike(pack: list[Reading]) -> None:
    payload = encode_cbor(pack)
    taken = quick(payload, KNOWN)
    assert taken is None or taken == general(payload, KNOWN)


@given(st.lists(readings(), min_size=1, max_size=6), st.data())
def test_mutated_packs_are_read_alike(pack: list[Reading], data: st.DataObject) -> None:
    payload = bytearray(encode_cbor(pack))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        width = data.draw(st.integers(0, 12))
        put = data.draw(st.one_of(st.binary(max_size=3), st.just(bytes(payload[at:][:width]))))
        payload[at : at + data.draw(st.sampled_from([0, 1, len(put), width]))] = put
        payload = payload or bytearray(b"\x80")
    taken = quick(bytes(payload), KNOWN)
    assert taken is None or taken == general(bytes(payload), KNOWN)


def text(value: str) -> bytes:
    return cbor.encode(value)


def mostly(usual: Sequence[bytes], odd: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw one of the usual, and once in a while one of the odd."""
    return st.integers(0, 15).flatmap(lambda chance: st.sampled_from(usual if chance else odd))


NO2, TEMPERATURE = b"\x00" + text("no2"), b"\x00" + text("temp")
IN_CELSIUS = TEMPERATURE + b"\x01" + text("Cel")
OF_AIR, BEGIN = b"\x21" + text(f"{AIR}:"), b"\x22" + cbor.encode(MICROSECONDS // 1_000_000)
IN_MICROGRAMS = b"\x23" + text("ug/m3")

NAMES = mostly(
    [NO2, NO2, IN_CELSIUS],
    [
        TEMPERATURE,  # in the wrong unit
        NO2 + b"\x01" + text("Cel"),
        b"\x00\x78\x03no2",  # a longer head than needed
        b"\x00\x63no",  # swallows the next label
        b"\x00\x41n",  # no text
        NO2 + b"\x06\x00",  # a time before the value
        NO2 + NO2,
        NO2 + b"\x05\x01",  # a sum
        NO2 + b"\x07\x01",  # an update time
        b"",
    ],
)
VALUES = mostly(
    [b"\x02\x01", b"\x02\x18\x20", b"\x02\xfb@\x24" + bytes(6), b"\x02\xf9\x3c\x00"],
    [
        b"\x02\x20",  # -1
        b"\x02\xfa\x41\x20\x00\x00",
        b"\x02\xfb\x7f\xf8" + bytes(6),  # NaN
        b"\x02\xfb\x7f\xf0" + bytes(6),  # infinite
        b"\x02\x1b" + bytes(8),
        b"\x02\xc4\x82\x20\x01",  # a decimal fraction
        b"\x02\x60",
        b"\x04\xf5",  # true
        b"\x03" + text("on"),
        b"",
    ],
)
TIMES = mostly(
    [b"", b"\x06\x01", b"\x06\x38\x1d", b"\x06\xfb?\xe0" + bytes(6)],
    [
        b"\x06\x00",
        b"\x06\xf9\x38\x00",
        b"\x06\x1a\xff\xff\xff\xff",
        b"\x06\xfb\x7f\xf8" + bytes(6),  # NaN
        b"\x06\x60",
    ],
)
FLAGS = mostly([b"", b"", b"", b"\x62kq\x08"], [b"\x62kq\x00", b"\x62kq\x1a\x00\x00\x00\x01"])
ODD_RESTS = [
    b"\x20\x0a",  # the version
    b"\x20\x0b",  # one that is unknown
    b"\x20\x18\x1a",
    b"\x21" + text(f"{ROAD}:"),
    b"\x21" + text("no name "),
    b"\x22\x00",
    b"\x23" + text('"\x1a\x00\x00\x00\x00'),  # looks like a base time
    b"\x23" + text(""),
    b"\x24\x01",  # a base value
    b"\x62xx\x01",
    b"\x62x_\x01",  # must be understood
    OF_AIR,
    BEGIN,
    IN_MICROGRAMS,
]
FIRST = mostly([OF_AIR + BEGIN + IN_MICROGRAMS], [OF_AIR + BEGIN, BEGIN, OF_AIR, b"", *ODD_RESTS])
LATER = mostly([b"", b"", OF_AIR], ODD_RESTS)


@st.composite
def assembled(draw: st.DrawFn) -> bytes:
    """Draw a pack put together from pieces, mostly with heads that count them rightly."""
    count = draw(st.integers(1, 4))
    records = []
    for row in range(count):
        pieces = draw(NAMES) + draw(VALUES) + draw(TIMES)
        pieces += draw(LATER if row else FIRST) + draw(FLAGS)
        fitting = [bytes((head,)) for head in range(0xA1, 0xAA) if is_whole(head, pieces)]
        records.append(draw(mostly(fitting or [b"\xa2"], [b"\xa2", b"\xa3", b"\xa4"])) + pieces)
    head = draw(mostly([bytes((0x80 + count,))], [bytes((0x81 + count,)), bytes((0x7F + count,))]))
    return head + b"".join(records) + draw(mostly([b""], [b"\x00"]))


def is_whole(head: int, pieces: bytes) -> bool:
    try:
        decode_entries(bytes((0x81, head)) + pieces)
    except RejectionError:
        return False
    return True


@given(assembled())
@example(b"\x82\xa4" + NO2 + b"\x02\x01" + OF_AIR + BEGIN + b"\xa3" + IN_CELSIUS + b"\x02\x01")
def test_packs_of_pieces_are_read_alike(payload: bytes) -> None:
    taken = quick(payload, KNOWN)
    assert taken is None or taken == general(payload, KNOWN)


def pack_of(names: bytes, rest: bytes, *, pairs: int, value: bytes = b"\x02\x01") -> bytes:
    return b"\x81" + bytes((0xA0 + pairs,)) + names + value + rest


USUAL = OF_AIR + BEGIN + IN_MICROGRAMS


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80",
        b"",
        pack_of(NO2, OF_AIR + BEGIN + OF_AIR + IN_MICROGRAMS, pairs=6),
        pack_of(NO2, USUAL + BEGIN, pairs=6),
        pack_of(NO2, USUAL + b"\x24\x01", pairs=6),
        pack_of(NO2, USUAL + b"\x05\x01", pairs=6),
        pack_of(NO2 + b"\x05\x01", USUAL, pairs=6),
        pack_of(NO2 + b"\x06\x00", USUAL, pairs=6),
        pack_of(NO2, USUAL + b"\x62x_\x01", pairs=6),
        pack_of(NO2, USUAL, pairs=4),
        pack_of(NO2, USUAL, pairs=6),
        pack_of(NO2, USUAL + b"\x00", pairs=5),
        pack_of(NO2, USUAL, pairs=5, value=b"\x02\x20"),
        pack_of(NO2, USUAL, pairs=5, value=b"\x02\xfb\x7f\xf8" + bytes(6)),
        pack_of(NO2, b"\x06\xfb\x7f\xf8" + bytes(6) + USUAL, pairs=6),
        pack_of(NO2, b"\x06\x19\x0e\x11" + USUAL, pairs=6),
        pack_of(NO2, b"\x06\x39\x0e\x10" + USUAL, pairs=6),
        pack_of(b"\x00" + text("no3"), USUAL, pairs=5),
        pack_of(TEMPERATURE, USUAL, pairs=5),
        b"\x82" + pack_of(NO2, USUAL, pairs=5)[1:],
        b"\x9f" + pack_of(NO2, USUAL, pairs=5)[1:] + b"\xff",
    ],
)
def test_what_is_not_usual_is_handed_over(payload: bytes) -> None:
    known = gateway()
    assert quick(pack_of(NO2, USUAL, pairs=5), known) is not None
    assert quick(payload, known) is None


def test_gateway_that_writes_always_anew_is_forgotten_and_learnt_again() -> None:
    known = gateway()
    payload = encode_cbor(regular(3))
    assert quick(payload, known) is not None
    for number in range(habits.MOST_LEARNT):
        known.habits.places(f"urn:dev:{number}:", "")
    assert not known.habits.openings
    assert quick(payload, known) == general(payload, known)


def test_many_different_integers_are_all_read() -> None:
    known = gateway()
    for begin in range(0, 60_000, 1000):
        pack = [
            replace(found, name="vehicles", sensor=ROAD, unit="/", result=begin + step)
            for step, found in enumerate(regular(1000))
        ]
        payload = encode_cbor(pack)
        taken = packs.read(payload, known, earliest=EARLIEST, latest=LATEST)
        assert taken is not None
        assert list(taken.values) == [float(found.result) for found in pack]


@pytest.mark.parametrize("length", range(8, 60))
def test_however_long_a_sensors_name_is_its_pack_is_read_the_quick_way(length: int) -> None:
    sensor = "urn:dev:".ljust(length, "x")
    known = Gateway(1, 1, b"", {f"{sensor}:no2": STREAMS[f"{AIR}:no2"]})
    pack = [replace(found, sensor=sensor) for found in regular(4) if found.name == "no2"]
    payload = encode_cbor(pack)
    taken = quick(payload, known)
    assert taken is not None
    assert taken == general(payload, known)
