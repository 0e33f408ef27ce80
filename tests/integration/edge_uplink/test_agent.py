"""The agent as a process: starting, stopping, failing sensors, and what it says of itself."""

import asyncio
import gc
import socket
import urllib.request

import pytest

from edge_agent.agent import run
from edge_agent.health.status import AlreadyRunningError
from tests.integration.fix_uplink import HOST, SENSOR, Gateway, Tasks, write_recording
from tests.simulators.centre import Centre


async def test_an_agent_stops_at_any_moment(gateway: Gateway, centre: Centre, tasks: Tasks) -> None:
    tasks.start(centre.run())
    await centre.connected.wait()
    for moment in range(30):
        agent = tasks.start(run(gateway.settings))
        await asyncio.sleep(moment * 0.004)
        agent.cancel()
        await asyncio.wait([agent], timeout=15)
        assert agent.cancelled()
        tasks.forget(agent)


async def test_silence_is_broken_by_empty_messages(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(heartbeat_seconds=1.0)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: [each.payload for each in heard.opened].count(b"\x80") >= 2)
    assert centre.heard.refusals == []


async def test_a_sensor_that_fails_is_reported_and_the_others_go_on(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(sensors=HOST)
    (gateway.directory / "recording.csv").write_text("time,value\n")
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.results("urn:dev:example:computer:cpu_load")) > 3)
    assert "FAILS" in gateway.status().render()
    assert "no column 'date'" in gateway.status().render()
    write_recording(gateway.directory / "recording.csv")
    await centre.until(lambda heard: bool(heard.results(f"{SENSOR}:no2")))
    await gateway.until_facts(lambda facts: facts["adapters"][SENSOR]["running"])
    assert "FAILS" not in gateway.status().render()


async def test_a_second_agent_on_the_same_state_is_refused(gateway: Gateway, tasks: Tasks) -> None:
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])
    with pytest.raises(AlreadyRunningError):
        await run(gateway.settings)
    assert "the agent runs" in gateway.status().render()


async def test_an_agent_that_stops_leaves_no_complaint_behind(
    gateway: Gateway, centre: Centre, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()  # what tests before this one left behind is theirs
    caplog.clear()
    agent = tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])
    await tasks.stop(agent)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_who_has_just_started_it_sees_it_connect(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    often, seldom = (f"[status]\ninterval_seconds = {seconds}" for seconds in ("0.1", "60"))
    gateway.path.write_text(gateway.path.read_text().replace(often, seldom))
    assert gateway.settings.status.interval_seconds == 60
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])


async def test_metrics_tell_of_the_spool_and_the_messages(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gateway.configure(metrics_port=port)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.opened) > 3)

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read(), "utf-8")

    text = await asyncio.to_thread(read)
    for name in (
        "edge_spool_readings ",
        "edge_spool_bytes ",
        "edge_readings_total ",
        'edge_messages_total{outcome="sealed"} ',
        "edge_certificate_expiry_timestamp_seconds ",
    ):
        assert f"\n{name}" in text, name
