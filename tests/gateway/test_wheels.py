"""Every package a gateway needs is to be had ready-made for its machine: nothing is compiled there.

Resolved by pip as for a Raspberry Pi, with the hashes of the locks, from whatever index pip's own
configuration names. Downloading proves more than a list of names, and is only some megabytes.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.machine import CHECKOUT

LOCKS = CHECKOUT / "deploy/requirements"
DEBIAN_GLIBC = (2, 36)  # of Debian 12; the later ones have later ones


def locked(lock: str) -> set[str]:
    text = (LOCKS / lock).read_text()
    names = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return {f"{name.lower().replace('-', '_')}-{version}" for name, version in names}


def download(lock: str, python: str, directory: Path) -> list[str]:
    """Return the names of the wheels that a Raspberry Pi under that Python would install."""
    words = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    words += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--implementation", "cp"]
    words += ["--python-version", python, "--dest", str(directory), "-r", str(LOCKS / lock)]
    for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014"):
        words += ["--platform", f"{tag}_aarch64"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [wheel.name for wheel in directory.iterdir()]


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("lock", ["edge.txt", "pkcs11.txt"])
def test_every_package_has_a_wheel_for_a_raspberry_pi(
    lock: str, python: str, tmp_path: Path
) -> None:
    wheels = download(lock, python, tmp_path)
    assert {"-".join(name.split("-")[:2]).lower() for name in wheels} == locked(lock)
    for name in wheels:
        machine = name.removesuffix(".whl").split("-")[-1]
        assert machine == "any" or machine.endswith("_aarch64")
        for needed in re.findall(r"manylinux_(\d+)_(\d+)_aarch64", machine):
            assert tuple(map(int, needed)) <= DEBIAN_GLIBC


def test_a_package_without_a_wheel_would_be_found(tmp_path: Path) -> None:
    text = (LOCKS / "pkcs11.txt").read_text()
    package = text[text.index("python-pkcs11") :]
    # Locked for one machine alone: it cannot be the other as well.
    lock = tmp_path / "lock.txt"
    lock.write_text(
        f"{package.split(' ')[0]} {re.findall(r'--hash=sha256:[0-9a-f]+', package)[0]}\n"
    )
    found = [python for python in ("3.11", "3.13") if has_wheels(lock, python, tmp_path / python)]
    assert len(found) < 2


def has_wheels(lock: Path, python: str, directory: Path) -> bool:
    try:
        download(str(lock), python, directory)
    except AssertionError:
        return False
    return True
