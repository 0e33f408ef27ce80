import os
import subprocess
import sys
from pathlib import Path

from command_line.demo.processes import Child, end_leftovers


def test_a_leftover_of_a_killed_demo_is_ended_and_the_record_removed(tmp_path: Path) -> None:
    record = tmp_path / "processes"
    program = [sys.executable, "-uc", "import time; print(1); time.sleep(60)", "command_line"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as leftover:
        assert leftover.stdout is not None
        leftover.stdout.readline()  # it runs: its command line can be read
        record.write_text(str(leftover.pid))
        assert end_leftovers(record) == 1
        assert leftover.wait(10) < 0
    assert not record.exists()


def test_a_process_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "processes"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        record.write_text(f"{stranger.pid} {os.getpid()}")
        assert end_leftovers(record) == 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_child_writes_its_log_and_tells_its_last_lines(tmp_path: Path) -> None:
    child = Child("help", ("verify", "--help"), tmp_path / "logs" / "help.log")
    child.start()
    assert child.process is not None
    assert child.process.wait(30) == 0
    assert not child.running
    assert "usage: kerbstone verify" in child.log.read_text()
    assert child.log_tail()
