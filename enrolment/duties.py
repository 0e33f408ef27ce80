"""What the certificate service owes the network now. Pure: facts and a time in, duties out.

Nothing is remembered from one look to the next: what is due is the difference between what the
registry wants and what was last signed, so a duty that was missed is done at the next look.
Doing them is `enrolment.upkeep`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from device_protocol.key_set import KeySet, Recipient
from device_protocol.keys import RecipientPublicKey
from enrolment.policy import BACKDATED, RevokedEntry
from storage.certificates import RevocationList, Revoked
from storage.recipients import RecipientRow

REVOCATION_LIST_INTERVAL: Final = timedelta(days=1)
REVOCATION_LIST_ALARM: Final = timedelta(days=3)
"""Older than this, it has missed two reissues; at seven days its council is locked out."""

CERTIFICATE_ALARM: Final = timedelta(days=365)
"""So long before a root ends somebody must begin to replace it, and what hangs on it."""

KEY_SET_SOFT_LIFE: Final = timedelta(days=14)
KEY_SET_HARD_LIFE: Final = timedelta(days=30)
"""No longer than a signer's certificate has left when it is renewed: no set outlives its signer."""

_SPACING: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilFacts:
    """What the registry says of one council.

    revoked: certificates that must not count. revocation_list: the newest, if any.
    recipients: all, retired ones included. key_set: the newest, if it can still be read.
    """

    tenant: str
    suites: tuple[int, ...]
    recipients: Sequence[RecipientRow]
    revoked: Sequence[Revoked]
    revocation_list: RevocationList | None
    key_set: KeySet | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationListDue:
    """A revocation list to sign. number: of the list to come."""

    tenant: str
    number: int
    revoked: tuple[RevokedEntry, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetDue:
    """A key set to sign, of these groups and suites; its version the registry gives."""

    tenant: str
    suites: tuple[int, ...]
    groups: Mapping[str, tuple[Recipient, ...]]
    reason: str

    def key_set(self, version: int, now: datetime, signer_ends: datetime) -> KeySet:
        """Return it as issued at `now`, refused by gateways once its signer's time is over."""
        issued = now.replace(microsecond=0)
        hard_expiry = min(issued + KEY_SET_HARD_LIFE, signer_ends)
        return KeySet(
            version=version,
            issued_at=_unix(issued),
            soft_expiry=_unix(min(issued + KEY_SET_SOFT_LIFE, hard_expiry)),
            hard_expiry=_unix(hard_expiry),
            suites=self.suites,
            groups=self.groups,
        )


def revocation_lists_due(
    councils: Iterable[CouncilFacts], now: datetime
) -> list[RevocationListDue]:
    """Return the lists to be issued: none yet, not what it should name, or a day old.

    Not those of `too_soon`.
    """
    due = []
    for council in councils:
        reason = _revocation_list_reason(council, now)
        if reason:
            due.append(
                RevocationListDue(
                    tenant=council.tenant,
                    number=next_number(council.revocation_list, now),
                    revoked=tuple(
                        RevokedEntry(each.serial, each.since, each.hold, each.superseded)
                        for each in council.revoked
                    ),
                    reason=reason,
                )
            )
    return due


def next_number(held: RevocationList | None, now: datetime) -> int:
    """Return the number of a council's next list: the time in Unix seconds, and above `held`'s.

    So it rises (RFC 5280, section 5.2.3) even after an older backup of the registry was restored.
    """
    return max(held.number + 1 if held else 1, _unix(now))


def too_soon(councils: Iterable[CouncilFacts], now: datetime) -> list[str]:
    """Return the councils whose list changed within the second in which the last was issued.

    Of two lists that bear the same second a broker may believe the older: look again.
    """
    return [council.tenant for council in councils if _is_fresh(council, now)]


def key_sets_due(councils: Iterable[CouncilFacts], now: datetime) -> list[KeySetDue]:
    """Return the key sets to be signed: none yet, other recipients or suites, or soon stale.

    A council without any recipient can have none.
    """
    due = []
    for council in councils:
        groups = wanted_groups(council, now)
        reason = _key_set_reason(council, groups, now) if groups else ""
        if reason:
            due.append(
                KeySetDue(
                    tenant=council.tenant, suites=council.suites, groups=groups, reason=reason
                )
            )
    return due


def overdue(issued: Mapping[str, datetime], now: datetime) -> list[str]:
    """Return the councils whose revocation list is so old that somebody must look."""
    return sorted(tenant for tenant, at in issued.items() if now - at > REVOCATION_LIST_ALARM)


def ends_soon(certificate: x509.Certificate, now: datetime) -> bool:
    """Tell whether somebody must see to a certificate that should have been replaced.

    That is in the last third of its life, of a root's in its last year.
    """
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ends - now < min((ends - begins) / 3, CERTIFICATE_ALARM)


def wanted_groups(council: CouncilFacts, now: datetime) -> dict[str, tuple[Recipient, ...]]:
    """Return the recipients of each group that has any: neither retired nor at their end.

    Raises:
        StructureError: a key in the registry is none.
    """
    groups: dict[str, tuple[Recipient, ...]] = {}
    for row in council.recipients:
        if row.retired_at is None and row.valid_until > now:
            recipient = Recipient(
                key=RecipientPublicKey.from_cose_key(row.cose_key),
                role=row.role,
                valid_from=_unix(row.valid_from),
                valid_until=_unix(row.valid_until),
            )
            groups[row.group] = (*groups.get(row.group, ()), recipient)
    return groups


def listed(message: bytes) -> frozenset[tuple[int, bool]]:
    """Return the serial numbers that a revocation list (DER) names, and whether each is on hold.

    Raises:
        ValueError: it is no revocation list.
    """
    found = set()
    for entry in x509.load_der_x509_crl(message):
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            reason = x509.ReasonFlags.unspecified
        found.add((entry.serial_number, reason is x509.ReasonFlags.certificate_hold))
    return frozenset(found)


def _revocation_list_reason(council: CouncilFacts, now: datetime) -> str:
    held = council.revocation_list
    if held is None:
        return "first"
    if _is_fresh(council, now):
        return ""
    if not _names_wanted(council, held):
        return "changed"
    return "daily" if now - held.this_update >= REVOCATION_LIST_INTERVAL else ""


def _is_fresh(council: CouncilFacts, now: datetime) -> bool:
    """Whether a change must wait; never because a clock went back."""
    held = council.revocation_list
    if held is None or _names_wanted(council, held):
        return False
    return timedelta(0) <= now - (held.this_update + BACKDATED) < _SPACING


def _names_wanted(council: CouncilFacts, held: RevocationList) -> bool:
    try:
        return listed(held.message) == {(each.serial, each.hold) for each in council.revoked}
    except ValueError:  # damaged in the registry: the next one puts it right
        return False


def _key_set_reason(
    council: CouncilFacts, groups: Mapping[str, tuple[Recipient, ...]], now: datetime
) -> str:
    held = council.key_set
    if held is None:
        return "first"
    if set(held.suites) != set(council.suites) or _members(held.groups) != _members(groups):
        return "changed"
    renewal = held.issued_at + (held.soft_expiry - held.issued_at) * 2 // 3
    return "renewal" if now >= datetime.fromtimestamp(renewal, UTC) else ""


def _members(groups: Mapping[str, Sequence[Recipient]]) -> set[tuple[str, Recipient]]:
    return {(group, each) for group, recipients in groups.items() for each in recipients}


def _unix(moment: datetime) -> int:
    return int(moment.timestamp())
