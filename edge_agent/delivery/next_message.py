"""What the next message carries, and when it is due: live readings first, the backlog beside them.

What was in the spool at the start is backlog (`delivery.drain`), and so is everything that has
gathered by the end of half a minute or more in which nothing could be sent, or was held until
the clock was set. As long as there is some, every message takes what is live at the moment and
is filled up from the backlog at its pace; if there is more live than fits, a quarter of the
message stays for the backlog. Sealing is `delivery.sealer`'s, sending `delivery.uplink`'s
business.
"""

from collections.abc import Sequence
from typing import Final

from edge_agent.clock import Clock
from edge_agent.delivery.drain import Pace
from edge_agent.delivery.sealer import Outgoing, Sealer
from edge_agent.settings import UplinkSettings
from edge_agent.spool.group_commit import GroupCommit
from edge_agent.spool.rows import Priority, Waiting

_STALL_SECONDS: Final = 30.0
_BACKLOG_SHARE: Final = 4  # one part in so many, if there is more live than fits


class NextMessage:
    """Takes from the spool what the sealer is to seal next."""

    def __init__(
        self, sealer: Sealer, spool: GroupCommit, clock: Clock, settings: UplinkSettings
    ) -> None:
        self._sealer = sealer
        self._spool = spool
        self._clock = clock
        self._limit = settings.batch_readings
        self._batch_seconds = settings.batch_seconds
        self._pace = Pace(settings.drain_readings_per_second, self._limit, clock.monotonic)
        self._blocked_since: float | None = clock.monotonic()
        sealer.lanes.split(spool.highest)

    def blocked(self) -> None:
        """Note that nothing can be sent at present."""
        if self._blocked_since is None:
            self._blocked_since = self._clock.monotonic()

    async def seal(self) -> Outgoing | None:
        """Seal the next message, if one is due and the window allows it."""
        sealer = self._sealer
        if sealer.has_room and sealer.must_describe:
            return sealer.seal_description()
        if not sealer.has_room or not sealer.described:
            self.blocked()
            return None
        self._unblocked()
        outgoing = await self._seal_readings()
        if outgoing is None and sealer.heartbeat_due():
            return sealer.seal_heartbeat()
        return outgoing

    def seconds_until_due(self) -> float:
        """Return how long until there may be something to do, if nothing happens meanwhile."""
        waits = [self._sealer.seconds_until_due()]
        if self._sealer.has_room and self._sealer.described:
            waits.append(self._seconds_until_flush())
            if self._drains:
                waits.append(self._pace.seconds_until(self._limit))
        return max(0.0, min(waits))

    def _unblocked(self) -> None:
        since, self._blocked_since = self._blocked_since, None
        if since is not None and self._clock.monotonic() - since > _STALL_SECONDS:
            self._sealer.lanes.split(self._spool.highest)
        if self._spool.settled > self._sealer.lanes.boundary:
            self._sealer.lanes.split(self._spool.settled)

    async def _seal_readings(self) -> Outgoing | None:
        flush = self._seconds_until_flush() <= 0
        backlog = self._most_of_backlog(flush=flush)
        if self._spool.oldest_unsent is None and not backlog:
            return None
        lanes, commits = self._sealer.lanes, self._spool.commits
        live = self._limit - min(backlog, self._limit // _BACKLOG_SHARE)
        waiting = await self._spool.read(
            [(lanes.alarms(), self._limit), (lanes.live(), live), (lanes.backlog(), backlog)],
            self._limit,
        )
        old = sum(lanes.is_backlog(each) for each in waiting)
        alarms = sum(each.priority is Priority.ALARM for each in waiting)
        is_full = len(waiting) == self._limit
        if waiting and not (flush or is_full or old or alarms):
            return None
        outgoing = self._seal(waiting) if waiting else None
        if not is_full and (outgoing is None or outgoing.readings == len(waiting)):
            if backlog > old:
                lanes.has_backlog = False
            if live > len(waiting) - old - alarms and self._spool.commits == commits:
                self._spool.oldest_unsent = None
        return outgoing

    def _seal(self, waiting: Sequence[Waiting]) -> Outgoing:
        outgoing = self._sealer.seal_readings(waiting)
        sealed = waiting[: outgoing.readings]
        self._pace.spend(sum(self._sealer.lanes.is_backlog(each) for each in sealed))
        return outgoing

    @property
    def _drains(self) -> bool:
        return self._sealer.lanes.has_backlog and self._sealer.has_room_for_backlog

    def _most_of_backlog(self, *, flush: bool) -> int:
        """Return how many readings of the backlog may go now: a message full, or beside others."""
        if not self._drains:
            return 0
        allowance = min(self._pace.allowance(), self._limit)
        return allowance if flush or allowance == self._limit else 0

    def _seconds_until_flush(self) -> float:
        """Return how long unsent readings may still wait for others; infinite without any."""
        since = self._spool.oldest_unsent
        if since is None:
            return float("inf")
        return since + self._batch_seconds - self._clock.monotonic()
