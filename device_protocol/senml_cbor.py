"""The CBOR form of a SenML pack, as its entries (RFC 8428, section 6; RFC 8949).

Every well-formed encoding of a pack is read: heads of any length, indefinite lengths, floats of
all three sizes, decimal fractions (tag 4). Only what SenML has is: an array of flat maps. Other
tags and nested values are refused, and so is a label that occurs twice in a map. What labels
and values mean is `senml`'s business.

Nothing checks whether a slice reaches beyond the input: its end would, and so would the end of
the pack, which is checked.
"""

import struct
from typing import TypeAlias

from device_protocol.errors import PayloadError

Value: TypeAlias = int | float | str | bytes | None
Entry: TypeAlias = dict[int | str, Value]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)
_DECIMAL_FRACTION = b"\xc4\x82"
_BREAK = 0xFF
_INDEFINITE = -1
_FLOATS = {0xF9: struct.Struct(">e"), 0xFA: struct.Struct(">f"), 0xFB: struct.Struct(">d")}
_SIMPLE: dict[int, Value] = {0xF4: False, 0xF5: True, 0xF6: None}
_unpack_float64 = _FLOATS[0xFB].unpack_from


def decode_entries(payload: bytes) -> list[Entry]:
    """Return the maps of a pack.

    Raises:
        PayloadError: not a well-formed array of flat maps, or a label occurs twice.
    """
    try:
        entries, end = _decode_array(payload)
    except (IndexError, struct.error):
        raise PayloadError("the pack ends inside an item") from None
    except UnicodeDecodeError:
        raise PayloadError("the pack holds text that is not UTF-8") from None
    if end != len(payload):
        raise PayloadError(f"a pack of {end} bytes in {len(payload)}")
    return entries


def _decode_array(data: bytes) -> tuple[list[Entry], int]:
    entries: list[Entry] = []
    count, at = _decode_length(data, 0, _ARRAY)
    while count > 0 or (count == _INDEFINITE and data[at] != _BREAK):
        entry, at = _decode_map(data, at)
        entries.append(entry)
        count -= count > 0
    return entries, at + (count == _INDEFINITE)


def _decode_map(data: bytes, at: int) -> tuple[Entry, int]:
    count, at = _decode_length(data, at, _MAP)
    entry: Entry = {}
    pairs = 0
    while pairs < count or (count == _INDEFINITE and data[at] != _BREAK):
        pairs += 1
        label: int | str
        initial = data[at]
        if initial < 24:  # noqa: PLR2004 - the commonest cases first, without a further call
            label = initial
            at += 1
        else:
            label, at = _decode_label(data, at)
        initial = data[at]
        at += 1
        if initial == 0xFB:  # noqa: PLR2004 - a 64-bit float
            (entry[label],) = _unpack_float64(data, at)
            at += 8
        elif initial < 24:  # noqa: PLR2004 - a small integer
            entry[label] = initial
        elif 0x60 <= initial < 0x78:  # noqa: PLR2004 - a short text
            end = at + initial - 0x60
            entry[label] = data[at:end].decode()
            at = end
        else:
            entry[label], at = _decode_value(data, at - 1)
    if len(entry) != pairs:
        raise PayloadError("a label occurs twice in one record")
    return entry, at + (count == _INDEFINITE)


def _decode_label(data: bytes, at: int) -> tuple[int | str, int]:
    label, end = _decode_value(data, at)
    if type(label) is not int and type(label) is not str:
        raise PayloadError(f"a label of type {type(label).__name__}")
    return label, end


def _decode_value(data: bytes, at: int) -> tuple[Value, int]:
    initial = data[at]
    major = initial >> 5
    if major in (_UNSIGNED, _NEGATIVE):
        number, at = _decode_argument(data, at)
        return number if major == _UNSIGNED else -1 - number, at
    if major in (_BYTES, _TEXT):
        size, at = _decode_argument(data, at)  # RFC 8428, section 6: definite lengths only
        chunk = data[at : at + size]
        return chunk if major == _BYTES else chunk.decode(), at + size
    if initial in _SIMPLE:
        return _SIMPLE[initial], at + 1
    if initial in _FLOATS:
        form = _FLOATS[initial]
        (number,) = form.unpack_from(data, at + 1)
        return number, at + 1 + form.size
    if data[at : at + 2] == _DECIMAL_FRACTION:
        return _decode_decimal(data, at + 2)
    raise PayloadError(f"type 0x{initial:02x} inside a record")


def _decode_decimal(data: bytes, at: int) -> tuple[float, int]:
    exponent, at = _decode_value(data, at)
    mantissa, at = _decode_value(data, at)
    if type(exponent) is not int or type(mantissa) is not int:
        raise PayloadError("a decimal fraction of something else than two integers")
    return float(f"{mantissa}e{exponent}"), at  # as exact as a float can be; too large is inf


def _decode_length(data: bytes, at: int, major: int) -> tuple[int, int]:
    """Return how many items an array or map has, -1 if that is not told in advance."""
    initial = data[at]
    if initial >> 5 != major:
        raise PayloadError(f"type 0x{initial:02x} where major type {major} belongs")
    argument = initial & 0x1F
    if argument < 24:  # noqa: PLR2004 - RFC 8949, section 3
        return argument, at + 1
    if argument == 0x1F:  # noqa: PLR2004 - until a break
        return _INDEFINITE, at + 1
    return _decode_argument(data, at)


def _decode_argument(data: bytes, at: int) -> tuple[int, int]:
    additional = data[at] & 0x1F
    at += 1
    if additional < 24:  # noqa: PLR2004 - RFC 8949, section 3
        return additional, at
    if additional > 27:  # noqa: PLR2004 - reserved, or a string of indefinite length
        raise PayloadError("a reserved or indefinite length")
    end = at + (1 << additional - 24)
    if end > len(data):
        raise IndexError
    return int.from_bytes(data[at:end], "big"), end
