"""Whatever moment the power goes, the whole agent starts again and has what it answered for.

A real agent process takes what is pushed to it by HTTP, for a sensor whose readings are spooled and
one whose readings are summed up, while its epoch counter rises and its settings from afar change.
Its system calls are recorded, and disks are rebuilt as they would be after a cut
(`tests.simulators.traced_disk` says which layer that is, and what it does not show). On each the
agent is started by its own start-up code, takes another reading, and must have all for which
somebody was told 200.
"""

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker_config.free_ports import free_ports
from device_protocol.reading import Reading
from edge_agent import intervals
from edge_agent.agent import run
from edge_agent.delivery.counter import EpochCounter
from edge_agent.remote_settings import State
from edge_agent.settings import AgentSettings
from edge_agent.spool.store import Spool
from runtime.settings import load
from tests.integration.edge_spool.spools import ALL, gap_record
from tests.integration.test_edge_power_cut import Recording, cut_often, record

CUTS = 20
LAST = 1_000_000
SPOOLED, SUMMED = "urn:dev:example:spooled", "urn:dev:example:summed"

SETTINGS = """
tenant = "camden"
device = "k7q2m9xd4t"
state_directory = "{state}"
[broker]
host = "127.0.0.1"
port = 1
ca_file = "nowhere.pem"
certificate_file = "nowhere.pem"
key_file = "nowhere.pem"
[trust]
council_root_file = "nowhere.pem"
[spool]
commit_seconds = 0.05
[status]
interval_seconds = 0.2
[listener]
port = {port}
[[thing]]
urn = "urn:dev:example:lamp"
name = "Lamp"
description = "A lamp."
longitude = -0.125889
latitude = 51.52229
place_name = "Bloomsbury"
"""
SENSOR = """
[[sensor]]
adapter = "http_push"
urn = "{urn}"
thing = "urn:dev:example:lamp"
name = "Counter"
description = "A counter."
push_path = "/{path}"
[sensor.fields.value]
name = "value"
title = "Value"
description = "A number."
observed_property = "people_count"
unit = "count"
path = "value"
"""
SUMMED_UP = """
[sensor.aggregate]
interval_seconds = 1
functions = ["sum"]
wait_seconds = 0.7
"""

AGENT = """
    import asyncio, os, sys
    from dataclasses import replace
    from pathlib import Path
    import edge_agent.intervals, edge_agent.spool.store
    from edge_agent.agent import run
    from edge_agent.clock import Clock
    from edge_agent.delivery.counter import EpochCounter
    from edge_agent.remote_settings import Chosen, RemoteSettings
    from edge_agent.settings import AgentSettings
    from runtime.settings import load
    from tests.integration.test_edge_agent_power_cut import push

    edge_agent.spool.store._CHECKPOINT_PAGES = 24  # so that the log is folded in often
    edge_agent.intervals._OWED_SECONDS = 0.02

    async def pushed(path, port, numbers):
        for number in numbers:
            say("pushed", path, number)
            while await push(port, path, number) != 200:
                await asyncio.sleep(0.02)
            say("stored", path, number)

    async def changed(settings):
        counter = EpochCounter(settings.state_directory / "epoch.json", now=0)
        remote = RemoteSettings(settings, Clock(settings.state_directory / "clock"))
        for number in range(1, 1000):
            say("counter", counter.advance())
            remote._store(replace(remote._state, floor=number, kept=Chosen(number, {})))
            say("floor", number)
            await asyncio.sleep(0.1)

    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())

    async def main():
        settings = load(AgentSettings, Path(sys.argv[1]).parents[1] / "agent.toml")
        running = [asyncio.create_task(run(settings)), asyncio.create_task(changed(settings))]
        port = settings.listener.port
        await asyncio.gather(
            *(pushed("spooled", port, range(each * 1000, each * 1000 + 90)) for each in range(4)),
            *(pushed("summed", port, range(each * 1000, each * 1000 + 90)) for each in range(4)),
        )
        for task in running:
            task.cancel()
        await asyncio.wait(running)

    asyncio.run(main())
"""


async def push(port: int, path: str, number: int) -> int:
    """Return the status that pushing a number is answered with; 0 if nobody listens."""
    body = f'{{"value": {number}}}'
    head = f"POST /{path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return 0
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    try:
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@dataclass
class Found:
    """What one state directory holds of what was pushed.

    spooled: results of the sensor that is spooled. intervals: of the other, how many readings
    each came to, and their sum, by its end.
    """

    spooled: list[int] = field(default_factory=list)
    intervals: dict[int, tuple[int, float]] = field(default_factory=dict)


def found_in(directory: Path) -> Found:
    found = Found()
    told: dict[tuple[str, int], float] = {}
    with Spool(directory / "spool.sqlite", quota_bytes=1 << 30, gap_record=gap_record) as spool:
        assert spool.salvaged is None
        for reading in (each.reading for each in spool.read(ALL, 1_000_000)):
            assert reading.name not in ("spool_dropped", "spool_salvaged")
            if reading.sensor == SPOOLED:
                found.spooled.append(int(reading.result))
            elif reading.sensor == SUMMED:
                _note(told, reading)
    for (name, end), result in told.items():
        if name == "value.n":
            found.intervals[end] = (int(result), told["value.sum", end])
    [file] = directory.glob("intervals-*.json")
    for _, end, _, summary in json.loads(file.read_bytes())["open"]:
        kept = (summary["n"], summary["total"])
        assert found.intervals.setdefault(end, kept) == kept, "told once more, it is the same"
    return found


def _note(told: dict[tuple[str, int], float], reading: Reading) -> None:
    key = reading.name, int(reading.phenomenon_time.timestamp())
    assert told.setdefault(key, float(reading.result)) == reading.result


def write_settings(directory: Path, state: Path, port: int) -> Path:
    """Return the settings file of an agent without a network, with both sensors."""
    spooled = SENSOR.format(urn=SPOOLED, path="spooled")
    summed = SENSOR.format(urn=SUMMED, path="summed") + SUMMED_UP
    path = directory / "agent.toml"
    path.write_text(SETTINGS.format(state=state, port=port) + spooled + summed)
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    directory = tmp_path_factory.mktemp("agent")
    write_settings(directory, directory / "spool", free_ports(1)[0])
    return record(directory, AGENT)


def numbers(said: str, what: str) -> list[int]:
    return [int(each) for each in re.findall(rf"^{what} (\d+)$", said, re.MULTILINE)]


async def start_and_push(settings: AgentSettings) -> None:
    """Start an agent, wait until both sensors are answered with 200, and stop it."""
    agent = asyncio.create_task(run(settings))
    try:
        async with asyncio.timeout(10):
            for path in ("spooled", "summed"):
                while await push(settings.listener.port, path, LAST) != 200:  # type: ignore[union-attr]
                    assert not agent.done(), agent.exception()
                    await asyncio.sleep(0.01)
    finally:
        agent.cancel()
        await asyncio.wait([agent])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_agent_starts_after_any_cut_with_all_it_answered_for(
    recording: Recording, tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "_OWED_SECONDS", 0.01)
    port = free_ports(1)[0]
    promises = []

    def look(path: Path, said: str) -> None:
        state = path.parent
        assert EpochCounter(state / "epoch.json", now=0).value >= max(
            numbers(said, "counter"), default=0
        )
        assert State.read(state / "remote.json").floor >= max(numbers(said, "floor"), default=0)
        settings = load(AgentSettings, write_settings(tmp_path, state, port))
        asyncio.run(start_and_push(settings))
        found = found_in(state)
        stored, pushed = (numbers(said, f"{word} spooled") for word in ("stored", "pushed"))
        assert len(found.spooled) == len(set(found.spooled))
        assert {*stored, LAST} <= set(found.spooled) <= {*pushed, LAST}
        stored, pushed = (numbers(said, f"{word} summed") for word in ("stored", "pushed"))
        assert len(stored) + 1 <= sum(n for n, _ in found.intervals.values()) <= len(pushed) + 1
        total = sum(total for _, total in found.intervals.values()) - LAST
        assert sum(stored) <= total <= sum(pushed)
        promises.append(len(stored))

    cut_often(recording, tmp_path, share, CUTS, look)
    assert len(promises) == CUTS
    assert sum(map(bool, promises)) > CUTS // 2, "the cuts came while something was owed"
