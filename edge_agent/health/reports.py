"""Telling people and Prometheus how the agent fares: the status file and the metrics.

What is told comes from `edge_agent.health.facts`; readings about the gateway are made by
`edge_agent.health.heartbeat`. What the clock has learned is saved here too, because it is time to.
"""

import asyncio
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from edge_agent.clock import Clock
from edge_agent.delivery.key_sets import KeySets
from edge_agent.health.facts import Facts
from edge_agent.health.status import write_status
from edge_agent.remote_settings import RemoteSettings
from edge_agent.settings import AgentSettings
from edge_agent.spool.group_commit import GroupCommit
from edge_agent.spool.store import Depth
from runtime.metrics import serve_metrics

log = logging.getLogger(__name__)

_FIRST_PAUSES_SECONDS: Final = (0.5, 0.5, 1.0, 1.0)  # whoever has just started it is looking
_FLOOR_SECONDS: Final = 600.0  # how far a machine without a clock falls back at a restart


class Reports:
    """What one agent tells; `depth` is the spool's as last measured."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        facts: Facts,
        spool: GroupCommit,
        key_sets: KeySets,
        remote: RemoteSettings,
        clock: Clock,
    ) -> None:
        self.depth = Depth(0, 0, None)
        self._settings = settings
        self._facts = facts
        self._spool = spool
        self._key_sets = key_sets
        self._remote = remote
        self._clock = clock
        self._floor_saved_at = float("-inf")
        self._is_failing = False

    async def run(self) -> None:
        """Write the status at every interval, at first more often, and once more when cancelled."""
        interval = self._settings.status.interval_seconds
        try:
            for pause in itertools.chain(_FIRST_PAUSES_SECONDS, itertools.repeat(interval)):
                self.depth = await self._spool.depth()
                self._write()
                await asyncio.sleep(min(pause, interval))
        finally:
            self._facts.connected, self._facts.connection_since = False, self._clock.unix()
            self._facts.connection_error = "the agent was stopped"
            self._floor_saved_at = float("-inf")
            self._write()

    def _write(self) -> None:
        """Write the status, and what the clock has learned; a full disk is only logged."""
        facts, key_set = self._facts, self._key_sets.current
        facts.key_set_version = key_set.version if key_set else None
        facts.key_set_is_stale = self._key_sets.is_stale()
        facts.configuration = self._remote.in_force
        facts.configuration_refused = self._remote.refused
        facts.configuration_on_trial = self._remote.on_trial
        try:
            write_status(
                self._settings,
                facts=facts,
                depth=self.depth,
                clock=self._clock.quality(),
                dropped=self._spool.spool.dropped,
                spool_failing=self._spool.failing,
                now=self._clock.unix(),
            )
            self._clock.save_boot()
            if self._clock.monotonic() - self._floor_saved_at >= _FLOOR_SECONDS:
                self._clock.save_floor()
                self._floor_saved_at = self._clock.monotonic()
        except OSError as error:
            if not self._is_failing:
                log.warning("status cannot be written", extra={"error": str(error)})
            self._is_failing = True
        else:
            self._is_failing = False

    @contextmanager
    def metrics(self) -> Iterator[None]:
        """Serve the metrics meanwhile, if the settings name a port.

        Raises:
            OSError: the port is taken.
        """
        if not self._settings.metrics.port:
            yield
            return
        from edge_agent.health.metrics import AgentMetrics  # noqa: PLC0415  # costs memory

        server = serve_metrics(
            self._settings.metrics,
            AgentMetrics(self._facts, lambda: self.depth, self._clock),
        )
        try:
            yield
        finally:
            if server is not None:
                server.close()
