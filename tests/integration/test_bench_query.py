"""A seeded region is what the registry, the rollups and the questions take it for."""

from datetime import UTC, datetime, timedelta

import pytest

from bench.errors import BenchError
from bench.query import measure_seeded
from bench.seed import MEASURED, seed
from storage.database import Connection

END = datetime(2026, 3, 31, tzinfo=UTC)


async def count(conn: Connection, what: str) -> int:
    [(found,)] = await (await conn.execute(f"SELECT count(*) FROM {what}")).fetchall()  # noqa: S608 - of this file
    return int(found)


async def test_a_seeded_region_is_whole_and_every_question_of_it_is_answered(
    dsn: str, connection: Connection
) -> None:
    told: list[str] = []
    seeded = await seed(dsn, rows=20_000, streams=73, end=END, tell=told.append)
    assert seeded.streams == 80  # whole Things
    assert 0.95 * 20_000 < seeded.rows < 20_000
    assert await count(connection, "observation") == seeded.rows
    assert await count(connection, "datastream") == 80
    assert await count(connection, "latest") == 80
    assert await count(connection, "rollup_log") == 0
    cursor = await connection.execute("SELECT sum(n) FROM rollup_1h")
    [(summed_up,)] = await cursor.fetchall()
    wild = await count(connection, "observation_extra")
    assert summed_up == seeded.rows - wild
    cursor = await connection.execute("SELECT min(time), max(time) FROM observation")
    [(first, last)] = await cursor.fetchall()
    assert END - timedelta(days=30) <= first < last < END
    assert any("rollups" in line for line in told)

    result = await measure_seeded(dsn, seeded, told.append, seconds=0.3)
    assert len(result["questions"]) == 9
    for name, asked in result["questions"].items():
        assert 0 < asked["median_ms"] <= asked["worst_ms"]
        assert asked["raw_ms"] > 0
        assert asked["answers"] > 0 or name.startswith("gaps")
        assert asked["rows_read"] > 0
        assert asked["plan"]
    day = result["questions"]["24 h of one datastream"]
    assert day["read_by"]["observation"] == "observation_pkey"
    standards = result["standards"]
    page = standards["page_of_observations"]
    assert page["answer_bytes"] > 100 * 300
    ceiling = min(page["raw_sql_per_second"], page["bare_starlette_per_second"])
    assert page["per_second"] > 0
    assert page["raw_sql_one_connection_per_second"] > 0
    assert page["ratio"] == pytest.approx(page["per_second"] / ceiling, abs=0.001)
    both = page["bare_starlette_with_sql_per_second"]
    assert both > 0
    assert page["ratio_of_bare_page"] == pytest.approx(page["per_second"] / both, abs=0.001)
    assert all(took > 0 for took in standards["requests_ms"].values())
    assert any("after row" in name for name in standards["requests_ms"])
    assert standards["parquet"]["rows"] == await count(
        connection,
        "observation JOIN datastream d ON d.id = datastream_id"
        " JOIN observed_property p ON p.id = d.observed_property_id WHERE p.key = 'no2'",
    )
    with pytest.raises(BenchError, match="not empty"):
        await seed(dsn, rows=20_000, streams=73, end=END)


async def test_more_than_a_reading_a_second_is_refused(dsn: str) -> None:
    with pytest.raises(BenchError, match="take more days"):
        await seed(dsn, rows=10_000_000, streams=len(MEASURED), days=1, end=END)
