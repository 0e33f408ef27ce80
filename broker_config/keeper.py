"""Keeping a running broker to the network description: its files, a reload, sessions ended.

A broker checks a certificate when a client connects and never again. So after the reload that
leaves a gateway out, its live session is ended: NATS does it by itself; on Mosquitto the keeper
comes under the gateway's client id, which ends the older session of that id, and goes.

Which gateways belong in the description, and when, its user decides; starting and stopping a
broker of one's own is `embedded`. Nothing is published or read here.
"""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import paho.mqtt.client as mqtt
from cryptography import x509
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from broker_config.atomic_files import write_atomically
from broker_config.broker_log import BrokerLog
from broker_config.errors import BrokerError, BrokerRefusedError
from broker_config.files import FILE_MODE, BrokerKind, Rendering, render, write
from broker_config.keeper_credential import keeper_credential
from broker_config.network import KEEPER, LOOPBACK, BrokerPaths, Gateway, Network

Act: TypeAlias = Callable[[], None]
"""Makes the broker reload, or restart; raises BrokerError when it cannot."""

RELOAD_SECONDS = 10.0
RESTART_SECONDS = 30.0

_RECORD_FILE = "taken.json"
_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 60.0
_POLL_SECONDS = 0.05
_STARTED_FIELD = 19  # of /proc/<pid>/stat behind the name: when it started, in ticks after boot
_PROGRAMS = {BrokerKind.MOSQUITTO: "mosquitto", BrokerKind.NATS: "nats-server"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What `Keeper.apply` did.

    changed: whether the broker had to be told anything.
    ended: devices that were left out since the last time, whose sessions are over.
    restart_needed: Mosquitto opens listeners, and learns which of them have a revocation list,
        only when it starts. What it can take while it runs it has taken.
    """

    changed: bool
    ended: tuple[str, ...] = ()
    restart_needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What the broker has taken; kept beside its files, so that a crash forgets nothing.

    fingerprint: of the rendering, empty while it has not been taken.
    gateways: whoever may hold a session.
    listed_at: when the revocation list of each council was issued.
    outdated: the process, by `_identity`, that runs with listeners of an older description.
    """

    fingerprint: str = ""
    gateways: tuple[Gateway, ...] = ()
    listed_at: Mapping[str, datetime] = field(default_factory=dict)
    outdated: str = ""

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "fingerprint": self.fingerprint,
                "gateways": [[each.tenant, each.device] for each in self.gateways],
                "listed_at": {tenant: at.isoformat() for tenant, at in self.listed_at.items()},
                "outdated": self.outdated,
            }
        ).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "_Record":
        found = json.loads(text)
        return cls(
            fingerprint=found["fingerprint"],
            gateways=tuple(Gateway(tenant, device) for tenant, device in found["gateways"]),
            listed_at={
                tenant: datetime.fromisoformat(at) for tenant, at in found["listed_at"].items()
            },
            outdated=found["outdated"],
        )


class Keeper:
    """Keeps one running broker to what it is given. Blocking; for one thread at a time.

    paths, run_as: see `files.render`.
    pid_file: names the broker's process; None where it cannot be seen from here.
    reload: makes the broker read its files again; None sends SIGHUP to the process.
    restart: makes it start anew, for listeners it cannot open otherwise; None: somebody else's
        business, and `Applied.restart_needed` says when.
    log: where the broker writes, if that can be read: then a refused reload is noticed.
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
    ) -> None:
        if reload is None and pid_file is None:
            raise ValueError("there is neither a pid_file nor another way to reload the broker")
        self.kind = kind
        self.paths = paths
        self.run_as = run_as
        self._pid_file = pid_file
        self._reload = reload or hang_up(kind, pid_file or Path())
        self._restart = restart
        self._log = log

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
        )

    def apply(self, network: Network, revocation_lists: Mapping[str, bytes]) -> Applied:
        """Make the broker admit and refuse what it should, and end sessions that must not be.

        revocation_lists: DER by tenant (RFC 5280); one for every council at all times.
        Returns once it holds. To be called again, with the same or newer facts, after any error:
        what was left undone is done then.

        Raises:
            NetworkError: the network cannot be rendered; nothing was touched.
            BrokerRefusedError: the broker runs on as before, and its old files are back.
            BrokerError: the broker could not be reached. The new files stand, whole.
            OSError: a file cannot be read or written.
        """
        rendering = self.render(network, revocation_lists)
        record = self._record()
        outdated = record.outdated if record.outdated == self._identity() else ""
        before = self._on_disk(rendering)
        if record.fingerprint == rendering.fingerprint and before == rendering.files:
            return Applied(changed=False, restart_needed=bool(outdated))
        removed = tuple(each for each in record.gateways if each not in set(network.gateways))
        relisten = before.get(rendering.main, b"") != rendering.files[rendering.main]
        if relisten and self.kind is BrokerKind.MOSQUITTO:
            outdated = self._identity()
        pending = replace(
            record, fingerprint="", gateways=(*network.gateways, *removed), outdated=outdated
        )
        self._write_record(pending)
        self._take(rendering, before, network)
        if outdated and self._restart is not None:
            self._restart_and_wait(network)
            outdated = ""
        if self.kind is BrokerKind.MOSQUITTO:
            self.end_sessions(network, removed)
        self._record_taken(rendering, network, revocation_lists, outdated)
        return Applied(
            changed=True,
            ended=tuple(each.device for each in removed),
            restart_needed=bool(outdated),
        )

    def listed_at(self) -> dict[str, datetime]:
        """Return when each council's list that the broker holds was issued, by tenant."""
        return dict(self._record().listed_at)

    def record_start(self, network: Network, revocation_lists: Mapping[str, bytes]) -> None:
        """Note that the broker was started over exactly these files, with no session yet."""
        rendering = self.render(network, revocation_lists)
        self._record_taken(rendering, network, revocation_lists, outdated="")

    def end_sessions(self, network: Network, gateways: Iterable[Gateway]) -> None:
        """End the sessions of these gateways on Mosquitto, with what waited there for them.

        Raises:
            BrokerError: the broker did not let us come under their client ids.
        """
        for gateway in gateways:
            self._come_and_go(network, gateway.subject)

    def _take(self, rendering: Rendering, before: Mapping[str, bytes], network: Network) -> None:
        """Write the files and have the broker take them; put the old ones back if it refuses."""
        write(rendering, self.paths)
        mark = self._log.mark() if self._log else 0
        self._reload()
        if self.kind is BrokerKind.MOSQUITTO:
            # One thread does everything there: whoever is let in after the signal was sent
            # is let in by a broker that has reloaded.
            self._come_and_go(network, KEEPER)
        if self._log is None:
            return
        try:
            self._log.wait_until_reloaded(mark, RELOAD_SECONDS)
        except BrokerRefusedError:
            for name, content in before.items():
                write_atomically(self.paths.configuration / name, content, FILE_MODE)
            raise

    def _restart_and_wait(self, network: Network) -> None:
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

    def _record(self) -> _Record:
        try:
            return _Record.from_json((self.paths.configuration / _RECORD_FILE).read_bytes())
        except FileNotFoundError:
            return _Record()
        except (ValueError, KeyError, TypeError) as error:
            path = self.paths.configuration / _RECORD_FILE
            raise BrokerError(
                f"{path} is damaged: {error}. Remove it and restart the broker, which ends "
                "every session it might have named"
            ) from error

    def _record_taken(
        self,
        rendering: Rendering,
        network: Network,
        revocation_lists: Mapping[str, bytes],
        outdated: str,
    ) -> None:
        lists = {
            tenant: x509.load_der_x509_crl(der).last_update_utc
            for tenant, der in revocation_lists.items()
        }
        self._write_record(
            _Record(
                fingerprint=rendering.fingerprint,
                gateways=network.gateways,
                listed_at=lists if self.kind is BrokerKind.MOSQUITTO else {},
                outdated=outdated,
            )
        )

    def _write_record(self, record: _Record) -> None:
        write_atomically(self.paths.configuration / _RECORD_FILE, record.to_json(), FILE_MODE)


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
