"""A broker of one's own on this machine's loopback: for the demo, the bench and the tests.

Finds a broker's program, chooses free ports, writes the configuration, starts it, waits until
it serves and stops it. Production brokers are started by their own service units from the
same renderings (`files.write_configuration`); nothing here speaks MQTT.

Run by root, Mosquitto would drop to the user `mosquitto`, who cannot enter root's directories
to read keys readable by root alone. This broker listens on loopback only and belongs to
whoever runs the demo, so it stays that user, root included; a rendering for production names
`mosquitto`.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from broker_config.files import BrokerKind, write_configuration
from broker_config.network import BrokerCertificates, BrokerPaths, Network, NetworkError

START_SECONDS = 30.0
STOP_SECONDS = 10.0
RELOAD_SECONDS = 10.0

_POLL_SECONDS = 0.01
_LAST_LINES = 12
_START_TRIES = 5  # a free port may be taken before the broker gets to it
_LOOPBACK = "127.0.0.1"

_PATTERNS = {  # what each broker says: it serves, it has reloaded, it could not
    BrokerKind.MOSQUITTO: (
        re.compile(r"mosquitto version \S+ running"),
        re.compile(r"Reloading config\."),
        re.compile(r": Error: "),
    ),
    BrokerKind.NATS: (
        re.compile(r"Server is ready"),
        re.compile(r"Reloaded server configuration"),
        re.compile(r"Failed to reload"),
    ),
}


class BrokerError(Exception):
    """The broker could not be found, started or reloaded; the message shows its own words."""


class _PortTakenError(BrokerError):
    """Another process was faster to a port that was free."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect. mqtt_version: the newest the broker speaks, "5" or "3.1.1"."""

    host: str
    port: int
    mqtt_version: str


def find_mosquitto() -> Path | None:
    """Return Mosquitto's program: on PATH, where Debian puts it, or in the private prefix."""
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which("mosquitto", path=f"{path}:/usr/local/sbin:/usr/sbin")
    if found:
        return Path(found)
    provisioned = mosquitto_prefix() / "usr/sbin/mosquitto"
    return provisioned if os.access(provisioned, os.X_OK) else None


def mosquitto_prefix() -> Path:
    """Return where deploy/debian-prefix is to put Mosquitto for this user."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "kerbstone" / "mosquitto"


def find_nats() -> Path | None:
    """Return the NATS server's program: the wheel's beside this Python, or on PATH."""
    installed = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
    found = installed or shutil.which("nats-server")
    return Path(found) if found else None


def default_kind() -> BrokerKind:
    """Return Mosquitto where there is one, else NATS."""
    return BrokerKind.MOSQUITTO if find_mosquitto() else BrokerKind.NATS


def start_broker(
    kind: str, network: Network, directory: Path, certificates: BrokerCertificates
) -> "EmbeddedBroker":
    """Start a broker on loopback and return it serving.

    kind: "mosquitto" or "nats". Ports that are 0 in `network` are chosen free; the others
    are taken as they are. directory: keeps configuration, data and log; starting again over
    it brings the broker's sessions and retained messages back. It belongs to one broker at a
    time: one that a killed run left behind there is ended first.

    Raises:
        BrokerError: no such program here, or it did not start; with its last lines.
        NetworkError: the network cannot be rendered.
    """
    wanted = BrokerKind(kind)
    program = find_mosquitto() if wanted is BrokerKind.MOSQUITTO else find_nats()
    if program is None:
        raise BrokerError(_HOW_TO_GET[wanted].format(prefix=mosquitto_prefix()))
    tries = _START_TRIES if 0 in _ports(network) else 1
    while True:
        tries -= 1
        broker = EmbeddedBroker(
            wanted, program, _with_ports(network), directory.absolute(), certificates
        )
        try:
            broker.start()
        except _PortTakenError:
            if not tries:
                raise
        else:
            return broker


_HOW_TO_GET = {
    BrokerKind.MOSQUITTO: (
        "there is no mosquitto on PATH nor in {prefix}. Install it, or run: "
        "deploy/debian-prefix --prefix {prefix} "
        "--package mosquitto --executable usr/sbin/mosquitto"
    ),
    BrokerKind.NATS: "there is no nats-server: install the project's extra `embedded`",
}


class EmbeddedBroker:
    """A broker process over a directory; also a context manager that stops it.

    network: the description it runs, with the ports chosen. `pid` is that of the process.
    """

    def __init__(
        self,
        kind: BrokerKind,
        program: Path,
        network: Network,
        directory: Path,
        certificates: BrokerCertificates,
    ) -> None:
        self.kind = kind
        self.network = network
        self.log = directory / "broker.log"
        self._program = program
        self._directory = directory
        self._paths = BrokerPaths(
            configuration=directory / "configuration",
            data=directory / "data",
            certificates=certificates,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id.

        Raises:
            BrokerError: it is not running.
        """
        if self._process is None:
            raise BrokerError(f"{self.kind} is not running")
        return self._process.pid

    def service_endpoint(self, tenant: str) -> Endpoint:
        """Return where a service takes in one council's readings."""
        self._check_tenant(tenant)
        return self._endpoint(self.network.service_port)

    def council_endpoint(self, tenant: str) -> Endpoint:
        """Return where one council's gateways connect."""
        ports = {council.tenant: council.port for council in self.network.councils}
        self._check_tenant(tenant)
        on_its_own = self.kind is BrokerKind.MOSQUITTO
        return self._endpoint(ports[tenant] if on_its_own else self.network.service_port)

    def start(self) -> None:
        """Start the process and wait until it serves.

        Raises:
            BrokerError: it ended or did not serve in time; with its last lines.
        """
        if self._process is not None:
            raise BrokerError(f"{self.kind} is running already, as process {self.pid}")
        main = self._write()
        self._end_orphan(main)
        self._directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            begins = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - a program found by this module
                [self._program, "-c", main],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                start_new_session=True,  # Ctrl-C at the terminal ends the clients first
            )
        self._pid_file().write_text(str(self._process.pid), encoding="ascii")
        serves, _, _ = _PATTERNS[self.kind]
        try:
            self._wait_for(lambda: serves.search(self._said(begins)) is not None, START_SECONDS)
        except BrokerError as error:
            self.kill()
            said = self._said(begins)
            taken = "address already in use" in said.lower()
            lines = "\n".join(f"  | {line}" for line in said.splitlines()[-_LAST_LINES:])
            raise (_PortTakenError if taken else BrokerError)(f"{error}\n{lines}") from None

    def stop(self) -> None:
        """Ask the broker to save and end, and wait; harmless if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker at once, as a crash would; harmless if it is not running."""
        self._end(signal.SIGKILL)

    def restart(
        self, network: Network | None = None, certificates: BrokerCertificates | None = None
    ) -> None:
        """Stop if running and start again, same ports and directory.

        network, certificates: what to run from now on, e.g. with a new council; unchanged if
        None. Ports that are 0 stay what they were, and are chosen free for a new council.
        """
        self.stop()
        if network is not None:
            self.network = _with_ports(_keep_ports(network, self.network))
        if certificates is not None:
            self._paths = replace(self._paths, certificates=certificates)
        self.start()

    def reload(self, network: Network) -> None:
        """Admit and expel gateways without disturbing the others.

        Returns once the broker has taken the change. Mosquitto leaves the connection of an
        expelled gateway open, but refuses what it sends; NATS closes it.

        Raises:
            NetworkError: councils or ports differ, which needs `restart`.
            BrokerError: the broker refused the change, or is not running.
        """
        changed = _keep_ports(network, self.network)
        if (changed.councils, changed.service_port, changed.bind) != (
            self.network.councils,
            self.network.service_port,
            self.network.bind,
        ):
            raise NetworkError("councils and ports cannot change while the broker runs: restart it")
        pid = self.pid
        self.network = changed
        self._write()
        begins = self.log.stat().st_size
        os.kill(pid, signal.SIGHUP)
        _, reloaded, failed = _PATTERNS[self.kind]
        self._wait_for(
            lambda: bool(reloaded.search(self._said(begins)) or failed.search(self._said(begins))),
            RELOAD_SECONDS,
        )
        said = self._said(begins)
        if failed.search(said):
            raise BrokerError(f"{self.kind} refused its new configuration:\n{said}")

    def _write(self) -> Path:
        run_as = "root" if os.geteuid() == 0 else "mosquitto"
        return write_configuration(self.kind, self.network, self._paths, run_as=run_as)

    def _endpoint(self, port: int) -> Endpoint:
        version = "5" if self.kind is BrokerKind.MOSQUITTO else "3.1.1"
        return Endpoint(_LOOPBACK, port, version)

    def _check_tenant(self, tenant: str) -> None:
        if tenant not in self.network.tenants:
            known = ", ".join(self.network.tenants)
            raise NetworkError(f"{tenant!r} is no council here; described are: {known}")

    def _said(self, begins: int) -> str:
        with self.log.open("rb") as log:
            log.seek(begins)
            return log.read().decode(errors="replace")

    def _wait_for(self, holds: Callable[[], bool], seconds: float) -> None:
        process = self._process
        ends = time.monotonic() + seconds
        while not holds():
            if process is None or process.poll() is not None:
                code = None if process is None else process.returncode
                raise BrokerError(f"{self.kind} ended by itself with exit code {code}")
            if time.monotonic() > ends:
                raise BrokerError(f"{self.kind} was not ready within {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._pid_file().unlink(missing_ok=True)

    def _pid_file(self) -> Path:
        return self._directory / "broker.pid"

    def _end_orphan(self, main: Path) -> None:
        """End a broker that a killed run left behind on this very directory."""
        try:
            pid = int(self._pid_file().read_text(encoding="ascii"))
        except (OSError, ValueError):
            return
        if _runs_on(pid, main):
            os.kill(pid, signal.SIGTERM)
        ends = time.monotonic() + STOP_SECONDS
        while _runs_on(pid, main):
            if time.monotonic() > ends:
                raise BrokerError(f"{self.kind}, process {pid}, still runs on {self._directory}")
            time.sleep(_POLL_SECONDS)


def _runs_on(pid: int, main: Path) -> bool:
    """Tell whether a process is a broker with this configuration, and not a namesake."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(main) in command.split(b"\0")


def _ports(network: Network) -> list[int]:
    return [network.service_port, *(council.port for council in network.councils)]


def _with_ports(network: Network) -> Network:
    """Return the network on loopback, with a free port wherever it has 0."""
    free = iter(_free_ports(_ports(network).count(0)))
    return replace(
        network,
        host=_LOOPBACK,
        bind=_LOOPBACK,
        service_port=network.service_port or next(free),
        councils=tuple(
            replace(council, port=council.port or next(free)) for council in network.councils
        ),
    )


def _keep_ports(network: Network, before: Network) -> Network:
    """Return `network` with the ports it leaves open as they were `before`."""
    held = {council.tenant: council.port for council in before.councils}
    return replace(
        network,
        host=before.host,
        bind=before.bind,
        service_port=network.service_port or before.service_port,
        councils=tuple(
            replace(council, port=council.port or held.get(council.tenant, 0))
            for council in network.councils
        ),
    )


def _free_ports(count: int) -> list[int]:
    """Return distinct ports nobody listens on now; held together so that none comes twice."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]
