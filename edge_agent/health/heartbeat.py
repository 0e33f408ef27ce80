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
or taken back; 0 is none. So is it told at once when a sensor's adapter fails or comes back, but
not more often than once a minute: one that comes and goes must not fill the spool with alarms.
What the datastreams are is told in `edge_agent.health.datastreams`.
"""

import asyncio
from contextlib import suppress
from typing import Final

from device_protocol.reading import Reading
from edge_agent import machine
from edge_agent.clock import Clock, ClockQuality
from edge_agent.health.datastreams import UNITS
from edge_agent.health.facts import Facts
from edge_agent.remote_settings import RemoteSettings
from edge_agent.settings import AgentSettings
from edge_agent.spool.group_commit import GroupCommit
from edge_agent.spool.store import Depth, Priority
from runtime.version import VERSION

_TRUST: Final = {
    ClockQuality.NONE: 0.0,
    ClockQuality.HARDWARE: 0.5,
    ClockQuality.NETWORK: 1.0,
    ClockQuality.AUTHENTICATED: 1.0,
}
_LOOK_SECONDS: Final = 5.0  # how soon a sensor that fails is noticed
_ALARM_REST_SECONDS: Final = 60.0
_MOST_NAMED: Final = 5


class Health:
    """Makes the readings of one gateway's health."""

    def __init__(
        self, settings: AgentSettings, clock: Clock, remote: RemoteSettings, facts: Facts
    ) -> None:
        self._urn = settings.health_urn
        self._interval_seconds = settings.health.interval_seconds
        self._directory = settings.state_directory
        self._clock = clock
        self._remote = remote
        self._facts = facts
        self._failing: frozenset[str] = frozenset()
        self._alarmed_at = float("-inf")

    async def report(self, spool: GroupCommit) -> None:
        """Put readings into the spool at every interval, and at once what cannot wait."""
        salvaged = None
        due = self._clock.monotonic()
        first = [self._reading("agent_version", VERSION), self.failing_sensors()]
        await spool.put(first, Priority.NORMAL)
        while True:
            if self._remote.changed.is_set():
                self._remote.changed.clear()
                await spool.put(self._configurations(), Priority.ALARM)
            if spool.spool.salvaged is not salvaged and spool.spool.salvaged is not None:
                salvaged = spool.spool.salvaged
                count = self._reading("spool_salvaged", salvaged.readings)
                await spool.put([count], Priority.ALARM)
            if self.failing_has_changed():
                told = [*self.adapter_states(), self.failing_sensors()]
                await spool.put(told, Priority.ALARM)
            if self._clock.monotonic() >= due:
                due = self._clock.monotonic() + self._interval_seconds
                await spool.put(self.heartbeat(await spool.depth()), Priority.NORMAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_LOOK_SECONDS, due - self._clock.monotonic())):
                    await self._remote.changed.wait()

    def heartbeat(self, depth: Depth) -> list[Reading]:
        """Return the readings of one interval; what the machine does not tell is left out."""
        age = 0.0
        if depth.oldest_accepted is not None:
            age = max(0.0, self._clock.unix() - depth.oldest_accepted)
        measured = {
            "spool_readings": depth.readings,
            "spool_bytes": depth.bytes,
            "spool_oldest_age": age,
            "clock_quality": _TRUST[self._clock.quality()],
            "uptime": self._clock.monotonic(),
            "unclaimed_devices": len(self._facts.unclaimed),
            **self._measured_by_machine(),
        }
        readings = [self._reading(name, float(result)) for name, result in measured.items()]
        return [*readings, *self.adapter_states()]

    def adapter_states(self) -> list[Reading]:
        """Return how many sensors' adapters run, and how many fail; see also `failing_sensors`."""
        return [
            self._reading("adapters_running", self._facts.adapters_running),
            self._reading("adapters_failing", len(self._facts.failing)),
        ]

    def failing_sensors(self) -> Reading:
        """Return which sensors fail, by their URNs; a long list is cut, and says how many more."""
        failing = sorted(self._facts.failing)
        further = len(failing) - _MOST_NAMED
        named = ", ".join(failing[:_MOST_NAMED]) or "none"
        more = f" and {further} more" if further > 0 else ""
        return self._reading("failing_sensors", f"{named}{more}")

    def failing_has_changed(self) -> bool:
        """Tell whether other sensors fail than was said last; True at most once a minute."""
        failing, now = self._facts.failing, self._clock.monotonic()
        if failing == self._failing or now - self._alarmed_at < _ALARM_REST_SECONDS:
            return False
        self._failing, self._alarmed_at = failing, now
        return True

    def gap_record(self, dropped: int) -> Reading:
        """Return the reading that says how many readings the spool has dropped just now."""
        return self._reading("spool_dropped", dropped)

    def _measured_by_machine(self) -> dict[str, float]:
        measured: dict[str, float | None] = {
            "memory_used": machine.memory_used(),
            "agent_memory": machine.resident_bytes(),
            "flash_written": machine.written_bytes(),
            "temperature": machine.warmest(),
        }
        with suppress(OSError):
            measured["disk_used"] = machine.disk_used(self._directory)
        return {name: result for name, result in measured.items() if result is not None}

    def _configurations(self) -> list[Reading]:
        return [
            self._reading("configuration_version", self._remote.in_force),
            self._reading("configuration_refused", self._remote.refused),
        ]

    def _reading(self, name: str, result: float | str) -> Reading:
        is_text = isinstance(result, str)
        return Reading(
            sensor=self._urn,
            name=name,
            phenomenon_time=self._clock.now(),
            result=result if is_text else float(result),
            unit="" if is_text else UNITS[name],
        )
