"""How far the replaying gateways have come: a progress bar until the past is stored."""

import asyncio
import time
from typing import Final

from command_line.demo.session import DemoError, Session
from command_line.progress import Progress
from edge_agent.health.status import read_status
from edge_agent.settings import AgentSettings
from runtime.settings import load
from storage.database import Connection, connect

PATIENCE_SECONDS: Final = 120.0  # without anything new being stored
LIVE_READINGS: Final = 40  # on their way at any moment once the past is stored


async def backfilled(session: Session) -> None:
    """Show progress until every gateway has sent its past and the centre has stored it.

    Raises:
        DemoError: a process ended, or nothing new was stored for two minutes.
    """
    statuses = [load(AgentSettings, file) for file in session.agent_settings.values()]
    started = time.time()
    async with await connect(
        session.dsn, autocommit=True, application_name="kerbstone demo"
    ) as conn:
        before = await _stored(conn)
        with Progress("Backfilling 90 days", 1, unit="readings") as progress:
            stored, moved = before, time.monotonic()
            while waiting := _waiting(statuses, started):
                now_stored = await _stored(conn)
                if now_stored > stored:
                    stored, moved = now_stored, time.monotonic()
                progress.update(stored - before, total=stored - before + waiting)
                if ended := session.children.ended():
                    raise DemoError(
                        f"{ended.name} has ended; its log ends with:\n{ended.log_tail()}"
                    )
                if time.monotonic() - moved > PATIENCE_SECONDS:
                    raise DemoError(
                        f"nothing stored for {PATIENCE_SECONDS:.0f} s, {waiting} readings wait; "
                        f"logs: {session.options.layout.root / 'logs'}"
                    )
                await asyncio.sleep(0.25)
            progress.update(await _stored(conn) - before)


def _waiting(settings: list[AgentSettings], started: float) -> int:
    """Return how many readings wait at the gateways; a gateway not heard of yet counts as one."""
    return sum(_waiting_at(each, started) for each in settings)


def _waiting_at(settings: AgentSettings, started: float) -> int:
    facts = read_status(settings).facts
    if facts is None or facts["written_at"] < started or not facts["readings_acknowledged"]:
        return 1
    return max(int(facts["spool"]["readings"]) - LIVE_READINGS, 0)


async def _stored(conn: Connection) -> int:
    """Return how many readings the centre holds evidence for."""
    cursor = await conn.execute("SELECT coalesce(sum(readings), 0) FROM signed_batch")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
