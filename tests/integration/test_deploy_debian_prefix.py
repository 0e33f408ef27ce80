"""deploy/debian-prefix up to the network: what it asks apt for, refuses and leaves behind.

That it ends with a running program is shown by every test here that uses Mosquitto or
TimescaleDB from such a prefix. A mirror is a local directory, so that nothing is downloaded.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "debian-prefix"


@dataclass
class Machine:
    """A machine whose apt sources are those in a directory of the test's own."""

    directory: Path

    @property
    def prefix(self) -> Path:
        return self.directory / "prefix"

    def write_source(self, name: str, text: str) -> None:
        (self.directory / "etc" / name).write_text(text)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, *arguments],
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "APT_CONFIG": str(self.directory / "apt.conf"),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def provision(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(
            "--prefix", str(self.prefix), "--package", "mosquitto", *arguments, **environment
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "etc").mkdir()
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\n'
        f'Dir::Etc::sourceparts "{tmp_path}/etc";\n'
    )
    return Machine(tmp_path)


def chosen_mirror(result: subprocess.CompletedProcess[str]) -> str:
    """The mirror it went on to read, which has nothing for it."""
    assert result.returncode == 1
    said = "debian-prefix: reading the package lists of trixie from "
    return next(
        line.removeprefix(said) for line in result.stdout.splitlines() if line.startswith(said)
    )


MANY = """\
Types: deb-src
URIs: file:/sources/debian

Types: deb
Enabled: no
URIs: file:/disabled/debian

Types: deb
URIs: file:/nowhere/debian
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.list", "deb file:/nowhere/debian bookworm main\n"),
        (
            "a.list",
            "# deb file:/old/debian x main\ndeb [arch=all signed-by=/x] file:/nowhere/debian b m\n",
        ),
        ("a.list", "deb-src file:/sources/debian x main\ndeb\tfile:/nowhere/debian\tx main\n"),
        ("a.sources", "Types: deb\nURIs: file:/nowhere/debian\nSuites: bookworm\n"),
        ("a.sources", "Types: deb-src deb\nUris:\n# a comment\n file:/nowhere/debian\nSuites: x\n"),
        ("a.sources", "Types: deb\nURIs: file:/first/ubuntu file:/nowhere/debian\nSuites: x\n"),
        ("a.sources", MANY),
    ],
)
def test_mirror_is_the_machines_own(machine: Machine, name: str, text: str) -> None:
    machine.write_source(name, text)
    assert chosen_mirror(machine.provision()) == "file:/nowhere/debian"


def test_mirror_may_be_named(machine: Machine) -> None:
    machine.write_source("a.list", "deb file:/nowhere/debian bookworm main\n")
    variable = {"KERBSTONE_DEBIAN_MIRROR": "file:/variable/debian"}
    assert chosen_mirror(machine.provision(**variable)) == "file:/variable/debian"
    named = machine.provision("--mirror", "file:/option/debian", **variable)
    assert chosen_mirror(named) == "file:/option/debian"


def test_machine_without_a_debian_mirror_is_told_what_to_do(machine: Machine) -> None:
    machine.write_source("a.list", "deb file:/nowhere/ubuntu noble main\n")
    result = machine.provision()
    assert result.returncode == 1
    assert "no Debian mirror" in result.stderr
    assert "--mirror URL" in result.stderr
    assert "KERBSTONE_DEBIAN_MIRROR=URL" in result.stderr


def test_failed_download_shows_apts_words_and_leaves_nothing(machine: Machine) -> None:
    result = machine.provision("--mirror", f"file:{machine.directory}/nothing/debian")
    assert result.returncode == 1
    assert "does not have a Release file" in result.stderr
    assert "--mirror URL" in result.stderr
    assert not machine.prefix.exists()
    assert not Path(f"{machine.prefix}.partial").exists()


def test_unsigned_archive_is_refused(machine: Machine) -> None:
    release = machine.directory / "mirror" / "debian" / "dists" / "trixie" / "Release"
    release.parent.mkdir(parents=True)
    release.write_text(
        "Origin: Debian\nSuite: trixie\nCodename: trixie\nDate: Sun, 01 Mar 2026 12:00:00 UTC\n"
        "Architectures: amd64 arm64\nComponents: main\nSHA256:\n"
    )
    result = machine.provision("--mirror", f"file:{machine.directory}/mirror/debian")
    assert result.returncode == 1
    assert "is not signed" in result.stderr
    assert not machine.prefix.exists()


def test_missing_keys_are_asked_for(machine: Machine) -> None:
    result = machine.provision("--mirror", "file:/nowhere/debian", "--keyring", "/no/keyring")
    assert result.returncode == 1
    assert "debian-archive-keyring" in result.stderr


def test_missing_patchelf_is_asked_for(machine: Machine) -> None:
    result = machine.provision("--executable", "usr/sbin/mosquitto", PATCHELF="/no/patchelf")
    assert result.returncode == 1
    assert "no usable patchelf (looked at /no/patchelf)" in result.stderr


def test_finished_prefix_is_left_alone(machine: Machine) -> None:
    machine.prefix.mkdir()
    stamp = f"prefix {machine.prefix}\nsuite trixie\npackage mosquitto\n"
    (machine.prefix / ".debian-prefix").write_text(stamp)
    result = machine.provision()
    assert (result.returncode, result.stderr) == (0, "")
    assert "already holds: mosquitto" in result.stdout


def test_prefix_that_holds_something_else_is_made_anew(machine: Machine) -> None:
    """It gets as far as the mirror; and as that fails, what was there stays."""
    machine.prefix.mkdir()
    stamp = machine.prefix / ".debian-prefix"
    stamp.write_text(f"prefix {machine.prefix}\nsuite bookworm\npackage mosquitto\n")
    machine.write_source("a.list", "deb file:/nowhere/debian bookworm main\n")
    assert chosen_mirror(machine.provision()) == "file:/nowhere/debian"
    assert "bookworm" in stamp.read_text()


def test_directory_of_somebody_else_is_not_touched(machine: Machine) -> None:
    machine.prefix.mkdir()
    (machine.prefix / "thesis.txt").write_text("precious")
    result = machine.provision()
    assert result.returncode == 1
    assert "was not made by debian-prefix" in result.stderr
    assert (machine.prefix / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--package", "mosquitto"],
        ["--prefix", "/tmp/x"],  # noqa: S108 - never made
        ["--prefix"],
        ["--prefix", "/tmp/x", "--package", "a b"],  # noqa: S108
        ["--prefix", "/tmp/x", "--package", "a", "--executable", "../../bin/sh"],  # noqa: S108
        ["--prefix", "/tmp/x", "--package", "a", "--executable", "/bin/sh"],  # noqa: S108
        ["--prefix", "/tmp/a:b", "--package", "a"],  # noqa: S108
        ["--unheard-of"],
    ],
)
def test_wrong_usage_points_to_help(machine: Machine, arguments: list[str]) -> None:
    result = machine.run(*arguments)
    assert result.returncode == 2
    assert "see --help" in result.stderr


def test_help_names_every_option(machine: Machine) -> None:
    shown = machine.run("--help").stdout
    for option in ("prefix", "package", "executable", "suite", "mirror", "keyring", "help"):
        assert f"--{option}" in shown
    assert "KERBSTONE_DEBIAN_MIRROR" in shown
