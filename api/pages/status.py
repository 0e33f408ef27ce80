"""The status page: how each gateway fares, what is missing, and what was refused and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from api.pages.centre_board import ProcessRow, process_rows, quarantine_text, store_faults
from api.pages.templating import page
from api.pages.times import (
    age_text,
    duration_text,
    floor_second,
    iso_text,
    plural,
    short_time_text,
    time_text,
)
from api.pages.words import HARMLESS_REASONS, reason_text
from api.state import Service, service
from storage.condition import store_condition
from storage.heartbeat import heartbeats
from storage.overview import bounded_read
from storage.status_board import (
    GAP_DAYS,
    REFUSAL_HOURS,
    Conflict,
    GatewayState,
    MessageGap,
    Quarantined,
    RefusalCount,
    gateway_states,
    message_gaps,
    open_conflicts,
    recently_quarantined,
    refusals_by_reason,
)

router = APIRouter(include_in_schema=False)

LATE_AFTER_SECONDS: Final = 16 * 60
"""A gateway sends at least every 15 minutes (envelope, section 7); a minute is the network's."""

SILENT_AFTER_SECONDS: Final = 31 * 60
CERTIFICATE_SOON: Final = timedelta(days=2)  # renewal is due at two thirds of seven days

_FULL_SHARE: Final = 0.9995
_DEVICES_NAMED: Final = 3
_HINTS: Final = ("Heard", "Late", "Silent", "Not heard yet", "Suspended", "Revoked")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as a page shows it; all empty where there is none."""

    iso: str
    text: str
    age: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRow:
    """A gateway in words. state: fresh, late, stale or waiting, as `hint` explains."""

    gateway: GatewayState
    seen: Moment
    state: str
    hint: str
    spool: str
    spool_age: str
    completeness: str
    certificate: str
    certificate_iso: str
    certificate_hint: str


@dataclass(frozen=True, slots=True)
class CentreRow:
    """A process of the centre, with when it was last heard."""

    process: ProcessRow
    heard: Moment


@dataclass(frozen=True, slots=True)
class GapRow:
    """Messages missing in one epoch."""

    gap: MessageGap
    began: Moment
    missing: int


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """One reason, with what it means."""

    refusal: RefusalCount
    meaning: str
    devices: str
    last: Moment


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A message or reading kept aside."""

    entry: Quarantined
    meaning: str
    received: Moment


@dataclass(frozen=True, slots=True)
class ConflictRow:
    """A sensor two gateways claim."""

    conflict: Conflict
    noticed: Moment


@router.get("/status")
async def status(*, centre: Annotated[Service, Depends(service)]) -> Response:
    """Show how the network fares."""
    async with centre.reading() as conn, bounded_read(conn, councils=centre.councils):
        states = await gateway_states(conn)
        gaps = await message_gaps(conn)
        refusals = await refusals_by_reason(conn)
        kept = await recently_quarantined(conn)
        conflicts = await open_conflicts(conn)
        heard = await heartbeats(conn)
        store = await store_condition(conn)
    now = datetime.now(UTC)
    processes = process_rows(heard, now)
    rows = [gateway_row(state, now) for state in states]
    counts = [_refusal_row(one, now) for one in refusals]
    context = {
        "active": "status",
        "processes": [CentreRow(one, moment(one.heard_at, now)) for one in processes],
        "faults": [fault for one in processes for fault in one.faults] + store_faults(store),
        "quarantine_held": quarantine_text(store),
        "gateways": rows,
        "summary": summary(rows),
        "gaps": [
            GapRow(gap, moment(gap.received_at, now), gap.sent - gap.received) for gap in gaps
        ],
        "gap_days": GAP_DAYS,
        "refusals": [row for row in counts if row.refusal.reason not in HARMLESS_REASONS],
        "harmless": [row for row in counts if row.refusal.reason in HARMLESS_REASONS],
        "refusal_hours": REFUSAL_HOURS,
        "quarantined": [
            QuarantineRow(one, reason_text(one.reason), moment(one.received_at, now))
            for one in kept
        ],
        "conflicts": [ConflictRow(one, moment(one.noticed_at, now)) for one in conflicts],
        "late_after": LATE_AFTER_SECONDS,
        "stale_after": SILENT_AFTER_SECONDS,
        "now": iso_text(now),
        "read_at": time_text(floor_second(now)),
    }
    return await page(centre.pages, "status.html", context)


def moment(time: datetime | None, now: datetime) -> Moment:
    """Return a time in words."""
    if time is None:
        return Moment("", "", "")
    age = age_text((now - time).total_seconds())
    return Moment(iso_text(time), short_time_text(time, now), age)


def gateway_row(state: GatewayState, now: datetime) -> GatewayRow:
    """Return a gateway in words."""
    kind, hint = _state(state, now)
    until = state.certificate_until
    has_spool = state.spool_readings is not None
    return GatewayRow(
        gateway=state,
        seen=moment(state.last_message_at, now),
        state=kind,
        hint=hint,
        spool=f"{state.spool_readings:,.0f}" if has_spool else "Not reported",
        spool_age=moment(state.spool_time, now).age,
        completeness=_completeness(state),
        certificate=short_time_text(until, now) if until else "None",
        certificate_iso=iso_text(until) if until else "",
        certificate_hint=_certificate_hint(until, now),
    )


def _state(state: GatewayState, now: datetime) -> tuple[str, str]:
    if state.status != "active":
        return "stale", state.status.capitalize()
    if state.last_message_at is None:
        return "waiting", "Not heard yet"
    age = (now - state.last_message_at).total_seconds()
    if age <= LATE_AFTER_SECONDS:
        return "fresh", "Heard"
    return ("late", "Late") if age <= SILENT_AFTER_SECONDS else ("stale", "Silent")


def _completeness(state: GatewayState) -> str:
    if state.completeness is None:
        return "Too new to say"
    if state.completeness >= _FULL_SHARE:
        return "100%"
    share = f"{min(state.completeness * 100, 99.9):.1f}%"  # never rounded up to complete
    if not state.silent_streams:
        return share
    silent = plural(state.silent_streams, "datastream")
    return f"{share}; {silent} of {state.streams} silent"


def _certificate_hint(until: datetime | None, now: datetime) -> str:
    if until is None:
        return ""
    left = until - now
    if left <= timedelta(0):
        return "Expired"
    words = duration_text(left.total_seconds() // 60 * 60)
    return f"Renewal overdue: {words} left" if left < CERTIFICATE_SOON else f"{words} left"


def _refusal_row(one: RefusalCount, now: datetime) -> RefusalRow:
    return RefusalRow(
        one, reason_text(one.reason), device_text(one.devices), moment(one.last_at, now)
    )


def device_text(devices: Sequence[str]) -> str:
    """Return which gateways, by device id, the first few by name."""
    named = [device or "unknown" for device in devices]
    if len(named) <= _DEVICES_NAMED:
        return ", ".join(named)
    return f"{', '.join(named[:_DEVICES_NAMED])} and {len(named) - _DEVICES_NAMED} more"


def summary(rows: Sequence[GatewayRow]) -> str:
    """Return how many gateways are in which state."""
    if not rows:
        return "No gateway is registered yet."
    counts = Counter(row.hint for row in rows)
    parts = [f"{counts[hint]} {hint.lower()}" for hint in _HINTS if counts[hint]]
    return f"{plural(len(rows), 'gateway')}: {', '.join(parts)}."
