"""Releases to install, and computers to install them on, made once for all tests here."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enrolment.authority import Authority
from tests.gateway.machine import CHECKOUT, Machine, says
from tests.simulators.est_server import EstServer, est_server

DEVICE = "k7q2m9xd4t"
TRIAL = ("--trial", "20")
_PERSON = 1000  # user and group of the first account on most computers


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a bundle for this machine holds, wheels and all, unpacked."""
    directory = tmp_path_factory.mktemp("bundle")
    python = subprocess.check_output(
        ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True
    ).strip()
    bundle = [CHECKOUT / "deploy/gateway/bundle", "--output", directory]
    bundle += ["--wheels", platform.machine(), "--python", python]
    subprocess.run(bundle, check=True, capture_output=True)
    [archive] = directory.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", archive, "-C", directory], check=True)
    unpacked = directory / archive.name.removesuffix(".tar.gz")
    for path in unpacked.rglob("*"):  # as where a person has unpacked it, who is not root
        os.chown(path, _PERSON, _PERSON)
    return unpacked


@pytest.fixture(scope="session")
def changed_source(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the bundle of another release: what differs is written into its files."""

    def change(**files: str) -> Path:
        directory = tmp_path_factory.mktemp("release") / "bundle"
        shutil.copytree(source, directory)
        for name, text in files.items():
            (directory / name.replace("__", "/")).with_suffix(".py").write_text(text)
        project = directory / "pyproject.toml"
        project.write_text(project.read_text().replace('\nversion = "', '\nversion = "9.'))
        return directory

    return change


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    site = {"site": "LC-0417", "label": "Lamp 0417", "longitude": -0.1257, "latitude": 51.5293}
    with est_server(Authority(tmp_path_factory.mktemp("authority"), "Test"), site) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Machine]:
    """A computer on which nothing is installed."""
    machine = Machine.fresh(tmp_path / "machine")
    yield machine
    machine.remove()


@pytest.fixture(scope="session")
def enrolled(source: Path, service: EstServer, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A gateway whose agent is stopped just now; copy it."""
    machine = Machine.fresh(tmp_path_factory.mktemp("enrolled") / "machine")
    invitation = machine.root / "boot/firmware/kerbstone.toml"
    invitation.write_text(service.invite(DEVICE).to_toml())
    try:
        installed = machine.install(*TRIAL, source=source)
        assert installed.returncode == 0, says(installed)
    finally:
        machine.stop()
    return machine


@pytest.fixture
def gateway(enrolled: Machine, tmp_path: Path) -> Iterator[Machine]:
    """A gateway whose agent runs."""
    machine = enrolled.copy(tmp_path / "machine")
    try:
        machine.start()
        yield machine
    finally:
        machine.remove()
