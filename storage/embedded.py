"""A PostgreSQL or TimescaleDB server of one's own, for the demo and the tests.

The server listens on loopback only, keeps its files in a directory of the caller's and is as
durable as a real one. It is not how production gets its database. Where the programs come from
is `storage.programs`.
"""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg import sql

from storage.cluster import ROLE, DataDirectory, end_process
from storage.edition import Edition
from storage.programs import (
    UNPRIVILEGED,
    EmbeddedDatabaseError,
    Programs,
    default_prefix,
    plain_programs,
    server_account,
    timescaledb_programs,
)

_START_SECONDS: Final = 300.0  # crash recovery replays up to max_wal_size
_BUSY_SECONDS: Final = 15.0  # the children of a killed server, until they notice
_POLL_SECONDS: Final = 0.02
_MEBIBYTE: Final = 1 << 20
_SETTINGS: Final = {
    "unix_socket_directories": "",  # loopback TCP alone, always with a password
    "fsync": "on",
    "synchronous_commit": "on",
    "max_wal_size": "2GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",  # costs more than it gains on short statements over many partitions
    "max_locks_per_transaction": "256",  # a query may touch every partition or chunk
    "max_connections": "100",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a: ",
    "log_checkpoints": "off",
}
_TIMESCALEDB_SETTINGS: Final = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.max_background_workers": "0",  # its one job is refused by the Apache edition
}


class EmbeddedDatabase:
    """A running server; also a context manager that stops it.

    dsn: how to connect to its database `kerbstone`; the password is in a 0600 file it names.
    pid: of the server's first process. cluster: where its files really are.
    edition_hint: what it was started for; `storage.edition.detect` has the last word.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        directory: DataDirectory,
        port: int,
        edition_hint: Edition,
    ) -> None:
        self._process = process
        self._directory = directory
        self.port = port
        self.edition_hint = edition_hint
        self.pid = process.pid
        self.cluster = directory.cluster.resolve()
        self.dsn = directory.dsn(port, ROLE)

    @classmethod
    def start(
        cls,
        data_directory: Path,
        *,
        timescaledb: bool | Path = False,
        port: int | None = None,
        unprivileged_directory: Path = UNPRIVILEGED,
        progress: Callable[[str], None] = lambda _line: None,
    ) -> Self:
        """Start a server on the files in `data_directory`, made if they do not exist.

        timescaledb: True for TimescaleDB from its default prefix, or that prefix.
        port: the loopback port; None for the last one used if it is still free, else any.
        unprivileged_directory: where root keeps what the server's account cannot reach here.
        progress: told, in a line each, what takes time or may surprise.

        A server left over by a killed caller is stopped first; one whose caller lives is not.

        Raises:
            EmbeddedDatabaseError: it cannot be started; the server's last log lines are in it.
        """
        account = server_account()
        if timescaledb:
            prefix = timescaledb if isinstance(timescaledb, Path) else default_prefix(account)
            programs = timescaledb_programs(account, prefix)
        else:
            programs = plain_programs(account, unprivileged_directory)
        edition = Edition.APACHE if timescaledb else Edition.PLAIN
        with ExitStack() as on_failure:
            directory = DataDirectory(data_directory.absolute())
            on_failure.callback(directory.unlock)
            directory.lock()
            if directory.edition() is None:
                directory.make_cluster(programs, edition, unprivileged_directory, progress)
            directory.check(programs, edition)
            directory.stop_orphan(progress)
            process, used_port = _launch(programs, directory, edition, port)
            database = cls(process, directory, used_port, edition)
            on_failure.callback(database.stop)
            database.create_database(ROLE)
            on_failure.pop_all()
        return database

    def start_replica(
        self,
        data_directory: Path,
        *,
        port: int | None = None,
        unprivileged_directory: Path = UNPRIVILEGED,
    ) -> "EmbeddedDatabase":
        """Start a streaming replica of this server on the files in `data_directory`.

        They are copied from this server where there are none. Reads are answered while the copy
        follows; nothing can be written there. Its own sessions wait for nobody and delay nobody:
        a question that stands in the way of what is to be replayed is ended after half a minute.

        Raises:
            EmbeddedDatabaseError: it cannot be copied or started.
        """
        account = server_account()
        if self.edition_hint is not Edition.PLAIN:
            programs = timescaledb_programs(account, default_prefix(account))
        else:
            programs = plain_programs(account, unprivileged_directory)
        with ExitStack() as on_failure:
            directory = DataDirectory(data_directory.absolute())
            on_failure.callback(directory.unlock)
            directory.lock()
            if directory.edition() is None:
                directory.copy_cluster(programs, self._directory, self.port, unprivileged_directory)
            directory.check(programs, self.edition_hint)
            directory.stop_orphan(lambda _line: None)
            process, used_port = _launch(programs, directory, self.edition_hint, port)
            replica = EmbeddedDatabase(process, directory, used_port, self.edition_hint)
            on_failure.pop_all()
        return replica

    def create_database(self, name: str) -> str:
        """Make an empty database, with TimescaleDB in it if started for that; return its dsn.

        An existing one is left as it is.
        """
        with psycopg.connect(self._directory.dsn(self.port, "postgres"), autocommit=True) as conn:
            found = conn.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if found is None:
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        dsn = self._directory.dsn(self.port, name)
        if self.edition_hint is not Edition.PLAIN:
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute("SET client_min_messages = warning")
                conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        return dsn

    def stop(self) -> None:
        """Stop the server: sessions are ended, committed work is kept. Harmless when stopped."""
        if self._process.returncode is None:
            end_process(self._process.pid, lambda: self._process.poll() is None)
        self._process.wait()
        self._directory.unlock()

    def kill(self) -> None:
        """Kill the server without warning, as a power cut or the kernel would."""
        self._process.kill()
        self._process.wait()
        self._directory.unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def edition_of(data_directory: Path) -> Edition | None:
    """Return what the files in a directory were made for: to be started as; None without any."""
    return DataDirectory(data_directory.absolute()).edition()


def remove(data_directory: Path) -> None:
    """Delete a stopped server's files, wherever they are. Harmless when there are none.

    Raises:
        EmbeddedDatabaseError: the server is in use.
    """
    directory = DataDirectory(data_directory.absolute())
    directory.lock()
    try:
        directory.stop_orphan(lambda _line: None)
        directory.delete()
    finally:
        directory.unlock()


def _launch(
    programs: Programs, directory: DataDirectory, edition: Edition, port: int | None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server on the first port that works; return it and the port once it is ready.

    Raises:
        EmbeddedDatabaseError: it ended before it was ready.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    ports = directory.ports_to_try(port)
    while True:
        process = _spawn(programs, directory, edition, ports[0])
        if _becomes_ready(process, directory):
            directory.remember_port(ports[0])
            return process, ports[0]
        said = directory.last_log_lines()
        if "could not bind" in said and len(ports) > 1:
            ports = ports[1:]
        elif "is still in use" in said and time.monotonic() < deadline:
            time.sleep(0.2)  # children of a killed server hold its shared memory a little longer
        else:
            raise EmbeddedDatabaseError(
                f"PostgreSQL did not start; {directory.log} ends with:\n{said}"
            )


def _spawn(
    programs: Programs, directory: DataDirectory, edition: Edition, port: int
) -> subprocess.Popen[bytes]:
    settings = _SETTINGS | _memory_settings()
    if edition is not Edition.PLAIN:
        settings |= _TIMESCALEDB_SETTINGS
    command: list[str | Path] = [programs.path("postgres"), "-D", directory.cluster.resolve()]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with directory.open_log() as log:
        return programs.account.spawn(command, log)


def _becomes_ready(process: subprocess.Popen[bytes], directory: DataDirectory) -> bool:
    """Wait until the server takes connections; return False when it ended instead.

    Raises:
        EmbeddedDatabaseError: neither happened in time; the server is ended.
    """
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None:
        status = [line.strip() for line in directory.status()]
        if status[:1] == [str(process.pid)] and status[7:8] == ["ready"]:
            return True
        if time.monotonic() > deadline:
            end_process(process.pid, lambda: process.poll() is None)
            raise EmbeddedDatabaseError(
                f"PostgreSQL was not ready after {_START_SECONDS:.0f} s; {directory.log} ends "
                f"with:\n{directory.last_log_lines()}"
            )
        time.sleep(_POLL_SECONDS)
    return False


def _memory_settings() -> dict[str, str]:
    """Return settings that follow this machine's memory, modest on a small one."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    shared = min(max(memory // 8, 64 * _MEBIBYTE), 512 * _MEBIBYTE)
    return {
        "shared_buffers": f"{shared // _MEBIBYTE}MB",
        "effective_cache_size": f"{memory // 2 // _MEBIBYTE}MB",
    }
