"""A region of several databases, started by the one command that its documentation names."""

import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOWS = re.compile(r"north: [1-9][\d,]* readings.*south: [1-9].*replica of north: [1-9]")
SECONDS = 90


def test_readings_reach_both_databases_and_the_replica_and_all_stops_when_asked(
    tmp_path: Path,
) -> None:
    words = ("scale", "databases", "--data-dir", str(tmp_path / "scale"), "--seconds", str(SECONDS))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "command_line", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if FLOWS.search(line):
                process.send_signal(signal.SIGTERM)
                break
        said += process.stderr.readlines()
        assert process.wait(SECONDS) == 0, "".join(said)
    assert FLOWS.search("".join(said)), "".join(said)
    assert said[-1] == "Stopping\n"
    assert not (tmp_path / "scale" / "processes").exists()
