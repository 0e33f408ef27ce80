"""Taking all that a database holds into one file, while everything goes on.

Contents come by binary COPY in one snapshot: everything committed before it is in the file, and
nothing after. The file restores into either edition and any later version (`restore`).
Not in it: settings, key files, the authority's files, and what is on gateways and brokers.
"""

from collections.abc import Callable
from pathlib import Path

from psycopg import IsolationLevel, sql

from runtime.version import VERSION
from storage.archive.backup_file import Content, Manifest, Writer, create
from storage.archive.tables import Stretch, Table, counters, estimated_rows, stretches, tables
from storage.database import Connection, connect
from storage.edition import detect
from storage.migration import base_names

OBSERVATION = "observation"
APPLICATION_NAME = "kerbstone data"

Progress = Callable[[int, int], None]
"""Told how many rows are done, and of how many, about."""


async def back_up(dsn: str, path: Path, progress: Progress) -> Manifest:
    """Write a backup to a new file; return what it holds.

    Nobody waits for it but whoever drops partitions or chunks, or migrates.

    Raises:
        FileExistsError: the file exists.
        OSError: the file cannot be written.
        psycopg.OperationalError: the server cannot be reached, or went away: no file is made.
        psycopg.errors.UndefinedTable: the database was never migrated.
    """
    async with await connect(dsn, application_name=APPLICATION_NAME) as conn:
        found = await _begin(conn)
        names = [table.name for table in found]
        total = await estimated_rows(conn, names)
        cursor = await conn.execute("SELECT now(), version(), (SELECT time FROM observation_floor)")
        [(taken_at, server, floor)] = await cursor.fetchall()
        contents: list[Content] = []
        with create(path) as writer:
            for table in found:
                parts: list[Stretch | None] = [None]
                if table.name == OBSERVATION:
                    parts = [*await stretches(conn)]
                for part in parts:
                    tell = _after(sum(content.rows for content in contents), total, progress)
                    contents.append(await _take(conn, writer, table, part, tell))
            manifest = Manifest(
                taken_at=taken_at,
                version=VERSION,
                server=server,
                edition=await detect(conn),
                migrations=tuple(await base_names(conn)),
                observation_floor=floor,
                contents=tuple(content for content in contents if _says_something(content)),
                counters=tuple(await counters(conn, names)),
            )
            writer.finish(manifest)
    return manifest


def _after(done: int, total: int, progress: Progress) -> Callable[[int], None]:
    """Return what is to be told the rows of one content, when so many came before it."""
    return lambda rows: progress(done + rows, total)


async def _begin(conn: Connection) -> list[Table]:
    """Begin the snapshot; return our tables, of which nobody drops anything while it lasts.

    Locking takes no snapshot yet: of what was dropped between the two, the snapshot would show
    nothing.
    """
    await conn.execute("SELECT FROM observation LIMIT 0")  # raises where there is none
    found = await tables(conn)
    await conn.rollback()
    await conn.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    await conn.set_read_only(True)
    await conn.execute(
        sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(
            sql.SQL(", ").join(table.identifier for table in found)
        )
    )
    return found


async def _take(
    conn: Connection,
    writer: Writer,
    table: Table,
    stretch: Stretch | None,
    progress: Callable[[int], None],
) -> Content:
    """Copy one table, or a stretch of the observations, into the file."""
    label = "" if stretch is None else f"/{stretch.start or 'older'}"
    member = f"{table.name}{label}.copy.zst"
    rows = 0
    statement = sql.SQL("COPY (SELECT {} FROM {} {}) TO STDOUT (FORMAT binary)").format(
        table.column_list, table.identifier, _bounds(stretch)
    )
    with writer.member(member) as out:
        async with conn.cursor() as cursor:
            async with cursor.copy(statement) as copy:
                async for data in copy:
                    out.write(data)
                    rows += 1
                    if rows % 100_000 == 0:
                        progress(rows)
            rows = cursor.rowcount
        out.flush()
        progress(rows)
        return Content(
            table=table.name,
            columns=table.columns,
            types=table.types,
            stretch=stretch,
            member=member,
            rows=rows,
            bytes=out.bytes,
            sha256=out.sha256,
        )


def _bounds(stretch: Stretch | None) -> sql.Composed:
    """Return the condition that a stretch is, as constants: partitions outside it are left out."""
    parts = []
    if stretch is not None and stretch.start is not None:
        parts.append(sql.SQL("time >= {}").format(sql.Literal(f"{stretch.start} 00:00:00+00")))
    if stretch is not None and stretch.end is not None:
        parts.append(sql.SQL("time < {}").format(sql.Literal(f"{stretch.end} 00:00:00+00")))
    joined = sql.SQL(" AND ").join(parts)
    return sql.Composed([sql.SQL("WHERE "), joined]) if parts else joined


def _says_something(content: Content) -> bool:
    """Leave out the months, and what is around them, that no observation lies in."""
    return content.rows > 0 or content.stretch is None
