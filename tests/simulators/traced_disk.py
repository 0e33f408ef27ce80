"""A disk whose power goes at any moment, rebuilt from what a process really asked the kernel for.

`strace` records every system call by which a program changes files in a directory, with what it
wrote. From that record `Disk` tells what is surely on the medium at any moment: a file's content
as of its last fsync or fdatasync, a directory's names as of the last fsync of the directory. The
rest was in memory. `after_a_cut` keeps none of it, or sectors of it at random, torn and out of
order, for a kernel writes back as it likes; names survive in order, up to a random one, as a
journalling file system's do.

Not shown: a medium that says it has written what it has not, or that damages its neighbours when
the power goes. Memory-mapped writes are not seen; SQLite's are to its `-shm` file only, which
recovery makes anew.
"""

import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512
CALLS = (
    "openat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "sync_file_range,rename,renameat,renameat2,unlink,unlinkat,link,linkat,copy_file_range,sendfile"
)
_BEGUN = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_WHOLE = re.compile(r"^(\d+) +(\w+)\((.*)$")
_RESULT = re.compile(r"^(.*)\) += (-?\d+)", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True)
class Call:
    """A system call that succeeded: its name, its paths, and what else it was given."""

    name: str
    descriptor: int
    path: str
    strings: tuple[bytes, ...]
    arguments: str


def trace(command: Sequence[str], record: Path, **options: object) -> list[Call]:
    """Run a program and return what it asked for, in order, once it has ended by itself."""
    traced = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "1000000"]
    traced += ["-o", str(record), "-e", f"trace={CALLS}", *command]
    subprocess.run(traced, check=True, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    return list(_calls(record))


def _calls(record: Path) -> Iterator[Call]:
    begun: dict[str, str] = {}
    for line in record.read_text().splitlines():
        if match := _BEGUN.match(line):
            begun[match[1]] = match[3]
        elif match := _RESUMED.match(line):
            yield from _succeeded(match[2], begun.pop(match[1]) + match[3])
        elif match := _WHOLE.match(line):
            yield from _succeeded(match[2], match[3])


def _succeeded(name: str, text: str) -> Iterator[Call]:
    result = _RESULT.match(text)
    if result is None or int(result[2]) < 0:
        return
    arguments = result[1]
    strings = tuple(_bytes_of(each) for each in _STRING.findall(arguments))
    descriptor = _DESCRIPTOR.match(arguments)
    number = int(descriptor[1]) if descriptor else -1
    path = _bytes_of(descriptor[2]).decode() if descriptor else ""
    yield Call(name, number, path, strings, arguments)


def _bytes_of(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


@dataclass
class _File:
    """What a file surely holds, and what was written since: offset and content, or a new size."""

    synced: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    position: int = 0

    def sync(self) -> None:
        self.synced = self.content(None)
        self.pending.clear()

    def content(self, chosen: random.Random | None, share: float = 1.0) -> bytes:
        """Return what a reader finds if of the unsynced sectors only some survive."""
        found = bytearray(self.synced)
        for offset, written in self.pending:
            if written is None:
                if chosen is None or chosen.random() < share:
                    found[offset:] = b""
                    found += bytes(max(0, offset - len(found)))
                continue
            for at in _sectors(offset, offset + len(written)):
                if chosen is not None and chosen.random() >= share:
                    continue
                begin, end = max(at, offset), min(at + SECTOR_BYTES, offset + len(written))
                found += bytes(max(0, end - len(found)))
                found[begin:end] = written[begin - offset : end - offset]
        return bytes(found)


def _sectors(begin: int, end: int) -> range:
    return range(begin // SECTOR_BYTES * SECTOR_BYTES, end, SECTOR_BYTES)


class Disk:
    """One directory as the kernel sees it, and as the medium holds it.

    said: what the program wrote to its standard output so far.
    """

    def __init__(self, directory: Path) -> None:
        self.said = b""
        self._directory = str(directory)
        self._names: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._changes: list[dict[str, _File]] = []  # the names after each unsynced change
        for path in directory.iterdir():
            self._names[path.name] = _File(path.read_bytes())
        self._durable = dict(self._names)

    def take(self, call: Call) -> bool:
        """Let one call happen; return whether it concerned this disk or was said."""
        if call.name == "write" and call.descriptor == 1:
            self.said += call.strings[0]
            return True
        if call.name in ("fsync", "fdatasync") and call.path == self._directory:
            self._durable, self._changes = dict(self._names), []
            return True
        if not call.path and not call.strings:
            return False
        return self._change_names(call) or self._change_file(call)

    def _change_names(self, call: Call) -> bool:
        paths = [self._name(each) for each in call.strings]
        if not any(paths) or call.name in ("write", "pwrite64"):
            return False
        names = self._names
        if call.name == "openat":
            if "O_CREAT" in call.arguments and paths[0] not in names:
                names[str(paths[0])] = _File()
            elif "O_TRUNC" in call.arguments:
                names[str(paths[0])].pending.append((0, None))
            else:
                return False
            names[str(paths[0])].position = 0
        elif call.name.startswith("rename"):
            names[str(paths[1])] = names.pop(str(paths[0]))
        elif call.name.startswith("unlink"):
            names.pop(str(paths[0]))
        else:
            raise NotImplementedError(call.name)
        self._changes.append(dict(names))
        return True

    def _change_file(self, call: Call) -> bool:
        name = self._name(call.path.encode())
        if name is None or call.name == "openat":
            return False
        file = self._names.get(name)
        if file is None:  # it has no name any more
            return False
        if call.name in ("fsync", "fdatasync"):
            file.sync()
        elif call.name == "pwrite64":
            file.pending.append((int(call.arguments.rsplit(", ", 1)[1]), call.strings[0]))
        elif call.name == "write":
            file.pending.append((file.position, call.strings[0]))
            file.position += len(call.strings[0])
        elif call.name == "ftruncate":
            file.pending.append((int(call.arguments.rsplit(", ", 1)[1]), None))
        else:
            raise NotImplementedError(f"{call.name} of {name}")
        return True

    def _name(self, path: bytes) -> str | None:
        text = path.decode(errors="replace")
        above, _, name = text.rpartition("/")
        return name if above == self._directory else None

    def after_a_cut(self, target: Path, chosen: random.Random, share: float) -> None:
        """Write to `target` what is there if the power goes now.

        share: of the unsynced sectors that survive, about.
        """
        names = self._durable
        if share and self._changes:
            survived = chosen.randrange(len(self._changes) + 1)
            names = self._changes[survived - 1] if survived else names
        for name, file in names.items():
            (target / name).write_bytes(file.content(chosen, share))
