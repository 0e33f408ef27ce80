"""Counting and logging what became of a batch, and the refusals that the status page shows."""

import hashlib
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from device_protocol.errors import EpochConflictError
from ingest.admission.outcome import AcceptedAnnouncement, Outcome, Refusal
from ingest.admission.readings import Contradiction, conflicting_result
from ingest.metrics import (
    BATCH_MESSAGES,
    DESCRIPTIONS,
    ENVELOPES,
    EPOCHS,
    PARKED_MESSAGES,
    READINGS,
)
from ingest.store import Stored
from storage.descriptions import Described
from storage.quarantine import RefusalCount

log = logging.getLogger(__name__)
security_log = logging.getLogger("security")

_SECURITY_CODES: Final = range(200, 600)
_DUPLICATE: Final = 500  # normal under QoS 1: counted, and no more


class RefusalCounts:
    """Refusals since the last flush, by tenant, device and reason."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], RefusalCount] = {}

    def add(self, count: RefusalCount) -> None:
        """Add to what has gathered."""
        key = (count.tenant, count.device, count.reason)
        before = self._counts.get(key)
        n = count.n + (before.n if before else 0)
        self._counts[key] = RefusalCount(
            tenant=count.tenant,
            device=count.device,
            reason=count.reason,
            n=n,
            last_at=count.last_at,
            last_detail=count.last_detail,
        )

    def take(self) -> list[RefusalCount]:
        """Return what has gathered, and forget it."""
        taken, self._counts = list(self._counts.values()), {}
        return taken

    def give_back(self, unwritten: Iterable[RefusalCount]) -> None:
        """Take back what could not be written."""
        for count in unwritten:
            self.add(count)


def report(outcome: Outcome, stored: Stored, counts: RefusalCounts) -> None:
    """Count a stored batch, with what the store found about it."""
    contradictions = stored.contradictions
    BATCH_MESSAGES.observe(outcome.accepted + len(outcome.refusals))
    PARKED_MESSAGES.set(len(outcome.parking))
    ENVELOPES.labels("accepted", "").inc(outcome.accepted - len(stored.refused_epochs))
    for begun in outcome.announcements:
        if begun.announcement.epoch.epoch_id not in stored.refused_epochs:
            EPOCHS.labels(str(begun.announcement.suite)).inc()
    READINGS.labels("stored", "").inc(len(outcome.columns.observations) - len(contradictions))
    for refusal in [*outcome.refusals, *_reused(outcome.announcements, stored.refused_epochs)]:
        _report_refusal(refusal, counts)
    for refused in outcome.reading_refusals:
        READINGS.labels("quarantined", refused.reason).inc(refused.readings)
        counts.add(
            RefusalCount(
                tenant=refused.tenant,
                device=refused.device,
                reason=refused.reason,
                n=refused.readings,
                last_at=refused.received_at,
                last_detail=refused.detail,
            )
        )
    report_contradictions(stored, counts)
    _report_descriptions(outcome, stored.described)


def report_contradictions(stored: Stored, counts: RefusalCounts) -> None:
    """Count readings whose place was found taken."""
    for found in stored.contradictions:
        _report_contradiction(found, counts)


def _reused(
    announcements: Iterable[AcceptedAnnouncement], refused: Collection[bytes]
) -> Iterable[Refusal]:
    """Yield the refusal of each announcement whose epoch id the database knew already."""
    for accepted in announcements:
        epoch_id = accepted.announcement.epoch.epoch_id
        if epoch_id in refused:
            tenant, device, _ = accepted.channel
            yield Refusal(
                tenant=tenant,
                device=device,
                code=EpochConflictError.code,
                reason=EpochConflictError.reason,
                detail=f"epoch {epoch_id.hex()} was used before",
                delivery=accepted.delivery,
                quarantined=False,
            )


def _report_refusal(refusal: Refusal, counts: RefusalCounts) -> None:
    ENVELOPES.labels("quarantined" if refusal.quarantined else "refused", refusal.reason).inc()
    if refusal.code == _DUPLICATE:
        return
    counts.add(
        RefusalCount(
            tenant=refusal.tenant,
            device=refusal.device,
            reason=refusal.reason,
            n=1,
            last_at=refusal.delivery.received_at,
            last_detail=refusal.detail,
        )
    )
    facts = {
        "code": refusal.code,
        "reason": refusal.reason,
        "detail": refusal.detail,
        "tenant": refusal.tenant,
        "device": refusal.device,
        "topic": refusal.delivery.topic,
        "size_bytes": len(refusal.delivery.message),
    }
    if refusal.code in _SECURITY_CODES:
        facts["sha256"] = hashlib.sha256(refusal.delivery.message).hexdigest()
        security_log.warning("envelope refused", extra=facts)
    else:
        log.info("envelope refused", extra=facts)


def _report_contradiction(found: Contradiction, counts: RefusalCounts) -> None:
    error = conflicting_result(found)
    READINGS.labels("quarantined", error.reason).inc()
    counts.add(
        RefusalCount(
            tenant=found.origin.tenant,
            device=found.origin.device,
            reason=error.reason,
            n=1,
            last_at=found.origin.received_at,
            last_detail=str(error),
        )
    )


def _report_descriptions(outcome: Outcome, described: Sequence[Described]) -> None:
    for accepted, done in zip(outcome.descriptions, described, strict=True):
        DESCRIPTIONS.labels("conflict" if done.conflicts else "stored").inc()
        facts = {"device": accepted.origin.device, "moved": done.moved}
        if done.conflicts:
            log.warning("description conflicts", extra=facts | {"conflicts": done.conflicts})
        else:
            log.info("description stored", extra=facts)
