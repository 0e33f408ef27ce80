"""Small files that survive a power cut: whole and new, or whole and old, never half.

Readings are not kept this way; see `edge_agent.spool`.
"""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Replace the file at `path`; on return the content is on the disk, name and all.

    Raises:
        OSError: it could not be written; the old file, if any, is untouched.
    """
    replace(path, content, durable=True)


def replace(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace the file at `path` in one step; unless `durable`, a power cut may undo that."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.rename(path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
