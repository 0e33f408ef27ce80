"""The demo's child processes: apart from the terminal, a log each, restarted when they die.

A record of their process ids lets the next start end what a killed demo left behind.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from command_line.progress import say
from runtime.backoff import FullJitter

ROOT: Final = Path(__file__).parents[2]
STOP_SECONDS: Final = 10.0
LOG_TAIL_LINES: Final = 12


@dataclass(slots=True)
class Child:
    """One `kerbstone …` process and how to start it again."""

    name: str
    words: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, its output appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "command_line", *self.words],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which stops them
            )

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it at once, as a power cut would (SIGKILL)."""
        if self.process is not None and self.running:
            self.process.kill()
            self.process.wait()

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.process is not None and self.running:
            self.process.terminate()

    def log_tail(self) -> str:
        """Return the last lines it wrote."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        return ""


class Children:
    """All children of one demo; a record file outlives this process if it is killed."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._children: dict[str, Child] = {}

    def start(self, name: str, words: tuple[str, ...], log: Path) -> Child:
        """Start a child and remember it."""
        child = Child(name, words, log)
        child.start()
        self._children[name] = child
        self._write_record()
        return child

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def ended(self) -> Child | None:
        """Return a child that has ended by itself, if there is one."""
        return next((child for child in self._children.values() if not child.running), None)

    def restart(self, name: str) -> None:
        """Start a child that has ended."""
        self._children[name].start()
        self._write_record()

    async def keep_running(self) -> None:
        """Restart whatever ends by itself, waiting longer each time; runs until cancelled."""
        waits = {name: FullJitter(base_seconds=1.0, cap_seconds=30.0) for name in self._children}
        while True:
            await asyncio.sleep(0.5)
            for child in list(self._children.values()):
                if child.running or child.process is None:
                    continue
                wait = waits.setdefault(
                    child.name, FullJitter(base_seconds=1.0, cap_seconds=30.0)
                ).next()
                say(
                    f"{child.name} ended with status {child.process.returncode}; "
                    f"starting it again. See {child.log}"
                )
                await asyncio.sleep(wait)
                self.restart(child.name)

    def stop(self) -> None:
        """Stop all: ask, wait, and end by force what does not listen."""
        for child in self._children.values():
            child.ask_to_stop()
        for child in self._children.values():
            if child.process is None:
                continue
            try:
                child.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"{child.name} did not stop within {STOP_SECONDS:.0f} s; ending it")
                child.kill()
        self._record.unlink(missing_ok=True)

    def _write_record(self) -> None:
        pids = [child.process.pid for child in self._children.values() if child.process is not None]
        self._record.write_text("\n".join(map(str, pids)))


def end_leftovers(record: Path) -> int:
    """End processes that a killed demo left running; return how many there were.

    A process id may have been given to another since, so only a Kerbstone command line is touched.
    """
    try:
        pids = [int(word) for word in record.read_text().split()]
    except (OSError, ValueError):
        return 0
    ended = 0
    for pid in pids:
        command = _command_line(pid)
        if "command_line" in command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                ended += 1
    record.unlink(missing_ok=True)
    return ended


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
