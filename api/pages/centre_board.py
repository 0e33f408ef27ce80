"""How the centre itself fares, in words for the status page: its processes, what waits, what fails.

Pure. What the processes say of themselves is `storage.heartbeat`; of the database,
`storage.condition`. When the database is away there is nothing to read, and the page says that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from api.pages.times import duration_text, plural
from storage.condition import StoreCondition
from storage.heartbeat import BEAT_SECONDS, Heartbeat

UNHEARD_AFTER: Final = timedelta(seconds=4 * BEAT_SECONDS)
"""A process that said nothing for so long is stopped, or cut off from the database."""

BEHIND_SECONDS: Final = 10.0
LATE_ENTRIES: Final = 200_000  # a refresh takes 50,000 in a few seconds

_EXPECTED: Final = ("ingest", "analytics")
_NAMES: Final[Mapping[str, str]] = {"ingest": "Ingest", "analytics": "Analytics"}
_FAILURES: Final[Mapping[str, str]] = {
    "away": "It cannot reach the database.",
    "disk_full": "The database's disk is full, so nothing more is acknowledged.",
    "read_only": "The database refuses changes: it is a replica, or was set read-only.",
    "lock": "The database keeps what it needs locked.",
    "other": "The database fails what it stores; its log says why.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """A process in words. state: fresh, late or stale, as `hint` says. faults: sentences."""

    name: str
    state: str
    hint: str
    heard_at: datetime | None
    faults: Sequence[str]
    facts: str


def process_rows(heard: Iterable[Heartbeat], now: datetime) -> list[ProcessRow]:
    """Return every process that has left word, and those that never did and should have."""
    known = list(heard)
    rows = [_row(each, now) for each in known]
    names = {each.process for each in known}
    return rows + [
        ProcessRow(
            name=_NAMES[process],
            state="stale",
            hint="Not heard yet",
            heard_at=None,
            faults=[f"{_NAMES[process]} has never left word in this database."],
            facts="",
        )
        for process in _EXPECTED
        if process not in names
    ]


def _row(heard: Heartbeat, now: datetime) -> ProcessRow:
    name = _name(heard)
    age = now - heard.at
    if age > UNHEARD_AFTER:
        return ProcessRow(
            name=name,
            state="stale",
            hint="Not heard",
            heard_at=heard.at,
            faults=[_silence(name, age)],
            facts="",
        )
    faults = list(_faults(heard.facts))
    return ProcessRow(
        name=name,
        state="late" if faults else "fresh",
        hint="Hindered" if faults else "Working",
        heard_at=heard.at,
        faults=[f"{name}: {fault}" for fault in faults],
        facts=_facts(heard.facts),
    )


def _silence(name: str, age: timedelta) -> str:
    return (
        f"{name} was last heard {duration_text(age.total_seconds() // 1)} ago: it is stopped, or "
        "can write nothing to the database. Gateways keep their readings."
    )


def _name(heard: Heartbeat) -> str:
    name = _NAMES.get(heard.process, heard.process)
    share = f" of {heard.share}" if heard.share else ""
    worker = f", worker {heard.worker + 1} of {heard.workers}" if heard.workers > 1 else ""
    return f"{name}{share}{worker}"


def _faults(facts: Mapping[str, Any]) -> Iterator[str]:
    if reason := facts.get("database"):
        yield _FAILURES.get(reason, _FAILURES["other"])
    for connection, is_up in sorted(facts.get("connections", {}).items()):
        if not is_up:
            yield f"The broker cannot be reached over the connection “{connection}”."
    waited = facts.get("oldest_seconds", 0)
    if facts.get("paused") or waited > BEHIND_SECONDS:
        yield (
            "It is behind: the oldest message has waited "
            f"{duration_text(max(1, waited // 1))}{_paused(facts)}."
        )


def _paused(facts: Mapping[str, Any]) -> str:
    return ", and it reads no more until it has caught up" if facts.get("paused") else ""


def _facts(facts: Mapping[str, Any]) -> str:
    if "inbox_messages" in facts:
        return f"{plural(facts['inbox_messages'], 'message')} waiting"
    if "rollup_log_entries" in facts:
        return f"{plural(facts['rollup_log_entries'], 'hour')} to summarise"
    return ""


def store_faults(store: StoreCondition) -> list[str]:
    """Return what piles up in the database, as sentences."""
    faults = []
    if store.rollup_log_entries > LATE_ENTRIES:
        faults.append(
            f"Hourly values are late: {plural(store.rollup_log_entries, 'hour')} wait to be "
            "summarised."
        )
    return faults


def quarantine_text(store: StoreCondition) -> str:
    """Return how much waits in quarantine."""
    number = sum(store.held.values())
    if not number:
        return "Nothing waits in quarantine."
    reasons = sorted(store.held.items(), key=lambda found: (-found[1], found[0]))
    listed = ", ".join(f"{n:,} {reason}" for reason, n in reasons)
    return f"{number:,} in quarantine, messages and readings: {listed}."
