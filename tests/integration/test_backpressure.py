"""A slow, frozen or stopped database slows ingest and never fills its memory.

Ingest is a process of its own under more load than it can take. KERBSTONE_BACKPRESSURE_SECONDS
makes each fault last longer than the few seconds of every day, and prints what was measured.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from storage.database import connect
from storage.embedded import EmbeddedDatabase
from tests.integration.fix_brokers import City
from tests.integration.region import DEVICE, LEEDS, OTHER
from tests.simulators.centre_processes import CentreProcesses, centre_processes, resident_bytes
from tests.simulators.flood import READINGS, flood

SECONDS: Final = float(os.environ.get("KERBSTONE_BACKPRESSURE_SECONDS", "2"))
MOST_BYTES: Final = 400_000_000
DEVICES: Final = (DEVICE, OTHER, LEEDS)
RATE: Final = 1_500.0  # a second, of all

pytestmark = [
    pytest.mark.parametrize("broker_kind", ["mosquitto"], indirect=True, scope="session"),
    pytest.mark.timeout(120 + 4 * SECONDS),
]


class Memory:
    """The most memory that a process had in use, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.most = 0

    async def look(self) -> None:
        while True:
            self.most = max(self.most, resident_bytes(self._pid))
            await asyncio.sleep(0.1)


@pytest.fixture
async def centre(
    city: City, tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> AsyncIterator[CentreProcesses]:
    ports = [unused_tcp_port_factory() for _ in range(4)]
    async with centre_processes(city, tmp_path, ports) as made:
        yield made


async def test_a_database_that_is_slow_frozen_or_stopped_slows_ingest(
    centre: CentreProcesses,
) -> None:
    centre.start("ingest")
    await centre.until_metric("ingest", "ingest_broker_connected", lambda up: up == 1)
    memory = Memory(centre.running["ingest"].pid)
    looking = asyncio.create_task(memory.look())
    told = {"calm": resident_bytes(centre.running["ingest"].pid)}
    try:
        async with flood(centre.region, DEVICES, rate=RATE) as gateways:
            await centre.until_metric(
                "ingest", "ingest_readings_total", lambda n: n > 0, outcome="stored"
            )
            for fault in (_slow, _frozen, _stopped):
                memory.most = 0
                await fault(centre)
                told[fault.__name__] = memory.most
            memory.most = 0
        told["afterwards"] = memory.most
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
    print({name: f"{most / 1e6:.0f} MB" for name, most in told.items()})  # noqa: T201 - with -s
    assert max(told.values()) < MOST_BYTES
    async with await connect(centre.region.dsn, application_name="test") as conn:
        [(rows,)] = await (await conn.execute("SELECT count(*) FROM observation")).fetchall()
    assert rows == sum(gateway.messages for gateway in gateways) * READINGS


async def _slow(centre: CentreProcesses) -> None:
    """Let the database work for a tenth of the time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + min(SECONDS, 60.0)
    while loop.time() < end:
        centre.freeze_database(frozen=True)
        await asyncio.sleep(0.18)
        centre.freeze_database(frozen=False)
        await asyncio.sleep(0.02)


async def _frozen(centre: CentreProcesses) -> None:
    """Freeze the database: no connection breaks, and nothing answers."""
    centre.freeze_database(frozen=True)
    await _waits(centre)
    centre.freeze_database(frozen=False)


async def _stopped(centre: CentreProcesses) -> None:
    """Stop the database for good, and start it again later."""
    await asyncio.to_thread(centre.database.stop)
    await centre.until_metric(
        "ingest", "ingest_database_failing", lambda failing: failing == 1, reason="away"
    )
    await _waits(centre)
    centre.database = await asyncio.to_thread(
        EmbeddedDatabase.start, centre.directory / "database", port=centre.database.port
    )
    await centre.until_metric("ingest", "ingest_database_up", lambda up: up == 1)


async def _waits(centre: CentreProcesses) -> None:
    """Hold on for so long; by its end messages wait, and the brokers are read no more."""
    await asyncio.sleep(SECONDS)
    await centre.until_metric("ingest", "ingest_oldest_message_age_seconds", lambda age: age > 2)
    await centre.until_metric("ingest", "ingest_inbox_full", lambda full: full == 1)
    waiting = await centre.metric("ingest", "ingest_inbox_bytes")
    assert waiting is not None
    assert 0 < waiting < 2 * (64 << 20)
