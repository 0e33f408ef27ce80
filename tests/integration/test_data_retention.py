"""What the settings would delete is counted first, and then `analytics run` deletes just that."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analytics import runner
from analytics.settings import AnalyticsSettings
from command_line.__main__ import main
from runtime.settings import load
from storage.database import Connection
from storage.partitions import ensure_partitions
from tests.integration.datastreams import add_datastream, store

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def settings_file(directory: Path, dsn: str) -> Path:
    file = directory / "analytics.toml"
    file.write_text(
        f'dsn = "{dsn}"\nkeep_days = 1000\nrefresh_seconds = 0.05\n'
        '[[retention]]\nname = "health"\nobserved_properties = ["battery_level"]\nkeep_days = 30\n'
    )
    return file


async def test_what_is_previewed_is_what_goes(
    dsn: str, connection: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    battery = await add_datastream(connection, "battery_level", "%")
    air = await add_datastream(connection)
    await ensure_partitions(connection, NOW - 60 * DAY, NOW)
    await store(
        connection, *((each, NOW - days * DAY, 1.0) for each in (battery, air) for days in (1, 50))
    )
    file = settings_file(tmp_path, dsn)
    words = ["data", "retention", "--config", str(file)]
    assert await asyncio.to_thread(main, [*words, "--json"]) == 0
    everything, health = json.loads(capsys.readouterr().out)["classes"]
    assert (everything["class"], everything["observations"]) == ("keep_days", 0)
    assert (health["class"], health["datastreams"], health["observations"]) == ("health", 1, 1)
    assert await asyncio.to_thread(main, words) == 0
    assert "health: 1 observations of 1 datastreams" in capsys.readouterr().out

    async def times() -> list[tuple[int, int]]:
        cursor = await connection.execute(
            "SELECT datastream_id, round(extract(epoch FROM now() - time) / 86400)::int"
            " FROM observation ORDER BY 1, 2"
        )
        return await cursor.fetchall()

    assert len(await times()) == 4
    process = asyncio.create_task(runner.run(load(AnalyticsSettings, file)))
    try:
        async with asyncio.timeout(15):
            while len(await times()) == 4:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
    finally:
        process.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await process
    assert await times() == [(battery, 1), (air, 1), (air, 50)]
    cursor = await connection.execute("SELECT count(*) FROM rollup_1h")
    assert await cursor.fetchone() == (4,)
