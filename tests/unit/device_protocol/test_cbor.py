import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol import cbor
from device_protocol.errors import EncodingError, StructureError

SCALARS = (
    st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=30)
    | st.booleans()
    | st.none()
)
KEYS = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=10)
ITEMS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.builds(cbor.Tag, st.integers(0, 2**64 - 1), inner)
    ),
    max_leaves=12,
)


# RFC 8949, appendix A: every example inside the subset.
@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (10, "0a"),
        (23, "17"),
        (24, "1818"),
        (25, "1819"),
        (100, "1864"),
        (1000, "1903e8"),
        (1000000, "1a000f4240"),
        (1000000000000, "1b000000e8d4a51000"),
        (18446744073709551615, "1bffffffffffffffff"),
        (-18446744073709551616, "3bffffffffffffffff"),
        (-1, "20"),
        (-10, "29"),
        (-100, "3863"),
        (-1000, "3903e7"),
        (False, "f4"),
        (True, "f5"),
        (None, "f6"),
        (cbor.Tag(1, 1363896240), "c11a514b67b0"),
        (cbor.Tag(23, b"\1\2\3\4"), "d74401020304"),
        (cbor.Tag(24, b"dIETF"), "d818456449455446"),
        (
            cbor.Tag(32, "http://www.example.com"),
            "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
        ),
        (b"", "40"),
        (b"\1\2\3\4", "4401020304"),
        ("", "60"),
        ("a", "6161"),
        ("IETF", "6449455446"),
        ('"\\', "62225c"),
        ("\u00fc", "62c3bc"),
        ("\u6c34", "63e6b0b4"),
        ("\U00010151", "64f0908591"),
        ([], "80"),
        ([1, 2, 3], "83010203"),
        ([1, [2, 3], [4, 5]], "8301820203820405"),
        (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
        ({}, "a0"),
        ({1: 2, 3: 4}, "a201020304"),
        ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
        (["a", {"b": "c"}], "826161a161626163"),
    ],
)
def test_examples_of_the_standard(value: object, encoded: str) -> None:
    assert cbor.encode(value).hex() == encoded
    assert cbor.decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "nothing"),
        ("18", "head cut off"),
        ("1817", "23 in two bytes"),
        ("1900ff", "255 in three bytes"),
        ("1a0000ffff", "65535 in five bytes"),
        ("1b00000000ffffffff", "2^32-1 in nine bytes"),
        ("1bffff", "argument cut off"),
        ("3817", "-24 in two bytes"),
        ("5800", "empty byte string in two bytes"),
        ("d80012", "tag 0 in two bytes"),
        ("1c", "reserved 28"),
        ("1f", "indefinite integer"),
        ("5f41004100ff", "indefinite byte string"),
        ("7f6161ff", "indefinite text"),
        ("9f01ff", "indefinite array"),
        ("bf0102ff", "indefinite map"),
        ("ff", "break alone"),
        ("4201", "byte string beyond the input"),
        ("5bffffffffffffffff", "byte string of 2^64 bytes"),
        ("6261", "text beyond the input"),
        ("8201", "array beyond the input"),
        ("9bffffffffffffffff", "array of 2^64 items"),
        ("a101", "map beyond the input"),
        ("bb7fffffffffffffff", "map of 2^63 pairs"),
        ("c1", "tag without item"),
        ("61ff", "not UTF-8"),
        ("63eda080", "half a surrogate pair"),
        ("62c080", "overlong UTF-8"),
        ("a2010a010b", "duplicate key"),
        ("a2020a010b", "keys out of order"),
        ("a2616101010a", "text key before a number"),
        ("a2200a010b", "negative key before an unsigned"),
        ("0000", "trailing byte"),
        ("f7", "undefined"),
        ("e0", "unassigned simple value"),
        ("f818", "simple value in two bytes"),
        ("f820", "simple value 32"),
        ("f93c00", "half float"),
        ("fa3f800000", "single float"),
        ("fb3ff0000000000000", "double float"),
    ],
)
def test_what_is_not_deterministic_is_refused(encoded: str, why: str) -> None:
    with pytest.raises(EncodingError):
        cbor.decode(bytes.fromhex(encoded))


@pytest.mark.parametrize("key", ["f5", "f6", "4101", "80", "a0", "c101"])
def test_map_keys_are_integers_or_text(key: str) -> None:
    with pytest.raises(StructureError):
        cbor.decode(bytes.fromhex(f"a1{key}00"))


@pytest.mark.parametrize("wrap", ["81", "a100", "c1"])
def test_nesting_is_limited_to_eight(wrap: str) -> None:
    assert cbor.decode(bytes.fromhex(8 * wrap + "00")) is not None
    with pytest.raises(EncodingError, match="nesting"):
        cbor.decode(bytes.fromhex(9 * wrap + "00"))


def test_deep_nesting_does_not_exhaust_the_stack() -> None:
    with pytest.raises(EncodingError):
        cbor.decode(10_000 * b"\x81" + b"\0")


def test_floats_only_where_they_are_allowed() -> None:
    assert cbor.decode(cbor.encode({1: [-0.125]}), floats=True) == {1: [-0.125]}
    for encoded in ("fb7ff0000000000000", "fb7ff8000000000000", "fb3ff00000000000", "f93c00"):
        with pytest.raises(EncodingError):
            cbor.decode(bytes.fromhex(encoded), floats=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**64, -(2**64) - 1, "\ud800"])
def test_what_has_no_encoding_is_not_encoded(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        cbor.encode(value)


@pytest.mark.parametrize("value", [{1}, 1j, object(), [bytearray(b"x")]])
def test_other_types_are_not_encoded(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)


@given(ITEMS)
def test_decoding_undoes_encoding(value: object) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=12))
def test_another_library_reads_the_same(value: object) -> None:
    assert cbor2.loads(cbor.encode(value)) == value


@given(st.binary(max_size=24))
def test_every_value_has_one_encoding(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except (EncodingError, StructureError):
        return
    assert cbor.encode(value) == data


@given(ITEMS, st.data())
def test_any_cut_is_refused(value: object, data: st.DataObject) -> None:
    encoded = cbor.encode(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises((EncodingError, StructureError)):
        cbor.decode(encoded[:cut])


def test_narrowing_takes_what_fits_and_refuses_the_rest() -> None:
    assert cbor.fields({1: 0, 2: 0}, (1,), (2, 3)) == {1: 0, 2: 0}
    assert cbor.array([1, 2], 2) == [1, 2]
    assert cbor.octets(b"ab", 2) == b"ab"
    assert cbor.text("a") == "a"
    assert cbor.integer(-1) == -1
    assert cbor.unsigned(0) == 0


@pytest.mark.parametrize(
    ("narrow", "arguments"),
    [
        (cbor.fields, ([], (1,))),
        (cbor.fields, ({}, (1,))),
        (cbor.fields, ({1: 0, 2: 0}, (1,))),
        (cbor.fields, ({1: 0, 4: 0}, (1,), (2, 3))),
        (cbor.fields, ({2: 0}, (1,), (2,))),
        (cbor.fields, ({1: 0, 3: 0}, (1, 2), (3,))),
        (cbor.array, ((), 0)),
        (cbor.array, ([1], 2)),
        (cbor.octets, ("ab", 2)),
        (cbor.octets, (b"abc", 2)),
        (cbor.text, (b"a",)),
        (cbor.integer, (True,)),
        (cbor.integer, (1.0,)),
        (cbor.unsigned, (-1,)),
        (cbor.unsigned, (None,)),
    ],
)
def test_narrowing_refuses(narrow: object, arguments: tuple[object, ...]) -> None:
    with pytest.raises(StructureError):
        narrow(*arguments)  # type: ignore[operator]
