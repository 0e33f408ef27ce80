"""The CBOR of the envelope: a strict, deterministic subset (envelope, section 3; RFC 8949, 4.2.1).

Unsigned and negative integers, byte and text strings, arrays, maps, tags, true, false, null. The
decoder refuses whatever the encoder would not have written, so that every value has one encoding.
Map keys are integers or text: no structure of the protocol has others.

Floats are allowed only where `floats` says so, in payloads (64 bits, as Python has them; the
shorter forms and non-finite values are refused). SenML packs, which may be encoded in any
well-formed way, are read in `senml_cbor`.

The second half of the file narrows a decoded value to what a structure expects.
"""

import math
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from device_protocol.errors import EncodingError, StructureError

MAX_NESTING = 8
"""Arrays, maps and tags inside each other."""

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)
_SMALLEST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}  # argument worth each longer head
_SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}
_FLOAT64 = 0xFB
_BYTES_HEAD = _BYTES << 5


@dataclass(frozen=True, slots=True)
class Tag:
    """A tagged item (RFC 8949, section 3.4)."""

    number: int
    value: object


def encode(value: object) -> bytes:
    """Encode deterministically.

    Takes what `decode` returns, tuples for arrays, and finite floats.

    Raises:
        TypeError: a type outside the subset.
        ValueError: an integer over 64 bits, a float that is not finite, text with a lone surrogate.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise TypeError(f"{type(value).__name__} has no encoding here")
    return encoder(value)


def _head(major: int, argument: int) -> bytes:
    first = major << 5
    if argument < 24:  # noqa: PLR2004 - RFC 8949, section 3: the argument fits the initial byte
        return bytes((first | argument,))
    if argument < 1 << 8:
        return bytes((first | 24, argument))
    for additional, size in ((25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes((first | additional,)) + argument.to_bytes(size, "big")
    raise ValueError(f"{argument} needs over 64 bits")


def _encode_integer(value: int) -> bytes:
    return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)


def encode_octets(value: bytes) -> bytes:
    """Encode a byte string, as `encode` does."""
    return _head(_BYTES, len(value)) + value


def _encode_text(value: str) -> bytes:
    encoded = value.encode()
    return _head(_TEXT, len(encoded)) + encoded


def _encode_float(value: float) -> bytes:
    if not math.isfinite(value):
        raise ValueError(f"{value} has no encoding here")
    return struct.pack(">Bd", _FLOAT64, value)


def _encode_array(value: Sequence[object]) -> bytes:
    return _head(_ARRAY, len(value)) + b"".join(map(encode, value))


def _encode_map(value: Mapping[object, object]) -> bytes:
    pairs = sorted((encode(key), encode(item)) for key, item in value.items())
    return _head(_MAP, len(pairs)) + b"".join(chain.from_iterable(pairs))


_ENCODERS: Mapping[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"\xf6",
    bool: lambda value: b"\xf5" if value else b"\xf4",
    int: _encode_integer,
    bytes: encode_octets,
    str: _encode_text,
    float: _encode_float,
    list: _encode_array,
    tuple: _encode_array,
    dict: _encode_map,
    Tag: lambda value: _head(_TAG, value.number) + encode(value.value),
}


def decode(data: bytes, *, floats: bool = False) -> object:
    """Decode one item that fills `data` exactly.

    Arrays become lists, maps dicts, tags `Tag`.

    Raises:
        EncodingError: indefinite length, longer head than needed, duplicate or unordered keys,
            trailing bytes, nesting over 8, invalid UTF-8, a length beyond the input, a float
            where none may be, or any other type outside the subset.
        StructureError: a map key that is neither integer nor text.
    """
    try:
        value, end = _decode(data, 0, MAX_NESTING, floats)
    except IndexError:
        raise EncodingError("the input ends inside an item") from None
    if end != len(data):
        raise EncodingError(f"{len(data) - end} trailing bytes")
    return value


def _decode(data: bytes, at: int, levels: int, floats: bool) -> tuple[object, int]:  # noqa: C901, FBT001, PLR0911, PLR0912 - one branch for each major type
    initial = data[at]
    argument = initial & 0x1F
    major = initial >> 5
    at += 1
    if major == 7:  # noqa: PLR2004 - simple values and floats
        return _decode_simple(data, initial, at, floats=floats)
    if argument > 23:  # noqa: PLR2004 - the argument follows the initial byte
        argument, at = _decode_argument(data, argument, at)
    if major == _UNSIGNED:
        return argument, at
    if major == _BYTES:
        end = at + argument
        if end > len(data):
            raise EncodingError(f"byte string of {argument} bytes beyond the input")
        return data[at:end], end
    if major == _TEXT:
        end = at + argument
        if end > len(data):
            raise EncodingError(f"text of {argument} bytes beyond the input")
        try:
            return data[at:end].decode(), end
        except UnicodeDecodeError as error:
            raise EncodingError("text is not UTF-8") from error
    if major == _NEGATIVE:
        return -1 - argument, at
    if not levels:
        raise EncodingError(f"nesting over {MAX_NESTING}")
    levels -= 1
    if major == _ARRAY:
        if argument > len(data) - at:
            raise EncodingError(f"array of {argument} items beyond the input")
        items = []
        for _ in range(argument):
            item, at = _decode(data, at, levels, floats)
            items.append(item)
        return items, at
    if major == _MAP:
        return _decode_map(data, at, argument, levels, floats=floats)
    value, at = _decode(data, at, levels, floats)
    return Tag(argument, value), at


def octets_at(data: bytes, at: int) -> tuple[bytes, int] | None:
    """Return the byte string that begins here, and where it ends.

    None if what begins here is anything else, one that `decode` refuses, or one over 64 kB.
    """
    head = data[at] if at < len(data) else 0
    if _BYTES_HEAD <= head < _BYTES_HEAD + 24:
        start, length, least = at + 1, head - _BYTES_HEAD, 0
    elif head == _BYTES_HEAD + 24:
        start, least = at + 2, 24
        length = int.from_bytes(data[at + 1 : start], "big")
    elif head == _BYTES_HEAD + 25:
        start, least = at + 3, 1 << 8
        length = int.from_bytes(data[at + 1 : start], "big")
    else:
        return None
    end = start + length
    return (data[start:end], end) if length >= least and end <= len(data) else None


def _decode_argument(data: bytes, additional: int, at: int) -> tuple[int, int]:
    if additional > 27:  # noqa: PLR2004 - 28 to 30 are reserved, 31 is an indefinite length
        raise EncodingError("indefinite or reserved length")
    size = 1 << additional - 24
    end = at + size
    if end > len(data):
        raise EncodingError("the input ends inside a head")
    argument = int.from_bytes(data[at:end], "big")
    if argument < _SMALLEST[additional]:
        raise EncodingError(f"{argument} with a longer head than needed")
    return argument, end


def _decode_map(
    data: bytes, at: int, size: int, levels: int, *, floats: bool
) -> tuple[dict[int | str, object], int]:
    if 2 * size > len(data) - at:
        raise EncodingError(f"map of {size} pairs beyond the input")
    fields: dict[int | str, object] = {}
    previous = b""
    for _ in range(size):
        start = at
        key: object = data[at]
        if data[at] < 24:  # noqa: PLR2004 - the commonest keys are their own encoding
            at += 1
        else:
            key, at = _decode(data, at, levels, floats)
        encoded = data[start:at]
        if encoded <= previous:
            raise EncodingError("map keys are duplicate or out of order")
        previous = encoded
        if type(key) is not int and type(key) is not str:
            raise StructureError(f"map key of type {type(key).__name__}")
        fields[key], at = _decode(data, at, levels, floats)
    return fields, at


def _decode_simple(data: bytes, initial: int, at: int, *, floats: bool) -> tuple[object, int]:
    if initial in _SIMPLE:
        return _SIMPLE[initial], at
    if initial == _FLOAT64 and floats:
        end = at + 8
        if end > len(data):
            raise EncodingError("the input ends inside a float")
        (number,) = struct.unpack_from(">d", data, at)
        if not math.isfinite(number):
            raise EncodingError(f"{number} is not finite")
        return number, end
    raise EncodingError(f"type 0x{initial:02x} is not allowed here")


def fields(
    value: object, required: Collection[int], optional: Collection[int] = ()
) -> dict[int, object]:
    """Return a map that has the required keys, maybe the optional ones, and no others.

    Raises:
        StructureError: not such a map.
    """
    if type(value) is not dict:
        raise StructureError(f"{type(value).__name__} where a map belongs")
    if len(value) < len(required) or not all(key in value for key in required):
        raise StructureError(f"map lacks one of the fields {sorted(required)}")
    if len(value) > len(required) and not all(key in required or key in optional for key in value):
        raise StructureError("map with an unknown field")
    return value


def array(value: object, length: int | None = None) -> list[object]:
    """Return an array, of `length` items where one is given.

    Raises:
        StructureError: not such an array.
    """
    if type(value) is not list:
        raise StructureError(f"{type(value).__name__} where an array belongs")
    if length is not None and len(value) != length:
        raise StructureError(f"array of {len(value)} items, expected {length}")
    return value


def octets(value: object, length: int | None = None) -> bytes:
    """Return a byte string, of `length` bytes where one is given.

    Raises:
        StructureError: not such a byte string.
    """
    if type(value) is not bytes:
        raise StructureError(f"{type(value).__name__} where a byte string belongs")
    if length is not None and len(value) != length:
        raise StructureError(f"byte string of {len(value)} bytes, expected {length}")
    return value


def text(value: object) -> str:
    """Return a text string.

    Raises:
        StructureError: not one.
    """
    if type(value) is not str:
        raise StructureError(f"{type(value).__name__} where text belongs")
    return value


def integer(value: object) -> int:
    """Return an integer; true and false are none.

    Raises:
        StructureError: not one.
    """
    if type(value) is not int:
        raise StructureError(f"{type(value).__name__} where an integer belongs")
    return value


def unsigned(value: object) -> int:
    """Return an integer that is not negative.

    Raises:
        StructureError: not one.
    """
    number = integer(value)
    if number < 0:
        raise StructureError(f"{number} where an unsigned integer belongs")
    return number
