"""Putting a broker of readers on disk, and running one on this machine: for demo and tests.

What it is told is `broker_config.readers`. A real one is started by its own service unit.
"""

import contextlib
import os
import resource
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from broker_config.broker_log import BrokerLog
from broker_config.embedded import BrokerError, find_mosquitto, find_nats
from broker_config.files import FILE_MODE, BrokerKind
from broker_config.keeper import hang_up
from broker_config.network import PID_FILE
from broker_config.readers import MAIN_FILES, ReadersBroker, render
from runtime.atomic_files import write_atomically

_POLL_SECONDS: Final = 0.01
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_LAST_LINES: Final = 12
_OTHER_FILES: Final = 16
"""What Mosquitto has open beside connections. It counts those that have ended twice before version
2.0.12, so that max_connections alone bounds nothing; files that may be open do."""

_CERTIFICATE: Final = "server.pem"
_KEY: Final = "server.key"
_RENEWING: Final = "renewing"


def write(kind: BrokerKind, broker: ReadersBroker) -> Path:
    """Put everything it reads in its directory, copies of certificate and key; return the main.

    Raises:
        OSError: certificate or key cannot be read, or a file not be written.
    """
    below = broker.configuration
    below.mkdir(parents=True, exist_ok=True)
    broker.data.mkdir(parents=True, exist_ok=True)
    copies = {_CERTIFICATE: broker.certificate.read_bytes(), _KEY: broker.key.read_bytes()}
    copied = replace(broker, certificate=below / _CERTIFICATE, key=below / _KEY)
    main = MAIN_FILES[kind]
    texts = {name: text.encode() for name, text in render(kind, copied).items()}
    files = {name: content for name, content in (copies | texts).items() if name != main}
    for name, content in (files | {main: texts[main]}).items():  # the main one comes last
        write_atomically(below / name, content, FILE_MODE)
    return below / main


def renew(kind: BrokerKind, broker: ReadersBroker) -> bool:
    """Bring the copies of certificate and key up to date where they are not; return whether so.

    A broker that runs takes them then, without ending a connection.

    Raises:
        OSError: certificate or key cannot be read, or a copy not be written.
        BrokerError: there is no broker that runs over these files.
    """
    copies = {_CERTIFICATE: broker.certificate.read_bytes(), _KEY: broker.key.read_bytes()}
    begun = broker.configuration / _RENEWING
    paths = {broker.configuration / name: content for name, content in copies.items()}
    stale = [path for path, new in paths.items() if not path.exists() or path.read_bytes() != new]
    if not stale and not begun.exists():
        return False
    begun.touch()  # what ends before the broker has been told is done again
    for path in stale:
        write_atomically(path, paths[path], FILE_MODE)
    hang_up(kind, broker.data / PID_FILE)()
    begun.unlink()
    return True


class EmbeddedReadersBroker:
    """A process over a directory; also a context manager that stops it.

    log: what it says, a file beside the configuration.
    """

    def __init__(self, kind: BrokerKind, broker: ReadersBroker) -> None:
        self.kind = kind
        owner = "root" if os.geteuid() == 0 else "mosquitto"  # as `broker_config.embedded` has it
        self.broker = replace(broker, run_as=owner)
        self.log = broker.configuration.parent / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Write its files, start it, and wait until it serves.

        Raises:
            BrokerError: there is no program here, or it did not start; with its last lines.
        """
        program = find_nats() if self.kind is BrokerKind.NATS else find_mosquitto()
        if program is None:
            raise BrokerError(f"there is no program of {self.kind} on this machine")
        main = write(self.kind, self.broker)
        said = BrokerLog(self.kind, self.log)
        begins = said.mark()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program found by `embedded`
                [program, "-c", main],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.broker.configuration,
                start_new_session=True,  # Ctrl-C at the terminal ends the clients first
            )
        if self.kind is BrokerKind.MOSQUITTO:
            files = self.broker.connections + _OTHER_FILES
            resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (files, files))
        ends = time.monotonic() + _START_SECONDS
        while not said.serves(begins):
            if self._process.poll() is not None or time.monotonic() > ends:
                self.stop()
                lines = "\n".join(
                    f"  | {line}" for line in said.said(begins).splitlines()[-_LAST_LINES:]
                )
                raise BrokerError(f"the readers' {self.kind} did not start:\n{lines}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Ask it to end, and wait; harmless if it is not running."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
