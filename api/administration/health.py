"""What a gateway says of itself, in words: each value, how old it is, and whether to look into it.

Pure. The values are ordinary readings, sealed like any other; which there are is told in
`edge_agent.health.datastreams`. What is not reported is not shown. Settings changed from afar
have a part of the page of their own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from api.pages.status import Moment, moment
from api.pages.times import Freshness, duration_text, freshness
from api.pages.words import number_text, property_name, result_text, unit_symbol
from storage.overview import CurrentValue

_STEPS: Final = ("bytes", "kB", "MB", "GB", "TB")
_THOUSAND: Final = 1000
_FULL_PER_CENT: Final = 90.0
_HOT_CELSIUS: Final = 80.0  # where a Raspberry Pi begins to slow itself down
_LONG_WAIT_SECONDS: Final = 3600.0
_SYNCHRONISED, _UNSYNCHRONISED = 1.0, 0.0
_LOSS_SHOWN: Final = timedelta(days=7)

_EVENTS: Final = frozenset({"agent_version", "failing_sensors", "spool_dropped", "spool_salvaged"})
"""Told when they happen: old ones are as true as new ones."""

_LOSSES: Final[Mapping[str, str]] = {
    "spool_dropped": "Readings lost",
    "spool_salvaged": "Spool damaged",
}

_ORDER: Final = (
    "adapters_failing",
    "failing_sensors",
    "adapters_running",
    "unclaimed_devices",
    "spool_readings",
    "spool_oldest_age",
    "spool_bytes",
    "spool_dropped",
    "spool_salvaged",
    "clock_quality",
    "disk_used",
    "memory_used",
    "agent_memory",
    "device_temperature",
    "flash_written",
    "uptime",
    "agent_version",
)
"""Those that a person looks for first come first; what is not among them comes last."""

_ELSEWHERE: Final = frozenset({"configuration_version"})

_FRESHNESS: Final[Mapping[Freshness, str]] = {
    Freshness.FRESH: "Fresh",
    Freshness.LATE: "Late",
    Freshness.STALE: "Stale",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRow:
    """One thing that a gateway says of itself. look: of the tag, as a value's freshness has it."""

    name: str
    value: str
    at: Moment
    look: str
    state: str


def health_rows(values: Iterable[CurrentValue], now: datetime) -> list[HealthRow]:
    """Return what a gateway has reported of itself at any time, the most telling first."""
    told = [one for one in values if one.time and one.property_key not in _ELSEWHERE]
    return [_row(one, now) for one in sorted(told, key=_rank)]


def _row(one: CurrentValue, now: datetime) -> HealthRow:
    look, state = _state(one, now)
    return HealthRow(
        name=property_name(one.property_key, one.property_name),
        value=_text(one),
        at=moment(one.time, now),
        look=look,
        state=state,
    )


def _state(one: CurrentValue, now: datetime) -> tuple[str, str]:
    """Return look and words of the tag: first how old it is, then whether it is as it should be."""
    if one.property_key in _LOSSES:
        is_recent = one.time is not None and now - one.time <= _LOSS_SHOWN
        return ("late", _LOSSES[one.property_key]) if is_recent else ("fresh", "Long ago")
    if one.property_key in _EVENTS:
        return "fresh", "Told on change"
    age = freshness(one.time, one.period_seconds, now)
    if age is not Freshness.FRESH:
        return age.value, _FRESHNESS[age]
    concern = _CONCERNS.get(one.property_key)
    said = concern(one.value) if concern and one.value is not None else ""
    return ("late", said) if said else ("fresh", "Fresh")


_CONCERNS: Final[Mapping[str, Callable[[float], str]]] = {
    "adapters_failing": lambda n: "Look into it" if n > 0 else "",
    "unclaimed_devices": lambda n: "In no settings" if n > 0 else "",
    "spool_oldest_age": lambda s: "Waits long" if s > _LONG_WAIT_SECONDS else "",
    "clock_quality": lambda trust: "Not to be trusted" if trust <= _UNSYNCHRONISED else "",
    "disk_used": lambda share: "Nearly full" if share >= _FULL_PER_CENT else "",
    "memory_used": lambda share: "Nearly full" if share >= _FULL_PER_CENT else "",
    "device_temperature": lambda degrees: "Hot" if degrees >= _HOT_CELSIUS else "",
}


def _text(one: CurrentValue) -> str:
    """Return the value with its unit, as a person would say it."""
    if one.value is None:
        return result_text(None, one.result)
    if one.property_key == "clock_quality":
        return _clock(one.value)
    if one.unit == "By":
        return _bytes(one.value)
    if one.unit == "s":
        return duration_text(one.value)
    return f"{number_text(one.value)} {unit_symbol(one.unit)}".strip()


def _clock(trust: float) -> str:
    if trust >= _SYNCHRONISED:
        return "Synchronised"
    return "Not synchronised" if trust <= _UNSYNCHRONISED else "From a clock chip or a satellite"


def _bytes(count: float) -> str:
    step = 0
    while count >= _THOUSAND and step < len(_STEPS) - 1:
        count, step = count / _THOUSAND, step + 1
    return f"{count:.0f} {_STEPS[step]}" if step == 0 else f"{count:.1f} {_STEPS[step]}"


def _rank(one: CurrentValue) -> tuple[int, str, int]:
    key = one.property_key
    return _ORDER.index(key) if key in _ORDER else len(_ORDER), key, one.datastream_id
