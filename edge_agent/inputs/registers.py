"""What Modbus registers mean, and in which requests they are read.

Pure: tables of registers become requests, and the words of an answer results. The addresses are
those of the Modbus Application Protocol Specification V1.1b3, where the first is 0. Who asks whom
over which line is in `modbus_line`.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from device_protocol.unit_table import BOOLEAN_UNIT
from edge_agent.adapter import DatastreamSettings
from edge_agent.inputs import conversion
from runtime.settings import KeyPath, setting

RegisterKind = Literal["holding", "input", "coil", "discrete"]
RegisterType = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bit", "bool"]

MOST_REGISTERS: Final = 125
"""In one request: section 6.3 of the specification."""
MOST_BITS: Final = 2000
"""Likewise of coils or discrete inputs: section 6.1."""

_BITS: Final = frozenset({"coil", "discrete"})
_CODES: Final = {
    "u16": "H",
    "i16": "h",
    "u32": "I",
    "i32": "i",
    "u64": "Q",
    "i64": "q",
    "f32": "f",
    "f64": "d",
    "bit": "H",
}
_WORD_BITS: Final = 16
_DIGITS: Final = 12
_LAST_ADDRESS: Final = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSettings(DatastreamSettings):
    """What one register, or a number that fills several, becomes: a datastream."""

    kind: RegisterKind = setting("Which of the device's four tables it is in.", default="holding")
    address: int = setting(
        "Its place in that table; of several registers, the first.", minimum=0, maximum=65_536
    )
    type: RegisterType = setting(
        "How it is to be read; `bit` is one bit of a register, `bool` a coil or discrete input.",
        default="u16",
    )
    bit: int | None = setting("Which bit, 0 the least, of a `bit`.", default=None, minimum=0)
    word_order: Literal["big", "little"] = setting(
        "Which of several registers comes first: the most significant (big) or the least.",
        default="big",
    )
    scale: float = setting("What the number is multiplied by to be in `unit`.", default=1.0)
    offset: float = setting("What is added after that.", default=0.0)
    from_unit: str = setting(
        "Unit the number is in after that, where it is another, e.g. degF, kPa, Wh; converted to "
        "`unit`.",
        default="",
    )
    invalid: tuple[int, ...] = setting(
        "Numbers by which the device says that it has no result, as unsigned, e.g. 0x8000.",
        default=(),
        minimum=0,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse types that the table does not hold, and bits that a register lacks."""
        if (self.kind in _BITS) != (self.type == "bool"):
            allowed = '"bool"' if self.kind in _BITS else 'a type of registers, not "bool"'
            yield ("type",), f'must be {allowed} where the kind is "{self.kind}"'
        if (self.type == "bit") != (self.bit is not None):
            yield ("bit",), 'must be given with type "bit", and only then'
        if self.bit is not None and self.bit >= _WORD_BITS:
            yield ("bit",), "must be 0 to 15"
        if self.scale == 0 or not math.isfinite(self.scale):
            yield ("scale",), "must be a number other than 0"
        if self.from_unit and self.from_unit != self.unit:
            reason = conversion.mistake(self.from_unit, self.unit)
            if reason:
                yield ("from_unit",), reason

    @property
    def words(self) -> int:
        """How many registers, or bits, it fills."""
        return 1 if self.type == "bool" else struct.calcsize(_CODES[self.type]) // 2


@dataclass(frozen=True, slots=True)
class Block:
    """One request: neighbouring registers of one kind.

    first: address of the first, from 0. count: how many, those between that nobody wants
    included. registers: what is in it.
    """

    kind: RegisterKind
    first: int
    count: int
    registers: tuple[RegisterSettings, ...]

    def __str__(self) -> str:
        """Say it as people do, addresses from 0."""
        last = self.first + self.count - 1
        places = f"{self.first}" if self.count == 1 else f"{self.first}-{last}"
        return f"{self.kind} {places}"

    def apart(self) -> tuple["Block", ...]:
        """Return one request for each register, for devices that refuse what lies between."""
        lowest = min(register.address for register in self.registers)
        return tuple(
            Block(self.kind, self.first + register.address - lowest, register.words, (register,))
            for register in self.registers
        )


def plan(
    registers: Iterable[RegisterSettings], *, first_address: int, largest_gap: int
) -> tuple[Block, ...]:
    """Return the fewest requests that read all of `registers`, in order of kind and address.

    first_address: what the table calls the first register, 0 or 1. largest_gap: so many
    registers (sixteen times as many bits) between two wanted ones are read along.
    """
    blocks: list[Block] = []
    for register in sorted(registers, key=lambda each: (each.kind, each.address, each.words)):
        first = register.address - first_address
        end = first + register.words
        last = blocks[-1] if blocks else None
        if last is not None and _fits(last, register.kind, first, end, largest_gap):
            end = max(end, last.first + last.count)
            joined = (*last.registers, register)
            blocks[-1] = Block(last.kind, last.first, end - last.first, joined)
        else:
            blocks.append(Block(register.kind, first, register.words, (register,)))
    return tuple(blocks)


def beyond(register: RegisterSettings, first_address: int) -> bool:
    """Tell whether a register lies outside the 65,536 that there are."""
    first = register.address - first_address
    return first < 0 or first + register.words - 1 > _LAST_ADDRESS


def result_of(register: RegisterSettings, words: Sequence[int]) -> float | bool | None:
    """Return what the words of one register say, in its unit; None is no result.

    words: unsigned, as many as it has; of a coil or discrete input its bit. What is not a finite
    number is no result. A datastream of unit `bool` has truth values, any other numbers.
    """
    if register.type == "bool":
        raw: float = int(bool(words[0]))
    else:
        ordered = words if register.word_order == "big" else words[::-1]
        octets = struct.pack(f">{len(ordered)}H", *ordered)
        if int.from_bytes(octets, "big") in register.invalid:
            return None
        (raw,) = struct.unpack(f">{_CODES[register.type]}", octets)
        if register.bit is not None:
            raw = int(raw) >> register.bit & 1
    if register.unit == BOOLEAN_UNIT:
        return bool(raw)
    if not math.isfinite(raw):
        return None
    if register.type == "f32":
        raw = _shortest(raw)
    result = raw * register.scale + register.offset
    if not math.isfinite(result):
        return None
    rounded = float(f"{result:.{_DIGITS}g}")
    return _converter(register.from_unit, register.unit)(rounded)


def results(
    block: Block, words: Sequence[int]
) -> Iterator[tuple[RegisterSettings, float | bool | None]]:
    """Yield every register of a block with its result; words: the whole answer."""
    lowest = min(register.address for register in block.registers)
    for register in block.registers:
        at = register.address - lowest
        yield register, result_of(register, words[at : at + register.words])


def _fits(last: Block, kind: RegisterKind, first: int, end: int, largest_gap: int) -> bool:
    most, gap = (MOST_BITS, largest_gap * 16) if kind in _BITS else (MOST_REGISTERS, largest_gap)
    return (
        last.kind == kind
        and first - (last.first + last.count) <= gap
        and max(end, last.first + last.count) - last.first <= most
    )


_converter = lru_cache(maxsize=256)(conversion.converter)


def _shortest(number: float) -> float:
    """Return the shortest decimal that is this number in 32 bits: 21.3, not 21.299999237."""
    octets = struct.pack(">f", number)
    for digits in range(6, 9):
        candidate = float(f"{number:.{digits}g}")
        try:
            if struct.pack(">f", candidate) == octets:
                return candidate
        except OverflowError:  # rounded up past the greatest
            continue
    return number
