"""Running one adapter: its readings go into the spool, its failures are reported and retried.

An adapter that fails never stops the others. What it measures is its own business.
"""

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from device_protocol.errors import PayloadError
from edge_agent.facts import Facts
from edge_agent.group_commit import GroupCommit
from edge_agent.inputs.sources import SourceError
from edge_agent.sensors import ADAPTERS, AdapterError, SensorSettings, Surroundings
from edge_agent.spool import Priority
from runtime.backoff import FullJitter

log = logging.getLogger(__name__)

FAILURES: Final = (AdapterError, SourceError, PayloadError, OSError)
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 300.0
_PRIORITIES: Final = {
    "low": Priority.LOW,
    "normal": Priority.NORMAL,
    "alarm": Priority.ALARM,
}


async def collect(
    sensor: SensorSettings, surroundings: Surroundings, spool: GroupCommit, facts: Facts
) -> None:
    """Put everything the sensor yields into the spool until cancelled."""
    own = facts.adapters[sensor.urn]
    backoff = FullJitter(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
    while True:
        try:
            async with aclosing(ADAPTERS[sensor.adapter].harvests(sensor, surroundings)) as found:
                async for harvest in found:
                    await spool.put(
                        harvest.readings,
                        _PRIORITIES[sensor.priority],
                        at_once=harvest.at_once,
                        stored=harvest.stored,
                    )
                    own.readings += len(harvest.readings)
                    facts.readings += len(harvest.readings)
                    if not own.running:
                        own.running, own.since = True, surroundings.clock.unix()
                        log.info("sensor readable", extra={"sensor": sensor.urn})
                        backoff.reset()
            raise AdapterError("the adapter has ended")
        except FAILURES as failure:
            if own.running or not own.failures:
                own.since = surroundings.clock.unix()
            own.running, own.last_error = False, str(failure)
            own.failures += 1
            log.warning("sensor failed", extra={"sensor": sensor.urn, "error": own.last_error})
        await asyncio.sleep(backoff.next())
