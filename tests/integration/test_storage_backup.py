"""Backups bring all of it back, into either edition, and nothing is taken before it is whole."""

import json
import os
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from storage.archive.backup import APPLICATION_NAME, back_up
from storage.archive.backup_file import MANIFEST, BackupError, Manifest, read
from storage.archive.restore import Restored, TargetError, restore
from storage.archive.tables import tables
from storage.database import Connection, connect
from storage.edition import Edition, detect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import MIGRATIONS, base_name, base_names, migrate, read_migrations
from storage.partitions import ensure_partitions
from storage.retention import expire
from storage.rollups import hourly, refresh_rollups
from tests.integration.conftest import DatabaseServer
from tests.integration.datastreams import add_datastream, store

NOON = datetime(2024, 3, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def quietly(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


async def bring(file: Path, dsn: str, *, replace: bool = False) -> Restored:
    with read(file) as backup:
        return await restore(dsn, backup, quietly, replace=replace)


async def everything(dsn: str) -> dict[str, list[str]]:
    """Return the rows of every table, as text, but for what a restore is to change."""
    async with await connect(dsn, application_name="test") as conn:
        rows = {}
        for table in await tables(conn):
            cursor = await conn.execute(
                f"SELECT to_jsonb(t)::text FROM {table.name} AS t ORDER BY 1"  # type: ignore[arg-type]  # noqa: S608 - our own
            )
            rows[table.name] = [row for (row,) in await cursor.fetchall()]
    return rows


def state_of(file: Path) -> tuple[int, bytes]:
    return file.stat().st_mode, file.read_bytes()


def damage(file: Path, member: str, damaged: Path) -> None:
    """Write a copy with one bit of a member turned."""
    with zipfile.ZipFile(file) as archive:
        inside = archive.read(member)
    octets = bytearray(file.read_bytes())
    octets[octets.index(inside) + len(inside) // 2] ^= 1
    damaged.write_bytes(octets)


async def fill(conn: Connection) -> int:
    """Store a little of everything over four months, and drop the first of them."""
    datastream = await add_datastream(conn)
    await ensure_partitions(conn, NOON - 100 * DAY, NOON)
    times = [NOON - days * DAY for days in (100, 60, 31, 2, 1, 0)]
    await store(conn, *((datastream, time, 5.0) for time in times), (datastream, NOON - HOUR, None))
    await conn.execute(
        """
        INSERT INTO observation_extra (datastream_id, time, quality, result)
        SELECT datastream_id, time, 0, '"text"' FROM observation WHERE value IS NULL;
        INSERT INTO audit_entry (actor, tenant, action, subject) VALUES ('a', '', 'b', 'c');
        INSERT INTO epoch (epoch_id, gateway_id, recipient_group, counter, announcement_sha256,
                           content_algorithm, sealed_key, received_at, closes_at)
        SELECT decode(lpad(to_hex(counter), 16, '0'), 'hex'), id, 'main', counter, '\\x00ff', 24,
               '\\x01', '2024-03-01', CASE counter WHEN 1 THEN timestamptz '2024-03-09'
                                                   ELSE now() + INTERVAL '1 day' END
          FROM gateway, generate_series(1, 2) AS counter;
        INSERT INTO signed_batch (epoch_id, seq, message_hash, gateway_id, signer_kid,
                                  content_format, signed, readings, received_at)
        SELECT epoch_id, 1, '', gateway_id, '', 112, '\\x83', 1, '2024-03-20 12:00Z' FROM epoch;
        """
    )
    await expire(conn, datetime(2024, 1, 1, tzinfo=UTC))
    return datastream


@pytest.fixture
async def filled(dsn: str, connection: Connection) -> str:
    await fill(connection)
    await connection.close()
    return dsn


@pytest.fixture
async def file(filled: str, tmp_path: Path) -> Path:
    path = tmp_path / "backup"
    await back_up(filled, path, quietly)
    return path


async def test_everything_comes_back_and_epochs_are_closed(
    filled: str, file: Path, empty_dsn: str
) -> None:
    restored = await bring(file, empty_dsn)

    before, after = await everything(filled), await everything(empty_dsn)
    assert sum(map(len, before.values())) == restored.rows
    assert before.pop("epoch") != (epochs := after.pop("epoch"))
    assert before == after
    assert len(epochs) == 2
    async with await connect(empty_dsn, application_name="test") as conn:
        cursor = await conn.execute("SELECT count(*) FROM epoch WHERE closes_at > now()")
        assert await cursor.fetchone() == (0,)
        cursor = await conn.execute("SELECT announcement_sha256 FROM epoch LIMIT 1")
        assert await cursor.fetchone() == (b"\x00\xff",)
        assert await add_datastream(conn) == 2  # ids go on where they were
    assert (restored.epochs_closed, restored.gateways) == (1, 1)
    assert restored.last_message_at == NOON


async def test_only_its_owner_reads_it_and_it_is_never_written_over(
    filled: str, file: Path
) -> None:
    before = state_of(file)
    assert before[0] & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        await back_up(filled, file, quietly)
    assert state_of(file) == before
    assert os.listdir(file.parent) == [file.name]  # noqa: PTH208 - names are what it returns


async def test_a_backup_is_of_one_moment(filled: str, tmp_path: Path) -> None:
    """What is committed while it runs is not in it, of whichever table; nobody is held up."""
    written = 0
    with psycopg.connect(filled, autocommit=True) as writer:

        def write(_done: int, _total: int) -> None:
            nonlocal written
            for table in (
                "observation (datastream_id, time)",
                "rollup_log (datastream_id, bucket)",
            ):
                statement = f"INSERT INTO {table} VALUES (1, %s)"  # noqa: S608 - ours
                writer.execute(statement, (NOON + HOUR + written * DAY / 86400,))  # type: ignore[arg-type]
            written += 1

        path = tmp_path / "backup"
        manifest = await back_up(filled, path, write)
    assert written >= len(manifest.contents)
    assert rows_of(manifest, "observation") == 6
    assert rows_of(manifest, "rollup_log") == 0


def rows_of(manifest: Manifest, table: str) -> int:
    return sum(content.rows for content in manifest.contents if content.table == table)


async def test_a_target_that_holds_something_is_refused_unless_told(
    file: Path, empty_dsn: str
) -> None:
    await bring(file, empty_dsn)
    async with await connect(empty_dsn, autocommit=True, application_name="test") as conn:
        await conn.execute(
            "CREATE TABLE somebody_elses (n int); INSERT INTO somebody_elses VALUES (1)"
        )
        await store(conn, (1, NOON + timedelta(minutes=1), 5.0))
        before = await everything(empty_dsn)
        with pytest.raises(TargetError, match="not empty: "):
            await bring(file, empty_dsn)
        assert await everything(empty_dsn) == before
        await bring(file, empty_dsn, replace=True)
        assert len((await everything(empty_dsn))["observation"]) == 6
        cursor = await conn.execute("SELECT n FROM somebody_elses")
        assert await cursor.fetchone() == (1,)


async def test_a_target_in_use_is_refused(file: Path, empty_dsn: str) -> None:
    async with await connect(empty_dsn, application_name="kerbstone ingest store"):
        with pytest.raises(TargetError, match="kerbstone ingest store; stop them first"):
            await bring(file, empty_dsn)
    async with await connect(empty_dsn, application_name=APPLICATION_NAME):
        await bring(file, empty_dsn)


async def test_a_damaged_file_leaves_a_database_that_knows_no_gateway(
    file: Path, empty_dsn: str, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    damage(file, "signed_batch.copy.zst", damaged)

    with pytest.raises(BackupError, match="signed_batch"):
        await bring(damaged, empty_dsn)

    found = await everything(empty_dsn)
    assert {name for name, rows in found.items() if rows} == {"observation"}
    with pytest.raises(TargetError, match="observation has rows"):
        await bring(file, empty_dsn)
    await bring(file, empty_dsn, replace=True)


async def test_nothing_is_given_up_for_a_damaged_file(
    file: Path, empty_dsn: str, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    damage(file, "signed_batch.copy.zst", damaged)
    await bring(file, empty_dsn)
    before = await everything(empty_dsn)

    with pytest.raises(BackupError, match="signed_batch"):
        await bring(damaged, empty_dsn, replace=True)

    assert await everything(empty_dsn) == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive"])
async def test_what_is_no_backup_is_refused(empty_dsn: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BackupError, match="is no backup"):
        await bring(path, empty_dsn)


@pytest.fixture
async def target(database_server: DatabaseServer) -> AsyncIterator[str]:
    """Another empty database beside the test's own."""
    dsn = await database_server.create(migrated=False)
    yield dsn
    await database_server.drop(dsn)


async def test_a_backup_of_an_older_version_is_migrated_on(
    empty_dsn: str, target: str, tmp_path: Path
) -> None:
    await migrate(empty_dsn, until="0009_life_of_data")
    async with await connect(empty_dsn, autocommit=True, application_name="test") as conn:
        await fill(conn)
        assert (await base_names(conn))[-1] == "0009_life_of_data"
    file = tmp_path / "backup"
    manifest = await back_up(empty_dsn, file, quietly)

    await bring(file, target)

    async with await connect(target, autocommit=True, application_name="test") as conn:
        newest = [base_name(each.name) for each in read_migrations(MIGRATIONS, Edition.PLAIN)]
        assert await base_names(conn) == newest
        cursor = await conn.execute("SELECT count(*) FROM observation")
        assert await cursor.fetchone() == (rows_of(manifest, "observation"),)


async def test_a_backup_of_a_newer_version_is_refused(
    file: Path, empty_dsn: str, tmp_path: Path
) -> None:
    newer = tmp_path / "newer"
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(newer, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            if name == MANIFEST:
                document = json.loads(content)
                document["migrations"].append("9999_years_hence")
                content = json.dumps(document).encode()
            changed.writestr(name, content)
    with pytest.raises(BackupError, match="9999_years_hence"):
        await bring(newer, empty_dsn)
    assert await everything(empty_dsn) == {}


@pytest.fixture(scope="module")
async def other_server(
    database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EmbeddedDatabase]:
    """A server of the other edition."""
    directory = tmp_path_factory.mktemp("other")
    other = EmbeddedDatabase.start(directory, timescaledb=database_server.name == "plain")
    yield other
    other.stop()
    remove(directory)


async def test_a_backup_restores_into_the_other_edition(
    dsn: str, connection: Connection, tmp_path: Path, other_server: EmbeddedDatabase
) -> None:
    """Also where the two drop old observations by different portions."""
    datastream = await fill(connection)
    plain = await detect(connection) is Edition.PLAIN
    floor = datetime(2024, 3, 1 if plain else 10, tzinfo=UTC)
    await store(connection, (datastream, datetime(2024, 3, 9, tzinfo=UTC), 7.0))
    await expire(connection, NOON - 10 * DAY)
    file = tmp_path / "backup"
    await back_up(dsn, file, quietly)
    target = other_server.create_database("restored")

    await bring(file, target, replace=True)

    before, after = await everything(dsn), await everything(target)
    for changed in ("epoch", "datastream_floor", "observation_floor"):
        before.pop(changed)
        after.pop(changed)
    assert before == after
    async with await connect(target, autocommit=True, application_name="test") as conn:
        assert (await detect(conn) is Edition.PLAIN) is not plain
        late = [floor - HOUR, floor - 40 * DAY, floor - 9000 * DAY, floor + HOUR]
        await ensure_partitions(conn, floor - 60 * DAY, floor)
        was = await hourly(conn, [datastream], NOON - 10_000 * DAY, NOON + DAY)
        await store(conn, *((datastream, time, 1000.0) for time in late))
        while await refresh_rollups(conn):
            pass
        now = await hourly(conn, [datastream], NOON - 10_000 * DAY, NOON + DAY)
        assert [each for each in now if each.bucket < floor] == [
            each for each in was if each.bucket < floor
        ]
        assert [each.value for each in now if each.bucket == floor + HOUR] == [1000.0]
        await expire(conn, NOON - 9 * DAY)


async def test_a_database_that_was_never_migrated_has_no_backup(
    empty_dsn: str, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match='"observation" does not exist'):
        await back_up(empty_dsn, tmp_path / "backup", quietly)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names are what it returns
    await migrate(empty_dsn)
    manifest = await back_up(empty_dsn, tmp_path / "backup", quietly)
    assert manifest.rows == 0
