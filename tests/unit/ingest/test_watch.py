"""Ages, depths and reasons while a fault lasts."""

import time

import pytest
from prometheus_client import REGISTRY
from psycopg import errors

from ingest.admission.outcome import Outcome
from ingest.admission.readings import ReadingTable
from ingest.admission.state import Parking
from ingest.receiving.delivery import Delivery
from ingest.receiving.inbox import Inbox
from ingest.watch import DatabaseFailures, Progress, Watch
from storage.batches import SignedBatch


def outcome(received_at: int | None) -> Outcome:
    signed = SignedBatch(
        epoch_id=b"",
        seq=1,
        message_hash=b"",
        gateway_id=1,
        signer_kid=b"",
        content_format=112,
        signed=b"",
        readings=0,
        first_time=None,
        last_time=None,
        received_at=received_at or 0,
    )
    return Outcome(
        announcements=[],
        descriptions=[],
        signed=[] if received_at is None else [signed],
        columns=ReadingTable().columns()[0],
        progress=[],
        quarantined=[],
        refusals=[],
        reading_refusals=[],
        acknowledgements=[],
        deferred=[],
        accepted=0,
        parked=0,
        channels={},
        parking=Parking(),
        kept={},
        last_heard={},
    )


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_the_oldest_message_is_the_one_in_the_oldest_batch() -> None:
    inbox, progress = Inbox(10, 1 << 20), Progress()
    watch = Watch(inbox, progress, DatabaseFailures(), {"city": lambda: 4})
    assert gauge("ingest_oldest_message_age_seconds") == 0
    now = int(time.time())
    inbox.put(Delivery("city", "t", b"abc", retained=False, received_at=now - 30))
    assert gauge("ingest_oldest_message_age_seconds") == pytest.approx(30, abs=2)
    progress.begun(outcome(received_at=now - 60), now)
    progress.begun(outcome(received_at=None), now)
    assert watch.oldest_age() == pytest.approx(60, abs=2)
    assert gauge("ingest_batches_under_way") == 2
    assert gauge("ingest_inbox_bytes") == 3
    assert gauge("ingest_outgoing_messages", connection="city") == 4
    progress.stored()
    assert watch.oldest_age() == pytest.approx(30, abs=2)
    committed = gauge("ingest_last_commit_timestamp_seconds")
    assert committed == pytest.approx(time.time(), abs=5)
    assert watch.facts()["inbox_messages"] == 1


def test_a_full_inbox_shows() -> None:
    inbox = Inbox(10, 1 << 20)
    watch = Watch(inbox, Progress(), DatabaseFailures(), {})
    assert gauge("ingest_inbox_full") == 0
    for _ in range(10):
        inbox.put(Delivery("city", "t", b"", retained=False, received_at=1))
    assert gauge("ingest_inbox_full") == 1
    assert watch.facts()["paused"] is True


def test_the_reason_of_a_failure_shows_until_an_attempt_succeeds() -> None:
    def failing(reason: str) -> float | None:
        return gauge("ingest_database_failing", reason=reason)

    failures = DatabaseFailures()
    assert (failing("away"), failing("disk_full")) == (0, 0)
    failures.failed(ConnectionRefusedError())
    failures.failed(errors.DiskFull())
    assert (failing("away"), failing("disk_full"), failures.reason) == (0, 1, "disk_full")
    failures.answered()
    assert (failing("disk_full"), failures.reason) == (0, "")
