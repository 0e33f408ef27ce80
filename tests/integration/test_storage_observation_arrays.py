"""Observations as arrays: sorted, whichever way the server reads them."""

import random
from datetime import timedelta

import numpy as np
import pytest
from psycopg import sql

from standards_mapping.open_columns import unix_microseconds
from storage.database import Connection, query
from storage.observation_arrays import observation_arrays
from tests.simulators.registry import START, seed_city

SINCE = START + timedelta(days=24)  # later than what the city has
UNTIL = SINCE + timedelta(hours=20)
ROWS = 1200
PARALLEL = (
    "SET min_parallel_table_scan_size = 0",
    "SET min_parallel_index_scan_size = 0",
    "SET parallel_setup_cost = 0",
    "SET parallel_tuple_cost = 0",
)


@pytest.mark.parametrize("settings", [(), PARALLEL], ids=["as it is", "in parallel"])
async def test_rows_stored_in_any_order_come_by_datastream_and_time(
    connection: Connection, settings: tuple[str, ...]
) -> None:
    city = await seed_city(connection)
    first, second, left_out = sorted(city.datastreams.values())[:3]
    stored = [
        (number, SINCE + timedelta(minutes=minute), None if minute % 50 == 0 else minute / 8)
        for number in (first, second, left_out)
        for minute in range(ROWS)
    ]
    random.Random(5).shuffle(stored)  # noqa: S311 - nothing secret
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO observation VALUES (%s, %s, %s)", stored)
        flagged = SINCE + timedelta(minutes=7)
        await cursor.execute(
            "INSERT INTO observation_extra (datastream_id, time, quality) VALUES (%s, %s, 4)",
            (second, flagged),
        )
        await cursor.execute("ANALYZE observation")
        for setting in settings:
            await cursor.execute(setting)
        bounds = {"datastream_ids": [first, second], "start": SINCE, "end": UNTIL}
        asked = sql.SQL("EXPLAIN ") + sql.SQL(query("exported_observations"))
        await cursor.execute(asked, bounds)
        plan = "\n".join(line for (line,) in await cursor.fetchall())
        assert ("Gather" in plan) == bool(settings), plan
    found = await observation_arrays(connection, [second, first], SINCE, UNTIL)
    wanted = sorted(
        (number, unix_microseconds(time), value)
        for number, time, value in stored
        if number != left_out and time < UNTIL
    )
    assert found.datastream_ids.tolist() == [number for number, _, _ in wanted]
    assert found.times.tolist() == [time for _, time, _ in wanted]
    values = [np.nan if value is None else value for _, _, value in wanted]
    assert np.array_equal(found.values, values, equal_nan=True)
    [row] = np.flatnonzero(found.qualities).tolist()
    assert found.qualities[row] == 4
    assert found.row(second, unix_microseconds(flagged)) == row
    assert found.row(second, unix_microseconds(UNTIL)) is None
    assert found.row(left_out, unix_microseconds(flagged)) is None


async def test_none_are_empty_arrays(connection: Connection) -> None:
    found = await observation_arrays(connection, [1], SINCE, UNTIL)
    assert len(found.times) == len(found.datastream_ids) == len(found.values) == 0
    assert found.row(1, unix_microseconds(SINCE)) is None
