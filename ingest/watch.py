"""What shows how ingest fares while a fault lasts: ages and depths, computed when asked for.

Counting is done where things happen (`metrics`); here is what only time changes, for Prometheus
and for the row that the status page reads.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from ingest.admission.outcome import Outcome
from ingest.metrics import (
    BATCHES_UNDER_WAY,
    BROKER_UP,
    DATABASE_FAILING,
    DATABASE_FAILURES,
    INBOX_BYTES,
    INBOX_PAUSED,
    LAST_COMMIT,
    OLDEST_AGE,
    OUTGOING,
    PAUSES,
    WORKER,
)
from ingest.receiving.inbox import Inbox
from ingest.workers.ownership import Ownership
from storage.database import OUTAGES, Pool
from storage.failures import FAILURES, failure_of
from storage.heartbeat import BEAT_SECONDS, beat

log = logging.getLogger(__name__)

PROCESS: Final = "ingest"


class Progress:
    """Batches between admission and COMMIT, in their order."""

    def __init__(self) -> None:
        self._under_way: deque[int] = deque()
        self.last_commit: float | None = None
        LAST_COMMIT.set_to_current_time()

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def oldest(self) -> int | None:
        """When the first message of the oldest batch was received, Unix seconds."""
        return self._under_way[0] if self._under_way else None

    def begun(self, outcome: Outcome, now: int) -> None:
        """Note a batch that has been admitted."""
        received = [signed.received_at for signed in outcome.signed[:1]]
        received += [accepted.delivery.received_at for accepted in outcome.announcements[:1]]
        self._under_way.append(min(received, default=now))

    def stored(self) -> None:
        """Note that the oldest batch holds."""
        self._under_way.popleft()
        self.last_commit = time.time()
        LAST_COMMIT.set(self.last_commit)


class DatabaseFailures:
    """Says for what reason the database fails the store, for as long as it does."""

    def __init__(self) -> None:
        self.reason = ""
        for reason in FAILURES:  # so that each can be seen to be 0
            DATABASE_FAILURES.labels(reason)
            DATABASE_FAILING.labels(reason).set(0)

    def failed(self, error: BaseException) -> None:
        """Note an attempt that failed."""
        reason = failure_of(error)
        DATABASE_FAILURES.labels(reason).inc()
        if reason != self.reason:
            self.answered()
            self.reason = reason
            DATABASE_FAILING.labels(reason).set(1)

    def answered(self) -> None:
        """Note that an attempt succeeded."""
        if self.reason:
            DATABASE_FAILING.labels(self.reason).set(0)
            self.reason = ""


class Watch:
    """Tells of one running ingest; made when it starts, and computing when it is asked.

    outgoing: by connection, how much waits for the broker.
    """

    def __init__(
        self,
        inbox: Inbox,
        progress: Progress,
        failures: DatabaseFailures,
        outgoing: Mapping[str, Callable[[], int]],
    ) -> None:
        self._inbox = inbox
        self._progress = progress
        self._failures = failures
        INBOX_BYTES.set_function(lambda: inbox.size_bytes)
        INBOX_PAUSED.set_function(lambda: float(inbox.full.is_set()))
        OLDEST_AGE.set_function(self.oldest_age)
        BATCHES_UNDER_WAY.set_function(lambda: len(progress))
        for name, waiting in outgoing.items():
            PAUSES.labels(name)  # so that it can be seen to be 0
            OUTGOING.labels(name).set_function(waiting)

    def oldest_age(self) -> float:
        """Return for how many seconds the oldest message has waited to be stored; 0 if none."""
        received = [
            each for each in (self._progress.oldest, self._inbox.oldest) if each is not None
        ]
        return max(0.0, time.time() - min(received)) if received else 0.0

    def facts(self) -> dict[str, object]:
        """Return what the status page is to know."""
        return {
            "inbox_messages": len(self._inbox),
            "inbox_bytes": self._inbox.size_bytes,
            "paused": self._inbox.full.is_set(),
            "oldest_seconds": round(self.oldest_age(), 1),
            "last_commit": self._progress.last_commit,
            "database": self._failures.reason,
            "connections": connections(),
        }

    async def beat(self, pool: Pool, ownership: Ownership) -> NoReturn:
        """Leave word every few seconds, as far as the database takes it; `store` tells if not."""
        share, worker, workers = ownership.share, ownership.worker, ownership.workers
        WORKER.labels(share, str(worker)).set(1)
        while True:
            try:
                async with pool.connection() as conn:
                    facts = self.facts()
                    await beat(conn, PROCESS, facts, share=share, worker=worker, workers=workers)
            except OUTAGES as error:
                log.debug("no word left", extra={"error": str(error).strip()})
            await asyncio.sleep(BEAT_SECONDS)


def connections() -> dict[str, bool]:
    """Return for each broker connection whether it is up."""
    return {
        sample.labels["connection"]: sample.value == 1
        for family in BROKER_UP.collect()
        for sample in family.samples
    }
