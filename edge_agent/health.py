"""What the gateway reports about itself: a thing like any other, with ordinary readings.

Also how it owns up to a loss. When the spool is over its quota, the oldest readings of the
lowest priority are dropped and, in the same transaction, a reading of `spool_dropped` is
stored: how many went, at the time they went. It is signed and acknowledged like any reading
and, having the highest priority, is the last to be dropped itself. Some of those readings may
have been on their way to the centre already, so the number is the most that can be missing.
Readings whose checksum no longer holds are dropped with such a record too.
`spool_salvaged` says likewise that the spool was damaged, and how many readings came back.

What became of settings changed from afar is told likewise, at the start and whenever it changes:
`configuration_version` is the one in force, `configuration_refused` the newest that was refused
or taken back; 0 is none.
"""

import asyncio
from contextlib import suppress
from typing import Final

from device_protocol.description import Datastream, Sensor, Thing
from device_protocol.reading import Reading
from edge_agent.clock import Clock, ClockQuality
from edge_agent.group_commit import GroupCommit
from edge_agent.remote_settings import RemoteSettings
from edge_agent.settings import AgentSettings
from edge_agent.spool import Priority

_TRUST: Final = {
    ClockQuality.NONE: 0.0,
    ClockQuality.HARDWARE: 0.5,
    ClockQuality.NETWORK: 1.0,
    ClockQuality.AUTHENTICATED: 1.0,
}
_COUNT, _SECONDS, _RATIO = "count", "s", "/"


class Health:
    """Makes the readings of one gateway's health."""

    def __init__(self, settings: AgentSettings, clock: Clock, remote: RemoteSettings) -> None:
        self._urn = settings.health_urn
        self._interval_seconds = settings.health.interval_seconds
        self._clock = clock
        self._remote = remote

    async def report(self, spool: GroupCommit) -> None:
        """Put readings of depth, age and clock into the spool at every interval."""
        reported = None
        while True:
            if self._remote.changed.is_set():
                self._remote.changed.clear()
                await spool.put(self._configurations(), Priority.ALARM)
            depth = await spool.depth()
            salvaged = spool.spool.salvaged
            if salvaged is not reported and salvaged is not None:
                count = self._reading("spool_salvaged", salvaged.readings, _COUNT)
                await spool.put([count], Priority.ALARM)
                reported = salvaged
            oldest = depth.oldest_accepted
            age = 0.0 if oldest is None else max(0.0, self._clock.unix() - oldest)
            readings = [
                self._reading("spool_readings", depth.readings, _COUNT),
                self._reading("spool_oldest_age", age, _SECONDS),
                self._reading("clock_quality", _TRUST[self._clock.quality()], _RATIO),
            ]
            await spool.put(readings, Priority.NORMAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._remote.changed.wait()

    def _configurations(self) -> list[Reading]:
        return [
            self._reading("configuration_version", self._remote.in_force, _COUNT),
            self._reading("configuration_refused", self._remote.refused, _COUNT),
        ]

    def gap_record(self, dropped: int) -> Reading:
        """Return the reading that says how many readings the spool has dropped just now."""
        return self._reading("spool_dropped", dropped, _COUNT)

    def _reading(self, name: str, result: float, unit: str) -> Reading:
        return Reading(
            sensor=self._urn,
            name=name,
            phenomenon_time=self._clock.now(),
            result=float(result),
            unit=unit,
        )


def thing(settings: AgentSettings) -> Thing:
    """Return the gateway as a thing, standing where the first thing in its settings stands."""
    place = settings.thing[0]
    sensor = Sensor(
        urn=settings.health_urn,
        name=f"Gateway {settings.device}",
        description="The gateway's own account of its state.",
        metadata="Kerbstone edge agent",
        datastreams=_datastreams(max(1, round(settings.health.interval_seconds))),
    )
    return Thing(
        urn=settings.health_urn,
        name=f"Gateway {settings.device}",
        description="The computer that gathers, signs and sends the readings of this place.",
        longitude=place.longitude,
        latitude=place.latitude,
        place_name=place.place_name,
        properties={"role": "gateway"},
        sensors=(sensor,),
    )


def _datastreams(period_seconds: int) -> tuple[Datastream, ...]:
    return (
        Datastream(
            name="spool_readings",
            title="Readings waiting",
            description="Readings on the gateway that the centre has not acknowledged.",
            observed_property="spool_readings",
            unit="count",
            period_seconds=period_seconds,
            valid_minimum=0.0,
        ),
        Datastream(
            name="spool_oldest_age",
            title="Age of the oldest reading waiting",
            description="How long ago the gateway took the oldest reading that still waits.",
            observed_property="spool_oldest_age",
            unit="s",
            period_seconds=period_seconds,
            valid_minimum=0.0,
        ),
        Datastream(
            name="clock_quality",
            title="Trust in the gateway's clock",
            description="0: unset, 0.5: from a clock chip, 1: synchronised.",
            observed_property="clock_quality",
            unit="1",
            period_seconds=period_seconds,
            valid_minimum=0.0,
            valid_maximum=1.0,
        ),
        Datastream(
            name="spool_dropped",
            title="Readings dropped",
            description="Readings that went: the spool was full, or the disk had changed them.",
            observed_property="spool_readings",
            unit="count",
            period_seconds=None,
            valid_minimum=0.0,
        ),
        Datastream(
            name="spool_salvaged",
            title="Readings salvaged",
            description="Readings that could be read from a damaged spool; others may be lost.",
            observed_property="spool_readings",
            unit="count",
            period_seconds=None,
            valid_minimum=0.0,
        ),
        Datastream(
            name="configuration_version",
            title="Settings in force",
            description="Version of the settings from afar that are in force; 0: none.",
            observed_property="configuration_version",
            unit="count",
            period_seconds=None,
            valid_minimum=0.0,
        ),
        Datastream(
            name="configuration_refused",
            title="Settings refused",
            description="Newest version of such settings refused or taken back; 0: none.",
            observed_property="configuration_version",
            unit="count",
            period_seconds=None,
            valid_minimum=0.0,
        ),
    )
