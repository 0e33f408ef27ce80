"""Settings that the council changes from afar (message C): tried, and kept only if they work.

A configuration is on trial first: the agent runs under it, and unless the centre acknowledges a
message within `remote.trial_seconds`, it goes back by itself to what it ran under before. Each
step is on the disk before it is taken, so a power cut leaves either the old settings or a trial
that is taken up once more and no third time. A version refused, reverted or superseded never
comes back: the highest ever seen is kept as the floor, in a file of its own as well, because a
damaged state must not open the door to old settings.

A configuration stands for itself: what it does not name is as in the gateway's own file. Which
settings there are is told in `device_protocol.configuration`; stopping and starting the agent's
tasks under other ones is `edge_agent.agent`'s part, and telling the centre `health.heartbeat`'s.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from cryptography import x509

from device_protocol.configuration import (
    BadSetting,
    Configuration,
    Scalar,
    open_configuration,
    sensor_of,
    validate,
)
from device_protocol.errors import ConfigurationRollbackError, RejectionError
from edge_agent.clock import Clock
from edge_agent.durable import stored_version, write_durably
from edge_agent.settings import AgentSettings
from runtime.setting_types import allowed_by, fits

log = logging.getLogger(__name__)

_MOST_TRIES: Final = 2
_ACTIONS: Final = frozenset({"rekey"})  # done by the new epoch that every restart begins


class ReconfiguredError(Exception):
    """The agent is to start again, under other settings."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A configuration's settings; version 0 are those of the gateway's own file alone.

    tries: how often the agent has begun to run under it while it was on trial.
    """

    version: int = 0
    settings: Mapping[str, Scalar] | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What is on the disk.

    floor: the highest version seen in a genuine configuration. refused: the newest that was
    refused or reverted. kept: what is in force. trial: what is to be tried, or being tried.
    """

    floor: int = 0
    refused: int = 0
    kept: Chosen = Chosen()
    trial: Chosen | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what the file says, or the first state if there is none or it is damaged."""
        try:
            stored = json.loads(path.read_text())
            trial = stored["trial"]
            return cls(
                floor=int(stored["floor"]),
                refused=int(stored["refused"]),
                kept=_chosen(stored["kept"]),
                trial=None if trial is None else _chosen(trial),
            )
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError):
            log.error("remote settings damaged: back to the file's")  # noqa: TRY400  # no bug of ours
            return cls()

    def reverted(self) -> "State":
        """Return the state after its trial has failed."""
        if self.trial is None:
            return self
        return replace(self, refused=max(self.refused, self.trial.version), trial=None)


class RemoteSettings:
    """The configurations of one gateway, from the agent's start to its end.

    Its few small writes are done in the event loop: they are rare, and their order matters.

    changed: set whenever `in_force` or `refused` may have changed; cleared by whoever reports it.
    """

    def __init__(self, settings: AgentSettings, clock: Clock) -> None:
        self.changed = asyncio.Event()
        self._settings = settings
        self._clock = clock
        self._file = settings.state_directory / "remote.json"
        self._version_file = settings.state_directory / "remote_version"
        self._state = self._read()
        self._message = b""
        self._on_trial = 0
        self._is_acknowledged = False
        self._is_offered = False
        self._stirred = asyncio.Event()

    def _read(self) -> State:
        """Return the state on the disk; if only its floor is left, the newest may be tried again.

        The state is written first: where the power goes in between, its floor is the higher one.
        """
        state, newest = State.read(self._file), stored_version(self._version_file)
        return state if state.floor >= newest else State(floor=newest - 1)

    @property
    def in_force(self) -> int:
        """The version in force, 0 while only the gateway's own file is."""
        return self._state.kept.version

    @property
    def refused(self) -> int:
        """The newest version refused or reverted, 0 while there is none."""
        return self._state.refused

    @property
    def on_trial(self) -> int:
        """The version the agent runs under for now, 0 while there is no trial."""
        return self._on_trial

    def begin(self) -> AgentSettings:
        """Return the settings to run under now: those on trial, or else those in force.

        That a trial begins is on the disk before this returns; where it cannot be, none does.
        """
        self._is_offered = self._is_acknowledged = False
        self._stirred.clear()
        self.changed.set()
        trial = self._state.trial
        begins = trial is not None and self._begin_trial(trial)
        chosen = trial if trial is not None and begins else self._state.kept
        self._on_trial = chosen.version if begins else 0
        log.info("settings chosen", extra={"configuration": chosen.version, "on_trial": begins})
        return apply(self._settings, self._usable(chosen.settings or {}))

    def _usable(self, wanted: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Leave out what cannot be followed any more: the file or the release has changed since."""
        faults = {fault.key: str(fault) for fault in self._faults(wanted)} if wanted else {}
        for key, detail in faults.items():
            log.warning("setting from afar left out", extra={"setting": key, "detail": detail})
        return {key: value for key, value in wanted.items() if key not in faults}

    def _begin_trial(self, trial: Chosen) -> bool:
        if trial.tries >= _MOST_TRIES or self._faults(trial.settings or {}):
            self._revert("it was tried before and did not last, or the gateway's file has changed")
            return False
        try:
            self._store(replace(self._state, trial=replace(trial, tries=trial.tries + 1)))
        except OSError as error:
            log.warning("no trial while the disk fails", extra={"error": str(error)})
            return False
        return True

    async def run(self) -> NoReturn:
        """Watch over the trial, if there is one, and wait for the next configuration.

        Raises:
            ReconfiguredError: the agent is to start again and to call `begin`.
        """
        if self._on_trial:
            await self._watch_trial()
        while not self._is_offered:
            await self._wait(None)
        raise ReconfiguredError("a new configuration")

    async def _watch_trial(self) -> None:
        """Return once the trial has succeeded, or another configuration takes its place."""
        trial_seconds = self._settings.remote.trial_seconds
        deadline = self._clock.monotonic() + trial_seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            await self._wait(left)
            if self._is_offered or (self._is_acknowledged and self._keep()):
                return
        self._revert(f"nothing was acknowledged within {trial_seconds:g} s")
        raise ReconfiguredError("the trial has failed")

    async def _wait(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stirred.wait()
        self._stirred.clear()

    def acknowledged(self) -> None:
        """Note that the centre has acknowledged something sent under the present settings."""
        if self._on_trial:
            self._is_acknowledged = True
            self._stirred.set()

    def offer(self, message: bytes) -> None:
        """Take a message C: put it on trial if it is newer and genuine, else leave it.

        Raises:
            OSError: it could not be stored; everything is as before.
        """
        if message == self._message:
            return
        try:
            configuration = self._open(message)
        except ConfigurationRollbackError as refusal:
            log.info("old configuration refused", extra={"detail": str(refusal)})
            return
        except (RejectionError, OSError, ValueError) as refusal:
            log.warning("configuration refused", extra={"detail": str(refusal)})
            return
        version = configuration.version
        faults = self._faults(configuration.settings)
        if faults:
            detail = "; ".join(map(str, faults))
            log.warning("configuration refused", extra={"version": version, "detail": detail})
            self._store(replace(self._state, floor=version, refused=version))
            self.changed.set()
        else:
            trial = Chosen(version, dict(configuration.settings))
            self._store(replace(self._state, floor=version, trial=trial))
            log.info("configuration taken", extra={"version": version})
            self._is_offered = True
            self._stirred.set()
        self._message = message

    def _open(self, message: bytes) -> Configuration:
        root = self._settings.trust.council_root_file
        return open_configuration(
            message,
            tenant=self._settings.tenant,
            device=self._settings.device,
            anchor=x509.load_pem_x509_certificate(root.read_bytes()),
            now=int(self._clock.unix()),
            newer_than=self._state.floor,
        )

    def _faults(self, wanted: Mapping[str, object]) -> list[BadSetting]:
        """Return what nobody, or just this gateway, can follow."""
        faults = list(validate(wanted))
        named = {fault.key for fault in faults}
        for key, value in wanted.items():
            urn = sensor_of(key)
            if urn is not None and key not in named:
                fault = _sensor_fault(self._settings, urn, key.rpartition(".")[2], value)
                faults += [BadSetting(key, value, fault)] if fault else []
        return faults

    def _keep(self) -> bool:
        """Return whether the trial's settings are in force, durably."""
        trial = self._state.trial
        if trial is None:
            return True
        try:
            self._store(replace(self._state, kept=replace(trial, tries=0), trial=None))
        except OSError as error:
            log.warning("configuration not kept: the disk fails", extra={"error": str(error)})
            return False
        self._on_trial = 0
        self.changed.set()
        log.info("configuration in force", extra={"version": trial.version})
        return True

    def _revert(self, reason: str) -> None:
        """Go back to what is in force; where the disk fails, until the next start at least."""
        version = self._state.trial.version if self._state.trial else 0
        log.warning("configuration reverted", extra={"version": version, "reason": reason})
        reverted = self._state.reverted()
        try:
            self._store(reverted)
        except OSError as error:
            log.warning("the revert is not on the disk", extra={"error": str(error)})
            self._state = reverted

    def _store(self, state: State) -> None:
        write_durably(self._file, json.dumps(asdict(state)).encode())
        self._state = state
        if state.floor > stored_version(self._version_file):
            with suppress(OSError):  # the state holds it; the next change tries again
                write_durably(self._version_file, f"{state.floor}\n".encode())


def apply(settings: AgentSettings, wanted: Mapping[str, Scalar]) -> AgentSettings:
    """Return `settings` with those changed that `wanted` names by their dotted keys.

    What is wanted must be what this gateway can follow.
    """
    for key, value in wanted.items():
        urn = sensor_of(key)
        change: dict[str, Any] = {key.rpartition(".")[2]: value}
        if urn is not None:
            sensors = tuple(
                replace(sensor, **change) if sensor.urn == urn else sensor
                for sensor in settings.sensor
            )
            settings = replace(settings, sensor=sensors)
        elif key not in _ACTIONS:
            table = key.partition(".")[0]
            below: dict[str, Any] = {table: replace(getattr(settings, table), **change)}
            settings = replace(settings, **below)
    return settings


def _sensor_fault(settings: AgentSettings, urn: str, name: str, value: object) -> str:
    """Return why the sensor `urn` cannot have its setting `name` changed to a number, "" if it can.

    The limits are the adapter's own, as for its settings in the gateway's file.
    """
    for sensor in settings.sensor:
        if sensor.urn == urn:
            found = next((each for each in fields(sensor) if each.name == name), None)
            limits = found.metadata.get("limits") if found else None
            if limits is None:
                return f"the adapter {sensor.adapter} has no such setting: it takes what comes"
            if not fits(float, value, limits):
                return f"must be {allowed_by(float, limits)} for the adapter {sensor.adapter}"
            return ""
    return "this gateway has no such sensor"


def _chosen(stored: Mapping[str, object]) -> Chosen:
    """Read a stored configuration.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    settings = stored["settings"]
    if settings is not None and not isinstance(settings, dict):
        raise TypeError("stored settings are no table")
    return Chosen(int(str(stored["version"])), settings, int(str(stored["tries"])))
