"""The ingest process: from the brokers into the database, and back to the gateways.

What happens to a message is `pipeline`'s business; here everything is opened and started, and
what may wait a second is written.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Final, NoReturn

from device_protocol import suites
from device_protocol.receiver import Policy
from ingest.admission.decision import Rules
from ingest.admission.verification import Verifier
from ingest.epoch_keys import EpochKeys
from ingest.pipeline import Pipeline
from ingest.receiving.inbox import Inbox
from ingest.receiving.intake import Intake
from ingest.receiving.nats_intake import NatsIntake
from ingest.receiving.sessions import Sessions, with_own_certificate
from ingest.recipient_keys import RecipientKeys
from ingest.registry import Registry
from ingest.second_chance import SecondChance
from ingest.settings import BrokerSettings, IngestSettings
from ingest.store import AnotherHistoryError, Store
from ingest.watch import Watch
from ingest.workers.claim import Claim
from ingest.workers.ownership import Ownership
from ingest.workers.shares import Part, own_file, suffix, whole
from runtime.metrics import serve_metrics
from storage import batches, quarantine
from storage.database import OUTAGES, Pool, open_pool

log = logging.getLogger(__name__)

_FLUSH_SECONDS: Final = 1.0
_RECEIVES: Final[Mapping[str, type[Intake]]] = {"mqtt": Intake, "jetstream": NatsIntake}


async def run(settings: IngestSettings) -> None:
    """Move readings from the brokers into the database until cancelled, as the only process.

    Raises:
        as `run_part`.
    """
    await run_part(whole(settings))


async def run_part(part: Part) -> None:
    """Move readings of the gateways that are ours into their database until cancelled.

    Begins anew, from what the database holds, when a replica takes the database's place.

    Raises:
        OSError, RecipientKeyError, ServiceKeyError: a key file is not what it should be.
        ClaimError: another process runs in our place, or did.
    """
    while True:
        try:
            await _run_on_one_history(part)
        except* AnotherHistoryError as group:
            log.warning(
                "another database server took over, all state is read anew",
                extra={"history": str(group.exceptions[0])},
            )


async def _run_on_one_history(part: Part) -> None:
    settings, ownership = part.settings, part.ownership
    claim = Claim(scope=part.scope, worker=ownership.worker, workers=ownership.workers)
    dsn = settings.database
    recipients = RecipientKeys(settings.recipient_key_files, settings.recipient_key_directory)
    rules = read_rules(settings, recipients)
    keys = EpochKeys.from_file(settings.service_key_file)
    inbox = Inbox(settings.inbox_max_messages, settings.inbox_max_bytes)
    async with AsyncExitStack() as opened:
        metrics = serve_metrics(settings.metrics)
        if metrics is not None:
            opened.callback(metrics.close)
        pool = await opened.enter_async_context(
            open_pool(dsn, max_size=3, application_name="kerbstone ingest")
        )
        store = await opened.enter_async_context(Store(dsn, keys, claim))
        verifier = opened.enter_context(Verifier())
        registry = Registry(dsn, pool, ownership)
        await registry.refresh_until_done()
        intakes = {
            broker.name: _intake(broker, inbox, registry, ownership) for broker in settings.broker
        }
        pipeline = Pipeline(
            inbox=inbox,
            intakes=intakes,
            registry=registry,
            store=store,
            state=await store.load(
                rules.policy.window, registry.gateway_ids if ownership.is_part else None
            ),
            rules=rules,
            verifier=verifier,
            batch_max_messages=settings.batch_max_messages,
            batch_max_wait_seconds=settings.batch_max_wait_seconds,
            ask_for_recipients=recipients.ask,
        )

        sessions = Sessions(part, pool)

        def registry_changed() -> None:
            recipients.ask()
            for intake in intakes.values():
                intake.greet()

        second_chance = SecondChance(
            dsn,
            inbox=inbox,
            registry=registry,
            rules=rules,
            connection=settings.connection_of,
            owns=registry.owns_device,
            note=pipeline.newest.note,
        )
        watch = Watch(
            inbox,
            pipeline.progress,
            store.failures,
            {name: partial(getattr, intake, "outgoing") for name, intake in intakes.items()},
        )

        async with asyncio.TaskGroup() as tasks:
            for broker in settings.broker:
                tasks.create_task(
                    _receive(intakes[broker.name], broker, sessions),
                    name=f"receive {broker.name}",
                )
            if ownership.worker == 0:
                tasks.create_task(sessions.retire(), name="retire sessions")
            tasks.create_task(pipeline.admit(), name="admit")
            tasks.create_task(pipeline.store(), name="store and acknowledge")
            tasks.create_task(registry.follow(registry_changed), name="follow registry")
            tasks.create_task(recipients.follow(pipeline.use_recipients), name="recipient keys")
            tasks.create_task(flush(pool, pipeline), name="flush")
            tasks.create_task(second_chance.follow(), name="second chances")
            tasks.create_task(watch.beat(pool, ownership), name="heartbeat")


def _intake(
    broker: BrokerSettings, inbox: Inbox, registry: Registry, ownership: Ownership
) -> Intake:
    ending = suffix(broker, ownership)
    own = with_own_certificate(broker, ending)
    receives = _RECEIVES[broker.receive]
    if ending and own is broker and broker.mqtt_version == "5":
        log.warning(
            "no certificate of this process's own: where the broker takes the client id from it, as"
            " Mosquitto does here, processes end each other's sessions; make them with"
            " 'kerbstone network workers'",
            extra={
                "connection": broker.name,
                "wanted": str(own_file(broker.certificate_file, ending)),
            },
        )
    if receives is Intake and ownership.is_part:
        return Intake(own, inbox, registry.retained, registry)
    return receives(own, inbox, registry.retained)


async def _receive(intake: Intake, broker: BrokerSettings, sessions: Sessions) -> NoReturn:
    await sessions.take_up(broker)
    await intake.run()


async def flush(pool: Pool, pipeline: Pipeline) -> NoReturn:
    """Write, once a second, what gathered: latest values, last words, counts of refusals.

    Whoever shows live values is notified in the same transaction. What could not be written is
    kept; counts may be doubled when a COMMIT goes unanswered.
    """
    reconciled = False
    while True:
        newest, counts = pipeline.newest.take(), pipeline.counts.take()
        heard, pipeline.last_heard = pipeline.last_heard, {}
        try:
            async with pool.connection() as conn:
                if not reconciled:
                    await batches.reconcile_latest(conn)
                await batches.upsert_latest(conn, newest)
                await batches.update_seen(conn, heard)
                await quarantine.add_refusals(conn, counts)
                if newest or not reconciled:
                    await batches.notify_latest(conn)
            reconciled = True
        except OUTAGES as error:
            log.warning("latest values wait for the database", extra={"error": str(error).strip()})
            pipeline.newest.give_back(newest)
            pipeline.counts.give_back(counts)
            pipeline.last_heard = heard | pipeline.last_heard
        await asyncio.sleep(_FLUSH_SECONDS)


def read_rules(settings: IngestSettings, recipients: RecipientKeys) -> Rules:
    """Return what admission enforces; reads the recipient keys.

    Raises:
        OSError, RecipientKeyError: a key file cannot be read, or holds no such key.
    """
    return Rules(
        recipients=recipients.read(),
        policy=Policy(
            signature_algorithms=suites.signature_algorithms(settings.suites),
            delivery_algorithms=suites.delivery_algorithms(settings.suites),
        ),
        earliest=int(datetime(settings.earliest_year, 1, 1, tzinfo=UTC).timestamp()),
    )
