"""Keeping a running broker to the network description: its files, a reload, sessions ended.

A broker checks a certificate when a client connects and never again. So after the reload that
leaves a gateway out, its live session is ended: NATS does it by itself; on Mosquitto the keeper
comes under the gateway's client id, which ends the older session of that id, and goes. It comes
again for a while: who had shown its certificate before the reload, and said nothing yet, is still
let in afterwards. A gateway that has enrolled anew stays in the description; there the session that
may be of its earlier certificate is ended once, so that the gateway's new one is left alone.

Which gateways belong in the description, and when, its user decides; starting and stopping a
broker of one's own is `embedded`. Nothing is published or read here.
"""

import contextlib
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import paho.mqtt.client as mqtt
from cryptography import x509
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from broker_config import taken
from broker_config.broker_log import BrokerLog
from broker_config.errors import BrokerError, BrokerRefusedError
from broker_config.files import FILE_MODE, BrokerKind, Rendering, render, write
from broker_config.keeper_credential import keeper_credential
from broker_config.network import KEEPER, LOOPBACK, BrokerPaths, Gateway, Network
from broker_config.taken import Taken
from runtime.atomic_files import write_atomically

Act: TypeAlias = Callable[[], None]
"""Makes the broker reload, or restart; raises BrokerError when it cannot."""

Clock: TypeAlias = Callable[[], datetime]

RELOAD_SECONDS = 10.0
RESTART_SECONDS = 30.0
SILENT_AT_MOST = timedelta(seconds=100)
"""Mosquitto drops a connection that says nothing after 90 seconds."""

NONE_LEFT_BEHIND: Mapping[Gateway, frozenset[str]] = MappingProxyType({})

_MEMORY_FILE = "taken.json"
_UNSEEN = "a process that cannot be seen"
_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 60.0
_POLL_SECONDS = 0.05
_STARTED_FIELD = 19  # of /proc/<pid>/stat behind the name: when it started, in ticks after boot
_PROGRAMS = {BrokerKind.MOSQUITTO: "mosquitto", BrokerKind.NATS: "nats-server"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What `Keeper.apply` did.

    changed: whether the broker had to be told anything.
    ended: devices that were left out since the last time, whose sessions are over; on Mosquitto
        also those that left a key behind.
    restart_needed: Mosquitto opens listeners, and learns which of them have a revocation list,
        only when it starts. What it can take while it runs it has taken.
    """

    changed: bool
    ended: tuple[str, ...] = ()
    restart_needed: bool = False


class Keeper:
    """Keeps one running broker to what it is given. Blocking; for one thread at a time.

    paths, run_as: see `files.render`.
    pid_file: names the broker's process; None where it cannot be seen from here.
    reload: makes the broker read its files again; None sends SIGHUP to the process.
    restart: makes it start anew, for listeners it cannot open otherwise; None: somebody else's
        business, and `Applied.restart_needed` says when.
    node: which of a NATS cluster's nodes it is.
    log: where the broker writes, if that can be read: then a refused reload is noticed.
    clock: returns the time with its UTC offset.
    """

    def __init__(
        self,
        kind: BrokerKind,
        paths: BrokerPaths,
        *,
        pid_file: Path | None,
        reload: Act | None = None,
        restart: Act | None = None,
        log: BrokerLog | None = None,
        run_as: str = "mosquitto",
        node: str = "",
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        if reload is None and pid_file is None:
            raise ValueError("there is neither a pid_file nor another way to reload the broker")
        self.kind = kind
        self.paths = paths
        self.run_as = run_as
        self.node = node
        self._pid_file = pid_file
        self._reload = reload or hang_up(kind, pid_file or Path())
        self._restart = restart
        self._log = log
        self._clock = clock
        self._memory = paths.configuration / _MEMORY_FILE

    def render(self, network: Network, revocation_lists: Mapping[str, bytes]) -> Rendering:
        """Return the files the broker is kept to.

        Raises:
            NetworkError, OSError: as `files.render`.
        """
        return render(
            self.kind,
            network,
            self.paths,
            run_as=self.run_as,
            revocation_lists=revocation_lists,
            node=self.node,
        )

    def apply(
        self,
        network: Network,
        revocation_lists: Mapping[str, bytes],
        left_behind: Mapping[Gateway, frozenset[str]] = NONE_LEFT_BEHIND,
    ) -> Applied:
        """Make the broker admit and refuse what it should, and end sessions that must not be.

        revocation_lists: DER by tenant (RFC 5280); one for every council at all times.
        left_behind: ids of the keys that gateways left behind by enrolling anew; the lists name
            their certificates. NATS has no lists, and lets such a certificate in until it ends.
        Returns once it holds. To be called again, with the same or newer facts, after any error:
        what was left undone is done then.

        Raises:
            NetworkError: the network cannot be rendered; nothing was touched.
            BrokerRefusedError: the broker runs on as before, and its old files are back.
            BrokerError: the broker could not be reached. The new files stand, whole.
            OSError: a file cannot be read or written.
        """
        rendering = self.render(network, revocation_lists)
        known = taken.read(self._memory)
        outdated = known.outdated if known.outdated == self._identity() else ""
        before = self._on_disk(rendering)
        anew = self._anew(network, known, left_behind)
        if not anew and known.fingerprint == rendering.fingerprint and before == rendering.files:
            self._come_again(network, known)
            return Applied(changed=False, restart_needed=bool(outdated))
        admitted = set(network.gateways)
        removed = tuple(each for each in known.gateways if each not in admitted)
        shut_out = {each: at for each, at in known.shut_out.items() if each not in admitted}
        if before.get(rendering.main, b"") != rendering.files[rendering.main] and self._ends_here:
            outdated = self._identity() or _UNSEEN
        pending = replace(known, fingerprint="", gateways=(*network.gateways, *removed))
        taken.write(self._memory, replace(pending, shut_out=shut_out, outdated=outdated))
        if outdated and self._restart is not None:
            self._start_anew(rendering, network)
            outdated = ""
        else:
            self._take(rendering, before, network)
        shut_out |= dict.fromkeys(removed, self._clock())
        self._end_sessions(network, (*shut_out, *anew))
        held = self._held(rendering, network, revocation_lists)
        held = replace(held, shut_out=shut_out, outdated=outdated, left_behind=left_behind)
        taken.write(self._memory, held)
        return Applied(
            changed=True,
            ended=tuple(each.device for each in (*removed, *anew)),
            restart_needed=bool(outdated),
        )

    def listed_at(self) -> dict[str, datetime]:
        """Return since when each council's list that the broker holds counts, by tenant.

        Raises:
            BrokerError, OSError: what it has taken cannot be read.
        """
        return dict(taken.read(self._memory).listed_at)

    def record_start(self, network: Network, revocation_lists: Mapping[str, bytes]) -> None:
        """Note that the broker was started over exactly these files, with no session yet."""
        rendering = self.render(network, revocation_lists)
        taken.write(self._memory, self._held(rendering, network, revocation_lists))

    @property
    def _ends_here(self) -> bool:
        """Whether sessions end by our doing, and listeners by a restart: on Mosquitto."""
        return self.kind is BrokerKind.MOSQUITTO

    def _anew(
        self, network: Network, known: Taken, left_behind: Mapping[Gateway, frozenset[str]]
    ) -> tuple[Gateway, ...]:
        """Return who left a key behind since the last time, where a session can be ended alone."""
        if not self._ends_here:
            return ()
        return tuple(
            each
            for each in network.gateways
            if left_behind.get(each, frozenset()) - known.left_behind.get(each, frozenset())
        )

    def _come_again(self, network: Network, known: Taken) -> None:
        """End what became a session late, until nobody can be in between any more."""
        if known.shut_out:
            self._end_sessions(network, known.shut_out)
            now = self._clock()
            left = {each: at for each, at in known.shut_out.items() if now - at < SILENT_AT_MOST}
            taken.write(self._memory, replace(known, shut_out=left))

    def _end_sessions(self, network: Network, gateways: Iterable[Gateway]) -> None:
        """End sessions on Mosquitto, with what waited there for them; NATS has done it."""
        if self._ends_here:
            for gateway in gateways:
                self._come_and_go(network, gateway.subject)

    def _start_anew(self, rendering: Rendering, network: Network) -> None:
        write(rendering, self.paths)
        if self._restart is not None:
            self._restart()
        ends = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                return self._come_and_go(network, KEEPER)
            except BrokerError:
                if time.monotonic() > ends:
                    raise
                time.sleep(_POLL_SECONDS)

    def _take(self, rendering: Rendering, before: Mapping[str, bytes], network: Network) -> None:
        """Write the files and have the broker take them; put the old ones back if it refuses."""
        write(rendering, self.paths)
        mark = self._log.mark() if self._log else 0
        self._reload()
        if self._ends_here:
            # One thread does everything there: whoever is let in after the signal was sent
            # is let in by a broker that has reloaded.
            self._come_and_go(network, KEEPER)
        if self._log is None:
            return
        try:
            self._log.wait_until_reloaded(mark, RELOAD_SECONDS, self._reload)
        except BrokerRefusedError:
            for name, content in before.items():
                write_atomically(self.paths.configuration / name, content, FILE_MODE)
            raise

    def _come_and_go(self, network: Network, client_id: str) -> None:
        credential = keeper_credential(self.paths.configuration)
        try:
            context = ssl.create_default_context(cafile=self.paths.certificates.service_root)
            context.load_cert_chain(credential.certificate, credential.key)
            _connect_and_leave(context, network.keeper_port, client_id)
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"the broker's listener for the keeper, {LOOPBACK}:"
                f"{network.keeper_port}, did not let it in: {error}. A broker that was started "
                "before its present configuration was first written must be restarted"
            ) from error

    def _on_disk(self, rendering: Rendering) -> dict[str, bytes]:
        """Return what the files of a rendering hold now; those that are missing are left out."""
        found = {}
        for name in rendering.files:
            with contextlib.suppress(FileNotFoundError):
                found[name] = (self.paths.configuration / name).read_bytes()
        return found

    def _identity(self) -> str:
        """Return what tells this run of the broker from every other, "" if that is unknown."""
        try:
            pid = int(self._pid_file.read_text(encoding="ascii")) if self._pid_file else 0
            status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""
        started = status.rpartition(")")[2].split()[_STARTED_FIELD]
        return f"{pid} {started}"

    def _held(
        self, rendering: Rendering, network: Network, revocation_lists: Mapping[str, bytes]
    ) -> Taken:
        lists = revocation_lists if self._ends_here else {}
        return Taken(
            fingerprint=rendering.fingerprint,
            gateways=network.gateways,
            listed_at={
                tenant: x509.load_der_x509_crl(der).last_update_utc for tenant, der in lists.items()
            },
        )


def hang_up(kind: BrokerKind, pid_file: Path) -> Act:
    """Return what sends SIGHUP to the broker whose process id stands in `pid_file`."""

    def act() -> None:
        try:
            pid = int(pid_file.read_text(encoding="ascii"))
            program = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise BrokerError(f"{kind} does not run, by {pid_file}: {error}") from error
        if program != _PROGRAMS[kind]:
            raise BrokerError(
                f"{kind} does not run: {pid_file} names process {pid}, which is {program}"
            )
        try:
            os.kill(pid, signal.SIGHUP)
        except OSError as error:
            raise BrokerError(f"{kind}, process {pid}, takes no signal: {error}") from error

    return act


def command(arguments: Sequence[str]) -> Act:
    """Return what runs a program, e.g. ("systemctl", "reload", "mosquitto")."""

    def act() -> None:
        shown = " ".join(arguments)
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command, no shell
                arguments, capture_output=True, timeout=_COMMAND_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokerError(f"`{shown}` failed: {error}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise BrokerError(f"`{shown}` ended with exit code {done.returncode}: {said}")

    return act


def _connect_and_leave(context: ssl.SSLContext, port: int, client_id: str) -> None:
    """Begin a session that replaces whatever `client_id` had, and leave none behind.

    Raises:
        OSError: refused, or no answer in time.
        ValueError: the broker's certificate leads elsewhere than the service root.
    """
    answers: list[ReasonCode] = []
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=mqtt.MQTTv5,
        reconnect_on_failure=False,
    )
    client.tls_set_context(context)
    client.connect_timeout = _CONNECT_SECONDS
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.append(reason)
    client.connect(LOOPBACK, port, clean_start=True)  # session expiry 0: none is left
    try:
        ends = time.monotonic() + _CONNECT_SECONDS
        while not answers:
            if client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS or time.monotonic() > ends:
                raise ConnectionError("no answer to CONNECT")
        if answers[0].is_failure:
            raise ConnectionError(f"CONNECT was answered {answers[0]}")
    finally:
        client.disconnect()
