"""A disk whose power goes at a chosen step, for code that writes through `edge_agent.durable`.

Stands in for the module's `os`. Kinder and crueller than a real cut: it comes between two steps,
never within one; but whatever was not synced by then is surely lost, contents of files and names
in directories alike, unless `merciful`.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


class PowerCut(BaseException):  # no error that anything should catch
    """The power is gone."""


class FailingOs:
    """An `os` that cuts the power at its step number `cut_at`, counted from 0.

    steps: how many were taken. merciful: what was written and not synced is kept all the same.
    """

    def __init__(self, cut_at: int, *, merciful: bool) -> None:
        self.steps = 0
        self._cut_at = cut_at
        self._merciful = merciful
        self._paths: dict[int, Path] = {}
        self._unsynced: set[Path] = set()
        self._undo: list[tuple[Path, Callable[[], None]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """Open; a file that is made counts as a step."""
        if not flags & os.O_CREAT:
            descriptor = os.open(path, flags, mode)
        else:
            descriptor = self._step(path, lambda: os.open(path, flags, mode))
            self._unsynced.add(path)
        self._paths[descriptor] = path
        return descriptor

    def fsync(self, descriptor: int) -> None:
        """Sync a file's content, or a directory's names."""
        path = self._paths[descriptor]
        if path.is_dir():
            self._step(None, lambda: os.fsync(descriptor))
            self._undo = [each for each in self._undo if each[0] != path]
        else:
            self._step(None, lambda: os.fsync(descriptor))
            self._unsynced.discard(path)

    def rename(self, source: Path, target: Path) -> None:
        """Rename; unsynced content stays so under its new name."""
        self._step(target, lambda: source.rename(target))
        if source in self._unsynced:
            self._unsynced.discard(source)
            self._unsynced.add(target)

    def symlink(self, target: str, link: Path) -> None:
        """Make a symbolic link."""
        self._step(link, lambda: link.symlink_to(target))

    def mkdir(self, path: Path, mode: int) -> None:
        """Make a directory."""
        self._step(path, lambda: path.mkdir(mode))

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        if not path.exists():
            raise FileNotFoundError(path)
        self._step(path, path.unlink)

    def _step(self, changed: Path | None, act: Callable[[], Any]) -> Any:
        """Take one step, or lose the power before it."""
        if self.steps == self._cut_at:
            self._cut()
        self.steps += 1
        restore = _restorer(changed) if changed is not None else None
        result = act()
        if changed is not None and restore is not None:
            self._undo.append((changed.parent, restore))
        return result

    def _cut(self) -> None:
        if not self._merciful:
            for path in self._unsynced:
                if path.is_file():
                    path.write_bytes(b"")
            for _, restore in reversed(self._undo):
                restore()
        raise PowerCut


def _restorer(path: Path) -> Callable[[], None]:
    """Return what puts `path` back as it is now."""
    if path.is_symlink():
        target = path.readlink()

        def point() -> None:
            _remove(path)
            path.symlink_to(target)

        return point
    if path.is_file():
        content, mode = path.read_bytes(), path.stat().st_mode

        def rewrite() -> None:
            _remove(path)
            path.write_bytes(content)
            path.chmod(mode)

        return rewrite
    if path.is_dir():
        return lambda: None
    return lambda: _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
