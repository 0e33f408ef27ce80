"""Running one adapter: its readings go into the spool, its failures are reported and retried.

An adapter that fails never stops the others. What it measures is its own business; what becomes
of its readings on the way is `edge_agent.processing`'s.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from device_protocol.errors import PayloadError
from edge_agent.clock import Clock
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.processing.pipeline import Pipeline, state_name
from edge_agent.sensors import ADAPTERS, AdapterError, Harvest, SensorSettings, Surroundings
from edge_agent.sources import SourceError
from edge_agent.spool.group_commit import GroupCommit
from edge_agent.spool.store import Priority
from runtime.backoff import FullJitter

if TYPE_CHECKING:  # imported where a sensor is aggregated
    from edge_agent.intervals import OpenIntervals

log = logging.getLogger(__name__)

FAILURES: Final = (AdapterError, SourceError, PayloadError, OSError)
_FIRST_WAIT_SECONDS: Final = 1.0
_HOLDING_SECONDS: Final = 60.0  # longer than most take to find that nobody answers
_LONGEST_WAIT_SECONDS: Final = 60.0  # whoever has just mended it stands there and waits
_PRIORITIES: Final = {
    "low": Priority.LOW,
    "normal": Priority.NORMAL,
    "alarm": Priority.ALARM,
}


async def collect(
    sensor: SensorSettings, surroundings: Surroundings, spool: GroupCommit, facts: Facts
) -> None:
    """Put what is to be told of the sensor's readings into the spool until cancelled."""
    pipeline = Pipeline(
        sensor,
        ADAPTERS[sensor.adapter].datastreams(sensor),
        surroundings.clock,
        state_directory=surroundings.state_directory,
        tally=facts.adapters[sensor.urn],
    )
    way = _Way(sensor, pipeline, spool, facts)
    own = facts.adapters[sensor.urn]
    if pipeline.aggregation is None:
        await harvest(sensor, surroundings, way.take, own)
        return
    from edge_agent.intervals import OpenIntervals  # noqa: PLC0415  # costs memory

    way.intervals = OpenIntervals(
        pipeline,
        pipeline.aggregation,
        spool,
        priority=way.priority,
        path=surroundings.state_directory / state_name("intervals", sensor.urn),
        clock=surroundings.clock,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(way.intervals.run(), name=f"intervals {sensor.urn}")
        await harvest(sensor, surroundings, way.take, own)


async def harvest(
    sensor: SensorSettings,
    surroundings: Surroundings,
    take: Callable[[Harvest], Awaitable[None]],
    own: AdapterFacts,
) -> None:
    """Give `take` everything the sensor yields; start its adapter again whenever that fails.

    own: where it is noted how the adapter fares.
    """
    backoff = FullJitter(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
    while True:
        trust = asyncio.get_running_loop().call_later(
            _HOLDING_SECONDS, _trust, own, surroundings.clock
        )
        try:
            async with aclosing(ADAPTERS[sensor.adapter].harvests(sensor, surroundings)) as found:
                async for brought in found:
                    await take(brought)
                    if not own.running:
                        own.running, own.holds = True, False
                        own.since = surroundings.clock.unix()
                        log.info("sensor readable", extra={"sensor": sensor.urn})
                        backoff.reset()
            raise AdapterError("the adapter has ended")
        except FAILURES as failure:
            if own.running or own.holds or not own.failures:
                own.since = surroundings.clock.unix()
            is_new = own.running or own.holds or own.last_error != str(failure)
            own.running, own.holds, own.last_error = False, False, str(failure)
            own.failures += 1
            if is_new:  # else a sensor that is away for weeks would fill the log
                log.warning("sensor failed", extra={"sensor": sensor.urn, "error": str(failure)})
        finally:
            trust.cancel()
        await asyncio.sleep(backoff.next())


def _trust(own: AdapterFacts, clock: Clock) -> None:
    """Take an adapter that has failed before for mended, though its sensor is silent."""
    if own.failures and not own.running:
        own.holds, own.since = True, clock.unix()


class _Way:
    """The way of one sensor's harvests into the spool. intervals: if they are aggregated."""

    def __init__(
        self, sensor: SensorSettings, pipeline: Pipeline, spool: GroupCommit, facts: Facts
    ) -> None:
        self.intervals: OpenIntervals | None = None
        self.priority = _PRIORITIES[sensor.priority]
        self._pipeline = pipeline
        self._spool = spool
        self._facts = facts
        self._own = facts.adapters[sensor.urn]

    async def take(self, harvest: Harvest) -> None:
        """Spool what is to be told, and see that whoever brought it is told in turn.

        Who waits to be told keeps it, and brings it again: from them nothing is taken while the
        disk fails, or it would come to be told twice. What nobody keeps is taken into memory.
        """
        if harvest.stored is not None:
            await self._spool.writable()
        told = self._pipeline.process(harvest.readings)
        self._own.readings += len(harvest.readings)
        self._facts.readings += len(harvest.readings)
        self._facts.flag(told)
        at_once, stored = harvest.at_once, harvest.stored
        if self.intervals is None:
            await self._spool.put(told, self.priority, at_once=at_once, stored=stored)
            return
        self.intervals.added()
        if told:
            await self._spool.put(
                told, self.priority, at_once=at_once, stored=self._then_keep(stored)
            )
        elif stored is not None:
            self.intervals.owe(stored)
        if at_once:
            await self.intervals.keep()

    def _then_keep(self, stored: Callable[[], None] | None) -> Callable[[], None] | None:
        """Return what waits for the open intervals, too, once the spool has its part."""
        intervals = self.intervals
        if stored is None or intervals is None:
            return stored
        return lambda: intervals.owe(stored)
