"""The file of a backup: a ZIP archive of compressed table contents and one manifest.

Each content is what PostgreSQL's binary COPY says, in Zstandard frames, beside its SHA-256 in the
manifest; common tools take the archive apart. What is in the tables is `storage.archive.backup`'s
business.
"""

import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import pyarrow as pa

from storage.archive.tables import Counter, Stretch
from storage.edition import Edition

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"

_BLOCK_BYTES: Final = 4 << 20
_LEVEL: Final = 3
_MOST_MANIFEST_BYTES: Final = 64 << 20  # a century of months takes a hundredth
_ENCRYPTED: Final = 0x1  # ZIP's general purpose flag, bit 0


class BackupError(Exception):
    """A file is no backup of ours, or is not as it was written; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was taken of one table. stretch: of observations, which.

    member: its name in the archive. bytes, sha256: of the binary COPY, not compressed.
    """

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    stretch: Stretch | None
    member: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds. taken_at: all that was committed before it is in, hardly any later.

    migrations: names without edition, in order. observation_floor: as in the table.
    """

    taken_at: datetime
    version: str
    server: str
    edition: Edition
    migrations: tuple[str, ...]
    observation_floor: datetime | None
    contents: tuple[Content, ...]
    counters: tuple[Counter, ...]

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(content.rows for content in self.contents)


class Writer:
    """Writes a backup; what it has written is nowhere until `finish`."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._codec = pa.Codec("zstd", compression_level=_LEVEL)

    @contextmanager
    def member(self, name: str) -> Iterator["MemberWriter"]:
        """Write one content for the length of the block."""
        with self._archive.open(name, "w", force_zip64=True) as file:
            writer = MemberWriter(file, self._codec)
            yield writer
            writer.flush()

    def finish(self, manifest: Manifest) -> None:
        """Write what the backup holds."""
        self._archive.writestr(MANIFEST, json.dumps(_to_json(manifest), indent=1))


class MemberWriter:
    """Compresses and hashes what is written."""

    def __init__(self, file: IO[bytes], codec: Any) -> None:
        self._file = file
        self._codec = codec
        self._block = bytearray()
        self._sha256 = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Of everything flushed, in hexadecimal."""
        return self._sha256.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take some of the content."""
        self._block += data
        if len(self._block) >= _BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one frame."""
        if self._block:
            self._sha256.update(self._block)
            self.bytes += len(self._block)
            self._file.write(self._codec.compress(bytes(self._block), asbytes=True))
            self._block.clear()


@contextmanager
def create(path: Path) -> Iterator[Writer]:
    """Write a new backup for the length of the block: whole in the end, or not there at all.

    Only its owner may read it: it holds keys, sealed as they are, and hashes of passes.

    Raises:
        FileExistsError: there is something by this name.
        OSError: it cannot be written.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists: a backup is never written over")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                yield Writer(archive)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # unlike a renaming, fails where another was quicker
    finally:
        partial.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Reader:
    """Reads a backup."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._path = path
        self._archive = archive
        self.manifest = manifest

    def blocks(self, content: Content) -> Iterator[bytes]:
        """Yield a content in blocks.

        Raises:
            BackupError: after the last block, or instead of one: it is not as it was written, or
                longer than it says.
        """
        sha256 = hashlib.sha256()
        size = 0
        try:
            with _open(self._archive, content.member) as file:
                stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
                while block := stream.read(_BLOCK_BYTES):
                    sha256.update(block)
                    size += len(block)
                    if size > content.bytes:
                        break
                    yield block
        except (KeyError, zipfile.BadZipFile, OSError, EOFError) as error:
            raise BackupError(f"{self._path}: {content.member} cannot be read: {error}") from error
        if (size, sha256.hexdigest()) != (content.bytes, content.sha256):
            raise BackupError(f"{self._path}: {content.member} is not what was written")


@contextmanager
def read(path: Path) -> Iterator[Reader]:
    """Open a backup for the length of the block.

    Raises:
        BackupError: it is none, or of a later form.
        OSError: it cannot be read.
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise BackupError(f"{path} is no backup, or is not whole: {error}") from error
    with archive:
        try:
            with _open(archive, MANIFEST, most_bytes=_MOST_MANIFEST_BYTES) as file:
                manifest = _from_json(json.loads(file.read()))
        except (KeyError, ValueError, TypeError, RecursionError, zipfile.BadZipFile) as error:
            raise BackupError(f"{path} is no backup of this version: {error!r}") from error
        yield Reader(path, archive, manifest)


def _open(archive: zipfile.ZipFile, name: str, *, most_bytes: int | None = None) -> IO[bytes]:
    """Open a member as we write them: neither encrypted nor compressed by ZIP's own means.

    Raises:
        KeyError: there is none of this name.
        zipfile.BadZipFile: it is written otherwise, or too large.
    """
    found = archive.getinfo(name)
    if found.compress_type != zipfile.ZIP_STORED or found.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile(f"{name!r} is compressed or encrypted as we never do")
    if most_bytes is not None and found.file_size > most_bytes:
        raise zipfile.BadZipFile(f"{name!r} has {found.file_size} bytes, at most {most_bytes}")
    return archive.open(found)


def _to_json(manifest: Manifest) -> dict[str, Any]:
    floor = manifest.observation_floor
    return {
        "format": FORMAT,
        "taken_at": manifest.taken_at.isoformat(),
        "version": manifest.version,
        "server": manifest.server,
        "edition": manifest.edition.value,
        "migrations": manifest.migrations,
        "observation_floor": floor and floor.isoformat(),
        "contents": [_content_to_json(content) for content in manifest.contents],
        "counters": [asdict(counter) for counter in manifest.counters],
    }


def _content_to_json(content: Content) -> dict[str, Any]:
    row = asdict(content)
    if content.stretch is not None:
        row["stretch"] = [
            edge and edge.isoformat() for edge in (content.stretch.start, content.stretch.end)
        ]
    return row


def _from_json(document: dict[str, Any]) -> Manifest:
    if document["format"] != FORMAT:
        raise ValueError(f"form {document['format']}, this version reads {FORMAT}")
    floor = document["observation_floor"]
    return Manifest(
        taken_at=datetime.fromisoformat(document["taken_at"]),
        version=_of(str, document["version"]),
        server=_of(str, document["server"]),
        edition=Edition(document["edition"]),
        migrations=tuple(_of(str, each) for each in document["migrations"]),
        observation_floor=floor and datetime.fromisoformat(floor),
        contents=tuple(_content_from_json(row) for row in document["contents"]),
        counters=tuple(_counter_from_json(row) for row in document["counters"]),
    )


T = TypeVar("T")


def _of(kind: type[T], value: object) -> T:
    """Return a value of a manifest, if it is what it should be.

    Raises:
        TypeError: it is not.
    """
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _counter_from_json(row: dict[str, Any]) -> Counter:
    for key, kind in (("table", str), ("column", str), ("value", int), ("called", bool)):
        _of(kind, row[key])
    return Counter(**row)


def _content_from_json(row: dict[str, Any]) -> Content:
    for key, kind in (("table", str), ("member", str), ("rows", int), ("bytes", int)):
        _of(kind, row[key])
    stretch = row["stretch"]
    return Content(
        **row
        | {
            "columns": tuple(row["columns"]),
            "types": tuple(row["types"]),
            "stretch": None if stretch is None else Stretch(*_edges(stretch)),
        }
    )


def _edges(texts: Sequence[str | None]) -> list[date | None]:
    return [None if text is None else date.fromisoformat(text) for text in texts]
