"""The installer, run for real as root: from an empty computer to a gateway that runs, and back.

Python environment, wheels, users, files and the agent are real, and so are enrolment and the
certificate service's answers; systemd is not (see `machine`).
"""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from device_protocol.first_boot import FirstBoot
from tests.gateway.conftest import DEVICE, TRIAL
from tests.gateway.machine import Machine, says, until
from tests.simulators.est_server import EstServer

BROKEN = 'raise RuntimeError("a release that does not run")\n'
RUNS_NOT = """
from edge_agent.delivery import key_sets
async def run(settings):
    raise RuntimeError("a release that does not run")
"""
KEPT_MEGABYTES = 40
GONE = ("opt/kerbstone", "run/kerbstone", "etc/systemd/system/kerbstone-agent.service")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def invitation_on(machine: Machine) -> Path:
    return machine.root / "boot/firmware/kerbstone.toml"


# From nothing to a gateway


def test_one_command_and_an_invitation_on_the_card_make_a_gateway(enrolled: Machine) -> None:
    root = enrolled.root
    assert not invitation_on(enrolled).exists()
    assert DEVICE in (root / "etc/kerbstone/agent.toml").read_text()
    assert "--quiet enable kerbstone-agent.service" in enrolled.calls
    assert "--quiet enable kerbstone-enrol.service kerbstone-trial.service" in enrolled.calls
    assert "agent started" in (root / "run/systemd/journal").read_text()
    assert f'"{DEVICE}"' in (root / "run/systemd/journal").read_text()
    assert (root / "run/kerbstone/status.json").is_file()
    assert not (root / "run/kerbstone-enrol").exists()
    tokens = [
        path
        for place in ("etc", "var", "run", "boot", "opt/kerbstone/current/gateway")
        for path in (root / place).rglob("*")
        if path.is_file() and "token" in path.name
    ]
    assert tokens == []


def test_keys_are_the_agents_and_settings_are_roots(enrolled: Machine) -> None:
    root = enrolled.root
    words = (root / "etc/passwd").read_text().split("kerbstone:x:")[1].split(":")
    agent, group = int(words[0]), int(words[1])
    assert words[4].splitlines()[0] == "/usr/sbin/nologin"
    settings = (root / "etc/kerbstone/agent.toml").stat()
    assert (settings.st_uid, settings.st_gid, stat.S_IMODE(settings.st_mode)) == (0, group, 0o640)
    state = root / "var/lib/kerbstone"
    assert mode(state) == 0o700
    assert {path.lstat().st_uid for path in [state, *state.rglob("*")]} == {agent}
    [key] = (state / "identity").glob("generations/*/gateway.key")
    assert mode(key) == 0o600
    release = root / "opt/kerbstone/current/"
    assert {path.lstat().st_uid for path in release.rglob("*")} == {0}
    assert not [path for path in release.rglob("*") if not path.is_symlink() and mode(path) & 0o022]


def test_a_gateway_gets_what_it_needs_and_no_more(enrolled: Machine) -> None:
    release = enrolled.root / "opt/kerbstone/releases" / enrolled.release
    [packages] = release.glob("venv/lib/python3*/site-packages")
    names = {path.name for path in packages.iterdir()}
    assert {"edge_agent", "device_protocol", "runtime", "command_line"} <= names
    assert not names & {"pip", "setuptools", "ingest", "api", "psycopg", "enrolment", "bench"}
    # Debian counts in blocks: so does a card.
    used = subprocess.check_output(["du", "-sm", release], text=True)
    assert int(used.split()[0]) <= KEPT_MEGABYTES
    compiled = packages / "edge_agent/__pycache__"
    assert len(list(compiled.glob("*.pyc"))) == len(list((packages / "edge_agent").glob("*.py")))
    assert b"/opt/kerbstone/releases/" in next(compiled.glob("agent.*.pyc")).read_bytes()
    assert b".partial" not in next(compiled.glob("agent.*.pyc")).read_bytes()


def test_installing_again_changes_nothing(gateway: Machine, source: Path) -> None:
    settings = gateway.root / "etc/kerbstone/agent.toml"
    settings.write_text(settings.read_text() + "# by hand\n")
    before = (gateway.process, gateway.releases, settings.read_text())
    again = gateway.install(*TRIAL, source=source)
    assert again.returncode == 0, says(again)
    assert "is there" in again.stdout
    assert (gateway.process, gateway.releases, settings.read_text()) == before


def test_without_an_invitation_it_says_what_comes_next(
    enrolled: Machine, fresh: Machine, source: Path, service: EstServer
) -> None:
    fresh_with(fresh, enrolled)
    installed = fresh.install(source=source)
    assert installed.returncode == 0, says(installed)
    assert "not enrolled yet. Next: sudo kerbstone-gateway enrol" in installed.stdout
    assert fresh.process is None
    status = fresh.gateway("status")
    assert status.returncode == 1
    assert "Not enrolled" in status.stdout
    # By hand, from a file that only root may read.
    invitation = fresh.root / "root/invitation.toml"
    invitation.write_text(service.invite("w3n8b5rc6h").to_toml())
    invitation.chmod(0o600)
    done = fresh.gateway("enrol", "--first-boot", "/root/invitation.toml")
    assert done.returncode == 0, says(done)
    assert "Gateway w3n8b5rc6h (camden) is enrolled." in done.stdout
    assert "/run/" not in done.stdout
    until((fresh.root / "run/kerbstone/status.json").exists)


def fresh_with(machine: Machine, installed: Machine) -> None:
    """Give a computer releases that are built already: building them is tried elsewhere."""
    (machine.root / "opt/kerbstone").mkdir()
    releases = installed.root / "opt/kerbstone/releases"
    subprocess.run(["cp", "-a", releases, machine.root / "opt/kerbstone"], check=True)


def test_an_image_can_be_made_where_no_systemd_runs(
    enrolled: Machine, fresh: Machine, source: Path, service: EstServer
) -> None:
    fresh_with(fresh, enrolled)
    (fresh.root / "run/systemd/system").rmdir()
    invitation_on(fresh).write_text(service.invite("w3n8b5rc6h").to_toml())
    installed = fresh.install(source=source)
    assert installed.returncode == 0, says(installed)
    assert invitation_on(fresh).exists()
    assert "--quiet enable kerbstone-enrol.service kerbstone-trial.service" in fresh.calls
    assert not [call for call in fresh.calls if call.split()[0] in {"daemon-reload", "start"}]
    assert fresh.process is None


def test_while_nobody_answers_it_goes_on_trying(
    enrolled: Machine, fresh: Machine, source: Path, service: EstServer
) -> None:
    fresh_with(fresh, enrolled)
    invitation = service.invite("w3n8b5rc6h")
    nobody = FirstBoot(
        url="https://127.0.0.1:1/.well-known/est/camden",
        tenant="camden",
        device=invitation.device,
        token=invitation.token,
        region_root_sha256=invitation.region_root_sha256,
    )
    invitation_on(fresh).write_text(nobody.to_toml())
    installed = fresh.install(source=source)
    assert installed.returncode == 0, says(installed)
    assert "nobody answers; this gateway goes on trying" in installed.stdout
    assert "--no-block start kerbstone-enrol.service" in fresh.calls
    assert invitation_on(fresh).exists()
    # Later, as systemd starts it.
    invitation_on(fresh).write_text(invitation.to_toml())
    done = fresh.gateway("enrol", "--unattended")
    assert done.returncode == 0, says(done)
    assert not invitation_on(fresh).exists()
    assert "--no-block start kerbstone-agent.service" in fresh.calls


def test_a_refused_invitation_is_said_and_kept(
    enrolled: Machine, fresh: Machine, source: Path, service: EstServer
) -> None:
    fresh_with(fresh, enrolled)
    text = service.invite("w3n8b5rc6h").to_toml().replace("w3n8b5rc6h", "w3n8b5rc6j")
    invitation_on(fresh).write_text(text)
    installed = fresh.install(source=source)
    assert installed.returncode == 1
    assert "the service refuses (401): Device or token is wrong" in installed.stderr
    assert "installed, but not enrolled" in installed.stderr
    assert invitation_on(fresh).read_text() == text


# Releases


def test_sensors_are_tried_while_the_agent_is_away_and_it_comes_back(gateway: Machine) -> None:
    process = gateway.process
    tried = gateway.gateway("try", "--seconds", "5")
    assert tried.returncode == 0, says(tried)
    assert "cpu_load" in tried.stdout
    assert "the agent runs" not in tried.stderr
    until(lambda: gateway.process not in {None, process})


def test_update_and_roll_back(gateway: Machine, changed_source: Callable[..., Path]) -> None:
    first, process = gateway.release, gateway.process
    updated = gateway.gateway("update", "/source", *TRIAL, source=changed_source())
    assert updated.returncode == 0, says(updated)
    second = gateway.release
    assert second.startswith("9.")
    assert gateway.releases == {first, second}
    assert gateway.process not in {None, process}
    assert f"Release {second}, before it {first}" in gateway.gateway("status").stdout
    back = gateway.gateway("rollback", *TRIAL)
    assert back.returncode == 0, says(back)
    assert gateway.release == first
    assert gateway.releases == {first, second}
    assert not (gateway.root / "opt/kerbstone/trial").exists()
    assert gateway.process is not None


def test_a_release_that_does_not_run_is_taken_back(
    gateway: Machine, changed_source: Callable[..., Path]
) -> None:
    first = gateway.release
    broken = changed_source(edge_agent__agent=RUNS_NOT)
    updated = gateway.gateway("update", "/source", "--trial", "3", source=broken)
    assert updated.returncode == 1
    assert "does not run" in updated.stderr
    assert "RuntimeError: a release that does not run" in updated.stderr
    assert f"this gateway runs {first} as before" in updated.stderr
    assert gateway.release == first
    assert gateway.releases == {first}
    assert gateway.process is not None
    assert gateway.gateway("status").returncode == 0


def test_a_trial_cut_short_is_judged_at_the_next_start(
    gateway: Machine, changed_source: Callable[..., Path]
) -> None:
    first = gateway.release
    broken = changed_source(edge_agent__agent=RUNS_NOT)
    with subprocess.Popen(
        gateway.command("kerbstone-gateway", "update", "/source"),
        env=gateway.environment(broken),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as updating:
        until(lambda: gateway.release != first, 60)
        os.killpg(updating.pid, 9)
    assert (gateway.root / "opt/kerbstone/trial").read_text() == f"{first}\n"
    judged = gateway.gateway("settle", "--trial", "3")
    assert judged.returncode == 1
    assert gateway.release == first
    assert gateway.releases == {first}
    assert not (gateway.root / "opt/kerbstone/trial").exists()
    assert gateway.process is not None


def test_a_release_that_cannot_be_built_changes_nothing(
    gateway: Machine, changed_source: Callable[..., Path]
) -> None:
    before = (gateway.release, gateway.releases, gateway.process)
    broken = changed_source(edge_agent__agent=BROKEN)
    updated = gateway.gateway("update", "/source", source=broken)
    assert updated.returncode == 1
    assert "the release does not work here: RuntimeError: a release that" in updated.stderr
    damaged = changed_source()
    [wheel] = (damaged / "wheels").glob("orjson*")
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"?")
    updated = gateway.gateway("update", "/source", source=damaged)
    assert updated.returncode == 1
    assert "a package is not the one that was locked" in updated.stderr
    assert (gateway.release, gateway.releases, gateway.process) == before


def test_a_release_that_cannot_use_the_settings_is_not_begun(
    gateway: Machine, changed_source: Callable[..., Path]
) -> None:
    before = (gateway.release, gateway.process)
    settings = gateway.root / "etc/kerbstone/agent.toml"
    settings.write_text(settings.read_text().replace("[broker]\n", "[broker]\nprot = 1\n"))
    updated = gateway.gateway("update", "/source", source=changed_source())
    assert updated.returncode == 1
    assert "broker.prot = 1: is not a setting; did you mean port?" in updated.stderr
    assert "nothing was changed" in updated.stderr
    assert (gateway.release, gateway.process) == before


def test_there_is_nothing_before_the_first_release(gateway: Machine) -> None:
    back = gateway.gateway("rollback")
    assert back.returncode == 1
    assert "there is no release before" in back.stderr


# The end


def test_uninstalling_keeps_what_cannot_be_had_again(gateway: Machine) -> None:
    process = gateway.process
    assert process is not None
    removed = gateway.gateway("uninstall")
    assert removed.returncode == 0, says(removed)
    assert gateway.process is None
    assert not [name for name in GONE if (gateway.root / name).exists()]
    assert not os.path.lexists(gateway.root / "sbin.local/kerbstone-gateway")
    assert (gateway.root / "etc/kerbstone/agent.toml").exists()
    assert list((gateway.root / "var/lib/kerbstone/identity").glob("generations/*/gateway.key"))


def test_purging_leaves_nothing(gateway: Machine) -> None:
    removed = gateway.gateway("uninstall", "--purge")
    assert removed.returncode == 0, says(removed)
    left = [
        path
        for place in ("etc", "var", "opt", "run", "sbin.local")
        for path in (gateway.root / place).rglob("*kerbstone*")
    ]
    assert left == []
    accounts = ((gateway.root / "etc" / name).read_text() for name in ("passwd", "group"))
    assert "kerbstone" not in "".join(accounts)


# A machine that will not do


@pytest.mark.parametrize(
    ("program", "text", "said"),
    [
        ("getconf", "echo 32", "this is a 32-bit system"),
        ("uname", "echo riscv64", "no ready packages for this machine (riscv64)"),
        ("id", "echo 1000", "must be run as root"),
        ("df", "printf 'Filesystem\\nx 1 1 2048 1 /'", "2 MB are free, 150 MB are needed"),
        ("systemctl", "echo 'systemd 247 (247.3)'", "this system has systemd 247; 252 is needed"),
    ],
)
def test_a_machine_that_will_not_do_is_told_why(
    fresh: Machine, source: Path, program: str, text: str, said: str
) -> None:
    fresh.program(program, f"#!/bin/sh\n{text}\n")
    installed = fresh.install(source=source)
    assert installed.returncode == 1
    assert said in installed.stderr
    assert not (fresh.root / "etc/kerbstone").exists()
    assert "kerbstone" not in (fresh.root / "etc/passwd").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('case $* in *version_info*) exit 1;; esac; echo "Python 3.9.2"', "found Python 3.9.2"),
        ("case $* in *ensurepip*) exit 1;; esac", "sudo apt install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_told(
    fresh: Machine, source: Path, text: str, said: str
) -> None:
    fresh.program("python3", f"#!/bin/sh\n{text}\n")
    words = ("env", "KERBSTONE_PYTHON=/opt/test-programs/python3")
    installed = fresh.run(*words, "/source/deploy/gateway/install", source=source)
    assert installed.returncode == 1
    assert said in installed.stderr


def test_a_clock_that_is_not_set_is_waited_for_and_then_told(
    fresh: Machine, tmp_path: Path
) -> None:
    fresh.program(
        "date", "#!/bin/sh\ncase $1 in +%s) echo 946684800;; *) echo '2000-01-01 00:00';; esac"
    )
    fresh.program("sleep", "#!/bin/sh\n")
    installed = fresh.install()
    assert installed.returncode == 1
    assert "waiting for the clock to be set" in installed.stdout
    assert "the clock is not set (2000-01-01 00:00 UTC)" in installed.stderr
    assert "timedatectl set-ntp true" in installed.stderr


def test_two_at_once_are_refused(fresh: Machine, source: Path) -> None:
    (fresh.root / "opt/kerbstone").mkdir()
    with subprocess.Popen(
        ["flock", fresh.root / "opt/kerbstone/.lock", "cat"], stdin=subprocess.PIPE
    ) as holder:
        probe = ["flock", "-n", fresh.root / "opt/kerbstone/.lock", "true"]
        until(lambda: subprocess.run(probe, check=False).returncode != 0)
        installed = fresh.install(source=source)
        holder.communicate()
    assert installed.returncode == 1
    assert "another installation, update or roll back is under way" in installed.stderr
