"""A gateway's life, from invitation to revocation, in plain words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from api.pages.status import LATE_AFTER_SECONDS, SILENT_AFTER_SECONDS, Moment, moment
from api.pages.times import short_time_text
from storage.audit import AuditEntry
from storage.network_view import GatewayFacts

STATES: Final[Mapping[str, str]] = {
    "invited": "Invited",
    "expired": "Invitation expired",
    "waiting": "Waiting for first reading",
    "working": "Working",
    "silent": "Silent",
    "suspended": "Suspended",
    "revoked": "Revoked",
}
"""What a gateway can be, by the word that a filter's address uses."""

_LOOKS: Final[Mapping[str, str]] = {
    "invited": "waiting",
    "expired": "stale",
    "waiting": "waiting",
    "working": "fresh",
    "silent": "stale",
    "suspended": "stale",
    "revoked": "stale",
}
_ACTIONS: Final[Mapping[str, str]] = {
    "gateway.invite": "Invited",
    "gateway.enrol": "Enrolled: got its first certificate",
    "gateway.renew": "Got a new certificate",
    "gateway.suspend": "Suspended",
    "gateway.resume": "Resumed",
    "gateway.revoke": "Revoked",
    "gateway.configure": "New settings asked for",
    "administration.refuse": "Somebody of another council was refused",
}
_ENROLLED_ANEW: Final = "Enrolled anew: its earlier certificates count no more"
_DETAILS: Final[Mapping[str, str]] = {
    "reason": "reason",
    "from": "was",
    "site": "site",
    "outcome": "outcome",
    "version": "version",
    "path": "page",
    "superseded": "keys that ended",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRow:
    """A gateway in words. state: key of `STATES`; look: how its tag looks."""

    facts: GatewayFacts
    state: str
    look: str
    seen: Moment
    first_reading: Moment
    certificate_until: str
    certificate_expired: bool
    invitation_until: str

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.facts.label or self.facts.site or self.facts.device

    @property
    def status(self) -> str:
        """Its state in words; late is said of one that is not yet silent."""
        return "Late" if self.look == "late" else STATES[self.state]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry of the audit trail in words."""

    entry: AuditEntry
    text: str
    detail: str
    at: Moment


def gateway_row(facts: GatewayFacts, now: datetime) -> GatewayRow:
    """Return a gateway in words."""
    state = state_of(facts, now)
    age = (now - facts.last_message_at).total_seconds() if facts.last_message_at else 0.0
    late = state == "working" and age > LATE_AFTER_SECONDS
    until = facts.certificate_until
    token = facts.token_expires_at
    return GatewayRow(
        facts=facts,
        state=state,
        look="late" if late else _LOOKS[state],
        seen=moment(facts.last_message_at, now),
        first_reading=moment(facts.first_reading_at, now),
        certificate_until=short_time_text(until, now) if until else "",
        certificate_expired=until is not None and until <= now,
        invitation_until=short_time_text(token, now) if token else "",
    )


def state_of(facts: GatewayFacts, now: datetime) -> str:
    """Return which of `STATES` a gateway is in."""
    if facts.status in ("suspended", "revoked"):
        return facts.status
    if facts.status == "invited":
        return "invited" if facts.token_expires_at and facts.token_expires_at > now else "expired"
    if facts.last_message_at is None:
        return "waiting"
    if (now - facts.last_message_at).total_seconds() > SILENT_AFTER_SECONDS:
        return "silent"
    return (
        "working" if facts.first_reading_at else "waiting"
    )  # it announces itself before it reports


def matches(row: GatewayRow, words: str) -> bool:
    """Return whether every word looked for stands in a gateway's names, site, place or council."""
    facts = row.facts
    held = " ".join(
        (facts.label, facts.site or "", facts.device, facts.place_name, facts.council)
    ).casefold()
    return all(word in held for word in words.casefold().split())


def audit_row(entry: AuditEntry, now: datetime) -> AuditRow:
    """Return an entry of the audit trail in words."""
    parts = [
        f"{word}: {entry.detail[key]}" for key, word in _DETAILS.items() if entry.detail.get(key)
    ]
    settings: Any = entry.detail.get("settings")
    if isinstance(settings, Mapping):
        parts += [f"{key} = {setting_text(value)}" for key, value in settings.items()]
    return AuditRow(entry, _action(entry), "; ".join(parts), moment(entry.at, now))


def _action(entry: AuditEntry) -> str:
    told = entry.detail  # "again" is of later releases than "superseded"
    if entry.action == "gateway.enrol" and (told.get("again") or told.get("superseded")):
        return _ENROLLED_ANEW
    return _ACTIONS.get(entry.action, entry.action)


def setting_text(value: object) -> str:
    """Return the value of a setting as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
