"""Two batches under way: while the database writes one, the next is admitted.

Their order is that of the messages. The state that admission works on includes the batch being
written; that is sound because a batch is written until it holds, and because nobody hears of it
before. Only an announcement or a description makes the next batch wait for COMMIT.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Final, NoReturn

from device_protocol.errors import NotRecipientError
from device_protocol.keys import RecipientKey
from ingest.admission.decision import Admission, Rules
from ingest.admission.outcome import Outcome
from ingest.admission.snapshot import DeviceKey
from ingest.admission.state import ReceiverState
from ingest.admission.verification import Verifier
from ingest.latest import NewestObservations
from ingest.metrics import INBOX_MESSAGES, MISSING_MESSAGES
from ingest.receiving.acknowledgements import send_acknowledgements
from ingest.receiving.delivery import Delivery
from ingest.receiving.inbox import Inbox
from ingest.receiving.intake import Intake
from ingest.registry import Registry
from ingest.report import RefusalCounts, report, report_contradictions
from ingest.store import Store, Stored
from ingest.watch import Progress

_SLICE: Final = 64  # messages whose signatures are checked together
_TURN_SECONDS: Final = 0.002  # so long others wait: the database's answers, the brokers' messages
_EXPIRY_SECONDS: Final = 1.0
_HOUSEKEEPING_SECONDS: Final = 30
_MOST_NOT_FOR_US: Final = 1000


class Pipeline:
    """Admits, stores, and lets acknowledgements go.

    newest, counts, last_heard: what gathers for the next flush. progress: what is under way.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        intakes: Mapping[str, Intake],
        registry: Registry,
        store: Store,
        state: ReceiverState,
        rules: Rules,
        verifier: Verifier,
        batch_max_messages: int,
        batch_max_wait_seconds: float,
        ask_for_recipients: Callable[[], None],
    ) -> None:
        self._inbox = inbox
        self._intakes = intakes
        self._registry = registry
        self._store = store
        self._state = state
        self._rules = rules
        self._verifier = verifier
        self._max_messages = batch_max_messages
        self._max_wait_seconds = batch_max_wait_seconds
        self._ask_for_recipients = ask_for_recipients
        self._not_for_us: dict[str, Delivery] = {}
        self._handover: asyncio.Queue[tuple[Outcome, int]] = asyncio.Queue(1)  # full: we wait
        self._kept_house_at = 0
        self._turn_began = monotonic()
        self.progress = Progress()
        self.newest = NewestObservations()
        self.counts = RefusalCounts()
        self.last_heard: dict[int, int] = {}

    async def admit(self) -> NoReturn:
        """Turn deliveries into outcomes, batch by batch."""
        deferred: Sequence[Delivery] = ()
        while True:
            outcome = await self._next_batch(deferred)
            self._state.apply(outcome.channels, outcome.parking, outcome.kept)
            self.progress.begun(outcome, int(time.time()))
            await self._handover.put((outcome, self._inbox.taken))
            deferred = outcome.deferred
            if outcome.ends_batch:
                await self._handover.join()

    async def store(self) -> NoReturn:
        """Write outcomes in their order; after COMMIT, and only then, answer the gateways."""
        while True:
            outcome, position = await self._handover.get()
            stored = await self._store.write(outcome)
            self.progress.stored()
            await self._settle(outcome, stored)
            due = [
                answer
                for answer in outcome.acknowledgements
                if answer.epoch_id not in stored.refused_epochs
            ]
            send_acknowledgements(due, self._intakes)
            for intake in self._intakes.values():
                intake.settle(position)
            self._handover.task_done()

    def use_recipients(self, recipients: Mapping[bytes, RecipientKey]) -> None:
        """Open with these keys from now on, also what came too early for the new ones."""
        self._rules = replace(self._rules, recipients=recipients)
        waiting, self._not_for_us = self._not_for_us, {}
        for delivery in waiting.values():
            self._inbox.put(delivery)

    async def _next_batch(self, deferred: Sequence[Delivery]) -> Outcome:
        """Admit until the batch is full, or its first message has waited long enough."""
        if not deferred:
            await self._inbox.arrived(_EXPIRY_SECONDS if self._state.parking else None)
        now = int(time.time())
        self._keep_house(now)
        admission = Admission(
            snapshot=self._registry.snapshot, state=self._state, rules=self._rules, now=now
        )
        for start in range(0, len(deferred), _SLICE):
            await self._admit_slice(admission, deferred[start : start + _SLICE])
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._max_wait_seconds
        while admission.taken < self._max_messages:
            deliveries = self._inbox.take(min(_SLICE, self._max_messages - admission.taken))
            INBOX_MESSAGES.set(len(self._inbox))
            if deliveries:
                await self._admit_slice(admission, deliveries)
                continue
            left = deadline - clock()
            if left <= 0:
                break
            await self._inbox.arrived(left)
        return admission.outcome()

    async def _admit_slice(self, admission: Admission, deliveries: Sequence[Delivery]) -> None:
        """Admit these in their order; others get their turn in between."""
        decrypted = []
        for delivery in deliveries:
            decrypted.append(admission.decrypt(delivery))
            await self._let_others()
        unverified = [found for found in decrypted if found is not None]
        holds = iter(self._verifier.holds(unverified))
        for delivery, found in zip(deliveries, decrypted, strict=True):
            admission.take(delivery, found if found is not None and next(holds) else None)
            await self._let_others()

    async def _let_others(self) -> None:
        """Give the other tasks their turn, if ours has been long enough."""
        if monotonic() - self._turn_began >= _TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn_began = monotonic()

    async def _settle(self, outcome: Outcome, stored: Stored) -> None:
        """Bring memory up to what the database has decided."""
        for accepted in outcome.announcements:
            epoch_id = accepted.announcement.epoch.epoch_id
            if epoch_id in stored.refused_epochs:
                self._state.withdraw(
                    accepted.channel, epoch_id, accepted.counter_before, accepted.sha256_before
                )
        report(outcome, stored, self.counts)
        self._keep_what_is_not_for_us(outcome)
        self.newest.note(outcome.columns, stored.contradictions)
        for described in outcome.descriptions:
            await self._learn((described.origin.tenant, described.origin.device))
        self.last_heard.update(outcome.last_heard)

    def _keep_what_is_not_for_us(self, outcome: Outcome) -> None:
        """Keep announcements that no key of ours opens, in case a new one has just come.

        Of each topic the newest, unless a later one was accepted.
        """
        for accepted in outcome.announcements:
            self._not_for_us.pop(accepted.delivery.topic, None)
        for refusal in outcome.refusals:
            if refusal.code == NotRecipientError.code:
                self._not_for_us.pop(refusal.delivery.topic, None)
                self._not_for_us[refusal.delivery.topic] = refusal.delivery
                self._ask_for_recipients()
        while len(self._not_for_us) > _MOST_NOT_FOR_US:
            del self._not_for_us[next(iter(self._not_for_us))]

    async def _learn(self, device: DeviceKey) -> None:
        """Take in what a gateway has described, also for its readings that came too early."""
        await self._registry.refresh_until_done(device[1])
        gateway = self._registry.snapshot.gateways.get(device)
        if gateway is not None:
            stored = await self._store.retry_held(device, gateway, self._rules)
            report_contradictions(stored, self.counts)
            if stored.retried is not None:
                self.newest.note(stored.retried, stored.contradictions)

    def _keep_house(self, now: int) -> None:
        if now - self._kept_house_at >= _HOUSEKEEPING_SECONDS:
            self._kept_house_at = now
            self._state.forget_closed(now)
            for tenant, missing in self._state.missing().items():
                MISSING_MESSAGES.labels(tenant).set(missing)
