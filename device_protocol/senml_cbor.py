"""The CBOR form of a SenML pack, as its entries (RFC 8428, section 6; RFC 8949).

Every well-formed encoding of a pack is read: heads of any length, indefinite lengths, floats of
all three sizes, decimal fractions (tag 4). Only what SenML has is: an array of flat maps. Other
tags and nested values are refused, and so is a label that occurs twice in a map, which general
decoders overlook. What labels and values mean is `senml`'s business.

This stands on ingest's hottest path. So the commonest forms are read where they are met, and no
slice is checked for reaching beyond the input: then the next byte is missing, or the pack ends
elsewhere than its bytes do, and both are noticed.
"""
# ruff: noqa: PLR2004 - the numbers are the initial bytes of RFC 8949, appendix B

import struct
from typing import TypeAlias

from device_protocol.errors import PayloadError

Value: TypeAlias = int | float | str | bytes | None
Entry: TypeAlias = dict[int | str, Value]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_BREAK = 0xFF
_FLOATS = {0xF9: struct.Struct(">e"), 0xFA: struct.Struct(">f"), 0xFB: struct.Struct(">d")}
_SIMPLE: dict[int, Value] = {0xF4: False, 0xF5: True, 0xF6: None}
_DECIMAL_FRACTION = b"\xc4\x82"  # tag 4 and the head of its pair
_unpack_float64 = _FLOATS[0xFB].unpack_from


def decode_entries(payload: bytes) -> list[Entry]:
    """Return the maps of a pack.

    Raises:
        PayloadError: not a well-formed array of flat maps, or a label occurs twice.
    """
    entries: list[Entry] = []
    try:
        count, at = _decode_length(payload, 0, _ARRAY)
        while count or (count is None and payload[at] != _BREAK):
            entry: Entry = {}
            at = _decode_map(payload, at, entry)
            entries.append(entry)
            count = count and count - 1
    except (IndexError, struct.error):
        raise PayloadError("the pack ends inside an item") from None
    except UnicodeDecodeError:
        raise PayloadError("the pack holds text that is not UTF-8") from None
    end = at if count is not None else at + 1
    if end != len(payload):
        raise PayloadError(f"a pack of {end} bytes in {len(payload)}")
    return entries


def _decode_map(data: bytes, at: int, entry: Entry) -> int:
    """Fill `entry` from the map at `at`, and return where it ends."""
    size = data[at] - 0xA0
    if 0 <= size < 24:
        at += 1
        for _ in range(size):
            at = _decode_pair(data, at, entry)
    else:
        size, at = _decode_long_map(data, at, entry)
    if len(entry) != size:
        raise PayloadError("a label occurs twice in one record")
    return at


def _decode_long_map(data: bytes, at: int, entry: Entry) -> tuple[int, int]:
    """Do so for a map whose head does not hold its size; return that size, too."""
    size, at = _decode_length(data, at, _MAP)
    pairs = 0
    while pairs != size and (size is not None or data[at] != _BREAK):
        at = _decode_pair(data, at, entry)
        pairs += 1
    return pairs, at if size is not None else at + 1


def _decode_pair(data: bytes, at: int, entry: Entry) -> int:
    """Put one label and its value into `entry`, and return where they end."""
    label: int | str
    label = first = data[at]
    if first >= 24:
        label, at = _decode_label(data, at)
    initial = data[at + 1]
    at += 2
    if initial == 0xFB:
        (entry[label],) = _unpack_float64(data, at)
        return at + 8
    if initial < 24:
        entry[label] = initial
        return at
    if 0x60 <= initial < 0x78:
        end = at + initial - 0x60
        entry[label] = data[at:end].decode()
        return end
    if initial == 0x19:
        entry[label] = data[at] << 8 | data[at + 1]
        return at + 2
    if initial < 28:
        end = at + (1 << initial - 24)
        entry[label] = int.from_bytes(data[at:end])
        return end
    entry[label], end = _decode_value(data, at - 1)
    return end


def _decode_label(data: bytes, at: int) -> tuple[int | str, int]:
    """Return a label other than 0 to 23, and where its last byte stands."""
    size = data[at] - 0x60
    if 0 <= size < 24:
        return data[at + 1 : at + 1 + size].decode(), at + size
    label, end = _decode_value(data, at)
    if type(label) is not int and type(label) is not str:
        raise PayloadError(f"a label of type {type(label).__name__}")
    return label, end - 1


def _decode_value(data: bytes, at: int) -> tuple[Value, int]:
    initial = data[at]
    major = initial >> 5
    if major in (_UNSIGNED, _NEGATIVE):
        return _decode_integer(data, at)
    if major in (_BYTES, _TEXT):
        size, at = _decode_argument(data, at)
        chunk = data[at : at + size]
        return chunk if major == _BYTES else chunk.decode(), at + size
    if initial in _SIMPLE:
        return _SIMPLE[initial], at + 1
    if initial in _FLOATS:
        form = _FLOATS[initial]
        (number,) = form.unpack_from(data, at + 1)
        return number, at + 1 + form.size
    if data[at : at + 2] == _DECIMAL_FRACTION:
        exponent, at = _decode_integer(data, at + 2)
        mantissa, at = _decode_integer(data, at)
        return float(f"{mantissa}e{exponent}"), at  # the nearest float; infinite if too large
    raise PayloadError(f"type 0x{initial:02x} inside a record")


def _decode_integer(data: bytes, at: int) -> tuple[int, int]:
    major = data[at] >> 5
    argument, end = _decode_argument(data, at)
    if major == _UNSIGNED:
        return argument, end
    if major == _NEGATIVE:
        return -1 - argument, end
    raise PayloadError(f"type 0x{data[at]:02x} where an integer belongs")


def _decode_length(data: bytes, at: int, major: int) -> tuple[int | None, int]:
    """Return how many items an array or map has; None if it lasts until a break."""
    initial = data[at]
    if initial >> 5 != major:
        raise PayloadError(f"type 0x{initial:02x} where major type {major} belongs")
    length = initial & 0x1F
    if length < 24:
        return length, at + 1
    if length == 31:
        return None, at + 1
    return _decode_argument(data, at)


def _decode_argument(data: bytes, at: int) -> tuple[int, int]:
    additional = data[at] & 0x1F
    if additional < 24:
        return additional, at + 1
    if additional > 27:
        raise PayloadError(f"a reserved or indefinite length in 0x{data[at]:02x}")
    end = at + 1 + (1 << additional - 24)
    return int.from_bytes(data[at + 1 : end], "big"), end
