"""Tables that say what the frames of one model of device mean: their settings and their checks.

A table is TOML. It describes each kind of message a device sends: fixed layouts told by port,
length and first bytes; runs of tagged values (Milesight, Elsys); blocks announced by a bit each
(Decentlab). A bad table is refused whole, with line, key, value and what is allowed
(`runtime.settings`). Decoding by a table is `edge_agent.inputs.payload`; the tables of known
devices are in `edge_agent/decoders`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from device_protocol.unit_table import BOOLEAN_UNIT, nearest, unit_symbols
from edge_agent.adapter import SHORT_NAME, DatastreamSettings
from runtime.settings import KeyPath, setting

Endian = Literal["big", "little"]

DIMENSIONLESS: Final = "1"
FLAGS_BYTES: Final = 2

_SIZES: Final = {"u8": 1, "i8": 1, "u16": 2, "i16": 2, "u24": 3, "i24": 3, "u32": 4, "i32": 4}
_BITS_OF_BYTE: Final = 8
_HEX: Final = r"([0-9A-Fa-f]{2})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedSettings(DatastreamSettings):
    """What a value becomes: a datastream."""

    optional: bool = setting("Only made where the sensor's settings ask for it.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceSettings:
    """A part of a scale that bends: raw values below a bound, and above the piece before."""

    below: int = setting("Raw values from here on belong to the next piece.")
    scale: float = setting("Result is raw value * scale + offset.")
    offset: float = setting("Likewise.", default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSettings:
    """Where a value stands in a frame and how its result follows from it.

    The result is `raw * scale / divisor + offset`, to 12 significant digits.
    """

    name: str = setting(
        "Name of the value; of a datastream above, or else only checked, never reported.",
        pattern=SHORT_NAME,
    )
    type: Literal["u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32", "f32", "dotted"] = setting(
        "Kind of number: unsigned, integer (two's complement) or IEEE 754, and its bits; dotted "
        "is a text of bytes in decimal with dots between, as versions have."
    )
    at: int | None = setting(
        "First byte, counted from 0 in its message, type or block; by default after the field "
        "before.",
        default=None,
        minimum=0,
        maximum=255,
    )
    length: int = setting("Bytes of a dotted text.", default=0, minimum=0, maximum=32)
    endian: Endian | None = setting("Byte order, where it is not the table's.", default=None)
    bits: tuple[int, ...] = setting(
        "First and last bit, 0 the lowest, where others share the number.",
        default=(),
        minimum=0,
        maximum=31,
    )
    scale: float = setting("See above.", default=1.0)
    divisor: float = setting("See above.", default=1.0)
    offset: float = setting("See above.", default=0.0)
    pieces: tuple[PieceSettings, ...] = setting(
        "Instead of scale, divisor and offset, where they differ by raw value; from the last "
        "bound on there is no result.",
        default=(),
    )
    least: int | None = setting("Raw values below mean that there is no result.", default=None)
    most: int | None = setting("Raw values above mean that there is no result.", default=None)
    absent: tuple[int, ...] = setting("Raw values that mean that there is no result.", default=())
    values: Mapping[str, float | bool | str] = setting(
        "Results by raw value; of a datastream, any other raw value is refused.",
        default_factory=dict,
    )
    time: bool = setting(
        "Its result is the time of what stands beside it, in seconds since 1970, UTC.",
        default=False,
    )

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.length if self.type == "dotted" else _SIZES.get(self.type, 4)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse settings that do not go together."""
        whole = self.type in _SIZES
        if (self.type == "dotted") != (self.length > 0):
            yield ("length",), "must be given for a dotted text, and only for one"
        if self.bits and not (whole and self._bits_fit()):
            yield ("bits",), f"must be [first, last], within the bits of {self.type}"
        if not self.divisor:
            yield ("divisor",), "must not be 0"
        if not whole and (self.pieces or self.values or self.absent):
            yield ("type",), "must be a whole number to have pieces, values or absent"
        if self.pieces and self.values:
            yield ("pieces",), "must not stand beside values"
        bounds = [piece.below for piece in self.pieces]
        if bounds != sorted(set(bounds)):
            yield ("pieces",), "must have bounds that rise"
        for key in self.values:
            if not re.fullmatch(r"-?\d{1,10}", key):
                yield ("values", key), "must be a whole number in quotes"
        if self.time and self.type != "u32":
            yield ("type",), "must be u32 for a time"

    def _bits_fit(self) -> bool:
        return len(self.bits) == 2 and self.bits[0] <= self.bits[1] < self.size * _BITS_OF_BYTE  # noqa: PLR2004 - first and last


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSettings:
    """A tagged value: what follows that tag."""

    tag: str = setting("The tag, in hex.", pattern=_HEX + "{1,2}")
    length: int | None = setting(
        "Bytes after the tag; none: all to the end.", default=None, minimum=0, maximum=255
    )
    when_at: int | None = setting(
        "Only where the byte here, after the tag, is `when`.", default=None, minimum=0, maximum=255
    )
    when: int = setting("See above.", default=0, minimum=0, maximum=255)
    field: tuple[FieldSettings, ...] = setting(
        "What is in it; nothing: it is passed over.", default=()
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse fields that do not fit."""
        if self.length is None and self.field:
            yield ("length",), "must be given where there are fields"
        yield from _misfits(self.field, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSettings:
    """Values that are there where a bit says so."""

    bit: int = setting("The bit, 0 the lowest.", minimum=0, maximum=15)
    length: int = setting("Bytes of the block.", minimum=1, maximum=255)
    field: tuple[FieldSettings, ...] = setting("What is in it.", default=())

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse fields that do not fit."""
        yield from _misfits(self.field, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSettings:
    """One kind of message: fixed, or a run of tagged values, or blocks announced by bits."""

    f_port: tuple[int, ...] = setting(
        "Ports it comes by; none: any.", default=(), minimum=1, maximum=255
    )
    starts: str = setting(
        "First bytes by which it is known, in hex.", default="", pattern=_HEX + "*"
    )
    length: int | None = setting(
        "Bytes of a fixed message, all of them.", default=None, minimum=1, maximum=255
    )
    field: tuple[FieldSettings, ...] = setting("What stands at fixed places.", default=())
    tag_bytes: int = setting(
        "Bytes of the tags of a run of tagged values, from the first byte on.",
        default=0,
        minimum=0,
        maximum=2,
    )
    type: tuple[TypeSettings, ...] = setting("The tagged values there are.", default=())
    flags_at: int | None = setting(
        "Where two bytes stand, big end first, whose bits announce the blocks that follow.",
        default=None,
        minimum=0,
        maximum=255,
    )
    block: tuple[BlockSettings, ...] = setting("Those blocks, in their order.", default=())

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse mixtures of the three kinds, and tags and bits used twice."""
        kinds = (self.length is not None, bool(self.type), bool(self.block))
        if sum(kinds) != 1:
            yield ("length",), "must have exactly one of length, type and block"
        if bool(self.type) != bool(self.tag_bytes):
            yield ("tag_bytes",), "must be given where there are types, and only there"
        if bool(self.block) != (self.flags_at is not None):
            yield ("flags_at",), "must be given where there are blocks, and only there"
        if self.type and self.field:
            yield ("field",), "must be in a type, where there are types"
        yield from _misfits(self.field, self._fixed_bytes())
        seen: set[tuple[str, int | None, int]] = set()
        for index, one in enumerate(self.type):
            if len(one.tag) != 2 * self.tag_bytes:
                yield ("type", index, "tag"), f"must be {self.tag_bytes} bytes in hex"
            key = (one.tag.lower(), one.when_at, one.when)
            if key in seen:
                yield ("type", index, "tag"), "stands twice"
            seen.add(key)
        bits = [one.bit for one in self.block]
        if bits != sorted(set(bits)):
            yield ("block",), "must have bits that rise"

    def _fixed_bytes(self) -> int | None:
        return self.flags_at if self.flags_at is not None else self.length

    @property
    def groups(self) -> tuple[Sequence[FieldSettings], ...]:
        """The fields of each of its parts."""
        return (
            self.field,
            *(one.field for one in self.type),
            *(one.field for one in self.block),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSettings:
    """A table: what the frames of one model mean."""

    maker: str = setting("Who makes the device.")
    model: str = setting("Its model, as the maker writes it.")
    document: str = setting("Where the maker says what the frames mean.")
    endian: Endian = setting("Byte order of the numbers.", default="big")
    datastream: tuple[DecodedSettings, ...] = setting("What the device measures.")
    message: tuple[MessageSettings, ...] = setting("What it sends.")

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse datastreams without values, and values that are not of their datastream's kind."""
        names = [one.name for one in self.datastream]
        units = {one.name: one.unit for one in self.datastream}
        groups = [fields for message in self.message for fields in message.groups]
        decoded = {field.name for fields in groups for field in fields if not field.time}
        if not self.datastream:
            yield ("datastream",), "must be at least one"
        for index, one in enumerate(self.datastream):
            if one.unit not in unit_symbols():
                yield (
                    ("datastream", index, "unit"),
                    f"is no unit{nearest(one.unit, unit_symbols())}",
                )
        for index, name in enumerate(names):
            if name in names[:index]:
                yield ("datastream", index, "name"), "stands twice as the name of a datastream"
            if name not in decoded:
                yield ("datastream", index, "name"), "must be the name of a field of a message"
        for fields in groups:
            for field in fields:
                if field.name in units and not _suits(field, units[field.name]):
                    at = ("datastream", names.index(field.name), "unit")
                    yield at, f"must be {_wanted(field)}, as the field of that name is read"


def _suits(field: FieldSettings, unit: str) -> bool:
    results = tuple(field.values.values())
    if field.type == "dotted" or any(isinstance(result, str) for result in results):
        return unit == DIMENSIONLESS
    if results:
        return all(isinstance(result, bool) == (unit == BOOLEAN_UNIT) for result in results)
    return True


def _wanted(field: FieldSettings) -> str:
    if any(isinstance(result, bool) for result in field.values.values()):
        return f'"{BOOLEAN_UNIT}"'
    return f'"{DIMENSIONLESS}", for a text' if field.type == "dotted" else "fit for its values"


def _misfits(fields: Sequence[FieldSettings], length: int | None) -> Iterator[tuple[KeyPath, str]]:
    if length is None:
        return
    for index, (field, at) in enumerate(placed(fields)):
        if at + field.size > length:
            end = at + field.size
            yield ("field", index, "at"), f"ends at byte {end}, of {length} there are"


def placed(fields: Iterable[FieldSettings]) -> Iterator[tuple[FieldSettings, int]]:
    """Give each field its first byte."""
    following = 0
    for field in fields:
        at = following if field.at is None else field.at
        yield field, at
        following = at + field.size
