"""The gateway process from start to stop: which tasks there are, and what they share.

What each of them does is told in its own module.
"""

import asyncio
import logging
from dataclasses import replace

from device_protocol.description import encode_description
from edge_agent.clock import Clock
from edge_agent.collection import collect
from edge_agent.credentials.keystore import Keystore
from edge_agent.delivery.counter import EpochCounter
from edge_agent.delivery.key_sets import KeySets
from edge_agent.delivery.sealer import Sealer
from edge_agent.delivery.uplink import Uplink
from edge_agent.description import describe
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.health.heartbeat import Health
from edge_agent.health.reports import Reports
from edge_agent.health.status import StateLock
from edge_agent.memory import share_one_heap
from edge_agent.remote_settings import ReconfiguredError, RemoteSettings
from edge_agent.sensors import Surroundings
from edge_agent.settings import AgentSettings
from edge_agent.sources import Sources
from edge_agent.spool.group_commit import open_spool
from runtime.cancellation import stoppable
from runtime.systemd import attend

log = logging.getLogger(__name__)


async def run(settings: AgentSettings) -> None:
    """Read sensors and deliver what they say until cancelled.

    Raises:
        AlreadyRunningError: another agent uses the state directory.
        OSError: the state directory cannot be used, or the metrics port is taken.
        PayloadError: the settings describe something that cannot be said.
    """
    share_one_heap()
    directory = settings.state_directory
    directory.mkdir(parents=True, exist_ok=True)
    with StateLock(directory):
        clock = Clock(directory / "clock")
        remote = RemoteSettings(settings, clock)
        while True:
            try:
                await stoppable(_run_under(remote.begin(), remote, clock), name="agent")
            except* ReconfiguredError as reason:
                log.info("agent starts again", extra={"reason": str(reason.exceptions[0])})


async def _run_under(settings: AgentSettings, remote: RemoteSettings, clock: Clock) -> None:
    """Run under these settings until others are to be tried, or come back.

    Raises:
        ExceptionGroup: of a ReconfiguredError when that is so.
        OSError, PayloadError: as `run`.
    """
    directory = settings.state_directory
    facts = _first_facts(settings, clock)
    health = Health(settings, clock, remote, facts)
    root = settings.trust.council_root_file
    key_sets = KeySets(
        directory,
        tenant=settings.tenant,
        council_root_file=root,
        clock=clock,
        suite_3=settings.uplink.suite_3,
    )
    sealer = _sealer(settings, clock)
    async with open_spool(
        directory / "spool.sqlite",
        settings.spool,
        clock=clock,
        gap_record=health.gap_record,
        hold_seconds=settings.clock.hold_seconds,
    ) as spool:
        keystore = Keystore(settings, clock)
        uplink = Uplink(
            settings,
            keystore=keystore,
            key_sets=key_sets,
            remote=remote,
            sealer=sealer,
            spool=spool,
            clock=clock,
            facts=facts,
        )
        reports = Reports(
            settings, facts=facts, spool=spool, key_sets=key_sets, remote=remote, clock=clock
        )
        log.info("agent started", extra={"device": settings.device})
        with reports.metrics():
            try:
                async with Sources() as sources, asyncio.TaskGroup() as tasks:
                    facts.unclaimed = sources.unclaimed
                    tasks.create_task(attend(spool.depth, facts.summary), name="systemd")
                    surroundings = _surroundings(settings, clock, sources)
                    tasks.create_task(spool.run(), name="spool")
                    tasks.create_task(uplink.run(), name="uplink")
                    renewing = _renew(settings, keystore, clock, facts, uplink)
                    tasks.create_task(renewing, name="renewal")
                    tasks.create_task(health.report(spool), name="health")
                    tasks.create_task(reports.run(), name="reports")
                    tasks.create_task(remote.run(), name="remote settings")
                    for sensor in settings.sensor:
                        collecting = collect(sensor, surroundings, spool, facts)
                        tasks.create_task(collecting, name=f"sensor {sensor.urn}")
            finally:
                sealer.close()
                keystore.close()
                log.info("agent stopped", extra={"device": settings.device})


def _surroundings(settings: AgentSettings, clock: Clock, sources: Sources) -> Surroundings:
    return Surroundings(
        clock,
        settings.state_directory,
        sources=sources,
        local_brokers=tuple(
            replace(broker, client_id=broker.client_id or f"kerbstone-{settings.device}")
            for broker in settings.local_broker
        ),
        listener=settings.listener,
    )


async def _renew(
    settings: AgentSettings, keystore: Keystore, clock: Clock, facts: Facts, uplink: Uplink
) -> None:
    """Keep the certificate young, where the settings say how."""
    if not settings.enrolment.url:
        return
    from edge_agent.credentials.renewal import Renewal  # noqa: PLC0415  # costs memory

    renewal = Renewal(
        settings,
        keystore=keystore,
        clock=clock,
        facts=facts,
        on_new_identity=uplink.certificate_replaced,
    )
    await renewal.run()


def _sealer(settings: AgentSettings, clock: Clock) -> Sealer:
    counter_file = settings.state_directory / "epoch.json"
    return Sealer(
        tenant=settings.tenant,
        device=settings.device,
        group=settings.group,
        counter=EpochCounter(counter_file, now=int(clock.unix())),
        clock=clock,
        settings=settings.uplink,
        description=encode_description(describe(settings)),
    )


def _first_facts(settings: AgentSettings, clock: Clock) -> Facts:
    facts = Facts(started_at=clock.unix())
    facts.adapters = {sensor.urn: AdapterFacts(sensor.adapter) for sensor in settings.sensor}
    return facts
