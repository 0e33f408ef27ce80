"""Processes that may be killed, stopped and continued, and are started again when they end.

A service manager would start them again; here `Supervised.revive` does, and it is counted how often
one ended by itself, which no fault here did to it.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_STOP_SECONDS: Final = 15.0


@dataclass(slots=True)
class Supervised:
    """One `kerbstone …` process.

    environment: beside our own. wanted: whether it is to run at present.
    ended: how it ended when nobody had asked it to.
    """

    name: str
    words: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    wanted: bool = False
    ended: list[int] = field(default_factory=list)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it unless it runs; its output is appended to the log."""
        self.wanted = True
        if self.running:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "command_line", *self.words],
                env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id; 0 when it does not run."""
        return self.process.pid if self.process is not None and self.running else 0

    def kill(self) -> None:
        """End it at once and leave it so until it is started."""
        self.wanted = False
        if self.process is not None and self.running:
            self.process.kill()
            self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def revive(self) -> int | None:
        """Start it again if it has ended by itself; return with which status it had."""
        if not self.wanted or self.running or self.process is None:
            return None
        status = self.process.returncode
        self.ended.append(status)
        self.start()
        return status

    def stop(self) -> None:
        """Ask it to end, and end it by force when it does not listen."""
        self.wanted = False
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self.process is not None:
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


def children_of(pid: int) -> list[int]:
    """Return the process ids of a process's children; none when it has gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def title_of(pid: int) -> str:
    """Return a process's command line, or nothing when it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
