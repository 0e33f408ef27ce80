"""A broker of one's own on this machine's loopback: for the demo, the bench and the tests.

Finds a broker's program, chooses free ports, writes the configuration, starts it, waits until
it serves and stops it. Production brokers are started by their own service units from the
same renderings (`files.render`); while a broker runs, one's own or not, it is changed by
`keeper`.

Run by root, Mosquitto would drop to the user `mosquitto`, who cannot enter root's directories
to read keys readable by root alone. This broker listens on loopback only and belongs to
whoever runs the demo, so it stays that user, root included; a rendering for production names
`mosquitto`.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from broker_config.broker_log import BrokerLog
from broker_config.errors import BrokerError
from broker_config.files import MAIN_FILES, BrokerKind, write
from broker_config.free_ports import keep_ports, ports, with_ports
from broker_config.keeper import Applied, Keeper
from broker_config.network import (
    LOOPBACK,
    BrokerCertificates,
    BrokerPaths,
    Network,
    NetworkError,
)

__all__ = [
    "BrokerError",
    "EmbeddedBroker",
    "Endpoint",
    "default_kind",
    "find_mosquitto",
    "find_nats",
    "mosquitto_prefix",
    "start_broker",
]

START_SECONDS = 30.0
STOP_SECONDS = 10.0

_POLL_SECONDS = 0.01
_LAST_LINES = 12
_START_TRIES = 5  # a free port may be taken before the broker gets to it


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
    kind: str,
    network: Network,
    directory: Path,
    certificates: BrokerCertificates,
    revocation_lists: Mapping[str, bytes] | None = None,
) -> "EmbeddedBroker":
    """Start a broker on loopback and return it serving.

    kind: "mosquitto" or "nats". Ports that are 0 in `network` are chosen free; the others
    are taken as they are. directory: keeps configuration, data and log; starting again over
    it brings the broker's sessions and retained messages back. It belongs to one broker at a
    time: one that a killed run left behind there is ended first.
    revocation_lists: DER by tenant. Mosquitto will check the list of a council that has one
    here, and of no other, for as long as it runs.

    Raises:
        BrokerError: no such program here, or it did not start; with its last lines.
        NetworkError: the network cannot be rendered.
    """
    wanted = BrokerKind(kind)
    program = find_mosquitto() if wanted is BrokerKind.MOSQUITTO else find_nats()
    if program is None:
        raise BrokerError(_HOW_TO_GET[wanted].format(prefix=mosquitto_prefix()))
    tries = _START_TRIES if 0 in ports(network) else 1
    while True:
        tries -= 1
        broker = EmbeddedBroker(
            wanted,
            program,
            with_ports(network),
            directory.absolute(),
            certificates,
            revocation_lists or {},
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

    network: the description it runs, with the ports chosen. revocation_lists: those it was
    given, DER by tenant. node: which of a cluster's nodes it is, empty if there is no cluster:
    `broker_config.cluster` starts those. `pid` is that of the process.
    """

    def __init__(  # noqa: PLR0917 - made by `start_broker` alone
        self,
        kind: BrokerKind,
        program: Path,
        network: Network,
        directory: Path,
        certificates: BrokerCertificates,
        revocation_lists: Mapping[str, bytes],
        node: str = "",
    ) -> None:
        self.kind = kind
        self.network = network
        self.node = node
        self.revocation_lists = dict(revocation_lists)
        self.log = directory / "broker.log"
        self._program = program
        self._directory = directory
        self._said = BrokerLog(kind, self.log)
        self._keeper = self._make_keeper(certificates)
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
        return self._endpoint(self._everyones_port)

    def council_endpoint(self, tenant: str) -> Endpoint:
        """Return where one council's gateways connect."""
        ports = {council.tenant: council.port for council in self.network.councils}
        self._check_tenant(tenant)
        on_its_own = self.kind is BrokerKind.MOSQUITTO
        return self._endpoint(ports[tenant] if on_its_own else self._everyones_port)

    def start(self) -> None:
        """Start the process and wait until it serves.

        Raises:
            BrokerError: it ended or did not serve in time; with its last lines.
        """
        if self._process is not None:
            raise BrokerError(f"{self.kind} is running already, as process {self.pid}")
        rendering = self._keeper.render(self.network, self.revocation_lists)
        main = self.paths.configuration / rendering.main
        self._end_orphan(main)
        write(rendering, self.paths)
        self._run(main)
        self._keeper.record_start(self.network, self.revocation_lists)

    def stop(self) -> None:
        """Ask the broker to save and end, and wait; harmless if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker at once, as a crash would; harmless if it is not running."""
        self._end(signal.SIGKILL)

    def restart(
        self,
        network: Network | None = None,
        certificates: BrokerCertificates | None = None,
        revocation_lists: Mapping[str, bytes] | None = None,
    ) -> None:
        """Stop if running and start again, same ports and directory.

        network, certificates, revocation_lists: what to run from now on, e.g. with a new
        council; unchanged if None. Ports that are 0 stay what they were, and are chosen free
        for a new council. With none of them the broker starts over its files as they stand,
        which another process may have changed meanwhile.
        """
        self.stop()
        if network is None and certificates is None and revocation_lists is None:
            self._run(self.paths.configuration / MAIN_FILES[self.kind])
            return
        if network is not None:
            self.network = with_ports(keep_ports(network, self.network))
        if certificates is not None:
            self._keeper = self._make_keeper(certificates)
        if revocation_lists is not None:
            self.revocation_lists = dict(revocation_lists)
        self.start()

    def reload(
        self, network: Network, revocation_lists: Mapping[str, bytes] | None = None
    ) -> Applied:
        """Admit and expel gateways without disturbing the others.

        revocation_lists: DER by tenant, those that changed; the others stay as they are.
        Returns once the broker has taken the change and the sessions of those expelled are
        over.

        Raises:
            NetworkError: councils or ports differ, or a council had no revocation list when
                the broker started, which needs `restart`.
            BrokerError: the broker refused the change, or is not running.
        """
        changed = keep_ports(network, self.network)
        lists = self.revocation_lists | dict(revocation_lists or {})
        if (changed.councils, ports(changed), changed.bind, lists.keys()) != (
            self.network.councils,
            ports(self.network),
            self.network.bind,
            self.revocation_lists.keys(),
        ):
            raise NetworkError(
                "councils, their ports and which of them have a revocation list cannot change "
                "while the broker runs: restart it"
            )
        _ = self.pid  # or say that it does not run
        applied = self._keeper.apply(changed, lists)
        self.network = changed
        self.revocation_lists = lists
        return applied

    @property
    def paths(self) -> BrokerPaths:
        """Where the broker's files lie."""
        return self._keeper.paths

    def _run(self, main: Path) -> None:
        """Start the process over the files as they stand and wait until it serves."""
        self._directory.mkdir(parents=True, exist_ok=True)
        begins = self._said.mark()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program found by this module
                [self._program, "-c", main],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                start_new_session=True,  # Ctrl-C at the terminal ends the clients first
            )
        self._pid_file().write_text(str(self._process.pid), encoding="ascii")
        try:
            self._wait_for(lambda: self._said.serves(begins), START_SECONDS)
        except BrokerError as error:
            self.kill()
            said = self._said.said(begins)
            taken = "address already in use" in said.lower()
            lines = "\n".join(f"  | {line}" for line in said.splitlines()[-_LAST_LINES:])
            raise (_PortTakenError if taken else BrokerError)(f"{error}\n{lines}") from None

    def _make_keeper(self, certificates: BrokerCertificates) -> Keeper:
        return Keeper(
            self.kind,
            BrokerPaths(
                configuration=self._directory / "configuration",
                data=self._directory / "data",
                certificates=certificates,
            ),
            pid_file=self._pid_file(),
            log=self._said,
            run_as="root" if os.geteuid() == 0 else "mosquitto",
            node=self.node,
        )

    @property
    def _everyones_port(self) -> int:
        if self.node:
            return self.network.node(self.node).mqtt_port
        return self.network.service_port

    def _endpoint(self, port: int) -> Endpoint:
        version = "5" if self.kind is BrokerKind.MOSQUITTO else "3.1.1"
        return Endpoint(LOOPBACK, port, version)

    def _check_tenant(self, tenant: str) -> None:
        if tenant not in self.network.tenants:
            known = ", ".join(self.network.tenants)
            raise NetworkError(f"{tenant!r} is no council here; described are: {known}")

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
