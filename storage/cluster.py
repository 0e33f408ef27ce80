"""What an embedded server keeps in its caller's directory, and what a killed one leaves there.

Lock, password, port, logs and the cluster itself. Running the server is `storage.embedded`.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, Final

from psycopg.conninfo import make_conninfo

from storage.edition import Edition
from storage.programs import EmbeddedDatabaseError, Programs, make_reachable

ROLE: Final = "kerbstone"  # the server's one role, and the name of the caller's database

_STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_LOG_LINES: Final = 12


class DataDirectory:
    """What lies in the caller's directory: lock, edition, password, port, logs, the cluster.

    `cluster` is PostgreSQL's own data directory, or a symbolic link to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cluster = path / "cluster"
        self.log = path / "server.log"
        self._edition = path / "edition"
        self._password = path / "pgpass"
        self._port = path / "port"
        self._lock_file = path / "lock"
        self._lock: IO[bytes] | None = None

    def lock(self) -> None:
        """Keep other callers out; the lock goes with this process, however it ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = self._lock_file.open("ab")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.close()
            raise EmbeddedDatabaseError(f"{self.path} is in use by another process") from error
        self._lock = handle

    def unlock(self) -> None:
        """Let other callers in."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def dsn(self, port: int, database: str) -> str:
        """Return how to connect; the password stays in its file."""
        return make_conninfo(
            "",
            host="127.0.0.1",
            port=port,
            dbname=database,
            user=ROLE,
            passfile=str(self._password),
        )

    def edition(self) -> Edition | None:
        """Return what the cluster was made for; None when there is none yet."""
        if not self.cluster.is_symlink() and not self.cluster.exists():
            return None
        return Edition(self._edition.read_text())

    def make_cluster(
        self,
        programs: Programs,
        edition: Edition,
        unprivileged_directory: Path,
        progress: Callable[[str], None],
    ) -> None:
        """Run initdb; `cluster` appears only once it is whole."""
        account = programs.account
        if account.is_other and not account.can_enter(self.path):
            place = unprivileged_directory / "clusters"
            make_reachable(place)
            new = Path(tempfile.mkdtemp(prefix=f"{self.path.name}-", dir=place))
            progress(f"PostgreSQL refuses root: it runs as {account.name}, its files are in {new}")
        else:
            new = self.path / "cluster.new"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o700)
        password = secrets.token_urlsafe(24)
        try:
            self._initialise(programs, new, password)
        except BaseException:
            shutil.rmtree(new)
            raise
        _write_secret(self._password, f"127.0.0.1:*:*:{ROLE}:{password}\n")
        self._edition.write_text(edition.value)
        if new.parent == self.path:
            new.rename(self.cluster)
        else:
            self.cluster.symlink_to(new)

    def copy_cluster(
        self,
        programs: Programs,
        primary: "DataDirectory",
        port: int,
        unprivileged_directory: Path,
    ) -> None:
        """Copy a running server's cluster, to follow it as a streaming replica from then on.

        port: of the primary. `cluster` appears only once it is whole.
        """
        account = programs.account
        if account.is_other and not account.can_enter(self.path):
            place = unprivileged_directory / "clusters"
            make_reachable(place)
            new = Path(tempfile.mkdtemp(prefix=f"{self.path.name}-", dir=place))
        else:
            new = self.path / "cluster.new"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o700)
        password = primary._password.read_text()  # noqa: SLF001 - another of our own kind
        password_file = new.with_name(f"{new.name}.pgpass")
        _write_secret(password_file, password)
        if account.is_other:
            os.chown(new, account.uid, account.gid)
            os.chown(password_file, account.uid, account.gid)
        dsn = make_conninfo(
            "",
            host="127.0.0.1",
            port=port,
            user=ROLE,
            passfile=str(password_file),
            application_name="kerbstone replica",
        )
        done = account.run(
            [
                programs.path("pg_basebackup"),
                f"--pgdata={new}",
                f"--dbname={dsn}",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--wal-method=stream",
            ]
        )
        if done.returncode != 0:
            shutil.rmtree(new)
            raise EmbeddedDatabaseError(f"pg_basebackup failed: {done.stderr.strip()}")
        _write_secret(self._password, password)
        self._edition.write_text(primary._edition.read_text())  # noqa: SLF001 - as above
        if new.parent == self.path:
            new.rename(self.cluster)
        else:
            self.cluster.symlink_to(new)

    def _initialise(self, programs: Programs, new: Path, password: str) -> None:
        account = programs.account
        password_file = new.with_name(f"{new.name}.password")
        _write_secret(password_file, password)
        try:
            if account.is_other:
                os.chown(new, account.uid, account.gid)
                os.chown(password_file, account.uid, account.gid)
            done = account.run(
                [
                    programs.path("initdb"),
                    f"--pgdata={new}",
                    f"--pwfile={password_file}",
                    f"--username={ROLE}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--data-checksums",
                ]
            )
        finally:
            password_file.unlink()
        if done.returncode != 0:
            raise EmbeddedDatabaseError(f"initdb failed: {done.stderr.strip()}")

    def check(self, programs: Programs, edition: Edition) -> None:
        """Refuse files that were made for another edition or major version, or that are gone.

        Raises:
            EmbeddedDatabaseError: one of these.
        """
        if (made_for := self.edition()) is not edition:
            raise EmbeddedDatabaseError(
                f"{self.path} was made for the edition {made_for and made_for.value}, not "
                f"{edition.value}: start it as that, or use another directory"
            )
        try:
            made_by = (self.cluster / "PG_VERSION").read_text().strip()
        except FileNotFoundError as error:
            raise EmbeddedDatabaseError(
                f"the database of {self.path} was in {self.cluster.resolve()} and is gone; "
                f"remove {self.cluster} to begin with an empty one"
            ) from error
        if made_by != (ours := programs.major_version()):
            raise EmbeddedDatabaseError(
                f"{self.path} was made by PostgreSQL {made_by}, this server is {ours}: "
                "use another directory"
            )

    def stop_orphan(self, progress: Callable[[str], None]) -> None:
        """Stop a server that outlived its caller, and clear what would block the next."""
        pid = self.server_pid()
        if pid is None:
            return
        if self.runs_here(pid):
            progress(f"stopping the server a killed process left behind (pid {pid})")
            end_process(pid, lambda: self.runs_here(pid))
        elif _command_of(pid):
            # The number now belongs to another program, which PostgreSQL would take for itself.
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def server_pid(self) -> int | None:
        """Return the pid that the last server wrote down, running or not."""
        status = self.status()
        return int(status[0]) if status else None

    def status(self) -> list[str]:
        """Return the lines of postmaster.pid: pid first, "ready" eighth; none when stopped."""
        try:
            return (self.cluster / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return []

    def runs_here(self, pid: int) -> bool:
        """Return whether `pid` is a PostgreSQL server on this cluster."""
        command = _command_of(pid)
        return f"postgres -D {self.cluster.resolve()} " in command

    def ports_to_try(self, wanted: int | None) -> list[int]:
        """Return ports, best first: the one asked for, or the last used and some free ones."""
        if wanted is not None:
            return [wanted]
        last = [int(self._port.read_text())] if self._port.exists() else []
        return last + [_free_port() for _ in range(3)]

    def remember_port(self, port: int) -> None:
        """Keep `port` for the next start."""
        self._port.write_text(str(port))

    def open_log(self) -> IO[bytes]:
        """Begin a log; the one before stays as server.log.1."""
        if self.log.exists():
            self.log.replace(self.log.with_name("server.log.1"))
        return self.log.open("xb")

    def last_log_lines(self) -> str:
        """Return the end of what the server said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def delete(self) -> None:
        """Remove everything but the lock."""
        shutil.rmtree(self.cluster.resolve(), ignore_errors=True)
        if self.cluster.is_symlink():
            self.cluster.unlink()
        for name in ("edition", "pgpass", "port", "server.log", "server.log.1"):
            (self.path / name).unlink(missing_ok=True)


def end_process(pid: int, is_running: Callable[[], bool]) -> None:
    """End the server `pid`: sessions are ended and work is flushed, or, too slow, it is killed."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if not is_running():
            return
        os.kill(pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while is_running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _command_of(pid: int) -> str:
    """Return the command line of a process, or nothing when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        if Path("/proc/self").exists():
            return ""
    shown = subprocess.run(  # noqa: S603  # a fixed program and a number
        ["/bin/ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner may read."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
