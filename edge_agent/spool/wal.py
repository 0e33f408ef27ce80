"""Reading SQLite's write-ahead log without SQLite, which passes over what is damaged in silence.

SQLite takes a log up to the first frame whose checksum does not hold for one that was never
finished, and forgets the rest. That is right after a power cut, when only the last commit can be
unfinished, and wrong when the card has lost older ones. Here the difference is told, and rows
are found in the frames that SQLite does not look at.

Formats: https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4;
https://www.sqlite.org/walformat.html, section 2.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">IIIIIIII")
_FRAME: Final = struct.Struct(">IIIIII")
_MAGICS: Final = {0x377F0682: "<", 0x377F0683: ">"}  # by the byte order of the checksums
_INDEX: Final = struct.Struct("=IIIBBHIIIIII")  # of the -shm file, in the machine's byte order
_LEAF: Final = 0x0D  # the first byte of a page that holds rows of a table
_CELLS_AT: Final = 8
_MOST_VARINT_BYTES: Final = 9
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_CONSTANTS: Final = {8: 0, 9: 1}
_FIRST_TEXT: Final = 13
_COLUMNS: Final = 4


@dataclass(frozen=True, slots=True)
class Log:
    """What a log holds.

    lost: commits that were finished are not read by SQLite.
    beyond: pages in the frames from the first on that SQLite does not read, the newest of each.
    """

    lost: bool
    beyond: dict[int, bytes]


def read_log(path: Path) -> Log:
    """Return what the log beside the database at `path` holds; it is not changed.

    Raises:
        OSError: it cannot be read.
    """
    log, index = (path.with_name(path.name + companion) for companion in ("-wal", "-shm"))
    content = log.read_bytes() if log.exists() else b""
    finished, salts = _index_of(index.read_bytes() if index.exists() else b"")
    if len(content) < _HEADER.size:
        return Log(finished > 0, {})
    magic, _, page_bytes, _, *own_salts, first, second = _HEADER.unpack_from(content)
    order = _MAGICS.get(magic)
    if order is None or _sum(content[:24], order, (0, 0)) != (first, second):
        beyond = _pages_of(content, _page_bytes_of(path))
        return Log(bool(beyond), beyond)
    frames = _Frames(content, page_bytes, order, (own_salts[0], own_salts[1]))
    if salts == (own_salts[0], own_salts[1]):
        frames.finished = max(frames.finished, finished)
    return Log(frames.sound < frames.finished, frames.beyond)


def _page_bytes_of(path: Path) -> int:
    with path.open("rb") as file:
        file.seek(16)
        return int.from_bytes(file.read(2), "big") or 4096


def _pages_of(content: bytes, page_bytes: int) -> dict[int, bytes]:
    """Return the pages of a log that has lost its header, older generations' among them."""
    step = _FRAME.size + page_bytes
    return {
        at: content[at + _FRAME.size : at + step]
        for at in range(_HEADER.size, len(content) - step + 1, step)
    }


class _Frames:
    """The frames of a log's present generation.

    sound: how many the chain of checksums holds for, up to the last commit. finished: how many
    were surely part of a finished commit: one has followed.
    """

    def __init__(self, content: bytes, page_bytes: int, order: str, salts: tuple[int, int]) -> None:
        self.sound = 0
        self.finished = 0
        self.beyond: dict[int, bytes] = {}
        chain: tuple[int, int] | None = struct.unpack_from(">II", content, 24)
        before = chain
        last_commit = 0
        step = _FRAME.size + page_bytes
        for number, at in enumerate(range(_HEADER.size, len(content) - step + 1, step), start=1):
            page_number, commit, *frame_salts, first, second = _FRAME.unpack_from(content, at)
            page = content[at + _FRAME.size : at + step]
            is_own = (frame_salts[0], frame_salts[1]) == salts
            holds = is_own and before is not None and _holds(content, at, page, order, before)
            if chain is not None and not holds:
                chain = None  # from here on SQLite reads nothing
            if chain is None and is_own:
                self.beyond[page_number] = page
            before = (first, second) if is_own else None
            if holds and commit:
                self.finished, last_commit = last_commit, number
                self.sound = number if chain is not None else self.sound
        if chain is not None or self.sound == last_commit:
            self.finished = self.sound


def _holds(content: bytes, at: int, page: bytes, order: str, before: tuple[int, int]) -> bool:
    """Tell whether a frame's checksum holds, given that of the frame before."""
    total = _sum(page, order, _sum(content[at : at + 8], order, before))
    return total == struct.unpack_from(">II", content, at + 16)


def _sum(content: bytes, order: str, before: tuple[int, int]) -> tuple[int, int]:
    first, second = before
    for even, odd in struct.iter_unpack(f"{order}II", content):
        first = first + even + second & 0xFFFFFFFF
        second = second + odd + first & 0xFFFFFFFF
    return first, second


def _index_of(content: bytes) -> tuple[int, tuple[int, int]]:
    """Return how many frames the -shm file knows to be finished, and the salts they had.

    It is not synced: after a power cut it may be older than the log, but never ahead of it.
    """
    if len(content) < 2 * 48 or content[:48] != content[48:96]:
        return 0, (0, 0)
    fields = _INDEX.unpack_from(content)
    salts = struct.unpack_from(">II", content, 32)
    return int(fields[6]), salts


def rows_on(page: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield key, integer, text and integer of every row on a page of the spool's table.

    A page that is none, or damaged, yields what can be made of it: rows must prove themselves.
    """
    if page[:1] != bytes([_LEAF]):
        return
    cells = min(int.from_bytes(page[3:5], "big"), len(page) // 2)
    for cell in range(cells):
        at = _CELLS_AT + 2 * cell
        begin = int.from_bytes(page[at : at + 2], "big")
        try:
            row = _row(page, begin)
        except (IndexError, ValueError):
            continue
        if row is not None:
            yield row


def _row(page: bytes, at: int) -> tuple[int, int, bytes, int] | None:
    payload_bytes, at = _varint(page, at)
    key, at = _varint(page, at)
    end = at + payload_bytes
    header_bytes, types_at = _varint(page, at)
    types: list[int] = []
    while types_at < at + header_bytes and len(types) <= _COLUMNS:
        kind, types_at = _varint(page, types_at)
        types.append(kind)
    if len(types) != _COLUMNS or end > len(page):
        return None
    values: list[int | bytes | None] = []
    at += header_bytes
    for kind in types[1:]:
        value, at = _value(page, at, kind)
        values.append(value)
    match values:
        case [int(accepted), bytes(body), int(checksum)]:
            return key, accepted, body, checksum
    return None


def _value(page: bytes, at: int, kind: int) -> tuple[int | bytes | None, int]:
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], at
    if kind in _INTEGER_BYTES:
        end = at + _INTEGER_BYTES[kind]
        return int.from_bytes(page[at:end], "big", signed=True), end
    if kind >= _FIRST_TEXT and kind % 2:
        end = at + (kind - _FIRST_TEXT) // 2
        return page[at:end], end
    return None, at


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(1, _MOST_VARINT_BYTES + 1):
        byte = page[at]
        at += 1
        if count == _MOST_VARINT_BYTES:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004  # the highest bit says that more follows
            break
    return value, at
