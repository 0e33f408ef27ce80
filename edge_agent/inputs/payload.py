"""Binary payloads decoded by a table of their device (`edge_agent.inputs.decoder_tables`).

Decoding is pure and never guesses: a frame that the table does not wholly explain is refused.
Who sent it, and what becomes of its values, is the adapter's business.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from device_protocol.unit_table import BOOLEAN_UNIT
from edge_agent.inputs.decoder_tables import (
    FLAGS_BYTES,
    DecoderSettings,
    Endian,
    FieldSettings,
    MessageSettings,
    TypeSettings,
    placed,
)
from runtime.settings import load

TABLES: Final = Path(__file__).parent.parent / "decoders"

Result = float | bool | str

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_BYTES: Final = 4
_MOST_TABLES: Final = 64


class FrameError(ValueError):
    """A frame that its table does not explain.

    reason: unknown-port, unknown-type, unknown-value, wrong-length, not-finite, repeated-value.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a frame, by the name its table gives it.

    time: where the device itself says when, as with values it kept; None is the frame's own.
    """

    name: str
    result: Result
    time: datetime | None = None


def decoder_names() -> tuple[str, ...]:
    """Return the names of the tables that come with the agent."""
    return tuple(sorted(path.stem for path in TABLES.glob("*.toml")))


def load_decoder(path: Path) -> "Decoder":
    """Return the decoder of the table at `path`; a name alone is one of ours.

    A table is read once, until its file changes.

    Raises:
        runtime.settings.SettingsError: there is no such table, or all that is wrong with it.
    """
    own = path if path.suffix == ".toml" else TABLES / f"{path.name}.toml"
    try:
        state = own.stat()
    except OSError:
        return Decoder(load(DecoderSettings, own))  # which says so
    return _loaded(own, (state.st_ino, state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=_MOST_TABLES)
def _loaded(path: Path, _state: tuple[int, int, int]) -> "Decoder":
    return Decoder(load(DecoderSettings, path))


class Decoder:
    """A table made ready to decode.

    table: as it was read.
    """

    def __init__(self, table: DecoderSettings) -> None:
        self.table = table
        units = {one.name: one.unit for one in table.datastream}
        self._messages = [_Message(one, units, table.endian) for one in table.message]

    def decode(self, f_port: int, payload: bytes) -> tuple[Value, ...]:
        """Return everything a frame says, in its order.

        Raises:
            FrameError: the table does not explain every byte of it.
        """
        of_port = [one for one in self._messages if one.comes_by(f_port)]
        if not of_port:
            raise FrameError("unknown-port", f"port {f_port}")
        begun = [one for one in of_port if payload.startswith(one.starts)]
        if not begun:
            shown = payload[:_SHOWN_BYTES].hex()
            raise FrameError("unknown-type", f"beginning {shown} on port {f_port}")
        for message in begun:
            if message.may_be(len(payload)):
                return _distinct(message.values(payload))
        raise FrameError("wrong-length", f"{len(payload)} bytes on port {f_port}")


class _Field:
    """One field at its place."""

    def __init__(self, field: FieldSettings, at: int, unit: str | None, endian: Endian) -> None:
        self.name = field.name
        self.is_time = field.time
        self._settings = field
        self._at = at
        self._end = at + field.size
        self._endian: Endian = field.endian or endian
        self._unit = unit
        self._signed = field.type.startswith("i")
        self._values = {int(raw): result for raw, result in field.values.items()}

    def result(self, data: bytes) -> Result | None:
        """Return its result, None where the device has none."""
        part = data[self._at : self._end]
        kind = self._settings.type
        if kind == "dotted":
            return ".".join(str(byte) for byte in part)
        raw = self._float(part) if kind == "f32" else self._integer(part)
        if self._is_absent(raw):
            return None
        if raw in self._values:
            result = self._values[int(raw)]
            return (
                float(result)
                if isinstance(result, int) and not isinstance(result, bool)
                else result
            )
        if self._unit == BOOLEAN_UNIT and raw in (0, 1):
            return bool(raw)
        if self._unit is not None and (self._values or self._unit == BOOLEAN_UNIT):
            raise FrameError("unknown-value", f"{self.name} is {raw}")
        return self._scaled(raw)

    def _float(self, part: bytes) -> float:
        order = ">" if self._endian == "big" else "<"
        raw: float = struct.unpack(f"{order}f", part)[0]
        if not math.isfinite(raw):
            raise FrameError("not-finite", f"{self.name} is {raw}")
        return raw

    def _integer(self, part: bytes) -> int:
        first, last = self._settings.bits or (0, len(part) * 8 - 1)
        width = last - first + 1
        raw = int.from_bytes(part, self._endian) >> first & ((1 << width) - 1)
        return raw - (1 << width) if self._signed and raw >> (width - 1) else raw

    def _is_absent(self, raw: float) -> bool:
        field = self._settings
        return (
            raw in field.absent
            or (field.least is not None and raw < field.least)
            or (field.most is not None and raw > field.most)
        )

    def _scaled(self, raw: float) -> float | None:
        """Return the result, rounded to what binary fractions cannot blur; None past the pieces."""
        field = self._settings
        if not field.pieces:
            return self._rounded(raw * field.scale / field.divisor + field.offset)
        for piece in field.pieces:
            if raw < piece.below:
                return self._rounded(raw * piece.scale + piece.offset)
        return None

    def _rounded(self, result: float) -> float:
        if not math.isfinite(result):
            raise FrameError("not-finite", f"{self.name} is {result}")
        return float(f"{result:.12g}")


class _Group:
    """Fields that stand together, and share a time where one of them is it."""

    def __init__(
        self, fields: Sequence[FieldSettings], units: dict[str, str], endian: Endian
    ) -> None:
        self._fields = [
            _Field(field, at, units.get(field.name), endian) for field, at in placed(fields)
        ]

    def values(self, data: bytes) -> Iterator[Value]:
        """Yield what the fields say; `data` is as long as they need."""
        results = [(field, field.result(data)) for field in self._fields]
        time = None
        for field, result in results:
            if field.is_time and isinstance(result, float):
                time = _moment(field.name, result)
        for field, result in results:
            if result is not None and not field.is_time:
                yield Value(field.name, result, time)


def _moment(name: str, seconds: float) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise FrameError("unknown-value", f"{name} is {seconds} s after 1970") from error


class _Message:
    """One kind of message, ready to be read."""

    def __init__(self, message: MessageSettings, units: dict[str, str], endian: Endian) -> None:
        self.starts = bytes.fromhex(message.starts)
        self._settings = message
        self._head = _Group(message.field, units, endian)
        self._blocks = [
            (one.bit, one.length, _Group(one.field, units, endian)) for one in message.block
        ]
        self._types: dict[bytes, list[tuple[TypeSettings, _Group]]] = {}
        for one in message.type:
            group = _Group(one.field, units, endian)
            self._types.setdefault(bytes.fromhex(one.tag), []).append((one, group))

    def comes_by(self, f_port: int) -> bool:
        return not self._settings.f_port or f_port in self._settings.f_port

    def may_be(self, length: int) -> bool:
        """Return whether a frame of that length may be one of these."""
        if self._settings.length is not None:
            return length == self._settings.length
        if self._settings.flags_at is not None:
            return length >= self._settings.flags_at + FLAGS_BYTES
        return length > 0

    def values(self, payload: bytes) -> Iterator[Value]:
        yield from self._head.values(payload)
        if self._types:
            yield from self._tagged(payload)
        if self._settings.flags_at is not None:
            yield from self._announced(payload, self._settings.flags_at)

    def _tagged(self, payload: bytes) -> Iterator[Value]:
        at, tag_bytes = 0, self._settings.tag_bytes
        while at < len(payload):
            tag, rest = payload[at : at + tag_bytes], payload[at + tag_bytes :]
            found, group = self._type(tag, rest)
            length = len(rest) if found.length is None else found.length
            if length > len(rest):
                raise FrameError("wrong-length", f"{len(rest)} bytes after tag {tag.hex()}")
            yield from group.values(rest[:length])
            at += tag_bytes + length

    def _type(self, tag: bytes, rest: bytes) -> tuple[TypeSettings, _Group]:
        for found, group in self._types.get(tag, ()):
            if found.when_at is None or rest[found.when_at : found.when_at + 1] == bytes(
                [found.when]
            ):
                return found, group
        raise FrameError("unknown-type", f"tag {tag.hex()}")

    def _announced(self, payload: bytes, flags_at: int) -> Iterator[Value]:
        at = flags_at + FLAGS_BYTES
        flags = int.from_bytes(payload[flags_at:at], "big")
        for bit, length, group in self._blocks:
            if flags >> bit & 1:
                if at + length > len(payload):
                    raise FrameError("wrong-length", f"{len(payload)} bytes, flags {flags:#x}")
                yield from group.values(payload[at : at + length])
                at += length
                flags -= 1 << bit
        if flags:
            raise FrameError("unknown-type", f"flags {flags:#x} announce unknown blocks")
        if at != len(payload):
            raise FrameError("wrong-length", f"{len(payload)} bytes, {at} announced")


def _distinct(values: Iterable[Value]) -> tuple[Value, ...]:
    """Return the values, none twice; two results of one value at one time are refused."""
    found: dict[tuple[str, datetime | None], Value] = {}
    for value in values:
        known = found.setdefault((value.name, value.time), value)
        if known != value:
            raise FrameError("repeated-value", f"{value.name} is {known.result}, {value.result}")
    return tuple(found.values())
