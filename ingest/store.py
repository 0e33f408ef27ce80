"""Writing batches: one transaction each, tried until it holds, and the state read back at a start.

A transaction whose COMMIT was sent but not answered is looked up by its id before it is tried
again, so that a lost connection neither loses a batch nor stores one twice. A server that writes
another history, because it was promoted, knows nothing of that id, nor perhaps of what was stored
last: then nothing in memory holds, see AnotherHistoryError.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from device_protocol.receiver import MAX_SEQ, OpenEpoch, ReplayWindow
from ingest.admission.decision import Rules
from ingest.admission.outcome import AcceptedAnnouncement, AcceptedDescription, Outcome
from ingest.admission.readings import Columns, Contradiction
from ingest.admission.refusals import contradicting_reading
from ingest.admission.retry import REASON, readmit
from ingest.admission.snapshot import DeviceKey, Gateway
from ingest.admission.state import Channel, ChannelKey, ReceiverState, Tally, is_settled
from ingest.epoch_keys import EpochKeys
from ingest.metrics import DATABASE_UP, READINGS, STORED_BATCHES, WRITE_SECONDS
from ingest.watch import DatabaseFailures
from ingest.workers.claim import Claim
from runtime.backoff import FullJitter
from storage import batches, descriptions, epochs, quarantine
from storage.database import OUTAGES, Connection, connect
from storage.descriptions import Described, Describer
from storage.optimism import Optimism

log = logging.getLogger(__name__)

APPLICATION_NAME: Final = "kerbstone ingest store"
_BACKOFF_SECONDS: Final = (0.05, 5.0)
_SETTLE_SECONDS: Final = 0.1
_LARGEST_VERSION: Final = (1 << 63) - 1  # of what the database holds


@dataclass(frozen=True, slots=True)
class Stored:
    """What only the database could tell about a batch.

    refused_epochs: announcements whose epoch id or counter was used before. contradictions:
    readings in whose place another result is stored. described: for each description in order.
    retried: observations that came out of quarantine.
    """

    refused_epochs: frozenset[bytes] = frozenset()
    contradictions: Sequence[Contradiction] = ()
    described: Sequence[Described] = ()
    retried: Columns | None = None


class AnotherHistoryError(Exception):
    """Another server took over, and may lack what the one before had: all state is to be read anew.

    Whatever was not acknowledged by then comes again from the gateways.
    """


class Store:
    """Writes outcomes over one connection of its own, made again whenever it is lost."""

    def __init__(self, dsn: str, keys: EpochKeys, claim: Claim | None = None) -> None:
        self._dsn = dsn
        self._keys = keys
        self._claim = claim
        self._conn: Connection | None = None
        self._timeline = ""
        self._unsettled: tuple[int, Stored] | None = None
        self._failing = False
        self.failures = DatabaseFailures()
        self._optimism = Optimism()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._conn is not None:
            await self._conn.close()
            self._conn = None

    async def write(self, outcome: Outcome) -> Stored:
        """Return once `outcome` is committed, however long the database is away.

        Raises:
            AnotherHistoryError: the database is no longer the one whose state was loaded.
        """
        if outcome.nothing_to_store:
            return Stored()
        backoff = FullJitter(*_BACKOFF_SECONDS)
        self._unsettled = None
        while True:
            try:
                conn = await self._connection()
                stored = await self._held_after_all(conn)
                if stored is None:
                    stored = await self._transaction(conn, outcome)
            except OUTAGES as error:
                await self._lost(error)
                await asyncio.sleep(backoff.next())
            else:
                self._answered()
                return stored

    async def retry_held(self, device: DeviceKey, gateway: Gateway, rules: Rules) -> Stored:
        """Store the quarantined readings of a gateway whose datastreams are known by now."""
        backoff = FullJitter(*_BACKOFF_SECONDS)
        while True:
            try:
                conn = await self._connection()
                stored = await _retry_held(conn, device, gateway, rules)
            except OUTAGES as error:
                await self._lost(error)
                await asyncio.sleep(backoff.next())
            else:
                self._answered()
                return stored

    async def load(self, window: int, gateway_ids: Sequence[int] | None = None) -> ReceiverState:
        """Return the replay state as stored, once the database answers; of these gateways, or all.

        Raises:
            ServiceKeyError: epoch keys are sealed under another service key.
            ClaimError: another process runs in our place.
            AnotherHistoryError: as `write`.
        """
        backoff = FullJitter(*_BACKOFF_SECONDS)
        while True:
            try:
                conn = await self._connection()
                state = await load_state(conn, self._keys, window, int(time.time()), gateway_ids)
            except OUTAGES as error:
                await self._lost(error)
                await asyncio.sleep(backoff.next())
            else:
                self._answered()
                return state

    async def _connection(self) -> Connection:
        if self._conn is None:
            conn = await connect(self._dsn, autocommit=True, application_name=APPLICATION_NAME)
            try:
                if self._claim is not None:
                    await self._claim.take(conn)
                await batches.prepare(conn)
                self._compare(await batches.timeline(conn))
            except BaseException:
                await conn.close()
                raise
            self._conn = conn
        return self._conn

    def _compare(self, timeline: str) -> None:
        if self._timeline and timeline != self._timeline:
            raise AnotherHistoryError(f"timeline {self._timeline} was followed by {timeline}")
        self._timeline = timeline

    async def _lost(self, error: BaseException) -> None:
        DATABASE_UP.set(0)
        self.failures.failed(error)
        if not self._failing:
            log.warning("database away, batch waits", extra={"error": str(error).strip()})
        self._failing = True
        await self._close()

    def _answered(self) -> None:
        DATABASE_UP.set(1)
        self.failures.answered()
        if self._failing:
            log.info("database back")
        self._failing = False

    async def _held_after_all(self, conn: Connection) -> Stored | None:
        """Return what was stored if the transaction whose COMMIT went unanswered holds."""
        if self._unsettled is None:
            return None
        transaction, stored = self._unsettled
        held = await batches.is_committed(conn, transaction)
        while held is None:  # the server has not noticed yet that we are gone
            await asyncio.sleep(_SETTLE_SECONDS)
            held = await batches.is_committed(conn, transaction)
        return stored if held else None

    async def _transaction(self, conn: Connection, outcome: Outcome) -> Stored:
        await batches.make_room(conn, outcome.columns.observations)
        with WRITE_SECONDS.time():
            async with conn.transaction():
                transaction = await batches.begun(conn)
                stored = await self._write(conn, outcome, followed=transaction.followed)
                self._unsettled = (transaction.id, stored)
        if len(outcome.columns.observations):
            STORED_BATCHES.labels(self._optimism.way).inc()
        return stored

    async def _write(self, conn: Connection, outcome: Outcome, *, followed: bool) -> Stored:
        refused = await epochs.insert_epochs(
            conn, [self._new_epoch(accepted) for accepted in outcome.announcements]
        )
        described = [await _describe(conn, accepted) for accepted in outcome.descriptions]
        contradictions = await _store_columns(
            conn, outcome.columns, self._optimism, followed=followed
        )
        await batches.insert_signed_batches(conn, outcome.signed)
        await epochs.advance_epochs(conn, outcome.progress)
        await quarantine.insert_quarantine(
            conn,
            [*outcome.quarantined, *(contradicting_reading(found) for found in contradictions)],
        )
        await quarantine.settle(conn, outcome.verdicts)
        return Stored(refused, contradictions, described)

    def _new_epoch(self, accepted: AcceptedAnnouncement) -> epochs.NewEpoch:
        epoch = accepted.announcement.epoch
        _, _, group = accepted.channel
        return epochs.NewEpoch(
            epoch_id=epoch.epoch_id,
            gateway_id=accepted.gateway_id,
            group=group,
            counter=epoch.counter,
            announcement_sha256=accepted.announcement.sha256,
            content_algorithm=epoch.content_algorithm,
            sealed_key=self._keys.seal(
                accepted.gateway_id,
                epoch.epoch_id,
                key=epoch.key,
                base_iv=epoch.base_iv,
                clock=accepted.announcement.clock,
            ),
            received_at=accepted.delivery.received_at,
            closes_at=epoch.closes_at,
            key_set_version=_storable_version(accepted.announcement.key_set_version),
            previous=_storable(accepted.announcement.previous),
        )


def _storable(previous: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return how the epoch before ended, unless no epoch can have ended so."""
    return previous if previous is not None and previous[1] <= MAX_SEQ else None


def _storable_version(version: int) -> int | None:
    """Return the key set version a gateway names, unless no set can have it."""
    return version if version <= _LARGEST_VERSION else None


async def _retry_held(
    conn: Connection, device: DeviceKey, gateway: Gateway, rules: Rules
) -> Stored:
    held = await quarantine.held_readings(conn, device[1], REASON, gateway.streams)
    retried = readmit(held, device, gateway, rules)
    if not retried.ids:
        return Stored()
    await batches.make_room(conn, retried.columns.observations)
    async with conn.transaction():
        taken = await _store_columns(conn, retried.columns)
        contradictions = [*retried.contradictions, *taken]
        await quarantine.mark_retried(conn, retried.ids)
        await quarantine.insert_quarantine(
            conn, [contradicting_reading(found) for found in contradictions]
        )
    kept = len(retried.columns.observations) - len(taken)
    READINGS.labels("retried", "").inc(kept)
    log.info("quarantined readings stored", extra={"device": device[1], "readings": kept})
    return Stored(contradictions=contradictions, retried=retried.columns)


async def _store_columns(
    conn: Connection,
    columns: Columns,
    optimism: Optimism | None = None,
    *,
    followed: bool | None = None,
) -> list[Contradiction]:
    """Store observations and return those whose place is taken."""
    conflicts = await batches.store_observations(
        conn, columns.observations, list(columns.extras.values()), optimism, followed=followed
    )
    return [
        columns.contradiction(conflict.datastream_id, conflict.time, conflict.stored)
        for conflict in conflicts
    ]


async def _describe(conn: Connection, accepted: AcceptedDescription) -> Described:
    origin = accepted.origin
    describer = Describer(
        gateway_id=origin.gateway.id,
        council_id=origin.gateway.council_id,
        described_at=origin.received_at,
    )
    return await descriptions.store_description(
        conn, describer, accepted.description, accepted.sha256
    )


async def load_state(
    conn: Connection,
    keys: EpochKeys,
    window: int,
    now: int,
    gateway_ids: Sequence[int] | None = None,
) -> ReceiverState:
    """Return counters, open epochs and replay windows as they are in the database.

    gateway_ids: of these gateways alone.

    Raises:
        ServiceKeyError: epoch keys are sealed under another service key.
    """
    channels: defaultdict[ChannelKey, Channel] = defaultdict(Channel)
    async with conn.transaction():
        for newest in await epochs.newest_announcements(conn, gateway_ids):
            channel = channels[newest.tenant, newest.device, newest.group]
            channel.highest_counter = newest.counter
            channel.announcement_sha256 = newest.announcement_sha256
        recent: defaultdict[bytes, list[tuple[int, bytes]]] = defaultdict(list)
        async for epoch_id, seq, message_hash in epochs.recent_messages(
            conn, now, window, gateway_ids
        ):
            recent[epoch_id].append((seq, message_hash))
        for row in await epochs.open_epochs(conn, now, gateway_ids):
            _restore(channels[row.tenant, row.device, row.group], row, recent, keys, window)
    return ReceiverState(channels)


def _restore(
    channel: Channel,
    row: epochs.OpenEpochRow,
    recent: Mapping[bytes, Sequence[tuple[int, bytes]]],
    keys: EpochKeys,
    window: int,
) -> None:
    key, base_iv, clock = keys.open(row.gateway_id, row.epoch_id, row.sealed_key)
    settled = is_settled(row.highest_seq, row.contiguous_seq, row.final_seq)
    channel.begin(
        OpenEpoch(
            epoch_id=row.epoch_id,
            counter=row.counter,
            content_algorithm=row.content_algorithm,
            key=key,
            base_iv=base_iv,
            closes_at=row.closes_at,
        ),
        Tally(clock, row.received_messages, row.final_seq),
        ReplayWindow.restore(
            row.highest_seq,
            row.contiguous_seq,
            recent[row.epoch_id],
            size=1 if settled else window,
        ),
    )
