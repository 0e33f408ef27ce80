"""What a measurement was taken on, so that numbers from two machines are never compared bare."""

import os
import platform
from pathlib import Path


def describe_machine() -> dict[str, object]:
    """Return processor, cores, memory, load of the last minute, system and Python."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time a process has used so far; None where the system cannot tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    user, system = int(fields[11]), int(fields[12])  # proc(5): utime and stime
    return (user + system) / os.sysconf("SC_CLK_TCK")


def tree_cpu_seconds(pid: int) -> float | None:
    """Return the processor time of a process and its descendants, those that ended included."""
    total = 0.0
    for member in [pid, *_descendants(pid)]:
        try:
            text = Path(f"/proc/{member}/stat").read_text(encoding="utf-8")
        except OSError:
            if member == pid:
                return None
            continue  # it has just ended: its parent has its time by now
        fields = text.rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))  # proc(5): utime, stime, cutime, cstime
    return total / os.sysconf("SC_CLK_TCK")


def tree_resident_bytes(pid: int) -> int:
    """Return what a process and its descendants hold in memory, shared pages once for each."""
    total = 0
    for member in [pid, *_descendants(pid)]:
        try:
            pages = Path(f"/proc/{member}/statm").read_text(encoding="utf-8").split()[1]
        except OSError:
            continue
        total += int(pages) * os.sysconf("SC_PAGE_SIZE")
    return total


def _descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            members = [int(child) for child in children.read_text(encoding="utf-8").split()]
        except OSError:
            continue
        for member in members:
            found += [member, *_descendants(member)]
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
