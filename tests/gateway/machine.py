"""A gateway's computer to install on: this machine's programs, but files and users of its own.

Every command runs as root in a mount namespace and a root directory of the test's. `/usr` is this
machine's, read-only. systemd does not run in it; `systemctl` beside this file stands for it.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PATH = "/opt/test-programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_COPIED = (
    *("passwd", "group", "shadow", "gshadow", "login.defs", "nsswitch.conf", "hosts"),
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "ssl"),
)
_ENTER = """
set -eu
root=$1; shift
mount --make-rprivate /
mount --bind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount --bind "$root/sbin.local" "$root/usr/local/sbin"
for place in bin sbin lib lib64; do
    [ -L "$root/$place" ] || mount --bind "/$place" "$root/$place"
done
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mkdir -p "$root/source" && mount --bind "$KERBSTONE_SOURCE" "$root/source"
cd "$root"
exec chroot . env -i PATH="$KERBSTONE_PATH" HOME=/root "$@"
"""


@dataclass(frozen=True)
class Machine:
    """One such computer; everything that is its own lies in `root`."""

    root: Path

    @classmethod
    def fresh(cls, root: Path) -> "Machine":
        """Make one that nothing was installed on; systemd seems to be running."""
        for name in ("usr", "dev", "proc", "etc", "opt/test-programs", "root", "sbin.local"):
            (root / name).mkdir(parents=True)
        for name in ("run/systemd/system", "boot/firmware", "var/lib", "tmp"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        for name in ("bin", "sbin", "lib", "lib64"):
            place = Path("/", name)
            if place.is_symlink():
                (root / name).symlink_to(place.readlink())
            elif place.exists():
                (root / name).mkdir()
        copied = [f"/etc/{name}" for name in _COPIED if Path("/etc", name).exists()]
        subprocess.run(["cp", "-a", *copied, root / "etc"], check=True)
        machine = cls(root)
        machine.program("systemctl", Path(__file__).with_name("systemctl").read_text())
        machine.program("sleep", "#!/bin/sh\nexec /usr/bin/sleep 0.1\n")  # looks more often
        machine.program("journalctl", "#!/bin/sh\ncat /run/systemd/journal\n")
        return machine

    def copy(self, root: Path) -> "Machine":
        """Return another that is just like this one, whose agent must not be running."""
        subprocess.run(["cp", "-a", self.root, root], check=True)
        return Machine(root)

    def program(self, name: str, text: str) -> None:
        """Put a program before the system's own."""
        file = self.root / "opt/test-programs" / name
        file.write_text(text)
        file.chmod(0o755)

    def command(self, *words: str) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(self.root), *words]

    def environment(self, source: Path) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "KERBSTONE_SOURCE": str(source), "KERBSTONE_PATH": PATH}

    def run(self, *words: str, source: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
        """Run a command as root to its end; `source` is at /source meanwhile."""
        return subprocess.run(
            self.command(*words),
            env=self.environment(source),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def install(self, *words: str, source: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
        return self.run("/source/deploy/gateway/install", *words, source=source)

    def gateway(self, *words: str, source: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
        return self.run("kerbstone-gateway", *words, source=source)

    @property
    def release(self) -> str:
        """Name of the release in use."""
        return (self.root / "opt/kerbstone/current").readlink().name

    @property
    def releases(self) -> set[str]:
        return {path.name for path in (self.root / "opt/kerbstone/releases").iterdir()}

    @property
    def calls(self) -> Sequence[str]:
        """What systemd was asked for."""
        return (self.root / "run/systemd/calls").read_text().splitlines()

    @property
    def process(self) -> int | None:
        """The agent that runs."""
        try:
            found = int((self.root / "run/systemd/process").read_text())
            command = Path(f"/proc/{found}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return found if command else None  # empty: dead, and only not yet buried by its parent

    def start(self) -> None:
        """Start the agent, and wait until it has said how it is."""
        status = self.root / "run/kerbstone/status.json"
        status.unlink(missing_ok=True)
        self.run("systemctl", "start", "kerbstone-agent.service")
        until(status.exists)

    def stop(self) -> None:
        """Stop the agent at once, as a power cut does."""
        running = self.process
        if running is not None:
            os.kill(running, signal.SIGKILL)
            until(lambda: self.process is None)

    def remove(self) -> None:
        """Stop what was started here, and leave nothing."""
        self.stop()
        shutil.rmtree(self.root)


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that will be so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def says(result: subprocess.CompletedProcess[str]) -> str:
    """Return all that a command wrote, for messages."""
    return f"status {result.returncode}\n{result.stdout}{result.stderr}"
