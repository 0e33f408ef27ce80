"""A Mosquitto as one stands on a gateway: one listener on loopback, sessions kept.

Can be killed, stopped and started again on the same port over the same directory.
"""

import base64
import hashlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from broker_config.embedded import find_mosquitto
from broker_config.free_ports import free_ports

_START_SECONDS = 10.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01


class LocalMosquitto:
    """A broker process over a directory.

    port: stays the same over its lives. password: that of user `gateway`; none, anybody may in.
    credential: certificate and key, PEM; without them it speaks no TLS.
    """

    def __init__(
        self,
        directory: Path,
        *,
        password: str = "",
        credential: tuple[Path, Path] | None = None,
    ) -> None:
        [self.port] = free_ports(1)
        self.credential = credential
        self._directory = directory
        self.password = password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return when it listens."""
        program = find_mosquitto()
        assert program is not None, "there is no mosquitto: see docs/how-to/run-the-tests.md"
        self._directory.mkdir(parents=True, exist_ok=True)
        configuration = self._directory / "mosquitto.conf"
        configuration.write_text(self._configuration())
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", configuration], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline, "mosquitto does not listen"
            time.sleep(_POLL_SECONDS)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it: in order, which saves its sessions, or by SIGKILL, which loses them."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(_STOP_SECONDS)

    def _configuration(self) -> str:
        lines = [
            "user root",
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self._directory}/",
        ]
        if self.password:
            lines += ["allow_anonymous false", f"password_file {self._directory / 'passwords'}"]
            (self._directory / "passwords").write_text(_password_line("gateway", self.password))
            (self._directory / "passwords").chmod(0o600)
        else:
            lines.append("allow_anonymous true")
        if self.credential:
            certificate, key = self.credential
            lines += [f"certfile {certificate}", f"keyfile {key}"]
        return "\n".join(lines) + "\n"


def _password_line(user: str, password: str) -> str:
    """Return a line of a password file: PBKDF2-SHA512, as mosquitto_passwd writes it."""
    salt, rounds = b"twelve bytes", 101
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    encoded = (base64.b64encode(each).decode() for each in (salt, digest))
    return f"{user}:$7${rounds}${'$'.join(encoded)}\n"


@contextmanager
def local_mosquitto(
    directory: Path, *, password: str = "", credential: tuple[Path, Path] | None = None
) -> Iterator[LocalMosquitto]:
    """Run one, and end it whatever happens."""
    broker = LocalMosquitto(directory, password=password, credential=credential)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
