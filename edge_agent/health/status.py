"""The agent's state on one screen, also when the agent is dead: written to a file, read from it.

The agent writes the file every few seconds; anybody who may read it can show it. Whether the
agent still runs is told by the lock it holds, not by the file.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from edge_agent.durable import replace
from edge_agent.health.facts import Facts
from edge_agent.settings import AgentSettings
from edge_agent.spool.store import Depth

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_MOST_SHOWN: Final = 5
_CLOCKS: Final = (
    "not synchronised",
    "set from an authenticated server",
    "synchronised over the network",
    "from a clock chip or a satellite, or synchronised before",
)

_PROCESSED: Final = ("refused", "flagged", "repeated", "late", "withheld")


class AlreadyRunningError(Exception):
    """Another agent uses this state directory."""


class StateLock:
    """The state directory is used by one agent at a time: held until left, or the process ends."""

    def __init__(self, state_directory: Path) -> None:
        self._file = (state_directory / "lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise AlreadyRunningError(
                f"an agent already runs on {state_directory}; end that one, or give this gateway "
                "another state_directory in its settings"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class Status:
    """What the agent last said of itself, and whether it runs.

    device: whose status it is. facts: `health.facts.Facts` as plain values, with spool and
    clock beside them; None when no agent has written here yet. read_at: Unix seconds.
    """

    device: str
    running: bool
    facts: dict[str, Any] | None
    read_at: float

    def render(self) -> str:
        """Return one screen of text."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"Gateway {self.device}: the agent {'runs' if self.running else 'DOES NOT RUN'}"
        facts = self.facts
        if facts is None:
            yield "No agent has written its state here yet."
            return
        if not self.running:
            yield f"Last heard from {self._ago(facts['written_at'])}; what follows is of then."
        yield self._row("Connection", self._connection(facts))
        yield self._row("Acknowledged", self._moment(facts["last_acknowledgement_at"], "never"))
        yield self._row("Spool", self._spool(facts["spool"]))
        if facts["spool_failing"]:
            yield self._row("", f"CANNOT BE WRITTEN: {facts['spool_failing']}")
        if facts["dropped"]:
            yield self._row("", f"LOST: {facts['dropped']} readings dropped since the start")
        if facts["waiting_for"]:
            yield self._row("Waiting", facts["waiting_for"])
        yield self._row("Certificate", self._certificate(facts["certificate_not_after"]))
        if facts.get("renewal_problem"):  # not written by releases before
            yield self._row("", f"NOT RENEWED: {facts['renewal_problem']}")
        yield self._row("Key set", self._key_set(facts))
        if said := self._configuration(facts):
            yield self._row("Settings", said)
        yield self._row("Clock", _CLOCKS[facts["clock"]])
        if facts["rolled_back"]:
            yield self._row("ALARM", "this disk was rolled back, or another has its identity")
        yield from self._sensors(facts)

    def _connection(self, facts: dict[str, Any]) -> str:
        since = self._moment(facts["connection_since"] or None, "the start")
        if facts["connected"]:
            return f"connected since {since}"
        error = f": {facts['connection_error']}" if facts["connection_error"] else ""
        return f"NOT CONNECTED since {since}{error}"

    def _spool(self, spool: dict[str, Any]) -> str:
        if not spool["readings"]:
            return "empty"
        oldest = self._ago(spool["oldest_accepted"])
        size = spool["bytes"] / 1024
        return f"{spool['readings']} readings wait, the oldest taken {oldest} ({size:.0f} KiB)"

    def _certificate(self, not_after: int | None) -> str:
        if not_after is None:
            return "NONE USABLE"
        moment = self._moment(not_after, "")
        if not_after < self.read_at:
            return f"ENDED {moment}: NEEDS A NEW INVITATION"
        return f"ends {moment}"

    def _configuration(self, facts: dict[str, Any]) -> str:
        """Return what became of settings from afar, "" if there never were any."""
        version, refused, trial = (
            facts.get(name, 0)  # not written by releases before
            for name in ("configuration", "configuration_refused", "configuration_on_trial")
        )
        said = [f"version {version} from afar"] if version else []
        if trial:
            said.append(f"version {trial} on trial")
        if refused > version:
            said.append(f"version {refused} REFUSED OR TAKEN BACK")
        return ", ".join(said)

    def _key_set(self, facts: dict[str, Any]) -> str:
        if facts["key_set_version"] is None:
            return "none yet"
        late = ", PAST ITS SOFT EXPIRY" if facts["key_set_is_stale"] else ""
        return f"version {facts['key_set_version']}{late}"

    def _sensors(self, facts: dict[str, Any]) -> Iterator[str]:
        for urn, adapter in facts["adapters"].items():
            yield self._row("Sensor", self._adapter(urn, adapter))
        if unclaimed := facts.get("unclaimed"):  # not written by releases before
            yield self._row("Unclaimed", self._unclaimed(unclaimed))

    def _adapter(self, urn: str, adapter: dict[str, Any]) -> str:
        if adapter["running"] and not adapter["readings"]:
            return f"{urn} ({adapter['adapter']}): answers, BUT NO READING COMES OF IT"
        if adapter["running"]:
            parts = [f"{adapter['readings']} readings"]
            # not written by releases before
            parts += [f"{adapter[name]} {name}" for name in _PROCESSED if adapter.get(name)]
            return f"{urn} ({adapter['adapter']}): {', '.join(parts)}"
        if adapter.get("holds"):  # not written by releases before
            since = self._moment(adapter["since"], "the start")
            return f"{urn} ({adapter['adapter']}): no longer fails, nothing since {since}"
        if adapter["failures"]:
            since = self._moment(adapter["since"], "the start")
            return f"{urn} ({adapter['adapter']}): FAILS since {since}: {adapter['last_error']}"
        return f"{urn} ({adapter['adapter']}): nothing yet"

    def _unclaimed(self, heard: dict[str, int]) -> str:
        """Return which devices no sensor claims, those heard most often first."""
        addresses = sorted(heard, key=lambda address: (-heard[address], address))
        shown = ", ".join(f"{each} ({heard[each]} times)" for each in addresses[:_MOST_SHOWN])
        further = len(heard) - _MOST_SHOWN
        return f"{shown} and {further} more" if further > 0 else shown

    def _moment(self, unix_seconds: float | None, otherwise: str) -> str:
        if unix_seconds is None:
            return otherwise
        moment = datetime.fromtimestamp(unix_seconds, UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({self._ago(unix_seconds)})"

    def _ago(self, unix_seconds: float) -> str:
        seconds = self.read_at - unix_seconds
        return f"in {_span(-seconds)}" if seconds < 0 else f"{_span(seconds)} ago"

    @staticmethod
    def _row(label: str, text: str) -> str:
        return f"  {label:<13}{text}"


def write_status(
    settings: AgentSettings,
    *,
    facts: Facts,
    depth: Depth,
    clock: int,
    dropped: int,
    spool_failing: str | None,
    now: float,
) -> None:
    """Write the state as it is at Unix second `now`; readers see the old file or this one.

    Raises:
        OSError: it cannot be written.
    """
    content = asdict(facts) | {
        "written_at": now,
        "process": os.getpid(),
        "spool": asdict(depth),
        "spool_failing": spool_failing,
        "dropped": dropped,
        "clock": clock,
    }
    replace(settings.status_file, json.dumps(content, indent=1).encode())


def read_status(settings: AgentSettings) -> Status:
    """Return what the agent of these settings last wrote, and whether it runs."""
    return Status(
        device=settings.device,
        running=_is_locked(settings.state_directory / "lock"),
        facts=_read(settings.status_file),
        read_at=datetime.now(UTC).timestamp(),
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _span(seconds: float) -> str:
    """Return a length of time in the largest unit that leaves at least two of it, about."""
    for unit, name in ((_DAY, "days"), (_HOUR, "hours"), (_MINUTE, "minutes")):
        if seconds >= 2 * unit:
            return f"{int(seconds // unit)} {name}"
    return f"{seconds:.0f} seconds"
