"""Bringing a database's schema up to this version: numbered SQL, forward only.

Each file of storage/migrations is applied once, in order, in one transaction with the record
of it, so that a failed step changes nothing. A file named `NNNN_name.EDITION.sql` is for that
edition alone. What the tables mean is said in the files.
"""

from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Final

from psycopg.rows import class_row

from storage.database import Connection, connect
from storage.edition import Edition, detect

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_LOCK: Final = 0x4B65_7262_0001  # advisory lock key, ours within a database
_RECORD: Final = """
    CREATE TABLE IF NOT EXISTS schema_migration (
        name       text PRIMARY KEY,
        sha256     bytea NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


class MigrationError(Exception):
    """The database's schema and this version's migrations do not go together."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: the file's name without suffix, and its text."""

    name: str
    sql: bytes

    @property
    def sha256(self) -> bytes:
        """Checksum by which a later change of the file is noticed."""
        return sha256(self.sql).digest()


@dataclass(frozen=True, slots=True)
class Applied:
    """What the database remembers of one step."""

    name: str
    sha256: bytes


async def migrate(dsn: str, *, directory: Path = MIGRATIONS, until: str | None = None) -> list[str]:
    """Apply what is missing; return the names applied, in order.

    until: the last to apply, by `base_name`; None for all.

    Safe to call from several processes at once: one works, the others wait and find it done.

    Raises:
        MigrationError: a file was changed after it was applied, the database holds a step that
            this version does not know, or a file sorts before one that is already applied.
        psycopg.Error: a step failed; it and all after it are not applied.
    """
    conn = await connect(dsn, autocommit=True, application_name="kerbstone migrate")
    async with conn:  # closing it releases the lock
        await conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        await conn.execute(_RECORD)
        known = read_migrations(directory, await detect(conn))
        missing = find_missing(known, await _applied(conn))
        if until is not None:
            missing = [each for each in missing if base_name(each.name) <= until]
        for migration in missing:
            await _apply(conn, migration)
        return [migration.name for migration in missing]


def read_migrations(directory: Path, edition: Edition) -> list[Migration]:
    """Return the steps for `edition` in `directory`, in order."""
    others = {f".{other.value}" for other in Edition if other is not edition}
    paths = sorted(path for path in directory.glob("*.sql") if Path(path.stem).suffix not in others)
    return [Migration(path.stem, path.read_bytes()) for path in paths]


def find_missing(known: list[Migration], applied: list[Applied]) -> list[Migration]:
    """Return the steps of `known` that follow the `applied` ones.

    Raises:
        MigrationError: as `migrate` says.
    """
    checksums = {migration.name: migration.sha256 for migration in known}
    for step in applied:
        if step.name not in checksums:
            raise MigrationError(
                f"the database has had migration {step.name}, which this version does not know: "
                "it belongs to a newer version"
            )
        if step.sha256 != checksums[step.name]:
            raise MigrationError(f"migration {step.name} was changed after it was applied")
    done = {step.name for step in applied}
    leading = list(takewhile(lambda migration: migration.name in done, known))
    missing = known[len(leading) :]
    if late := [migration.name for migration in missing if migration.name in done]:
        raise MigrationError(
            f"migration {missing[0].name} sorts before {late[0]}, which is already applied"
        )
    return missing


def base_name(name: str) -> str:
    """Return a migration's name without the edition that it is for."""
    return name.partition(".")[0]


async def base_names(conn: Connection) -> list[str]:
    """Return the base names of what a database has had, in order."""
    return [base_name(step.name) for step in await _applied(conn)]


async def _applied(conn: Connection) -> list[Applied]:
    async with conn.cursor(row_factory=class_row(Applied)) as cursor:
        await cursor.execute("SELECT name, sha256 FROM schema_migration ORDER BY name")
        return await cursor.fetchall()


async def _apply(conn: Connection, migration: Migration) -> None:
    async with conn.transaction():
        await conn.execute(migration.sql)
        await conn.execute(
            "INSERT INTO schema_migration (name, sha256) VALUES (%s, %s)",
            (migration.name, migration.sha256),
        )
