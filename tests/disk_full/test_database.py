"""The database's disk is full under load: nothing is acknowledged that is not stored, or lost.

Data and write-ahead log lie on one small disk, mounted for the test.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from storage.database import connect
from storage.embedded import EmbeddedDatabase
from storage.migration import migrate
from tests.chaos.disks import SmallDisk
from tests.integration.fix_brokers import City
from tests.integration.region import begin, eventually, make_region, metric, minutes
from tests.simulators.gateway import MqttGateway, series

pytestmark = pytest.mark.parametrize("broker_kind", ["mosquitto"], indirect=True)

READINGS_EACH = 100
STEP = timedelta(milliseconds=10)


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """A disk that the account which runs PostgreSQL can reach, too."""
    place = Path(tempfile.mkdtemp(prefix="kerbstone-disk-"))
    place.chmod(0o755)
    disk = SmallDisk(place / "disk", 1 << 30)
    disk.mount()
    yield disk
    disk.unmount()
    shutil.rmtree(place)


def failing() -> float:
    return metric("ingest_database_failing", reason="disk_full")


def end_by_full_log(database: EmbeddedDatabase) -> None:
    """Let the write-ahead log need a new file, which there is no room for: the server panics."""
    with pytest.raises(psycopg.OperationalError) as ended:
        write_log_for_ever(database)
    assert not isinstance(ended.value, psycopg.errors.DiskFull)  # which it would survive


def write_log_for_ever(database: EmbeddedDatabase) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        while True:
            conn.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))")


def start_again(database: EmbeddedDatabase, directory: Path) -> EmbeddedDatabase:
    """Do what a service manager does: start the server once it has ended, if it has."""
    database.stop()
    return EmbeddedDatabase.start(directory, port=database.port)


async def told_so_far(gateway: MqttGateway) -> int:
    """Return up to where messages are acknowledged, once nothing more is heard for a second."""
    highest = 0
    while True:
        try:
            found = await gateway.acknowledged(highest + 1, within_seconds=1)
        except TimeoutError:
            return highest
        highest = found.contiguous_seq


async def test_ingest_stops_acknowledging_says_why_and_goes_on_when_there_is_room(
    city: City, tmp_path: Path, disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    database = await asyncio.to_thread(EmbeddedDatabase.start, disk.path / "database")
    try:
        await migrate(database.dsn)
        async with await connect(database.dsn, autocommit=True, application_name="test") as conn:
            region = await make_region(city, database.dsn, tmp_path, conn)
        async with region.ingest(), region.gateway() as gateway:
            simulated = gateway.gateway
            first = minutes(0)
            sent = 0

            async def send(messages: int) -> None:
                nonlocal sent
                for _ in range(messages):
                    values = map(float, range(sent, sent + READINGS_EACH))
                    readings = series(values, start=first + sent * STEP, step=STEP)
                    await gateway.publish(simulated.report(readings))
                    sent += READINGS_EACH

            await begin(gateway)
            await send(10)
            await gateway.acknowledged(11)

            await asyncio.to_thread(disk.fill)
            await send(100)
            await eventually(lambda: failing() == 1)
            assert metric("ingest_database_up") == 0
            full = [record for record in caplog.records if "batch waits" in record.message]
            assert "No space left on device" in vars(full[-1])["error"]
            acknowledged = await told_so_far(gateway)
            assert acknowledged < 111

            await asyncio.to_thread(end_by_full_log, database)
            await send(10)
            assert await told_so_far(gateway) in {0, acknowledged}

            await asyncio.to_thread(disk.free)
            database = await asyncio.to_thread(start_again, database, disk.path / "database")
            await gateway.acknowledged(121, within_seconds=60)
            assert (failing(), metric("ingest_database_up")) == (0, 1)
        async with await connect(database.dsn, application_name="test") as conn:
            cursor = await conn.execute("SELECT value::int FROM observation ORDER BY time")
            assert [value for (value,) in await cursor.fetchall()] == list(range(sent))
            cursor = await conn.execute("SELECT count(*), sum(readings) FROM signed_batch")
            assert await cursor.fetchone() == (121, sent)
            cursor = await conn.execute("SELECT count(*) FROM quarantine")
            assert await cursor.fetchone() == (0,)
    finally:
        await asyncio.to_thread(database.stop)
