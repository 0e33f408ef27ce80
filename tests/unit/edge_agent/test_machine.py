"""What Linux tells about the computer and the process, from files as it writes them."""

from pathlib import Path

import pytest

from edge_agent.machine import disk_used, memory_used, resident_bytes, warmest, written_bytes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    own = tmp_path / "proc/self"
    own.mkdir(parents=True)
    (own / "status").write_text("Name:\tpython3\nVmHWM:\t   90000 kB\nVmRSS:\t   45000 kB\n")
    (own / "io").write_text("wchar: 7\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n")
    return tmp_path


@pytest.mark.parametrize(
    ("content", "share"),
    [
        ("MemTotal: 400 kB\nMemFree: 1 kB\nMemAvailable: 100 kB\n", 75.0),
        ("MemTotal: 400 kB\n", None),
        ("MemTotal: 0 kB\nMemAvailable: 0 kB\n", None),
        ("MemTotal: much\nMemAvailable: 1 kB\n", None),
    ],
)
def test_memory_in_use_is_what_new_programs_cannot_have(
    root: Path, content: str, share: float | None
) -> None:
    (root / "proc/meminfo").write_text(content)
    assert memory_used(root) == share


def test_memory_and_writing_are_those_of_this_process(root: Path) -> None:
    assert resident_bytes(root) == 45_000 * 1024
    assert written_bytes(root) == 8192


@pytest.mark.parametrize("content", ["", "VmRSS:", "VmRSS: many kB"])
def test_what_the_kernel_does_not_tell_is_none(root: Path, content: str) -> None:
    (root / "proc/self/status").write_text(content)
    (root / "proc/self/io").unlink()
    assert resident_bytes(root) is None
    assert written_bytes(root) is None
    assert warmest(root) is None


def test_the_real_machine_tells_something(tmp_path: Path) -> None:
    assert 0 < disk_used(tmp_path) <= 100
    assert (resident_bytes() or 0) > 1_000_000
