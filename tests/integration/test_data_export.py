"""Closed days as Parquet, read by DuckDB as an analyst would; both editions."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from command_line.__main__ import main
from storage.archive import export as reading
from storage.database import Connection
from storage.partitions import ensure_partitions
from storage.retention import expire
from storage.rollups import refresh_rollups
from storage.thinning import RetentionClass, thin
from tests.integration.datastreams import add_datastream, store

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)

Command = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await ensure_partitions(connection, TODAY - 60 * DAY, TODAY)
    return connection


@pytest.fixture
def data(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `kerbstone data ACTION`; return what it printed, and the status."""

    async def run(action: str, *words: str) -> dict[str, Any]:
        place = [dsn, str(tmp_path)] if action == "export" else ["--export", str(tmp_path)]
        status = await asyncio.to_thread(main, ["data", action, *place, *words, "--json"])
        out, err = capsys.readouterr()
        return {"status": status, "err": err} | (json.loads(out) if out else {})

    return run


async def put(conn: Connection, *observations: tuple[int, datetime, float | None]) -> None:
    await store(conn, *observations)
    while await refresh_rollups(conn):
        pass


def us(time: datetime) -> int:
    """Unix microseconds, as DuckDB gives a time without further packages."""
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


async def rows(tmp_path: Path, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    def ask() -> list[tuple[Any, ...]]:
        with duckdb.connect() as lake:
            return lake.execute(
                f"SELECT {columns} FROM read_parquet("  # noqa: S608 - our own
                f"'{tmp_path}/council=*/day=*/observations.parquet', hive_partitioning = true)"
                f" WHERE {where} ORDER BY ALL"
            ).fetchall()

    return await asyncio.to_thread(ask)


async def test_days_that_are_over_are_files_with_all_that_is_known(
    conn: Connection, data: Command, tmp_path: Path
) -> None:
    air = await add_datastream(conn)
    door = await add_datastream(conn, "door_state", "1")
    yesterday = TODAY - DAY
    await conn.execute(
        "INSERT INTO observation_extra (datastream_id, time, quality, result)"
        " VALUES (%s, %s, 12, NULL), (%s, %s, 0, '\"ajar\"'), (%s, %s, 2, 'true')",
        (air, yesterday, door, yesterday, door, yesterday + HOUR),
    )
    await put(
        conn,
        (air, yesterday - MICROSECOND, 0.1),
        (air, yesterday, 0.2),
        (air, TODAY - MICROSECOND, 0.3),
        (air, TODAY, 0.4),
        (door, yesterday, None),
        (door, yesterday + HOUR, 1.0),
    )
    said = await data("export")
    assert (said["status"], said["days_written"], said["rows"]) == (0, 2, 5)
    found = await rows(
        tmp_path,
        "council, day, epoch_us(time), datastream_id, observed_property, unit, value, result, "
        "quality",
    )
    first, second = (TODAY - 2 * DAY).date(), yesterday.date()
    assert found == [
        ("camden", first, us(yesterday - MICROSECOND), air, "no2", "ug/m3", 0.1, None, 0),
        ("camden", second, us(yesterday), air, "no2", "ug/m3", 0.2, None, 12),
        ("camden", second, us(yesterday), door, "door_state", "1", None, "ajar", 0),
        ("camden", second, us(yesterday + HOUR), door, "door_state", "1", 1.0, "true", 2),
        ("camden", second, us(TODAY - MICROSECOND), air, "no2", "ug/m3", 0.3, None, 0),
    ]
    [(thing, sensor, name)] = set(
        await rows(tmp_path, "thing, sensor, datastream", f"datastream_id = {air}")
    )
    assert (thing, sensor) == ("urn:x:thing", "urn:x:sensor")
    assert name.startswith("urn:x:sensor:")
    check_metadata(tmp_path / f"council=camden/day={second}/observations.parquet")
    described = pq.read_table(tmp_path / "council=camden/datastreams.parquet").to_pylist()
    assert [(each["datastream_id"], each["unit"]) for each in described] == [
        (air, "ug/m3"),
        (door, "1"),
    ]


def check_metadata(file: Path) -> None:
    schema = pq.read_schema(file)
    facts = json.loads(schema.metadata[b"kerbstone"])
    assert facts["units"]["ug/m3"]["ucum"] == "ug/m3"
    assert facts["observed_properties"]["no2"]["definition"] == "urn:x:property"
    assert "end of its interval" in schema.field("time").metadata[b"description"].decode()
    assert oct(file.stat().st_mode & 0o007) == "0o0"


async def test_only_days_that_changed_are_written_again(
    conn: Connection, data: Command, tmp_path: Path
) -> None:
    air = await add_datastream(conn)
    await put(conn, *((air, TODAY - days * DAY, 1.0) for days in (1, 2, 3)))
    assert (await data("export"))["days_written"] == 3
    assert (await data("verify"))["wrong"] == []
    again = await data("export")
    assert (again["days_written"], again["days_current"]) == (0, 3)

    await put(conn, (air, TODAY - 2 * DAY, 1.0))  # a repetition
    assert (await data("export"))["days_written"] == 0
    await store(conn, (air, TODAY - 2 * DAY + HOUR, 1.0))
    waiting = await data("export")
    assert (waiting["days_written"], waiting["waiting"]) == (0, True)
    assert "analytics run" in waiting["err"]
    await put(conn, (air, TODAY - 9 * DAY, 1.0))
    late = await data("export")
    assert (late["days_written"], late["rows"], late["waiting"]) == (2, 3, False)
    assert len(await rows(tmp_path, "value")) == 5


async def test_councils_and_days_are_chosen(
    conn: Connection, data: Command, tmp_path: Path
) -> None:
    air = await add_datastream(conn)
    await put(conn, *((air, TODAY - days * DAY, 1.0) for days in (1, 2, 3, 4)))
    first, last = ((TODAY - days * DAY).date() for days in (3, 2))
    assert (await data("export", "--council", "leeds"))["status"] == 1
    assert (await data("export", "--from", f"{first}", "--to", f"{last}"))["days_written"] == 2
    assert {day for (day,) in await rows(tmp_path, "day")} == {first, last}
    assert (await data("export", "--to", f"{TODAY.date()}"))["status"] == 2
    assert (await data("export", "--council", "camden"))["days_written"] == 2


async def test_what_retention_dropped_stays_in_what_was_exported_before(
    conn: Connection, data: Command, tmp_path: Path
) -> None:
    air = await add_datastream(conn)
    battery = await add_datastream(conn, "battery_level", "%")
    await put(
        conn, *((each, TODAY - days * DAY, 1.0) for each in (air, battery) for days in (1, 30, 50))
    )
    assert (await data("export"))["rows"] == 6
    health = RetentionClass(
        name="health",
        observed_properties=frozenset({"battery_level"}),
        councils=frozenset(),
        before=TODAY - 29 * DAY,
    )
    assert await thin(conn, health) == 2
    await put(conn, (air, TODAY - 30 * DAY + HOUR, 1.0), (air, TODAY - DAY + HOUR, 1.0))
    kept = await data("export")
    assert (kept["days_written"], kept["rows"], kept["days_kept"]) == (1, 3, 1)
    assert len(await rows(tmp_path, "value")) == 7
    await expire(conn, TODAY - 29 * DAY)
    assert (await data("export"))["days_written"] == 0
    assert len(await rows(tmp_path, "value")) == 7


async def test_an_export_that_was_stopped_is_taken_up(
    conn: Connection, data: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    air = await add_datastream(conn)
    await put(conn, *((air, TODAY - days * DAY, 1.0) for days in (1, 2, 3)))
    parts = reading.day_parts

    async def stopping(
        conn: Connection, day: date, datastream_ids: list[int]
    ) -> AsyncIterator[reading.DayPart]:
        async for part in parts(conn, day, datastream_ids):
            yield part
        if day == (TODAY - 2 * DAY).date():
            raise OSError("disk full")

    monkeypatch.setattr("command_line.data.export.day_parts", stopping)
    stopped = await data("export")
    assert (stopped["status"], "disk full" in stopped["err"]) == (1, True)
    monkeypatch.setattr("command_line.data.export.day_parts", parts)
    assert (await data("verify"))["files"] == 1
    assert leftovers(tmp_path) == []
    again = await data("export")
    assert (again["days_written"], again["days_current"]) == (2, 1)
    assert (await data("verify"))["wrong"] == []


def leftovers(directory: Path) -> list[Path]:
    return list(directory.rglob(".*.parquet*"))


async def test_many_datastreams_come_in_portions(
    conn: Connection, data: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "DATASTREAMS_AT_ONCE", 2)
    streams = [await add_datastream(conn) for _ in range(5)]
    wanted = [(each, TODAY - HOUR * hours, each / hours) for each in streams for hours in (1, 5, 9)]
    await put(conn, *wanted)
    await data("export")
    found = await rows(tmp_path, "datastream_id, epoch_us(time), value")
    assert sorted((each, us(time), value) for each, time, value in wanted) == found
    file = tmp_path / f"council=camden/day={(TODAY - DAY).date()}/observations.parquet"
    assert pq.read_metadata(file).num_row_groups == 3


async def test_files_that_are_not_as_written_are_found(
    conn: Connection, data: Command, tmp_path: Path
) -> None:
    air = await add_datastream(conn)
    await put(conn, *((air, TODAY - days * DAY, 1.0) for days in (1, 2, 3)))
    await data("export")
    spoil(tmp_path)
    found = await data("verify")
    assert found["status"] == 1
    assert [text.partition(": ")[2].partition(":")[0] for text in found["wrong"]] == [
        "cannot be read",
        "its SHA-256 is another one",
        "is not in the manifest",
    ]


def spoil(directory: Path) -> None:
    first, second, _ = sorted(directory.glob("council=*/day=*/observations.parquet"))
    first.unlink()
    octets = bytearray(second.read_bytes())
    octets[len(octets) // 2] ^= 1
    second.write_bytes(octets)
    (second.parent / "copy.parquet").write_bytes(octets)
