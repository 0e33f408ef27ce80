"""The units of the readers' broker: sound in systemd's own eyes, tight, and renewed in time."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.gateway.machine import CHECKOUT
from tests.gateway.test_unit import settings_of

UNITS = CHECKOUT / "deploy/readers"
MOST_EXPOSURE = {"kerbstone-readers": 4.0, "kerbstone-publish": 3.6, "kerbstone-readers-renew": 3.1}


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """All together, since the timer names one of them."""
    program = re.compile(r"^ExecStart=\S+", re.MULTILINE)
    found = sorted(UNITS.iterdir())
    assert len(found) == 4
    for unit in found:
        (tmp_path / unit.name).write_text(program.sub("ExecStart=/bin/true", unit.read_text()))
    paths = [tmp_path / unit.name for unit in found]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("name", MOST_EXPOSURE)
def test_each_is_shut_in(name: str) -> None:
    unit = UNITS / f"{name}.service"
    said = subprocess.check_output(["systemd-analyze", "security", "--offline=true", unit])
    found = re.search(rb"Overall exposure level for \S+: ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSURE[name], said.decode()


def test_the_timer_comes_often_enough_and_makes_up_for_what_was_missed() -> None:
    timer = settings_of(UNITS / "kerbstone-readers-renew.timer")
    assert timer["Persistent"] == ["yes"]
    assert timer["WantedBy"] == ["timers.target"]
    asked = ["systemd-analyze", "calendar", "--iterations=5", *timer["OnCalendar"]]
    said = subprocess.check_output(asked, text=True, env={"LC_ALL": "C", "TZ": "UTC"})
    hours = re.findall(r": \w+ [\d-]+ (\d\d):00:00 UTC", said)
    assert set(hours) == {"00", "06", "12", "18"}


def test_the_broker_is_bounded_as_its_settings_are() -> None:
    broker = settings_of(UNITS / "kerbstone-readers.service")
    assert broker["LimitNOFILE"] == ["1016"]
    assert broker["MemoryMax"] == ["512M"]
