"""Files that survive a power cut: whole and new, or whole and old, never half.

Readings are not kept this way; see `edge_agent.spool.store`. Everything here goes through this
module's `os`, which a test replaces by one that fails at any step.
"""

import os
import shutil
from pathlib import Path
from typing import Final

PRIVATE_MODE: Final = 0o600
PRIVATE_DIRECTORY_MODE: Final = 0o700
_NEW_FILE_MODE: Final = 0o666  # less what the umask takes away


def write_durably(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace the file at `path`; on return the content is on the disk, name and all.

    private: nobody but its owner may read it, from its first byte on.

    Raises:
        OSError: it could not be written; the old file, if any, is untouched.
    """
    replace(path, content, durable=True, private=private)


def replace(path: Path, content: bytes, *, durable: bool = False, private: bool = False) -> None:
    """Replace the file at `path` in one step; unless `durable`, a power cut may undo that."""
    temporary = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    mode = PRIVATE_MODE if private else _NEW_FILE_MODE
    with open(os.open(temporary, flags, mode), "wb") as file:  # noqa: PTH123  # takes a descriptor
        if private:
            os.fchmod(file.fileno(), PRIVATE_MODE)  # of a file an earlier attempt has left
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.rename(temporary, path)  # noqa: PTH104  # see the module's docstring
    if durable:
        sync_directory(path.parent)


def stored_version(path: Path) -> int:
    """Return the version that stands in the file at `path`, 0 if there is none or it is damaged."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def make_directory(path: Path) -> None:
    """Make a directory for its owner alone, with those above it; nothing if it is there.

    Raises:
        OSError: it cannot be made.
    """
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkdir(path, PRIVATE_DIRECTORY_MODE)  # noqa: PTH102  # see the module's docstring
    sync_directory(path.parent)


def point(link: Path, target: str) -> None:
    """Let the symbolic link lead to `target`, in one step.

    Raises:
        OSError: it could not be changed, and leads where it led.
    """
    temporary = link.with_name(f"{link.name}.new")
    temporary.unlink(missing_ok=True)
    os.symlink(target, temporary)  # noqa: PTH211  # see the module's docstring
    os.rename(temporary, link)  # noqa: PTH104
    sync_directory(link.parent)


def remove(path: Path) -> None:
    """Remove the file at `path` for good, if there is one.

    Raises:
        OSError: it could not be removed.
    """
    try:
        os.unlink(path)  # noqa: PTH108  # see the module's docstring
    except FileNotFoundError:
        return
    sync_directory(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a directory with all that is in it; what cannot be removed stays."""
    shutil.rmtree(path, ignore_errors=True)


def sync_directory(path: Path) -> None:
    """Put the names in a directory on the disk.

    Raises:
        OSError: it failed.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
