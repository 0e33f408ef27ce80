"""The shell scripts of gateways: POSIX, and clean in shellcheck's eyes."""

import subprocess
from pathlib import Path

import pytest

from tests.gateway.machine import CHECKOUT

SCRIPTS = [
    path
    for folder in (CHECKOUT / "deploy/gateway", Path(__file__).parent)
    for path in sorted(folder.iterdir())
    if path.is_file() and path.suffix in {"", ".sh"}
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_shell_reads_it(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    words = ["shellcheck", "--severity=warning", "--shell=sh", "--external-sources"]
    checked = subprocess.run(
        [*words, "--source-path=SCRIPTDIR", script], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("script", ["install", "kerbstone-gateway", "bundle"])
def test_every_script_says_what_it_does_and_refuses_what_it_does_not(script: str) -> None:
    program = CHECKOUT / "deploy/gateway" / script
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("usage: ")
    misused = subprocess.run([program, "--nonsense"], capture_output=True, text=True, check=False)
    assert misused.returncode == 2
    assert "--nonsense (see --help)" in misused.stderr
