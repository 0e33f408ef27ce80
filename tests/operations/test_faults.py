"""Each fault shows while it lasts: in the metrics, and on the page for who has no monitoring.

That a full disk shows is proved with the reason's word in tests/unit/ingest/test_watch.py and
tests/unit/api/pages/test_centre_board.py, and with a disk that is really full where that is tested.
"""

import asyncio
import os
import signal
from typing import LiteralString

import pytest

from api.pages.centre_board import UNHEARD_AFTER
from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase
from tests.integration.region import begin, minutes, now
from tests.simulators.centre_processes import CentreProcesses
from tests.simulators.gateway import reading

WELL = "Everything works, as far as this page can know."


@pytest.mark.timeout(300)
async def test_every_fault_shows_while_it_lasts(centre: CentreProcesses) -> None:
    """One centre, one fault after the other, so that each is also seen to go away again."""
    centre.start("ingest", "serve", "analytics")
    await centre.until_page_says(WELL)
    await centre.until_metric("analytics", "analytics_database_down", lambda down: down == 0)
    await _database_stopped(centre)
    await _database_read_only(centre)
    await _broker_stopped(centre)
    await _worker_dead(centre)
    await _ingest_stopped(centre)


async def _database_stopped(centre: CentreProcesses) -> None:
    async with centre.region.gateway() as gateway:
        await begin(gateway)
        await asyncio.to_thread(centre.database.stop)
        await gateway.publish(gateway.gateway.report([reading(1, time=minutes(0))]))
        await centre.until_metric(
            "ingest", "ingest_database_failing", lambda failing: failing == 1, reason="away"
        )
        await centre.until_metric("ingest", "ingest_oldest_message_age_seconds", lambda s: s > 2)
        await centre.until_metric("analytics", "analytics_database_down", lambda down: down == 1)
        await centre.until_page_says("The database cannot be reached")
        centre.database = await asyncio.to_thread(
            EmbeddedDatabase.start, centre.directory / "database", port=centre.database.port
        )
        await gateway.acknowledged(2, within_seconds=30)
    await centre.until_metric(
        "ingest", "ingest_database_failing", lambda failing: failing == 0, reason="away"
    )
    await centre.until_page_says(WELL)


async def _database_read_only(centre: CentreProcesses) -> None:
    """As after a failover to a server that is still a replica."""
    await _statement(centre, "ALTER SYSTEM SET default_transaction_read_only = on")
    async with centre.region.gateway() as gateway:
        await gateway.publish(gateway.gateway.announce(now(), counter=now() + 1))
        await centre.until_metric(
            "ingest", "ingest_database_failing", lambda failing: failing == 1, reason="read_only"
        )
        await centre.until_metric("analytics", "analytics_database_down", lambda down: down == 1)
        await _statement(centre, "ALTER SYSTEM RESET default_transaction_read_only")
        await gateway.acknowledged(0, within_seconds=30)
    await centre.until_metric(
        "ingest", "ingest_database_failing", lambda failing: failing == 0, reason="read_only"
    )


async def _broker_stopped(centre: CentreProcesses) -> None:
    broker = centre.region.city.broker
    await asyncio.to_thread(broker.stop)
    await centre.until_metric("ingest", "ingest_broker_connected", lambda up: up == 0)
    await centre.until_page_says("The broker cannot be reached over the connection “city +”.")
    await asyncio.to_thread(broker.start)
    await centre.until_metric("ingest", "ingest_broker_connected", lambda up: up == 1)
    await centre.until_page_says(WELL)


async def _worker_dead(centre: CentreProcesses) -> None:
    """One of two workers stands still; then it is killed, and its supervisor starts another."""
    centre.end("ingest")
    centre.start("ingest", workers=2)
    await centre.until_page_says("Ingest, worker 2 of 2")
    await centre.until_page_says(WELL)
    second = centre.child("ingest", "--worker", "1")
    os.kill(second, signal.SIGSTOP)
    async with await connect(centre.region.dsn, autocommit=True, application_name="test") as conn:
        await _let_time_pass(conn, worker=1)
    await centre.until_page_says("Ingest, worker 2 of 2 was last heard")
    os.kill(second, signal.SIGKILL)
    await centre.until_page_says(WELL)
    assert centre.child("ingest", "--worker", "1") != second
    centre.end("ingest")
    centre.start("ingest")
    await centre.until_metric("ingest", "ingest_broker_connected", lambda up: up == 1)


async def _ingest_stopped(centre: CentreProcesses) -> None:
    centre.kill("ingest")
    assert await centre.samples("ingest") == []
    async with await connect(centre.region.dsn, autocommit=True, application_name="test") as conn:
        await _let_time_pass(conn)
    await centre.until_page_says("Ingest was last heard")
    centre.start("ingest")
    await centre.until_page_says(WELL)


async def _let_time_pass(conn: Connection, worker: int = 0) -> None:
    """Let the last word of a worker of ingest be as old as it would be after a while."""
    await conn.execute(
        "UPDATE heartbeat SET at = at - %s WHERE process = 'ingest' AND worker = %s",
        (UNHEARD_AFTER, worker),
    )


async def _statement(centre: CentreProcesses, statement: LiteralString) -> None:
    async with await connect(centre.region.dsn, autocommit=True, application_name="test") as conn:
        await conn.execute("SET default_transaction_read_only = off")
        await conn.execute(statement)
        await conn.execute("SELECT pg_reload_conf()")
