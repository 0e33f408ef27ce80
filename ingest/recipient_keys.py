"""The private keys that gateways seal to: read from files, and again whenever they may differ.

A new key takes effect without a restart: the directory is looked at when the registry has changed
and when a message came that was for none of our keys. A key whose file is gone is forgotten.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from device_protocol.errors import StructureError
from device_protocol.keys import RecipientKey
from device_protocol.recipient_pem import decode_pem

log = logging.getLogger(__name__)

SUFFIXES: Final = frozenset({".key", ".pem"})
_SECONDS_BETWEEN: Final = 1.0

Stamp = tuple[tuple[str, int, int], ...]
"""Names, times and sizes of the files; another stamp, other keys."""


class RecipientKeyError(Exception):
    """A file holds no recipient's private key, or there is none."""


class RecipientKeys:
    """Keys from single files and from all *.key and *.pem files of a directory."""

    def __init__(self, files: Sequence[Path], directory: Path | None) -> None:
        self._files = tuple(files)
        self._directory = directory
        self._stamp: Stamp = ()
        self._asked = asyncio.Event()

    def read(self) -> dict[bytes, RecipientKey]:
        """Return all keys by kid.

        Raises:
            OSError, RecipientKeyError: a file cannot be read, holds no such key, or there is none.
        """
        stamp = self._look()
        keys = {key.kid: key for key in map(_read, self._paths())}
        if not keys:
            raise RecipientKeyError(f"no recipient key in {self._directory}")
        self._stamp = stamp
        return keys

    def ask(self) -> None:
        """Let the files be looked at soon."""
        self._asked.set()

    async def follow(self, use: Callable[[Mapping[bytes, RecipientKey]], None]) -> NoReturn:
        """Hand over the keys whenever they have changed, soon after somebody asked.

        Files that cannot be read leave the keys as they were; so does an empty directory.
        """
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                keys = await asyncio.to_thread(self._read_changed)
            except (OSError, RecipientKeyError) as error:
                log.error("recipient keys not read", extra={"error": str(error)})  # noqa: TRY400  # no bug of ours
            else:
                if keys is not None:
                    log.info("recipient keys read", extra={"keys": sorted(k.hex() for k in keys)})
                    use(keys)
            await asyncio.sleep(_SECONDS_BETWEEN)

    def _read_changed(self) -> dict[bytes, RecipientKey] | None:
        return self.read() if self._look() != self._stamp else None

    def _paths(self) -> list[Path]:
        found = self._directory.iterdir() if self._directory is not None else ()
        return [*self._files, *sorted(path for path in found if path.suffix in SUFFIXES)]

    def _look(self) -> Stamp:
        stats = [(str(path), path.stat()) for path in self._paths()]
        return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


def _read(path: Path) -> RecipientKey:
    try:
        return decode_pem(path.read_bytes())
    except StructureError as error:
        raise RecipientKeyError(f"{path}: {error}") from error
