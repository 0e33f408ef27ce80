"""Trying sensors: they are read for a while, and what would be reported of them is kept in memory.

Sends nothing and stores nothing: no reading reaches the spool, nobody who brings one is told that
it is on the disk, a local broker forgets the trial as soon as it ends, and what an adapter keeps
is kept in a directory that goes afterwards. What is shown of it is `command_line.agent_try`'s
business.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.clock import Clock
from edge_agent.collection import harvest
from edge_agent.health.facts import AdapterFacts
from edge_agent.processing.pipeline import Pipeline
from edge_agent.sensors import ADAPTERS, Harvest, SensorSettings, Surroundings
from edge_agent.settings import AgentSettings
from edge_agent.sources import Sources

_RARE_SECONDS: Final = 10.0
_PERIODS: Final = 1.25
_LEAST_SECONDS: Final = 60.0
_MOST_SECONDS: Final = 900.0

Seen = Callable[["SensorTrial", Reading], None]
"""Called with each reading that would be reported."""


@dataclass(slots=True)
class SensorTrial:
    """What came of one sensor.

    facts: how its adapter fares, and what was refused, flagged, repeated or withheld. answers:
    how often it was heard, whether a reading came of it or not.
    streams: what it measures, by short name. newest, counts: of the readings that would be
    reported, or aggregated if its settings say so; by short name, too.
    """

    settings: SensorSettings
    facts: AdapterFacts
    streams: dict[str, Datastream]
    answers: int = 0
    newest: dict[str, Reading] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether each of its datastreams has had a result."""
        return self.streams.keys() <= self.newest.keys()

    @property
    def period_seconds(self) -> int | None:
        """How often a result is to be expected of its rarest datastream, if that is known."""
        return max((each.period_seconds or 0 for each in self.streams.values()), default=0) or None

    @property
    def is_failing(self) -> bool:
        """Whether its adapter has failed and given nothing since."""
        return bool(self.facts.failures) and not (self.facts.running or self.facts.holds)


class Trial:
    """Sensors of one gateway being tried.

    sensors: what came of each, in the order of the settings.
    unclaimed: devices heard that no sensor claims, and how often.
    """

    def __init__(self, settings: AgentSettings, urns: Iterable[str] = (), *, seen: Seen) -> None:
        """Prepare to try the sensors with these URNs; without any, all there are."""
        wanted = frozenset(urns)
        self.sensors = tuple(
            _untried(sensor) for sensor in settings.sensor if not wanted or sensor.urn in wanted
        )
        self.unclaimed: dict[str, int] = {}
        self._settings = settings
        self._seen = seen
        self._news = asyncio.Event()

    @property
    def patience_seconds(self) -> float:
        """How long the rarest of them may take."""
        rarest = max(sensor.period_seconds or 0 for sensor in self.sensors)
        return min(max(rarest * _PERIODS, _LEAST_SECONDS), _MOST_SECONDS)

    async def run(self, seconds: float) -> None:
        """Read until every datastream has had a result, but no longer than `seconds`.

        Some are rare, or not on every machine: once every sensor has given something, it waits
        for no other longer than ten seconds from the last that was new.
        """
        with TemporaryDirectory(prefix="kerbstone-try-") as directory:
            async with self._reading(Path(directory)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds) as limit:
                        await self._enough(limit)

    async def _enough(self, limit: asyncio.Timeout) -> None:
        while not all(sensor.is_complete for sensor in self.sensors):
            await self._news.wait()
            self._news.clear()
            if all(sensor.newest for sensor in self.sensors):
                soon = asyncio.get_running_loop().time() + _RARE_SECONDS
                limit.reschedule(min(soon, limit.when() or soon))

    @asynccontextmanager
    async def _reading(self, directory: Path) -> AsyncIterator[None]:
        """Read the sensors meanwhile."""
        async with Sources() as sources:
            self.unclaimed = sources.unclaimed
            surroundings = self._surroundings(directory, sources)
            async with asyncio.TaskGroup() as tasks:
                reading = [
                    tasks.create_task(self._read(sensor, surroundings), name=sensor.settings.urn)
                    for sensor in self.sensors
                ]
                try:
                    yield
                finally:
                    for task in reading:
                        task.cancel()

    def _surroundings(self, directory: Path, sources: Sources) -> Surroundings:
        # Not the agent's own name: a broker would end its connection and give us its session.
        name = f"kerbstone-{self._settings.device}-try-{os.getpid()}"
        return Surroundings(
            Clock(directory / "clock"),
            directory,
            sources=sources,
            local_brokers=tuple(
                replace(broker, client_id=name) for broker in self._settings.local_broker
            ),
            listener=self._settings.listener,
            is_trial=True,
        )

    async def _read(self, sensor: SensorTrial, surroundings: Surroundings) -> None:
        settings = replace(sensor.settings, aggregate=None)
        pipeline = Pipeline(
            settings,
            sensor.streams.values(),
            surroundings.clock,
            state_directory=surroundings.state_directory,
            tally=sensor.facts,
        )

        async def take(brought: Harvest) -> None:
            sensor.answers += 1
            sensor.facts.readings += len(brought.readings)
            for reading in pipeline.process(brought.readings):
                if reading.name not in sensor.newest:
                    self._news.set()
                sensor.newest[reading.name] = reading
                sensor.counts[reading.name] = sensor.counts.get(reading.name, 0) + 1
                self._seen(sensor, reading)

        await harvest(settings, surroundings, take, sensor.facts)


def _untried(sensor: SensorSettings) -> SensorTrial:
    streams = ADAPTERS[sensor.adapter].datastreams(sensor)
    facts = AdapterFacts(sensor.adapter)
    return SensorTrial(sensor, facts, {stream.name: stream for stream in streams})
