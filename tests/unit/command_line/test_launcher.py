"""What `./kerbstone` says when the machine lacks something, tried with a PATH of our own making."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOLS = ("sh", "dirname", "cat", "cksum", "mkdir", "rmdir", "tail", "grep", "tee", "rm")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the launcher and the locks, and a folder `bin` with the tools it uses."""
    root = tmp_path / "a checkout with spaces"
    shutil.copytree(ROOT / "deploy/requirements", root / "deploy/requirements")
    shutil.copy(ROOT / "kerbstone", root)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (tmp_path / "bin" / tool).symlink_to(found)
    return root


def command(checkout: Path, name: str, script: str) -> None:
    file = checkout.parent / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def launch(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "kerbstone", *words],
        env={"PATH": str(checkout.parent / "bin"), "HOME": str(checkout.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_without_python_is_told_what_to_install(checkout: Path) -> None:
    told = launch(checkout, "demo")
    assert told.returncode == 1
    assert "needs Python 3.11 or newer; found none" in told.stderr
    assert "sudo apt install python3 python3-venv" in told.stderr
    assert not (checkout / ".venv.lock").exists()


def test_an_old_python_is_named(checkout: Path) -> None:
    command(checkout, "python3", 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
    told = launch(checkout, "demo")
    assert told.returncode == 1
    assert "found Python 3.9.2" in told.stderr


def test_a_python_without_venv_is_told_the_package(checkout: Path) -> None:
    told_apart = 'case "$*" in *version_info*) exit 0;; *) exit 1;; esac'
    command(checkout, "python3", told_apart)
    told = launch(checkout, "demo")
    assert told.returncode == 1
    assert "no venv module" in told.stderr
    assert "sudo apt install python3-venv" in told.stderr
    assert not (checkout / ".venv").exists()


def test_a_failed_download_shows_its_last_lines_and_the_remedy(checkout: Path) -> None:
    """A `uv` that fails stands in for a machine without a network."""
    (checkout.parent / "bin" / "python3").symlink_to(sys.executable)
    make = f'[ "$1" = venv ] && exec {sys.executable} -m venv --without-pip "{checkout}/.venv"'
    command(checkout, "uv", f"{make}\necho could not resolve host\nexit 2")
    told = launch(checkout, "demo")
    assert told.returncode == 1
    assert "could not resolve host" in told.stderr
    assert "Is the network reachable" in told.stderr
    assert not (checkout / ".venv.lock").exists()
    assert not (checkout / ".venv" / "kerbstone-stamp").exists()


def test_the_locks_are_installed_with_their_hashes_and_once(checkout: Path) -> None:
    (checkout.parent / "bin" / "python3").symlink_to(sys.executable)
    make = f'[ "$1" = venv ] && exec {sys.executable} -m venv --without-pip "{checkout}/.venv"'
    keep = f'echo "$PWD: $*" >>"{checkout.parent}/installed"'
    command(checkout, "uv", f"{make}\n{keep}")
    launch(checkout, "agent", "--help")
    launch(checkout, "agent", "--help")
    launch(checkout, "demo", "--help")
    installed = (checkout.parent / "installed").read_text().splitlines()
    begins = f"{checkout}: pip install --python .venv/bin/python --require-hashes"
    assert installed == [
        f"{begins} -r deploy/requirements/edge.txt",
        f"{begins} -r deploy/requirements/centre.txt -r deploy/requirements/embedded.txt",
    ]


def test_two_set_ups_at_once_do_not_meet(checkout: Path) -> None:
    (checkout / ".venv.lock").mkdir()
    told = launch(checkout, "demo")
    assert told.returncode == 1
    assert "another set-up is running" in told.stderr


def test_once_set_up_it_only_hands_over(checkout: Path) -> None:
    """Arguments and exit status pass through unchanged, and nothing is installed."""
    locks = sorted((checkout / "deploy/requirements").glob("*.txt"))
    every_lock = b"".join(lock.read_bytes() for lock in locks)
    fingerprint = subprocess.run(
        ["cksum"], input=every_lock, capture_output=True, check=True
    ).stdout
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "<%s>" "$@"\nexit 7\n')
    python.chmod(0o755)
    (checkout / ".venv/kerbstone-stamp").write_text(f"3 {os.fsdecode(fingerprint)}")
    told = launch(checkout, "verify", "vectors", "a file")
    assert told.returncode == 7
    assert told.stdout == "<-P><-m><command_line><verify><vectors><a file>"
