"""Small disks that can be full: tmpfs file systems whose size is cut down to what is in use.

Mounting needs a right that containers often withhold; `may_mount` asks for it, and
`in_own_namespace` starts this program again where its mounts are its own and end with it.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MARK: Final = "KERBSTONE_CHAOS_NAMESPACE"
_PAGE: Final = 4096
_UNSHARE: Final = ("unshare", "--mount", "--propagation", "private")


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A tmpfs mounted at `path`. bytes: its size when it is not full."""

    path: Path
    bytes: int

    def mount(self) -> None:
        """Mount it; the directory is made if need be.

        Raises:
            subprocess.CalledProcessError: it may not be mounted.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        options = f"size={self.bytes},mode=755"
        _run("mount", "-t", "tmpfs", "-o", options, "kerbstone-chaos", str(self.path))

    def fill(self) -> None:
        """Leave no room on it. Files that grow at this moment may win a few pages: then again."""
        for spare in (0, 16, 256, 4096):
            usage = os.statvfs(self.path)
            used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
            if self._resized(used + spare * _PAGE):
                return
        raise OSError(f"{self.path} could not be filled")

    def free(self) -> None:
        """Give it its whole size again."""
        self._resized(self.bytes)

    def unmount(self) -> None:
        """Unmount it, also while somebody looks at it."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=False)

    def _resized(self, size: int) -> bool:
        command = ["mount", "-o", f"remount,size={size}", str(self.path)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


def may_mount() -> bool:
    """Tell whether this process may mount, in a namespace of its own."""
    if os.geteuid() != 0:
        return False
    command = [*_UNSHARE, "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def in_own_namespace(words: Sequence[str]) -> None:
    """Start this very process again in a mount namespace of its own, unless it is in one.

    words: what this program was started with, behind the name of Python.
    """
    if os.environ.get(_MARK) == "1":
        return
    os.environ[_MARK] = "1"
    os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, *words])  # noqa: S606 - ourselves


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
