"""The analytics process against real databases: it keeps the store by itself, through outages."""

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analytics import runner
from analytics.settings import AnalyticsSettings
from runtime.metrics import MetricsSettings
from storage.database import Connection, connect
from storage.edition import Edition, detect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from storage.partitions import ensure_partitions, existing_partitions, months_between
from storage.rollups import HourlyRollup, hourly
from tests.integration.datastreams import add_datastream, store

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=100)


@contextlib.asynccontextmanager
async def running(settings: AnalyticsSettings) -> AsyncIterator[None]:
    """Run the process for the length of the block; what ends it early is raised."""
    task = asyncio.create_task(runner.run(settings))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(15):
        while not await condition():  # noqa: ASYNC110  # another process's doing
            await asyncio.sleep(0.02)


async def rollups(conn: Connection, datastream: int) -> list[HourlyRollup]:
    return await hourly(conn, [datastream], LONG_AGO - timedelta(days=1), NOW + timedelta(days=1))


async def test_what_is_stored_is_summarised_within_moments(
    dsn: str, connection: Connection
) -> None:
    datastream = await add_datastream(connection)
    await ensure_partitions(connection, NOW, NOW)
    async with running(AnalyticsSettings(dsn=dsn, refresh_seconds=0.05)):
        for count in (1, 2, 3):
            await store(connection, (datastream, NOW + timedelta(microseconds=count), 1.0))

            async def is_counted(count: int = count) -> bool:
                found = await rollups(connection, datastream)
                return sum(rollup.summary.n for rollup in found) == count

            await eventually(is_counted)


async def test_the_coming_months_are_made_ahead(dsn: str, connection: Connection) -> None:
    coming = set(months_between(NOW, NOW + timedelta(days=35)))
    plain = await detect(connection) is Edition.PLAIN

    async def are_there() -> bool:
        return (await existing_partitions(connection)).months >= (coming if plain else set())

    async with running(AnalyticsSettings(dsn=dsn)):
        await eventually(are_there)


@pytest.mark.parametrize("keep_days", [None, 30])
async def test_old_observations_go_only_when_told(
    dsn: str, connection: Connection, keep_days: int | None
) -> None:
    datastream = await add_datastream(connection)
    await ensure_partitions(connection, LONG_AGO, NOW)
    await store(connection, (datastream, LONG_AGO, 1.0), (datastream, NOW, 1.0))
    settings = AnalyticsSettings(dsn=dsn, keep_days=keep_days, refresh_seconds=0.05)
    expected = 2 if keep_days is None else 1

    async def settled() -> bool:
        cursor = await connection.execute("SELECT count(*) FROM observation")
        both = len(await rollups(connection, datastream)) == 2
        return both and await cursor.fetchone() == (expected,)

    async with running(settings):
        await eventually(settled)
        await asyncio.sleep(0.2)
        assert await settled()


async def test_credentials_that_ended_long_ago_go_whatever_else_is_kept(
    dsn: str, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO council (gss, tenant, name) VALUES ('E09000007', 'camden', 'Camden');"
        "INSERT INTO gateway (council_id, device) SELECT id, 'k7q2m9xd4t' FROM council;"
        "INSERT INTO enrolment_token (gateway_id, token_sha256, created_by, expires_at)"
        " SELECT id, sha256(days::text::bytea), 'test', now() - days * INTERVAL '1 day'"
        "   FROM gateway, unnest(ARRAY[80, 100]) AS days"
    )

    async def is_forgotten() -> bool:
        cursor = await connection.execute("SELECT count(*) FROM enrolment_token")
        return await cursor.fetchone() == (1,)

    async with running(AnalyticsSettings(dsn=dsn)):
        await eventually(is_forgotten)


async def test_metrics_tell_how_it_fares(
    dsn: str, connection: Connection, unused_tcp_port: int
) -> None:
    datastream = await add_datastream(connection)
    await ensure_partitions(connection, NOW, NOW)
    await store(connection, (datastream, NOW, 1.0))
    settings = AnalyticsSettings(dsn=dsn, metrics=MetricsSettings(port=unused_tcp_port))
    url = f"http://127.0.0.1:{unused_tcp_port}/metrics"

    async def is_summarised() -> bool:
        return bool(await rollups(connection, datastream))

    def read() -> str:
        with urllib.request.urlopen(url) as answer:
            return str(answer.read().decode())

    async with running(settings):
        await eventually(is_summarised)
        text = await asyncio.to_thread(read)
    assert "analytics_database_down 0.0" in text
    assert "analytics_rollup_log_entries_total" in text
    assert "analytics_rollup_last_refresh_timestamp_seconds 1" in text


async def test_an_outage_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RETRY_BASE_SECONDS", 0.05)
    monkeypatch.setattr(runner, "RETRY_CAP_SECONDS", 0.1)

    async def works() -> bool:
        return bool(runner.OUTAGE._value.get() == 0)

    async def fails() -> bool:
        return bool(runner.OUTAGE._value.get() == 1)

    server = EmbeddedDatabase.start(tmp_path)
    try:
        await migrate(server.dsn)
        async with running(AnalyticsSettings(dsn=server.dsn, refresh_seconds=0.05)):
            await eventually(works)
            server.kill()
            await eventually(fails)
            server = await asyncio.to_thread(EmbeddedDatabase.start, tmp_path)
            async with await connect(server.dsn, autocommit=True, application_name="test") as conn:
                datastream = await add_datastream(conn)
                await ensure_partitions(conn, NOW, NOW)
                await store(conn, (datastream, NOW, 1.0))

                async def is_summarised() -> bool:
                    return bool(await rollups(conn, datastream))

                await eventually(is_summarised)
            await eventually(works)
    finally:
        server.stop()
        remove(tmp_path)
