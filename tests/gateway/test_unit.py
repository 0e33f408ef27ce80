"""The systemd units: sound in systemd's own eyes, tight, and open where an agent needs it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.gateway.machine import CHECKOUT

UNITS = CHECKOUT / "deploy/gateway"
AGENT = UNITS / "kerbstone-agent.service"
MOST_EXPOSURE = 2.0


def settings_of(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    # Only the program is not where it will be: that is what `verify` would complain of.
    program = re.compile(r"^ExecStart=\S+", re.MULTILINE)
    here.write_text(program.sub("ExecStart=/bin/true", unit.read_text()))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_agent_is_shut_in() -> None:
    words = ["systemd-analyze", "security", "--offline=true", "--json=short", "--no-pager"]
    rows = json.loads(subprocess.check_output([*words, AGENT]))
    said = subprocess.check_output(["systemd-analyze", "security", "--offline=true", AGENT])
    found = re.search(rb"Overall exposure level for \S+: ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSURE
    # systemd's reasons for what is left open, and no others.
    assert {row["json_field"] for row in rows if not row["set"] and row["exposure"] != "0.0"} <= {
        "RootDirectoryOrRootImage",
        "PrivateDevices",
        "PrivateNetwork",
        "PrivateUsers",
        "ProtectClock",
        "ProcSubset",
        "IPAddressDeny",
        "DeviceAllow",
        "RestrictAddressFamilies_AF_UNIX",
        "RestrictAddressFamilies_AF_INET_INET6",
        "SystemCallFilter_clock",
        "SystemCallFilter_privileged",
    }


def test_what_an_agent_needs_stays_open() -> None:
    settings = settings_of(AGENT)
    devices = " ".join(settings["DeviceAllow"])
    # By number: their drivers may be loaded after the agent has started.
    assert {"char-188", "char-166", "char-ttyS", "char-ttyAMA"} <= set(devices.split())
    assert settings["DevicePolicy"] == ["closed"]
    assert settings["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6"]
    assert settings["StateDirectory"] == settings["RuntimeDirectory"] == ["kerbstone"]
    assert "adjtimex clock_adjtime" in settings["SystemCallFilter"]
    assert not {"ProtectClock", "PrivateDevices", "PrivateNetwork", "ProcSubset"} & settings.keys()


def test_the_agent_waits_for_no_network_and_never_gives_up() -> None:
    settings = settings_of(AGENT)
    for key in ("After", "Requires", "Wants", "BindsTo"):
        assert "network-online" not in " ".join(settings.get(key, []))
    assert settings["Type"] == ["notify"]
    assert settings["Restart"] == ["always"]
    assert settings["StartLimitIntervalSec"] == ["0"]
    assert int(settings["WatchdogSec"][0]) > 0
    assert settings["MemoryMax"] == ["96M"]
    assert int(settings["LogRateLimitBurst"][0]) / int(settings["LogRateLimitIntervalSec"][0]) <= 5
