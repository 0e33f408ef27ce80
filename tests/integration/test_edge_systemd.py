"""The real agent under something that listens as systemd does."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_protocol.reading import Reading
from edge_agent.spool.store import Priority, Spool

ROOT = Path(__file__).parents[2]
SETTINGS = """
tenant = "camden"
device = "k7q2m9xd4t"
state_directory = "state"
[broker]
host = "localhost"
port = 1
ca_file = "none"
certificate_file = "none"
key_file = "none"
[trust]
council_root_file = "none"
[[thing]]
urn = "urn:dev:example:site"
name = "Site"
description = "A site."
longitude = 0
latitude = 51
place_name = "Here"
[[sensor]]
adapter = "host"
urn = "urn:dev:example:computer"
thing = "urn:dev:example:site"
name = "Computer"
description = "A computer."
"""


class Supervisor:
    """What systemd is to a unit of `Type=notify`: it hears, and it can stop the agent."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._socket.setblocking(False)  # noqa: FBT003  # its only argument

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run the agent, and stop it by its process id if the test has not."""
        (self._directory / "gateway.toml").write_text(SETTINGS)
        environment = {
            "NOTIFY_SOCKET": str(self._directory / "notify"),
            "WATCHDOG_USEC": "400000",
        }
        command = (sys.executable, "-m", "command_line", "agent", "run")
        process = await asyncio.create_subprocess_exec(
            *(*command, "--config", str(self._directory / "gateway.toml")),
            cwd=ROOT,
            env={**os.environ, **environment},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            self._socket.close()
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def hears(self) -> dict[str, str]:
        """Return the next datagram's states.

        Raises:
            TimeoutError: there was none in half a minute.
        """
        async with asyncio.timeout(30):
            datagram = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
        return dict(line.split("=", 1) for line in datagram.decode().splitlines())


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(tmp_path)


async def test_systemd_hears_that_the_agent_is_ready_alive_and_stopping(
    supervisor: Supervisor,
) -> None:
    async with supervisor.running() as agent:
        assert await supervisor.hears() == {"READY": "1"}
        alive = await supervisor.hears()
        assert alive["WATCHDOG"] == "1"
        while "1 of 1 sensors readable" not in alive["STATUS"]:
            alive = await supervisor.hears()
        assert alive["STATUS"].startswith("not connected")
        agent.send_signal(signal.SIGTERM)
        while alive.get("STOPPING") != "1":
            alive = await supervisor.hears()
        assert await agent.wait() == 0


def test_a_long_salvage_lets_systemd_know_that_it_gets_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr("edge_agent.spool.store.still_working", lambda: heard.append("at work"))
    readings = [
        (
            Priority.NORMAL,
            Reading(
                sensor="urn:a",
                name="no2",
                phenomenon_time=datetime(2030, 3, 17, tzinfo=UTC) + timedelta(seconds=second),
                result=1.0,
                unit="ug/m3",
            ),
        )
        for second in range(12_000)
    ]
    with Spool(
        tmp_path / "spool.sqlite", quota_bytes=1 << 30, gap_record=lambda _: readings[0][1]
    ) as spool:
        spool.write(readings, [], 1_900_000_000)
        spool.replace_damaged("said so")
        assert spool.depth().readings == len(readings)
    assert len(heard) > 1
