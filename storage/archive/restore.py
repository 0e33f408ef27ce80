"""Bringing a backup back into a database, of either edition, so that ingest may start on it.

Observations come first, in transactions of their own. All that makes the database of use (councils,
gateways, keys, epochs) comes last, in one transaction that also closes every epoch: until it
commits the database knows no gateway, so an ingest started on half of it takes nothing, and
acknowledges nothing. Taking a backup is `storage.archive.backup`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import psycopg
from psycopg import sql

from storage.archive.backup import APPLICATION_NAME, OBSERVATION, Progress
from storage.archive.backup_file import BackupError, Content, Manifest, Reader
from storage.archive.tables import Table, functions, set_counters, tables
from storage.database import Connection, connect, query
from storage.edition import Edition, detect
from storage.epochs import close_open_epochs
from storage.migration import MIGRATIONS, base_name, migrate, read_migrations
from storage.partitions import ensure_months
from storage.retention import move_floor

_RECORD: Final = "schema_migration"


class TargetError(Exception):
    """The database is not one to restore into; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came back. epochs_closed: of those open when the backup was taken.

    last_message_at: when the newest message in it was stored; None without any.
    """

    rows: int
    gateways: int
    epochs_closed: int
    last_message_at: datetime | None


async def restore(dsn: str, backup: Reader, progress: Progress, *, replace: bool) -> Restored:
    """Bring a backup into a database that holds nothing of ours, or, with `replace`, instead.

    Raises:
        TargetError: the database holds something, or processes of ours are connected to it.
        BackupError: the file is damaged, or of a later version.
        MigrationError: what lies in the database belongs to another version.
        psycopg.OperationalError: the server went away; begin again, with `replace`.
    """
    manifest = backup.manifest
    async with await connect(dsn, autocommit=True, application_name=APPLICATION_NAME) as conn:
        await _check_target(conn, replace=replace)
        last = await _last_migration(conn, manifest)
        if replace:
            _check_whole(backup)
        await _drop_everything(conn)
        await migrate(dsn, until=last)
        found = {table.name: table for table in await tables(conn)}
        _check_columns(manifest, found)
        await _prepare_partitions(conn, manifest)
        done = _Tally(progress, manifest.rows)
        for content in manifest.contents:
            if content.table == OBSERVATION:
                async with conn.transaction():
                    await _bring(conn, backup, content, done)
        async with conn.transaction():
            for name in found:
                for content in manifest.contents:
                    if content.table == name != OBSERVATION:
                        await _bring(conn, backup, content, done)
            await set_counters(conn, manifest.counters)
            await _round_floor(conn)
            closed = await close_open_epochs(conn)
        await migrate(dsn)
        await conn.execute("ANALYZE")
        cursor = await conn.execute(
            "SELECT (SELECT count(*) FROM gateway), (SELECT max(received_at) FROM signed_batch)"
        )
        [(gateways, last_message_at)] = await cursor.fetchall()
    return Restored(
        rows=manifest.rows,
        gateways=gateways,
        epochs_closed=closed,
        last_message_at=last_message_at,
    )


class _Tally:
    """Counts rows by bytes: how many a block holds is not known, how many a content holds is."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._rows = 0

    def within(self, content: Content) -> Callable[[int], None]:
        """Return what is to be told how many bytes of a content are done."""
        before = self._rows
        self._rows += content.rows

        def tell(size: int) -> None:
            share = size / content.bytes if content.bytes else 1.0
            self._progress(before + int(content.rows * share), self._total)

        return tell


async def _check_target(conn: Connection, *, replace: bool) -> None:
    cursor = await conn.execute(query("connected_processes"))
    if names := [name for (name,) in await cursor.fetchall()]:
        raise TargetError(f"connected to the database: {', '.join(names)}; stop them first")
    if replace:
        return
    for table in await tables(conn):
        cursor = await conn.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table.identifier)
        )
        if await cursor.fetchone() == (True,):
            raise TargetError(
                f"the database is not empty: {table.name} has rows. Restore into an empty one, "
                "or add --replace to drop everything of ours in this one first"
            )


async def _last_migration(conn: Connection, manifest: Manifest) -> str:
    """Return the last migration that the backed-up database had had.

    Raises:
        BackupError: this version does not know what it had had.
    """
    known = [base_name(each.name) for each in read_migrations(MIGRATIONS, await detect(conn))]
    had = list(manifest.migrations)
    if had != known[: len(had)]:
        unknown = sorted(set(had) - set(known)) or had
        raise BackupError(
            f"the backup is of version {manifest.version} with migrations that this version does "
            f"not know ({', '.join(unknown)}): restore with that version or a later one"
        )
    return had[-1]


def _check_whole(backup: Reader) -> None:
    """Read all of a backup before something is given up for it.

    Raises:
        BackupError: it is not as it was written.
    """
    for content in backup.manifest.contents:
        for _ in backup.blocks(content):
            pass


async def _drop_everything(conn: Connection) -> None:
    """Drop our tables and functions, so that what comes meets the form that it had.

    The extension stays, and what is not ours.
    """
    async with conn.transaction():
        names = [table.name for table in await tables(conn)]
        for name in [*names, _RECORD]:
            await conn.execute(
                sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(name))
            )
        for name in functions():
            await conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {}").format(sql.Identifier(name)))


def _check_columns(manifest: Manifest, found: dict[str, Table]) -> None:
    """Refuse contents for which there is no such table; binary COPY would misread them."""
    for content in manifest.contents:
        table = found.get(content.table)
        if table is None or (table.columns, table.types) != (content.columns, content.types):
            raise BackupError(f"table {content.table} is not as it was when it was backed up")
    for counter in manifest.counters:
        table = found.get(counter.table)
        if table is None or counter.column not in table.columns:
            raise BackupError(f"there is no column {counter.column} of table {counter.table} here")


async def _prepare_partitions(conn: Connection, manifest: Manifest) -> None:
    """Make a place for every observation, also for those from before the floor."""
    floor = manifest.observation_floor
    if await detect(conn) is Edition.PLAIN and floor is not None:
        await move_floor(conn, _month(floor))
    months = [
        content.stretch.start
        for content in manifest.contents
        if content.stretch is not None and content.stretch.start is not None
    ]
    await ensure_months(conn, months)
    await conn.execute("DELETE FROM observation_floor")  # it comes with its table


async def _round_floor(conn: Connection) -> None:
    """Where a month is the smallest that can be dropped, let the floor be the first of one.

    Hours between the two are kept from being recomputed by the datastreams' own floors.
    """
    if await detect(conn) is not Edition.PLAIN:
        return
    cursor = await conn.execute("SELECT time FROM observation_floor")
    for (floor,) in await cursor.fetchall():
        if floor != _month(floor):
            datastreams = await conn.execute("SELECT id FROM datastream")
            ids = [datastream_id for (datastream_id,) in await datastreams.fetchall()]
            values = {"datastream_ids": ids, "floor": floor}
            await conn.execute(query("raise_datastream_floors"), values)
            await conn.execute("UPDATE observation_floor SET time = %s", (_month(floor),))


def _month(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def _bring(conn: Connection, backup: Reader, content: Content, tally: _Tally) -> None:
    """Copy one content into its table, inside the caller's transaction."""
    tell = tally.within(content)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(content.table), _names(content.columns)
    )
    size = 0
    async with conn.cursor() as cursor:
        try:
            async with cursor.copy(statement) as copy:
                for block in backup.blocks(content):
                    await copy.write(block)
                    size += len(block)
                    tell(size)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise BackupError(f"{content.member} does not fit: {error}") from error
        if cursor.rowcount != content.rows:
            raise BackupError(
                f"{content.member} held {cursor.rowcount} rows, {content.rows} were written"
            )


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
