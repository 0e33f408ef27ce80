"""Files that are whole or not there: keys, settings, and what another process reads meanwhile.

What a gateway keeps through power cuts is `edge_agent.durable`, which its tests cut at every step.
"""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that a reader sees the old content or the new, and a crash leaves one.

    The directories above are made as needed. `mode` holds from the first byte on. On return the
    file is on the disk, name and all.

    Raises:
        OSError: it cannot be written; the old file, if any, is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask took away
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
